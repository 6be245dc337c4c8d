// A setup: what it is, and the table of its defenses.

function drawSetup() {
  const s = state.setup;
  $("empty").hidden = !!s;
  $("view").hidden = !s;
  if (!s) return;
  $("setup").value = s.name;
  $("stamp").hidden = !s.stamp;
  $("stamp").textContent = s.stamp;
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
  $("diamond").hidden = !s.has_published;
  $("hollow").hidden = $("guide").hidden = !(s.is_matched && s.figure);
  $("nothing").hidden = !(s.figure && s.rows.some((r) => r.excluded));
  $("ownseeds").hidden = !(s.figure && s.rows.some((r) => r.has_own_seeds));
  $("legend").textContent = s.legend;
  fill($("footnotes"), s.footnotes.map((t) => make("li", t)));
  $("problems").hidden = !s.problems.length;
  fill($("problems").querySelector("ul"), s.problems.map((t) => make("li", t)));
  drawTable();
  drawPlot();
  drawGrid();
}

function drawTable() {
  const s = state.setup;
  fill($("table").tHead, [heading(s.columns, state.order, drawTable)]);
  fill($("table").tBodies[0], sorted(s.rows, s.columns, state.order).map(({ row, index }) => {
    const tr = selectable(make("tr"), index, index === state.row, select);
    tr.classList.toggle("front", row.is_on_front);
    tr.classList.toggle("unmatched", row.is_unmatched);
    tr.classList.toggle("excluded", !!row.excluded);
    row.cells.forEach((cell, i) => {
      const column = s.columns[i], td = valueCell(column, cell);
      if (i === 0 && row.is_on_front) {
        const mark = make("span", "●", "mark");
        mark.title = "on the front";
        mark.style.color = row.colour || "#222";
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
}

$("setup").addEventListener("change", (e) => {
  state.setup = PAGE.setups.find((s) => s.name === e.target.value) || state.setup;
  state.row = null;
  writeHash();
  drawSetup();
});
