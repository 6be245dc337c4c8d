// Plotly figures: the trade-off plot, and the points of the selected rows in it.

const CFG = {
  showSendToCloud: false, displaylogo: false, responsive: true,
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
};

// hover and click are told the `customdata` of the point.
function drawFigure(plot, drawn, hover, click) {
  const figure = structuredClone(drawn);
  const told = (e) => e.points.map((p) => p.customdata).find((i) => i !== undefined && i !== null);
  plot.removeAllListeners && plot.removeAllListeners();
  // The window may have changed while another view was shown; a plot that is hidden does not follow it.
  const had = plot._fullLayout?.width, width = figure.layout.width || plot.clientWidth;
  if (had && width && Math.abs(width - had) > 1) Plotly.purge(plot);
  return Plotly.react(plot, figure.data, figure.layout, CFG).then(() => {
    plot.on("plotly_hover", (e) => { if (told(e) !== undefined) hover(told(e), e.event); });
    plot.on("plotly_unhover", hideHover);
    if (click) plot.on("plotly_click", (e) => { if (told(e) !== undefined) click(told(e), e.event); });
  });
}

// Attack accuracy as the papers draw it: more is up. Places of names are mirrored with the points.
function papersWay({ layout }) {
  layout.yaxis.range.reverse();
  layout.yaxis.title.text = "attack accuracy@1 (%)  ↓ better";
  for (const note of layout.annotations) {
    if (note.text === "<i>dominated</i>") Object.assign(note, { y: 1, yanchor: "top" });
    if (note.yref === "paper") continue;
    if (note.yshift) note.yshift = -note.yshift;
    if (note.ay) note.ay = -note.ay;
    if (note.yanchor === "bottom") note.yanchor = "top";
  }
}

// Attack accuracy on a log axis; what is 0, or below half of the least accuracy, is drawn at its edge.
function logWay({ data, layout }) {
  const positive = data.flatMap((trace) => (trace.customdata ? [...trace.y] : [])).filter((y) => y > 0);
  const floor = Math.min(...positive, 100) / 2, kept = (y) => (y === null ? y : Math.max(y, floor));
  for (const trace of data) {
    trace.y = [...trace.y].map(kept);
    const bar = trace.error_y;
    if (bar && bar.arrayminus) bar.arrayminus = [...bar.arrayminus].map((below, i) => Math.max(0, Math.min(below, trace.y[i] - floor)));
  }
  for (const shape of layout.shapes) {
    if (shape.yref === "paper") continue;
    for (const end of ["y0", "y1", "yanchor"]) if (end in shape) shape[end] = kept(shape[end]);
  }
  for (const note of layout.annotations) if (note.yref !== "paper") note.y = Math.log10(kept(note.y));
  Object.assign(layout.yaxis, { type: "log", range: layout.yaxis.range.map((y) => Math.log10(Math.max(y, floor * 0.9))) });
  layout.yaxis.title.text = layout.yaxis.title.text.replace("(%)", `(%), log from ${floor.toPrecision(2)}`);
}

// Rows that the filters hide leave the figure, and published numbers that are not asked for.
function withoutHidden(figure, s) {
  const isKept = (i) => keepsRow(s, i), isOfRow = (name) => name === undefined || isKept(+name);
  const of = { "published": (trace) => trace.customdata, "ours to published": (trace) => trace.meta };
  figure.data = figure.data.filter((trace) => {
    if (trace.name in of) return showsPublished() && onlyPoints(trace, of[trace.name](trace).map(isKept));
    const index = trace.meta ?? trace.customdata?.[0];
    return index === undefined || isKept(index);
  });
  const { layout } = figure;
  layout.annotations = layout.annotations.filter((note) => isOfRow(note.name));
  layout.shapes = layout.shapes.filter((shape) => isOfRow(shape.name));
}

// Keeps some points of a trace, or some of the lines that a gap follows; whether any is left.
function onlyPoints(trace, kept) {
  const each = trace.x.length / kept.length, only = (values) => values.filter((_, n) => kept[Math.floor(n / each)]);
  trace.x = only(trace.x);
  trace.y = only(trace.y);
  if (each === 1) {
    trace.customdata = only(trace.customdata);
    trace.marker.color = only(trace.marker.color);
    trace.marker.line.color = only(trace.marker.line.color);
  }
  return trace.x.length > 0;
}

// Error bars of the interval that was chosen; the axes make room for them.
function withIntervals({ data, layout }, s, kind) {
  for (const trace of data) {
    if (!trace.customdata || trace.name === "published") continue;
    const { spans } = s.rows[trace.customdata[0]], colour = trace.marker.line.color === "#FFFFFF" ? trace.marker.color : trace.marker.line.color;
    for (const [side, metric] of [["x", s.utility], ["y", "attack_accuracy_at_1"]]) {
      const span = spans[metric]?.[kind], at = trace[side][0];
      trace[`error_${side}`] = !span || span.high <= span.low ? { visible: false } : {
        type: "data", symmetric: false, array: [Math.max(0, span.high - at)], arrayminus: [Math.max(0, at - span.low)],
        thickness: 1.3, width: 0, color: trace[`error_${side}`].color || colour,
      };
      if (span) widen(layout[`${side}axis`].range, span);
    }
  }
}

// A range may run from large to small.
function widen(range, { low, high }) {
  const first = range[0] < range[1] ? 0 : 1;
  range[first] = Math.min(range[first], low);
  range[1 - first] = Math.max(range[1 - first], high);
}

// The points of all rows in as few traces as can be: plotly takes about as long for a trace as for hundreds of points.
// The error bars of a trace have one colour; seeds are dots without any.
function gathered(figure) {
  const groups = new Map(), others = [];
  for (const trace of figure.data) {
    const isPoint = trace.customdata && trace.name !== "published", isSeeds = trace.name === "seeds";
    const name = isSeeds ? "seeds" : `points ${trace.error_x?.color} ${trace.error_y?.color}`;
    if (!isPoint && !isSeeds) others.push(trace);
    else if (groups.has(name)) groups.get(name).push(trace);
    else groups.set(name, [trace]);
  }
  const each = (traces, value) => traces.flatMap((trace) => [...trace.x].map(() => value(trace)));
  const flat = (traces, key) => traces.flatMap((trace) => [...trace[key]]);
  const bars = (traces, side) => {
    const visible = traces.find((trace) => trace[side]?.array);
    const ends = (key) => traces.map((trace) => trace[side]?.[key]?.[0] ?? 0);
    return visible ? { ...visible[side], array: ends("array"), arrayminus: ends("arrayminus") } : { visible: false };
  };
  const selection = others.pop(), joined = [];
  for (const traces of groups.values()) {
    const [first] = traces, together = { ...first, x: flat(traces, "x"), y: flat(traces, "y"), marker: { ...first.marker } };
    together.marker.color = each(traces, ({ marker }) => marker.color);
    if (first.customdata) {
      Object.assign(together, { name: "defenses", text: each(traces, (trace) => trace.name), customdata: flat(traces, "customdata"), error_x: bars(traces, "error_x"), error_y: bars(traces, "error_y") });
      Object.assign(together.marker, {
        symbol: each(traces, ({ marker }) => marker.symbol), size: each(traces, ({ marker }) => marker.size),
        line: { width: each(traces, ({ marker }) => marker.line.width), color: each(traces, ({ marker }) => marker.line.color) },
      });
    }
    joined.push(together);
  }
  figure.data = [...others, ...joined, selection];
}

function shownFigure() {
  const figure = structuredClone(state.setup.figure);
  figure.layout.annotations ||= [];
  figure.layout.shapes ||= [];
  withoutHidden(figure, state.setup);
  if (asked("interval")) withIntervals(figure, state.setup, asked("interval"));
  gathered(figure);
  if (state.isPapers) papersWay(figure);
  if (state.isLog) logWay(figure);
  return figure;
}

// Where the selected rows are, and their names: in a crowd not every point has its name beside it, every selected one has.
function selection({ data, layout }) {
  const points = {};
  for (const trace of data) if (trace.name === "defenses") trace.customdata.forEach((i, n) => { points[i] = [trace.x[n], trace.y[n]]; });
  const shown = state.selected.filter((i) => points[i]);
  const unnamed = shown.filter((i) => !layout.annotations.some((note) => note.name === String(i)));
  const names = unnamed.map((i, n) => ({
    x: points[i][0], y: state.isLog ? Math.log10(points[i][1]) : points[i][1], text: state.setup.rows[i].label, showarrow: false,
    yshift: n % 2 ? -18 : 18, bgcolor: "#ffffffd9",
  }));
  return { x: shown.map((i) => points[i][0]), y: shown.map((i) => points[i][1]), annotations: [...layout.annotations, ...names] };
}

function drawPlot() {
  const s = state.setup, plot = $("plot");
  hideHover();
  $("noplot").hidden = !!s.figure;
  $("noplot").textContent = s.refused ? `refused: ${s.refused}`
    : "no rows with both numbers, attack accuracy and its utility (test accuracy if no other was chosen): nothing to plot";
  $("symbols").hidden = $("plottools").hidden = plot.hidden = !s.figure;
  if (!s.figure) { Plotly.purge(plot); return; }
  $("papers").checked = state.isPapers;
  $("logscale").checked = state.isLog;
  const figure = shownFigure(), { x, y, annotations } = selection(figure);
  Object.assign(figure.data.at(-1), { x, y });
  figure.layout.annotations = annotations;
  drawFigure(plot, figure, (index, event) => {
    const row = s.rows[index];
    showHover(row.defense + (row.is_on_plotted_front ? "  ● on the front" : row.excluded ? "  ⊘ no result" : ""), row.details, event);
  }, select);
}

// A click selects one row; with Ctrl, Shift or ⌘ it adds one, or takes it out.
function select(index, event) {
  const isMore = event && (event.ctrlKey || event.shiftKey || event.metaKey);
  const was = state.selected.includes(index);
  const others = isMore ? state.selected.filter((i) => i !== index) : [];
  state.selected = was && (isMore || state.selected.length === 1) ? others : [...others, index];
  relink({ defense: state.selected.map((i) => state.setup.rows[i].defense).join("|") });
  markSelection();
}

function markSelection() {
  for (const tr of $("table").tBodies[0].rows) tr.setAttribute("aria-selected", state.selected.includes(+tr.dataset.index));
  if (!state.setup.figure) return;
  const figure = shownFigure(), { x, y, annotations } = selection(figure);
  Plotly.update($("plot"), { x: [x], y: [y] }, { annotations }, [figure.data.length - 1]);
}

for (const [id, name] of [["papers", "isPapers"], ["logscale", "isLog"]]) {
  $(id).addEventListener("change", (e) => {
    state[name] = e.target.checked;
    relink({ axis: [state.isPapers && "papers", state.isLog && "log"].filter(Boolean).join(".") });
    drawPlot();
  });
}
