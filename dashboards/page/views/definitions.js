// What the numbers mean and where they come from.

function drawDefinitions(data) {
  const box = $("defs"), titles = [];
  const part = (title, ...nodes) => {
    const section = make("section", undefined, "defpart"), head = make("h3", title);
    head.tabIndex = -1;
    titles.push([title, head]);
    section.append(head, ...nodes);
    return section;
  };
  const terms = (pairs) => {
    const list = make("dl", undefined, "terms");
    pairs.forEach(([name, text]) => list.append(make("dt", name), make("dd", text)));
    return list;
  };
  const table = (sheet, options = {}) => {
    const node = make("div", undefined, "sheetbox");
    drawSheet(node, sheet, options);
    return node;
  };
  const code = (text) => {
    const pre = make("pre", text);
    pre.tabIndex = 0;
    return pre;
  };
  const specs = data.specifications.map(([title, text]) => {
    const details = make("details"), name = title.split(",")[0];
    const save = make("button", "save as YAML", "plain");
    save.type = "button";
    save.addEventListener("click", () => saveFile(`${name}.yaml`, "application/yaml", text));
    details.append(make("summary", title), save, code(text));
    details.open = data.specifications.length === 1 && text.length < 4000;
    return details;
  });
  const bib = data.bibtex ? [bibButton(data.bibtex), code(data.bibtex)] : [copied("midef cite")];
  fill(box, [
    part("Metrics on this page", table(data.metrics, {})),
    part("Formulae", terms(data.formulae)),
    part("Intervals", terms(data.intervals)),
    part("Specification", ...(specs.length ? specs : [make("p", "no plan is stored: the specification is not known", "soft")])),
    part("Code and machines", table(data.provenance)),
    part("Data sets", table(data.datasets)),
    part("Columns of the result rows", table(data.dictionary, { text: "def_text" })),
    part("How to cite", make("p", data.cite), ...bib),
  ]);
  fill($("deftoc"), titles.map(([title, head]) => {
    const button = make("button", title, "plain");
    button.type = "button";
    button.addEventListener("click", () => { head.scrollIntoView(); head.focus({ preventScroll: true }); });
    return button;
  }));
}

function bibButton(text) {
  const button = make("button", "save as BibTeX", "plain");
  button.type = "button";
  button.addEventListener("click", () => saveFile("midef.bib", "application/x-bibtex", text));
  return button;
}

const DEF_IDLE = "holds for the whole page";

addView("definitions", { keys: ["def_text"], idle: Object.fromEntries(FILTER_KEYS.map((name) => [name, DEF_IDLE])), draw: drawDefinitions });
