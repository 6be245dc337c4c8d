// A setup: what it is, and the table of its defenses.

// selected: indices of rows, the last one clicked last; isPapers and isLog: how the plot is drawn.
const state = { setup: null, selected: [], order: { sort: null, down: false }, isPapers: false, isLog: false };

function drawSetup(s) {
  state.setup = s;
  $("view").hidden = false;
  drawSetups();
  const isNamed = (name) => s.rows.findIndex((r) => r.defense === name);
  state.selected = linked("defense").split("|").map(isNamed).filter((i) => i >= 0);
  const axis = linked("axis").split(".");
  state.isPapers = axis.includes("papers");
  state.isLog = axis.includes("log");
  state.order = readOrder("sort", s.columns);
  $("title").textContent = s.title;
  $("facts").textContent = s.facts;
  $("refused").hidden = !s.refused;
  $("refused").textContent = s.refused && `refused: ${s.refused}`;
  $("excluded").hidden = !s.excluded;
  $("excluded").textContent = s.excluded && `⊘ Shown, and no result: ${s.excluded}.`;
  $("standins").hidden = !s.stand_ins.length;
  fill($("standins").querySelector("tbody"), s.stand_ins.map(([here, there]) => {
    const tr = make("tr"), td = make("td", here);
    if (!there) td.colSpan = 2;
    tr.append(td, ...(there ? [make("td", there)] : []));
    return tr;
  }));
  for (const tr of $("setups").querySelectorAll("tbody tr")) tr.setAttribute("aria-current", tr.dataset.name === s.name);
  $("diamond").hidden = !s.has_published || !showsPublished();
  $("shares").hidden = $("bands").hidden = !(s.figure && s.rows.some((row) => row.front_share !== null));
  $("hollow").hidden = $("guide").hidden = !(s.has_targets && s.figure);
  $("nothing").hidden = !(s.figure && s.rows.some((r) => r.excluded));
  $("ownseeds").hidden = !(s.figure && s.rows.some((r) => r.has_own_seeds));
  $("legend").textContent = asked("interval") === "none" ? "no intervals are shown" : s.legends[asked("interval")] || s.legend;
  fill($("footnotes"), s.footnotes.map((t) => make("li", t)));
  $("problems").hidden = !s.problems.length;
  fill($("problems").querySelector("ul"), s.problems.map((t) => make("li", t)));
  const hidden = s.rows.filter((_, i) => !keepsRow(s, i)).length;
  $("filteredrows").hidden = !hidden;
  $("filteredrows").textContent = `${hidden} of ${s.rows.length} defenses are hidden by the filters; the front and its band are those of all.`;
  drawTable();
  drawPlot();
  drawGrid();
}

// The cells of a row with the interval that was chosen.
function cellsOf(s, row) {
  const kind = asked("interval");
  if (!kind) return row.cells;
  return row.cells.map((cell, i) => {
    const span = row.spans[s.columns[i].key];
    return span ? { ...cell, interval: kind === "none" ? "" : span[kind]?.ends || "" } : cell;
  });
}

function drawTable() {
  const s = state.setup, places = [...s.columns.keys()].filter((i) => s.columns[i].key !== "published" || showsPublished());
  const columns = places.map((i) => s.columns[i]);
  fill($("table").tHead, [heading(columns, state.order, drawTable)]);
  const kept = sorted(s.rows, s.columns, state.order).filter(({ index }) => keepsRow(s, index));
  const cells = new Map(kept.map(({ row, index }) => {
    const all = cellsOf(s, row);
    return [index, places.map((i) => all[i])];
  }));
  fill($("table").tBodies[0], kept.map(({ row, index }) => {
    const tr = selectable(make("tr"), index, state.selected.includes(index), select);
    tr.classList.toggle("front", row.is_on_front);
    tr.classList.toggle("unmatched", row.is_unmatched);
    tr.classList.toggle("excluded", !!row.excluded);
    cells.get(index).forEach((cell, i) => {
      const column = columns[i], td = valueCell(column, cell);
      if (i === 0 && row.is_on_front) {
        const mark = make("span", "●", "mark");
        mark.title = "on the front";
        mark.style.color = row.colour || "var(--ink)";
        td.prepend(mark);
      }
      if (i === 0 && row.excluded) {
        const mark = make("span", "⊘", "mark");
        mark.title = row.excluded;
        td.prepend(mark);
      }
      if (i === 0 && (row.excluded || row.noted)) {
        const note = make("small", row.excluded ? "excluded" : "! noted");
        note.title = row.excluded || row.noted;
        td.append(note);
      }
      if (column.key === "seeds" && row.has_problem) td.classList.add("bad");
      tr.append(td);
    });
    return tr;
  }));
  fitTable();
  exportBelow($("table"), s.name.replace(/[^\w.-]+/g, "-"), s.title, columns, kept.map(({ index }) => cells.get(index)));
}

// A table that is wider than its place is set closer, if that is not enough below the plot, and then both.
function fitTable() {
  const pair = $("table").closest(".pair"), box = $("table").parentNode, isWider = () => box.scrollWidth > box.clientWidth + 1;
  pair.classList.remove("close", "stacked");
  if (getComputedStyle(pair).gridTemplateColumns.split(" ").length < 2) return;
  pair.classList.toggle("close", isWider());
  if (!isWider()) return;
  pair.classList.replace("close", "stacked");
  pair.classList.toggle("close", isWider());
}

addEventListener("resize", () => { if (state.setup && shownView() === "setup") fitTable(); });

function drawSetups() {
  const box = $("setups"), refused = PAGE.setups.filter((s) => s.refused);
  box.hidden = PAGE.setups.length < 2;
  const counts = refused.length ? `: ${PAGE.setups.length - refused.length} with results, ${refused.length} refused` : "";
  box.querySelector("summary").textContent = `${PAGE.setups.length} setups${counts}`;
  fill(box.querySelector("tbody"), PAGE.setups.map((s) => {
    const tr = make("tr"), td = make("td"), link = make("a", s.label);
    tr.dataset.name = s.name;
    tr.title = s.stand_ins.map(([here, there]) => (there ? `${here} for ${there}` : here)).join("; ");
    tr.classList.toggle("refused", !!s.refused);
    link.href = linkTo({ view: "setup", setup: s.name });
    td.append(link);
    tr.append(td, ...s.what.map((t) => make("td", t)), ...s.counts.map((n) => make("td", n || "", "count")));
    tr.append(make("td", s.refused || (s.excluded && `no result: ${s.excluded}`)));
    return tr;
  }));
}

addView("setup", {
  plots: true,
  perSetup: true,
  needsRows: true,
  keys: ["defense", "sort", "axis", "faces", "hide"],
  idle: { metric: "the plot is of attack accuracy@1; the table has every metric" },
  draw: drawSetup,
  escape: () => {
    if ($("enlarged").open || !state.selected.length) return;
    state.selected = [];
    relink({ defense: null });
    markSelection();
  },
});
