// The stored analyses: one at a time, with its figure, what it says, and its rows.

const ANA_PANEL_PX = 300; // the least a panel needs

function drawAnalyses(data) {
  const kept = data.analyses.filter((a) => keepsIds([a.setup])), one = kept.find((a) => a.name === linked("analysis")) || kept[0];
  $("analysis").hidden = !one;
  $("ananone").hidden = !!one;
  fill($("anatools"), kept.map((a) => {
    const button = make("button", a.title, "chip");
    button.type = "button";
    button.setAttribute("aria-pressed", a === one);
    button.addEventListener("click", () => { relink({ analysis: a.name, ana_sort: null }, true); drawAnalyses(data); });
    return button;
  }));
  if (!one) return;
  $("analysis").querySelector("h3").textContent = one.title;
  $("anaverdict").textContent = one.verdict;
  $("anaabout").textContent = one.about;
  $("anastamp").hidden = !one.stamp;
  $("anastamp").textContent = one.stamp;
  fill($("anacommand"), [copied(one.command)]);
  const panels = Object.keys(one.figure.layout).filter((key) => /^xaxis\d*$/.test(key)).length;
  $("anaplot").style.minWidth = `${ANA_PANEL_PX * panels}px`;
  drawFigure($("anaplot"), one.figure, () => {});
  drawSheet($("anasheet"), one.sheet, { sort: "ana_sort" });
}

const ANA_IDLE = "an analysis is of a whole setup";

addView("analyses", {
  plots: true,
  keys: ["analysis", "ana_sort"],
  idle: {
    ...Object.fromEntries(["family", "named", "seeds", "only"].map((name) => [name, ANA_IDLE])),
    metric: "each analysis has measures of its own", interval: "each analysis says its own", published: "no published numbers here",
  },
  draw: drawAnalyses,
});
