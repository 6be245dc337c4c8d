// Plotly figures: the trade-off plot, and the point of the selected row in it.

const CFG = {
  showSendToCloud: false, displaylogo: false, responsive: true,
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
};

// hover and click are told the `customdata` of the point.
function drawFigure(plot, drawn, hover, click) {
  const figure = structuredClone(drawn);
  const told = (e) => e.points.map((p) => p.customdata).find((i) => i !== undefined && i !== null);
  plot.removeAllListeners && plot.removeAllListeners();
  return Plotly.react(plot, figure.data, figure.layout, CFG).then(() => {
    plot.on("plotly_hover", (e) => { if (told(e) !== undefined) hover(told(e), e.event); });
    plot.on("plotly_unhover", hideHover);
    if (click) plot.on("plotly_click", (e) => { if (told(e) !== undefined) click(told(e)); });
  });
}

function drawPlot() {
  const s = state.setup, plot = $("plot");
  hideHover();
  $("noplot").hidden = !!s.figure;
  $("noplot").textContent = s.refused ? `refused: ${s.refused}`
    : "no rows with both numbers, attack accuracy and its utility (test accuracy if no other was chosen): nothing to plot";
  $("symbols").hidden = plot.hidden = !s.figure;
  if (!s.figure) { Plotly.purge(plot); return; }
  drawFigure(plot, s.figure, (index, event) => {
    const row = s.rows[index];
    showHover(row.defense + (row.is_on_plotted_front ? "  ● on the front" : row.excluded ? "  ⊘ no result" : ""), row.details, event);
  }, select).then(markSelection);
}

function select(index) {
  state.row = state.row === index ? null : index;
  relink({ defense: state.row === null ? null : state.setup.rows[state.row].defense });
  markSelection();
}

function markSelection() {
  for (const tr of $("table").tBodies[0].rows) tr.setAttribute("aria-selected", +tr.dataset.index === state.row);
  if (!state.setup.figure) return;
  const row = state.row === null ? null : state.setup.rows[state.row];
  const shown = row && row.x !== null && row.y !== null;
  const { data, layout } = state.setup.figure, ring = [data.length - 1];
  const at = { x: [shown ? [row.x] : []], y: [shown ? [row.y] : []] };
  // In a crowd not every point has its name beside it.
  const isNamed = layout.annotations.some((a) => a.name === String(state.row));
  const name = shown && !isNamed
    ? [{ ...at, x: row.x, y: row.y, text: row.label, showarrow: false, yshift: 18, bgcolor: "#ffffffd9" }] : [];
  Plotly.update($("plot"), at, { annotations: [...layout.annotations, ...name] }, ring);
}
