// The link: everything behind the `#` of the address, which is also where the page keeps what is shown and selected.

const FRAME_KEYS = ["view", "setup"];
let link = new URLSearchParams();

// A link may be old or cut off: names that nobody reads are dropped, and what is unknown falls back to the default.
function readLink() {
  const given = new URLSearchParams(location.hash.slice(1));
  const known = new Set([...FRAME_KEYS, ...FILTER_KEYS, ...Object.values(VIEWS).flatMap((view) => view.keys || [])]);
  link = new URLSearchParams([...given].filter(([name]) => known.has(name)));
}

const linked = (name) => link.get(name) || "";

// Changes parts of the link; an empty value removes one. `isStep`: the browser's "back" undoes it.
function relink(changes, isStep = false) {
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") link.delete(name);
    else link.set(name, value);
  }
  history[isStep ? "pushState" : "replaceState"](null, "", "#" + link);
  drawTabs();
}

// A link to this page with some parts changed.
function linkTo(changes) {
  const other = new URLSearchParams(link);
  for (const [name, value] of Object.entries(changes)) other.set(name, value);
  return "#" + other;
}

// The order of a table, as the link names it: the key of a column, with a minus for largest first.
function readOrder(name, columns) {
  const text = linked(name), sort = text.replace(/^-/, "");
  return { name, sort: columns.some((c) => c.key === sort) ? sort : null, down: text.startsWith("-") };
}

const writeOrder = ({ name, sort, down }) => relink({ [name]: sort && (down ? "-" : "") + sort });
