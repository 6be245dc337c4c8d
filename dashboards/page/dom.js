// Making elements. All text reaches the page through textContent: names come from a store and may hold anything.

const PAGE = window.MIDEF || { header: {}, warnings: [], defenses: [], measures: [], setups: [], views: [] };

const $ = (id) => document.getElementById(id);

const make = (tag, text, className) => {
  const node = document.createElement(tag);
  if (text !== undefined && text !== null) node.textContent = text;
  if (className) node.className = className;
  return node;
};

// Names break between parameters, not inside words.
const breakable = (node, text) =>
  text.split(/(?<=[(,=+])/).forEach((part, n) => node.append(...(n ? [make("wbr")] : []), part));

const fill = (node, children) => node.replaceChildren(...children);
