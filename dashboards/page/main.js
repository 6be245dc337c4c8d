// Draws the page, and draws it again when a link is followed.

addEventListener("hashchange", () => { readHash(); drawSetup(); drawMatching(); });
addEventListener("keydown", (e) => {
  if (e.key !== "Escape") return;
  if (state.row !== null) select(state.row);
  else if (state.match !== null) selectMatch(state.match);
});
drawHeader();
readHash();
drawSetup();
drawMatching();
