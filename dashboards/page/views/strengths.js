// Strength sweeps: the families of one setup, their curves, and what they leak at one test accuracy.

const strengths = { data: null, order: null };

function drawStrengths(data) {
  strengths.data = data;
  $("strengthslegend").textContent = data.legend;
  fill($("strengthssetup"), data.sweeps.map((sweep) => {
    const option = make("option", sweep.setup);
    option.value = sweep.setup;
    return option;
  }));
  const sweep = data.sweeps.find((one) => one.setup === linked("strength_setup")) || data.sweeps[0];
  $("strengthssetup").value = sweep.setup;
  $("strengthstitle").textContent = sweep.title;
  drawFigure($("strengthsplot"), sweep.figure, (index, event) => showHover(sweep.names[index], [], event));
  strengths.order = readOrder("strength_sort", sweep.columns);
  drawStrengthsTable(sweep);
}

function drawStrengthsTable(sweep) {
  const { columns, lines } = sweep;
  fill($("strengthstable").tHead, [heading(columns, strengths.order, () => drawStrengthsTable(sweep))]);
  fill($("strengthstable").tBodies[0], sorted(lines.map((cells) => ({ cells })), columns, strengths.order).map(({ row: { cells } }) => {
    const tr = make("tr");
    tr.append(...cells.map((cell, i) => valueCell(columns[i], cell)));
    return tr;
  }));
}

$("strengthssetup").addEventListener("change", (e) => {
  relink({ strength_setup: e.target.value });
  drawStrengths(strengths.data);
});

addView("strengths", { keys: ["strength_setup", "strength_sort"], draw: drawStrengths });
