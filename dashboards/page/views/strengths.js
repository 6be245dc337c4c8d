// Strength sweeps: the families of one setup, their curves, and what they leak at one test accuracy.

const strengths = { data: null, order: null };

function drawStrengths(data) {
  strengths.data = data;
  $("strengthslegend").textContent = data.legend;
  const kept = data.sweeps.filter((sweep) => keepsIds([sweep.setup]));
  $("strengthsbody").hidden = !kept.length;
  $("strengthsnone").hidden = !!kept.length;
  if (!kept.length) return;
  fill($("strengthssetup"), kept.map((sweep) => {
    const option = make("option", sweep.setup);
    option.value = sweep.setup;
    return option;
  }));
  const sweep = kept.find((one) => one.setup === linked("strength_setup")) || kept[0];
  $("strengthssetup").value = sweep.setup;
  $("strengthstitle").textContent = sweep.title;
  const figure = { ...sweep.figure, data: sweep.figure.data.filter((_, n) => keepsFamily(sweep, n)) };
  drawFigure($("strengthsplot"), figure, (index, event) => showHover(sweep.names[index], [], event));
  strengths.order = readOrder("strength_sort", sweep.columns);
  drawStrengthsTable(sweep);
}

// Whether the filters keep a strength of a family; what is behind the families in the figure is the undefended model.
const keepsFamily = (sweep, n) => n >= sweep.members.length || sweep.members[n].some((i) => keepsNamed(sweep.setup, sweep.names[i]));

function drawStrengthsTable(sweep) {
  const { columns } = sweep, lines = sweep.lines.filter((_, n) => keepsFamily(sweep, n));
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

addView("strengths", {
  plots: true,
  keys: ["strength_setup", "strength_sort"],
  idle: {
    metric: "the curves are of attack accuracy@1", interval: "resampled between strengths, a kind of its own", published: "no published numbers here",
  },
  draw: drawStrengths,
});
