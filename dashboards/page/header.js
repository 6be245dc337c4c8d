// Where the numbers come from, the tabs of the views, and the choice of a setup.

function drawHeader() {
  const h = PAGE.header;
  $("sweep").textContent = h.sweep || "";
  const failed = h.failed + (h.refused ? ` failed, ${h.refused} refused` : " failed");
  $("provenance").textContent = `profile ${h.profile} · cells: ${h.ok} ok, ${failed}, ${h.missing} missing · ` +
    `store ${h.store} · code ${h.code} · built ${h.built}`;
  $("exposure").hidden = !PAGE.exposes_private;
  $("warnings").hidden = !PAGE.warnings.length;
  fill($("warnings"), PAGE.warnings.map((w) => make("li", w)));
  fill($("views"), PAGE.views.map((view) => {
    const tab = make("a", view.title);
    tab.dataset.view = view.name;
    return tab;
  }));
}

function drawTabs() {
  for (const tab of $("views").children) tab.href = linkTo({ view: tab.dataset.view });
}

// What the frame says of the view that is shown.
function drawFrame(name) {
  const s = shownSetup(), isOne = !!VIEWS[name].perSetup;
  for (const tab of $("views").children) {
    if (tab.dataset.view === name) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  drawTabs();
  $("choosesetup").hidden = !isOne || !s;
  const kept = keptSetups();
  fill($("setup"), kept.map((one) => {
    const option = make("option", one.label + (one.refused ? " – refused" : ""));
    option.value = one.name;
    return option;
  }));
  $("setup").disabled = kept.length < 2;
  if (s) $("setup").value = s.name;
  markFilters();
  const stamps = [...new Set((isOne && s ? [s] : PAGE.setups).map((one) => one.stamp).filter(Boolean))];
  // Of several setups only what they have in common: their stand-ins would fill the window.
  const brief = stamps.length > 1 ? [...new Set(stamps.map((words) => words.split("; stands in: ")[0]))] : stamps;
  $("stamp").hidden = !stamps.length;
  $("stamp").textContent = brief.join(" · ") + (brief.length < stamps.length ? "; each setup names what stands in for what" : "");
}

$("setup").addEventListener("change", (e) => {
  relink({ view: shownView(), setup: e.target.value, defense: null }, true);
  show();
});
