// Draws the page, and draws it again when a link is followed.

addEventListener("hashchange", () => { readLink(); show(); });
addEventListener("popstate", () => { readLink(); show(); });
addEventListener("keydown", (e) => { if (e.key === "Escape") VIEWS[shownView()].escape?.(); });
drawHeader();
drawFilters();
readLink();
show();
followServer();
