// Data of the page in pieces, and plotly. Both are scripts, because a page from disk cannot fetch; they are loaded when they are needed.

const arrived = {}, awaited = {};

PAGE.put = (name, data) => { arrived[name] = data; };

// Resolves when the script has run.
function loadScript(src, problem) {
  awaited[src] ||= new Promise((done, fail) => {
    const script = make("script");
    script.src = src;
    script.addEventListener("load", done);
    script.addEventListener("error", () => { delete awaited[src]; fail(new Error(problem)); });
    document.head.append(script);
  });
  return awaited[src];
}

// Resolves to the data that the build wrote under this name.
async function load(name) {
  const problem = `data/${name}.js cannot be read: build the page again`;
  await loadScript(`data/${name}.js`, problem);
  if (!(name in arrived)) throw new Error(problem);
  return arrived[name];
}

// It takes longer to read than all the rest of the page.
const loadPlotly = () => loadScript("plotly.min.js", "plotly.min.js cannot be read: build the page again");
