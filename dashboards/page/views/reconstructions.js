// The reconstructions of a setup, a row per defense.

function drawGrid() {
  const s = state.setup, grid = s.grid, n = grid.labels.length;
  $("rule").textContent = n
    ? `Shown: ${grid.rule}. ` + (s.excluded ? `No signs: ${s.excluded}.`
      : "Solid frame and ✓: the judge, the evaluator if nothing else is said, recognises the identity; dashed and ✗: it does not; pale and no sign: no result.")
    : "no rows: no reconstructions are stored for this setup";
  const attack = s.columns.findIndex((c) => c.key === "attack_accuracy_at_1");
  const head = make("tr");
  head.append(make("th"), ...grid.labels.map((label) => make("th", `id ${label}`)));
  fill($("grid").tHead, n ? [head] : []);
  const strips = n ? (grid.private ? [grid.private] : []).concat(grid.strips) : [];
  fill($("grid").tBodies[0], strips.map((strip) => {
    const tr = make("tr"), th = make("th", strip.title);
    th.scope = "row";
    if (strip === grid.private) th.append(make("small", "training images"));
    const row = s.rows[grid.strips.indexOf(strip)];
    tr.classList.toggle("excluded", !!(row && row.excluded));
    if (row && row.excluded) {
      const why = make("small", "⊘ no result");
      why.title = row.excluded;
      th.append(why);
    } else if (row && row.y !== null) th.append(make("small", `att@1 ${row.cells[attack].text} %`));
    tr.append(th);
    if (!strip.file) {
      const td = make("td", strip.reason, "why");
      td.colSpan = n;
      tr.append(td);
      return tr;
    }
    strip.marks.forEach((mark, i) => {
      const td = make("td");
      if (mark === "absent") { td.textContent = "–"; tr.append(td); return; }
      const face = make("div", undefined, "face " + mark);
      face.setAttribute("role", "img");
      const verdict = {
        hit: "recognised", miss: "not recognised", unknown: "not evaluated", private: "private image",
        excluded: `no result: ${row && row.excluded}`,
      }[mark];
      face.setAttribute("aria-label", `${strip.title}, identity ${grid.labels[i]}: ${verdict}`);
      face.title = face.getAttribute("aria-label");
      face.style.backgroundImage = `url("${strip.file}")`;
      face.style.backgroundSize = `${100 * n}% 100%`;
      face.style.backgroundPosition = `${n > 1 ? (100 * i) / (n - 1) : 0}% 0`;
      const sign = { hit: "✓", miss: "✗", unknown: "?" }[mark];
      if (sign) face.append(make("b", sign));
      td.append(face);
      tr.append(td);
    });
    return tr;
  }));
}
