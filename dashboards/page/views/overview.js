// The first view: tiles, setups by defenses, the mean over setups, and a small plot of every setup.

// Cividis, at nine places from low to high.
const CIVIDIS = [[0, 34, 78], [18, 53, 112], [59, 73, 109], [87, 93, 109], [112, 113, 115], [138, 134, 120], [165, 156, 116], [195, 179, 105], [225, 204, 85], [254, 232, 56]];
const STATE_WORDS = {
  compared: "at matched accuracy", unmatched: "not at matched accuracy", excluded: "no result, or over other seeds",
  failed: "failed", refused: "refused", missing: "planned, no result yet", reference: "the undefended model",
  unplanned: "not planned in this setup", absent: "no result here; no plan of its sweep is stored",
};
const overview = { data: null };

function cividis(share) {
  const at = Math.min(Math.max(share, 0), 1) * (CIVIDIS.length - 1), low = Math.min(Math.floor(at), CIVIDIS.length - 2);
  return CIVIDIS[low].map((one, i) => Math.round(one + (CIVIDIS[low + 1][i] - one) * (at - low)));
}

// The rows that the filters keep: {setup, cells, row, defense}, the undefended model apart.
function keptRows() {
  return PAGE.setups.flatMap((setup, n) => (keepsSetup(setup) ? setup.defenses.map((defense, row) => (
    { setup, cells: overview.data.cells[n], row, defense }
  )).filter((one) => PAGE.defenses[one.defense].family && keepsRow(setup, one.row)) : []));
}

function drawOverview(data) {
  overview.data = data;
  fill($("tiles"), data.tiles.map(({ title, value, note }) => {
    const tile = make("div", undefined, "tile");
    tile.append(make("h3", title), make("p", value, "value"), make("p", note, "note"));
    return tile;
  }));
  const measure = shownMeasure();
  fill($("heatmetric"), PAGE.measures.map((m) => {
    const option = make("option", m.title);
    option.value = m.key;
    return option;
  }));
  if (measure) $("heatmetric").value = measure.key;
  const kept = keptRows();
  drawHeat(kept, measure);
  drawOver(kept);
  drawMultiples(kept);
}

function drawHeat(kept, measure) {
  const defenses = [...new Set(kept.map((one) => one.defense))].sort((a, b) => a - b);
  const gain = ({ cells, row }) => (measure ? cells.gains[measure.key][row] : null);
  const found = kept.map(gain).filter((value) => value !== null), low = Math.min(...found), high = Math.max(...found);
  const digits = measure ? measure.digits : 1;
  $("heatwords").textContent = (measure && measure.key === "attack_accuracy_at_1"
    ? "Points of attack accuracy@1 that the defense takes away, mean over the same seeds; positive is better." : "Difference from the undefended model; positive is more private.") +
    (overview.data.caution && " " + overview.data.caution) + (overview.data.waiting && " " + overview.data.waiting);
  fill($("heatkey"), [["", "matched"], ["unmatched", "not at matched accuracy"], ["missing", "missing, refused or no result"], ["unplanned", "not planned"], ["failed", "failed"]].map(([name, words]) => {
    const one = make("span", words), box = make("i", undefined, "box " + name);
    one.prepend(box);
    return one;
  }));
  const head = make("tr");
  head.append(make("th", "setup"), ...defenses.map((d) => {
    const th = make("th"), name = make("span", PAGE.defenses[d].label);
    th.scope = "col";
    th.title = PAGE.defenses[d].label;
    th.append(name);
    return th;
  }));
  fill($("heat").tHead, [head]);
  const bySetup = Map.groupBy(kept, (one) => one.setup);
  fill($("heat").tBodies[0], [...bySetup].map(([setup, rows]) => {
    const tr = make("tr"), th = make("th"), link = make("a", setup.name);
    th.scope = "row";
    link.href = linkTo({ view: "setup", setup: setup.name });
    link.title = [setup.label, ...setup.what].join(" · ");
    th.append(link, make("small", setup.what.slice(0, 2).join(" on ")));
    tr.dataset.setup = setup.name;
    tr.append(th, ...defenses.map((d) => heatCell(rows.find((one) => one.defense === d), setup, d, { gain, low, high, digits })));
    return tr;
  }));
  const first = $("heat").querySelector("tbody td");
  if (first) first.tabIndex = 0;
}

// Why a setup has no row of a defense.
function absentState(setup, defense) {
  const cells = overview.data.cells[PAGE.setups.indexOf(setup)];
  return !cells.has_plan ? "absent" : cells.waiting.includes(PAGE.defenses[defense].label) ? "missing" : "unplanned";
}

function heatCell(one, setup, defense, { gain, low, high, digits }) {
  const td = make("td"), label = PAGE.defenses[defense].label, value = one ? gain(one) : null;
  const state = one ? one.cells.states[one.row] : absentState(setup, defense);
  td.dataset.defense = label;
  td.dataset.state = state;
  td.tabIndex = -1;
  if (value !== null) {
    const [r, g, b] = cividis(high > low ? (value - low) / (high - low) : 0.5);
    td.style.backgroundColor = `rgb(${r} ${g} ${b})`;
    td.style.color = 0.299 * r + 0.587 * g + 0.114 * b > 120 ? "#000" : "#fff";
    td.dataset.number = value;
    td.textContent = value.toFixed(digits).replace(/^-(0\.?0*)$/, "$1");
  }
  const words = one && one.cells.texts[one.row];
  td.title = `${setup.name}, ${label}: ${STATE_WORDS[state]}${words ? `; drop ${words}` : ""}`;
  return td;
}

function openCell(td) {
  relink({ view: "setup", setup: td.parentNode.dataset.setup, defense: td.dataset.defense }, true);
  show();
}

const OVER = [["defense", "defense"], ["mean", "mean difference"], ["front", "on the front"], ["wins", "wins / ties / losses"], ["setups", "setups"], ["left", "left out"]];

function drawOver(kept) {
  const isWhole = keptSetups().length === PAGE.setups.length, { intervals, kind } = overview.data;
  const isMatched = PAGE.setups.some((s) => s.is_matched.some(Boolean));
  const isPooled = ({ cells, row }) => cells.verdicts[row] !== "" && (!isMatched || cells.states[row] === "compared");
  const rows = [...Map.groupBy(kept, (one) => one.defense)].map(([defense, all]) => {
    const { label } = PAGE.defenses[defense], pooled = all.filter(isPooled);
    const gains = pooled.map(({ cells, row }) => cells.gains.attack_accuracy_at_1[row]);
    const mean = gains.length ? gains.reduce((sum, one) => sum + one, 0) / gains.length : null;
    const verdicts = pooled.map(({ cells, row }) => cells.verdicts[row]), count = (v) => verdicts.filter((one) => one === v).length;
    const front = pooled.filter(({ cells, row }) => cells.is_front[row]).length;
    return { label, mean, span: isWhole && intervals[label], front, verdicts: ["w", "t", "l"].map(count), n: pooled.length, left: all.length - pooled.length };
  }).sort((a, b) => (a.mean === null) - (b.mean === null) || b.mean - a.mean);
  $("overwords").textContent = `Mean over setups of the paired difference of attack accuracy@1, in points. [${kind}]` +
    (isWhole ? "; fewer than five setups have no interval." : "; left out here, because it is over all setups.") +
    " A win: the interval of a setup's difference is above 0; a loss: below; a tie: neither. Left out: not at matched accuracy, or nothing to compare with.";
  const head = make("tr");
  head.append(...OVER.map(([, words]) => make("th", words)));
  fill($("over").tHead, [head]);
  fill($("over").tBodies[0], rows.map(({ label, mean, span, front, verdicts, n, left }) => {
    const tr = make("tr"), points = make("td", mean === null ? "–" : mean.toFixed(1));
    if (mean !== null) points.dataset.number = mean;
    if (span) points.append(make("small", `[${span.map((end) => end.toFixed(1)).join(", ")}]`));
    tr.dataset.defense = label;
    tr.append(make("td", label), points, make("td", n ? `${Math.round((100 * front) / n)} %` : "–"), make("td", n ? verdicts.join(" / ") : "–"), make("td", n), make("td", left || ""));
    return tr;
  }));
}

const svgOf = (tag, attributes) => {
  const node = document.createElementNS($("svg").namespaceURI, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
};

function drawMultiples(kept) {
  const wide = 150, high = 104, pad = 7, setups = [...new Set(kept.map((one) => one.setup))];
  const cellsOf = (s) => overview.data.cells[PAGE.setups.indexOf(s)];
  const all = setups.flatMap((s) => cellsOf(s).x.map((x, i) => [x, cellsOf(s).y[i]])).filter(([x, y]) => x !== null && y !== null);
  const range = (values) => { const low = Math.min(...values), top = Math.max(...values); return [low, top > low ? top - low : 1]; };
  const [x0, xs] = range(all.map(([x]) => x)), [y0, ys] = range(all.map(([, y]) => y));
  fill($("multiples"), setups.map((s) => {
    const link = make("a"), cells = cellsOf(s), picture = svgOf("svg", { viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": `trade-off of ${s.name}` });
    link.href = linkTo({ view: "setup", setup: s.name });
    picture.append(svgOf("rect", { x: 0.5, y: 0.5, width: wide - 1, height: high - 1, class: "plane" }));
    cells.x.forEach((x, i) => {
      const y = cells.y[i], isUndefended = !PAGE.defenses[s.defenses[i]].family;
      if (x === null || y === null || !keepsRow(s, i)) return;
      const px = pad + ((x - x0) / xs) * (wide - 2 * pad), py = pad + ((y - y0) / ys) * (high - 2 * pad);
      if (isUndefended) picture.append(svgOf("path", { class: "undefended", d: `M${px - 4} ${py - 4}l8 8m0-8l-8 8` }));
      else picture.append(svgOf("circle", { cx: px, cy: py, r: cells.is_front[i] ? 4 : 3, class: cells.is_front[i] ? "front" : cells.states[i] }));
    });
    link.append(picture, make("span", s.label));
    return link;
  }));
}

$("heat").addEventListener("click", (e) => { const td = e.target.closest("td"); if (td) openCell(td); });
$("heat").addEventListener("keydown", (e) => {
  const td = e.target.closest("td");
  if (!td) return;
  if (e.key === "Enter") { openCell(td); return; }
  const tr = td.parentNode, at = [...tr.cells].indexOf(td);
  const next = {
    ArrowLeft: td.previousElementSibling, ArrowRight: td.nextElementSibling,
    ArrowUp: tr.previousElementSibling?.cells[at], ArrowDown: tr.nextElementSibling?.cells[at],
  }[e.key];
  if (!next || next.tagName !== "TD") return;
  e.preventDefault();
  td.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
});
$("heatmetric").addEventListener("change", (e) => { relink({ metric: e.target.value }); show(); });

addView("overview", {
  needsRows: true,
  idle: { interval: "the mean over setups has an interval of its own", published: "no published numbers here" },
  draw: drawOverview,
});
