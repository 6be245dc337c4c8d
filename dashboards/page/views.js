// The views of the page: which one is shown, and what it needs before it is drawn.

const VIEWS = {};

// Adds a view, which draws into the section `view-NAME`.
//   keys: names in the link that are its own
//   perSetup: it shows one setup, which is chosen in the header; `draw` gets it with all its data
//   pieces: names of the data it needs; the default is the one with the view's name, of a view per setup that setup's
//   needsRows: there is nothing to draw without rows: neither in a store without any, nor where the filters keep none
//   plots: it draws plotly figures
//   idle: filters that have no meaning here, with the reason of each
//   draw: draws it, given the data; called again whenever the link or a filter has changed
//   escape: what the key Escape does
function addView(name, view) { VIEWS[name] = view; }

const setupOf = (name) => PAGE.setups.find((s) => s.name === name);

// The setup that the link names, or the first that the filters keep.
function shownSetup() {
  const named = setupOf(linked("setup")), kept = keptSetups();
  return named && keepsSetup(named) ? named : kept[0] || null;
}

// Old links name no view: then it is the one that owns a name in the link.
function shownView() {
  const names = PAGE.views.map((v) => v.name);
  if (names.includes(linked("view"))) return linked("view");
  const owner = names.find((name) => (VIEWS[name].keys || []).some((key) => link.has(key)));
  return owner || (link.has("setup") && names.find((name) => VIEWS[name].perSetup)) || names[0];
}

function piecesOf(name) {
  const view = VIEWS[name];
  if (view.pieces) return view.pieces();
  return view.perSetup ? [shownSetup()?.piece].filter(Boolean) : [name];
}

// Pictures below the window come once the view is drawn: on paper all are seen, and printing waits for none.
const loadPictures = () => { for (const image of document.images) image.loading = "eager"; };

let turn = 0;

async function show() {
  const mine = ++turn, name = shownView(), view = VIEWS[name], main = document.querySelector("main");
  main.setAttribute("aria-busy", "true");
  let pieces = [], problem = "";
  try {
    [pieces] = await Promise.all([Promise.all(piecesOf(name).map(load)), view.plots && loadPlotly()]);
  } catch (error) {
    problem = error.message;
  }
  if (mine !== turn) return; // another link was followed meanwhile
  hideHover();
  $("trouble").hidden = !problem;
  $("trouble").textContent = problem;
  const isEmpty = PAGE.setups.length > 0 && !!view.needsRows && !keptSetups().length;
  const isBare = !PAGE.setups.length && !!view.needsRows;
  $("norows").hidden = !isEmpty;
  $("empty").hidden = !isBare;
  for (const other of PAGE.views) $("view-" + other.name).hidden = other.name !== name || !!problem || isEmpty || isBare;
  drawFrame(name);
  const setup = shownSetup();
  try {
    if (!problem && !isEmpty && !isBare) view.draw(...(view.perSetup ? [setup && { ...setup, ...pieces[0] }] : pieces));
  } catch (error) {
    $("trouble").hidden = false;
    $("trouble").textContent = `this view cannot be drawn: ${error.message}`;
    $("view-" + name).hidden = true;
    throw error;
  } finally {
    main.removeAttribute("aria-busy");
    setTimeout(loadPictures, 500);
  }
}
