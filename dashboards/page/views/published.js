// Published numbers and ours: a line from each published value to ours, and the table with the verdicts.

const PUB_MOST = 45; // lines of the figure: more are not read

function drawPublished(data) {
  unpack(data.sheet);
  const again = () => drawPublished(data), by = Object.fromEntries(data.sheet.columns.map((c) => [c.key, c.values]));
  fill($("verdicts"), data.verdicts.map(([name, meaning, n]) => {
    const tile = make("span", undefined, `tile ${name.replace(" ", "-")}`);
    tile.title = meaning;
    tile.append(make("b", n), make("span", name));
    return tile;
  }));
  fill($("pubnotes"), [...data.verdicts.map(([name, meaning]) => `${name}: ${meaning}.`), ...data.notes].map((t) => make("li", t)));
  const metrics = [...new Set(by.metric)], papers = [...new Set(by.source.map((source) => source.split(", ")[0]))];
  const choices = [
    chips("pub_verdict", data.verdicts.filter(([, , n]) => n).map(([name, , n]) => [name, `${name} ${n}`]), again, "all verdicts"),
    chips("pub_metric", metrics.map((m) => [m, m]), again, "all metrics"),
  ];
  if (papers.length > 1) choices.push(chips("pub_paper", papers.map((p) => [p, p]), again, "all papers"));
  fill($("pubtools"), choices);
  const keeps = (i) => keepsNamed(by.setup[i], by.defense[i]) && (!asked("metric") || data.metrics[i] === asked("metric")) &&
    (!linked("pub_verdict") || by.verdict[i] === linked("pub_verdict")) &&
    (!linked("pub_metric") || by.metric[i] === linked("pub_metric")) &&
    (!linked("pub_paper") || by.source[i].split(", ")[0] === linked("pub_paper"));
  const rows = drawSheet($("pubsheet"), data.sheet, {
    sort: "pub_sort", text: "pub_text", keeps,
    decorate: (td, { key }, i) => { if (key === "verdict") td.classList.add("verdict", by.verdict[i].replace(" ", "-")); },
    empty: by.setup.length ? "no rows: no published number fits these choices and the filters" : "no rows: no published number belongs to a setup of this page",
  });
  drawDumbbells(by, rows);
}

// Both numbers in percent; the largest differences if there are too many.
function drawDumbbells(by, rows) {
  const metric = linked("pub_metric") || (by.metric.includes("attack accuracy@1") ? "attack accuracy@1" : by.metric[0]);
  const both = rows.filter((i) => by.metric[i] === metric && by.measured[i] !== null);
  const chosen = both.length > PUB_MOST
    ? [...both].sort((a, b) => Math.abs(by.difference[b]) - Math.abs(by.difference[a])).slice(0, PUB_MOST) : both;
  $("dumbbells").hidden = !chosen.length;
  $("nodumbbells").hidden = !!chosen.length;
  $("nodumbbells").textContent = `nothing to draw: no row here has both numbers${metric ? ` of ${metric}` : ""}`;
  if (!chosen.length) { Plotly.purge($("dumbbellplot")); return; }
  $("dumbbellcut").textContent = both.length > PUB_MOST ? `${metric}: the ${PUB_MOST} largest differences of ${both.length}.` : `${metric}.`;
  const ordered = [...chosen].sort((a, b) => by.source[a].localeCompare(by.source[b], "en", { numeric: true }) || a - b);
  const isNarrow = innerWidth < 600, table = (i) => by.source[i].split(", ")[1] || by.source[i];
  const label = (i) => (isNarrow ? "" : `${table(i)} · `) + `${by.setup[i]} · ${shortened(by.defense[i], isNarrow ? 12 : 34)}`;
  const names = uniqueNames(ordered.map(label)), colours = { agrees: "#009E73", differs: "#D55E00" };
  const lines = ordered.map((i, n) => ({
    type: "scatter", mode: "lines", x: [by.published[i], by.measured[i]], y: [names[n], names[n]], hoverinfo: "skip", showlegend: false,
    line: { width: 2, color: colours[by.verdict[i]] || "#767676", dash: by.verdict[i] === "not comparable" ? "dot" : "solid" },
  }));
  const said = (i) => `${by.setup[i]} ${by.defense[i]}`;
  const ours = {
    type: "scatter", mode: "markers", x: ordered.map((i) => by.measured[i]), y: names, customdata: ordered, showlegend: false, hoverinfo: "none",
    marker: { size: 9, color: ordered.map((i) => colours[by.verdict[i]] || "#767676") },
    error_x: {
      type: "data", symmetric: false, thickness: 1, width: 3, color: "#767676",
      array: ordered.map((i) => (by.high[i] === null ? 0 : by.high[i] - by.measured[i])),
      arrayminus: ordered.map((i) => (by.low[i] === null ? 0 : by.measured[i] - by.low[i])),
    },
  };
  const theirs = {
    type: "scatter", mode: "markers", x: ordered.map((i) => by.published[i]), y: names, customdata: ordered, showlegend: false, hoverinfo: "none",
    marker: { size: 10, symbol: "diamond-open", color: getComputedStyle(document.body).color, line: { width: 1.5 } },
  };
  const height = 70 + 22 * ordered.length, ink = getComputedStyle(document.body);
  $("dumbbellplot").style.height = `${height}px`;
  const layout = {
    height, margin: { l: 8, r: 12, t: 8, b: 44 }, hovermode: "closest", dragmode: false,
    xaxis: { title: { text: metric + (by.unit[ordered[0]] === "percent" && !metric.includes("%") ? " (%)" : "") }, gridcolor: "#EEEEEE", zeroline: false },
    yaxis: { type: "category", categoryarray: [...names].reverse(), categoryorder: "array", automargin: true, fixedrange: true, tickfont: { size: isNarrow ? 9 : 11 },
      range: [-0.8, ordered.length - 0.2] },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: "#767676" },
    plot_bgcolor: "rgba(0,0,0,0)", paper_bgcolor: "rgba(0,0,0,0)", font: { family: ink.fontFamily, color: ink.color },
  };
  drawFigure($("dumbbellplot"), { data: [...lines, ours, theirs], layout }, (i, event) => showHover(said(i), [
    ["published", `${by.published[i].toFixed(2)}${by.spread[i] === null ? "" : ` ± ${by.spread[i].toFixed(2)}`}, ${by.source[i]}`],
    ["ours", by.measured[i].toFixed(2) + (by.low[i] === null ? "" : ` [${by.low[i].toFixed(2)}, ${by.high[i].toFixed(2)}]`)],
    ["verdict", `${by.verdict[i]}: ${by.reason[i]}`],
  ], event));
}

const shortened = (text, most) => (text.length > most ? text.slice(0, most - 1) + "…" : text);

// Categories of an axis that are spelled alike would be one.
function uniqueNames(names) {
  const seen = {};
  return names.map((name) => {
    seen[name] = (seen[name] || 0) + 1;
    return name + "\u200b".repeat(seen[name] - 1);
  });
}

addView("published", {
  plots: true,
  keys: ["pub_verdict", "pub_metric", "pub_paper", "pub_sort", "pub_text"],
  idle: { interval: "a verdict rests on the interval that its setup has", published: "this view is about them" },
  draw: drawPublished,
});
