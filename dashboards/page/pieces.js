// Data of the page in pieces. A piece is a script, because a page from disk cannot fetch; it is loaded when it is needed.

const arrived = {}, awaited = {};

PAGE.put = (name, data) => { arrived[name] = data; };

// Resolves to the data that the build wrote under this name.
function load(name) {
  awaited[name] ||= new Promise((done, fail) => {
    const script = make("script"), problem = `data/${name}.js cannot be read: build the page again`;
    script.src = `data/${name}.js`;
    script.addEventListener("load", () => (name in arrived ? done(arrived[name]) : fail(new Error(problem))));
    script.addEventListener("error", () => { delete awaited[name]; fail(new Error(problem)); });
    document.head.append(script);
  });
  return awaited[name];
}
