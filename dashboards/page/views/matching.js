// Accuracy matching: its table with a sparkline per defense, and two figures of the selected one.

// row: index of the selected one.
const match = { data: null, row: null, order: { sort: null, down: false } };

// The rows that the filters keep: by their own names, since a search belongs to a network and data, not to one setup.
function keepsMatch(row) {
  const [defense, architecture, data] = row.cells.map((cell) => cell.text);
  const at = (name, value) => !asked(name) || asked(name) === value;
  const isOfAttack = !asked("attack") || row.setups.some((id) => setupsOf(id).some((s) => s.attack === asked("attack")));
  return at("data", data) && at("arch", architecture) && isOfAttack && keepsName(`${defense} ${row.chosen}`, defense.split("(")[0]) &&
    (!asked("find") || contains(`${row.id} ${row.chosen} ${row.setups.join(" ")}`, asked("find"))) && (!asked("only") || row.state === "matched");
}

function drawMatching({ matchings }) {
  const names = matchings.map((one, n) => (matchings.findIndex((other) => other.sweep === one.sweep) === n ? one.sweep : `${one.sweep} (${one.store}, ${n + 1})`));
  const chosen = Math.max(0, names.indexOf(linked("match_sweep"))), all = matchings[chosen];
  $("matchsweeps").hidden = matchings.length < 2;
  fill($("matchsweep"), names.map((name) => {
    const option = make("option", name);
    option.value = name;
    return option;
  }));
  $("matchsweep").value = names[chosen];
  const data = match.data = { ...all, rows: all.rows.filter(keepsMatch) };
  $("matchfiltered").textContent = data.rows.length < all.rows.length ? `${data.rows.length} of ${all.rows.length} rows pass the filters` : "";
  const row = data.rows.findIndex((r) => r.id === linked("match"));
  match.row = row < 0 ? null : row;
  match.order = readOrder("match_sort", data.columns);
  fill($("matchtargets"), match.data.targets.map((t) => make("li", t)));
  $("matchcounts").textContent = `profile ${match.data.profile} · ${match.data.counts}`;
  $("matchcommand").hidden = !match.data.command;
  $("matchcommand").querySelector("code").textContent = match.data.command;
  const choices = match.data.rows.map((row, index) => {
    const option = make("option", `${row.id} – ${row.state}`);
    option.value = index;
    return option;
  });
  const none = make("option", "choose a row");
  none.value = "";
  fill($("matchrow"), [none, ...choices]);
  drawMatchTable();
  drawMatchDetail();
}

const isOnlyUnmatched = () => linked("match_only") === "unmatched";

function drawMatchTable() {
  const { columns, rows } = match.data;
  $("unmatched").checked = isOnlyUnmatched();
  fill($("matchtable").tHead, [heading(columns, match.order, drawMatchTable)]);
  const shown = sorted(rows, columns, match.order).filter(({ row }) => !isOnlyUnmatched() || row.state !== "matched");
  fill($("matchtable").tBodies[0], shown.map(({ row, index }) => {
    const tr = selectable(make("tr"), index, index === match.row, selectMatch);
    tr.dataset.state = row.state;
    if (row.setups.length) tr.title = `setups: ${row.setups.join(", ")}`;
    row.cells.forEach((cell, i) => {
      const td = valueCell(columns[i], cell);
      if (columns[i].key === "history") fill(td, [sparkline(row.spark)]);
      tr.append(td);
    });
    return tr;
  }));
  const told = columns.filter((c) => c.key !== "history"), places = told.map((c) => columns.indexOf(c));
  exportBelow($("matchtable"), "matching", "Accuracy matching", told, shown.map(({ row }) => places.map((i) => row.cells[i])));
  if (!shown.length) {
    const tr = make("tr"), td = make("td", rows.length ? "no rows: all are matched" : $("matchfiltered").textContent ? "no rows: nothing passes the filters" : "no rows: nothing was to be matched");
    td.colSpan = columns.length;
    tr.append(td);
    fill($("matchtable").tBodies[0], [tr]);
  }
}

function sparkline({ top, tolerance, points }) {
  const wide = 132, high = 24, pad = 3;
  const svg = (tag, attributes) => {
    const node = document.createElementNS($("svg").namespaceURI, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };
  const px = (i) => pad + (points.length > 1 ? (i * (wide - 2 * pad)) / (points.length - 1) : 0);
  const py = (gap) => high - pad - (Math.min(gap, top) / top) * (high - 2 * pad);
  const known = points.map(([gap, isOpen], i) => ({ gap, isOpen, i })).filter(({ gap }) => gap !== null);
  const words = points.map(([gap]) => (gap === null ? "–" : gap.toFixed(2))).join(", ");
  const picture = svg("svg", { class: "spark", width: wide, height: high, role: "img", "aria-label": `gaps: ${words || "none"}` });
  const band = py(Math.min(tolerance, top));
  picture.append(svg("rect", { class: "band", x: 0, width: wide, y: band, height: high - pad - band }));
  const line = known.filter(({ isOpen }) => !isOpen).map(({ gap, i }) => `${px(i)},${py(gap)}`).join(" ");
  picture.append(svg("polyline", { class: "gaps", points: line }));
  for (const { gap, isOpen, i } of known) {
    picture.append(svg("circle", { class: isOpen ? "confirm" : "search", cx: px(i), cy: py(gap), r: 2 }));
  }
  points.forEach(([gap], i) => {
    if (gap === null) picture.append(svg("line", { class: "lost", x1: px(i), x2: px(i), y1: high - 5, y2: high }));
  });
  return picture;
}

function selectMatch(index) {
  match.row = match.row === index ? null : index;
  relink({ match: match.row === null ? null : match.data.rows[match.row].id });
  for (const tr of $("matchtable").tBodies[0].rows) tr.setAttribute("aria-selected", +tr.dataset.index === match.row);
  drawMatchDetail();
  if (match.row !== null) $("matchdetail").scrollIntoView({ block: "nearest" });
}

function drawMatchDetail() {
  const row = match.row === null ? null : match.data.rows[match.row];
  hideHover();
  $("matchrow").value = row ? match.row : "";
  $("matchdetail").hidden = !row;
  if (!row) return;
  $("matchdetail").querySelector("h3").textContent = `${row.id}: ${row.state}`;
  $("matchwhy").textContent = [row.reason, row.chosen && `attacked as ${row.chosen}`].filter(Boolean).join(" · ");
  for (const [name, absent] of [["history", "no trainings to compare with a target"], ["curve", "no strength was searched"]]) {
    const plot = $(name), none = $("no" + name), figure = row[name];
    none.hidden = !!figure;
    none.textContent = absent;
    plot.hidden = !figure;
    if (!figure) { Plotly.purge(plot); continue; }
    drawFigure(plot, figure, (index, event) => showHover(row.id, row.trainings[index], event));
  }
}

$("unmatched").addEventListener("change", (e) => {
  relink({ match_only: e.target.checked ? "unmatched" : null });
  drawMatchTable();
});
$("matchrow").addEventListener("change", (e) => selectMatch(e.target.value === "" ? match.row : +e.target.value));

$("matchsweep").addEventListener("change", (e) => { relink({ match_sweep: e.target.value, match: null }, true); show(); });

addView("matching", {
  plots: true,
  keys: ["match", "match_sweep", "match_sort", "match_only"],
  idle: {
    seeds: "a search has seeds of its own", metric: "only test accuracy is matched", interval: "no intervals here", published: "no published numbers here",
  },
  draw: drawMatching,
  escape: () => { if (match.row !== null) selectMatch(match.row); },
});
