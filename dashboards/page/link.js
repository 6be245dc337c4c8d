// What is shown and selected, and the link that says so. The names in the link are those of `LinkNames`.

// sort: key of a column; row and match: index of the selected row of the setup, of the matching.
const state = {
  setup: null, row: null, order: { sort: null, down: false },
  match: null, matchOrder: { sort: null, down: false }, unmatched: false,
};

function readHash() {
  // A link may be old or cut off: what is unknown falls back to the default.
  const link = new URLSearchParams(location.hash.slice(1)), names = PAGE.link;
  const index = (position) => (position < 0 ? null : position);
  state.setup = PAGE.setups.find((s) => s.name === link.get(names.setup)) || PAGE.setups[0] || null;
  const { rows, columns } = state.setup || { rows: [], columns: [] };
  state.row = index(rows.findIndex((r) => r.defense === link.get(names.defense)));
  state.order = readOrder(link.get(names.sort), columns);
  state.match = index(MATCHING.rows.findIndex((r) => r.id === link.get(names.match)));
  state.matchOrder = readOrder(link.get(names.match_sort), MATCHING.columns);
  state.unmatched = link.get(names.match_only) === "unmatched";
}

function readOrder(text, columns) {
  const sort = (text || "").replace(/^-/, "");
  return { sort: columns.some((c) => c.key === sort) ? sort : null, down: (text || "").startsWith("-") };
}

function writeHash() {
  const link = new URLSearchParams(), names = PAGE.link;
  const order = ({ sort, down }) => (down ? "-" : "") + sort;
  if (state.setup) link.set(names.setup, state.setup.name);
  if (state.row !== null) link.set(names.defense, state.setup.rows[state.row].defense);
  if (state.order.sort) link.set(names.sort, order(state.order));
  if (state.match !== null) link.set(names.match, MATCHING.rows[state.match].id);
  if (state.matchOrder.sort) link.set(names.match_sort, order(state.matchOrder));
  if (state.unmatched) link.set(names.match_only, "unmatched");
  history.replaceState(null, "", "#" + link.toString());
}
