"use strict";
// All text reaches the page through textContent: names come from a store and may hold anything.
(() => {
  const CFG = {
    showSendToCloud: false, displaylogo: false, responsive: true,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  };
  const PAGE = window.MIDEF || { header: {}, warnings: [], setups: [], matching: null };
  const MATCHING = PAGE.matching || { columns: [], rows: [], targets: [] };
  const $ = (id) => document.getElementById(id);
  // sort: key of a column; row and match: index of the selected row of the setup, of the matching.
  const state = {
    setup: null, row: null, order: { sort: null, down: false },
    match: null, matchOrder: { sort: null, down: false }, unmatched: false,
  };

  const make = (tag, text, className) => {
    const node = document.createElement(tag);
    if (text !== undefined && text !== null) node.textContent = text;
    if (className) node.className = className;
    return node;
  };
  const fill = (node, children) => node.replaceChildren(...children);

  function readHash() {
    // A link may be old or cut off: what is unknown falls back to the default.
    const given = new URLSearchParams(location.hash.slice(1));
    state.setup = PAGE.setups.find((s) => s.name === given.get("setup")) || PAGE.setups[0] || null;
    const rows = state.setup ? state.setup.rows : [];
    const row = rows.findIndex((r) => r.defense === given.get("defense"));
    state.row = row < 0 ? null : row;
    state.order = readOrder(given.get("sort"), state.setup ? state.setup.columns : []);
    const match = MATCHING.rows.findIndex((r) => r.id === given.get("match"));
    state.match = match < 0 ? null : match;
    state.matchOrder = readOrder(given.get("match_sort"), MATCHING.columns);
    state.unmatched = given.get("match_only") === "unmatched";
  }

  function readOrder(text, columns) {
    const sort = (text || "").replace(/^-/, "");
    return { sort: columns.some((c) => c.key === sort) ? sort : null, down: (text || "").startsWith("-") };
  }

  function writeHash() {
    const link = new URLSearchParams();
    const order = ({ sort, down }) => (down ? "-" : "") + sort;
    if (state.setup) link.set("setup", state.setup.name);
    if (state.row !== null) link.set("defense", state.setup.rows[state.row].defense);
    if (state.order.sort) link.set("sort", order(state.order));
    if (state.match !== null) link.set("match", MATCHING.rows[state.match].id);
    if (state.matchOrder.sort) link.set("match_sort", order(state.matchOrder));
    if (state.unmatched) link.set("match_only", "unmatched");
    history.replaceState(null, "", "#" + link.toString());
  }

  function drawHeader() {
    const h = PAGE.header;
    $("sweep").textContent = h.sweep || "";
    const failed = h.failed + (h.refused ? ` failed, ${h.refused} refused` : " failed");
    $("provenance").textContent = `profile ${h.profile} · cells: ${h.ok} ok, ${failed}, ${h.missing} missing · ` +
      `store ${h.store} · code ${h.code} · built ${h.built}`;
    $("exposure").hidden = !PAGE.exposes_private;
    $("warnings").hidden = !PAGE.warnings.length;
    fill($("warnings"), PAGE.warnings.map((w) => make("li", w)));
    fill($("setup"), PAGE.setups.map((s) => {
      const option = make("option", s.label + (s.refused ? " – refused" : ""));
      option.value = s.name;
      return option;
    }));
    $("setup").disabled = PAGE.setups.length < 2;
    drawSetups();
  }

  function drawSetups() {
    const box = $("setups"), refused = PAGE.setups.filter((s) => s.refused);
    box.hidden = PAGE.setups.length < 2;
    const counts = refused.length ? `: ${PAGE.setups.length - refused.length} with results, ${refused.length} refused` : "";
    box.querySelector("summary").textContent = `${PAGE.setups.length} setups${counts}`;
    fill(box.querySelector("tbody"), PAGE.setups.map((s) => {
      const tr = make("tr"), td = make("td"), link = make("a", s.label);
      tr.dataset.name = s.name;
      tr.title = s.stand_ins.map(([here, there]) => (there ? `${here} for ${there}` : here)).join("; ");
      tr.classList.toggle("refused", !!s.refused);
      link.href = "#" + new URLSearchParams({ setup: s.name });
      td.append(link);
      tr.append(td, ...s.what.map((t) => make("td", t)), ...s.cells.map((n) => make("td", n || "", "count")));
      tr.append(make("td", s.refused));
      return tr;
    }));
  }

  function drawSetup() {
    const s = state.setup;
    $("empty").hidden = !!s;
    $("view").hidden = !s;
    if (!s) return;
    $("setup").value = s.name;
    $("stamp").hidden = !s.stamp;
    $("stamp").textContent = s.stamp;
    $("title").textContent = s.title;
    $("facts").textContent = s.facts;
    $("refused").hidden = !s.refused;
    $("refused").textContent = s.refused && `refused: ${s.refused}`;
    $("standins").hidden = !s.stand_ins.length;
    fill($("standins").querySelector("tbody"), s.stand_ins.map(([here, there]) => {
      const tr = make("tr"), td = make("td", here);
      if (!there) td.colSpan = 2;
      tr.append(td, ...(there ? [make("td", there)] : []));
      return tr;
    }));
    for (const tr of $("setups").querySelectorAll("tbody tr")) tr.setAttribute("aria-current", tr.dataset.name === s.name);
    $("diamond").hidden = !s.published;
    $("hollow").hidden = $("guide").hidden = !(s.matched && s.figure);
    $("legend").textContent = s.legend;
    fill($("footnotes"), s.footnotes.map((t) => make("li", t)));
    $("problems").hidden = !s.problems.length;
    fill($("problems").querySelector("ul"), s.problems.map((t) => make("li", t)));
    drawTable();
    drawPlot();
    drawGrid();
  }

  function sorted(rows, columns, order) {
    const found = rows.map((row, index) => ({ row, index }));
    const column = columns.findIndex((c) => c.key === order.sort);
    if (column < 0) return found;
    const sign = order.down ? -1 : 1, isText = rows.every((r) => r.cells[column][2] === null);
    return found.sort((a, b) => {
      const [p, , m] = a.row.cells[column], [q, , n] = b.row.cells[column];
      if (isText) return sign * p.localeCompare(q) || a.index - b.index;
      if (m === null || n === null) return (m === null) - (n === null) || a.index - b.index;
      return sign * (m - n) || a.index - b.index;
    });
  }

  function heading(columns, order, redraw) {
    const head = make("tr");
    columns.forEach((c) => {
      const th = make("th"), button = make("button", c.header);
      th.scope = "col";
      th.dataset.key = c.key;
      if (c.key === order.sort) th.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      button.addEventListener("click", () => {
        order.down = order.sort === c.key ? !order.down : false;
        order.sort = c.key;
        writeHash();
        redraw();
      });
      th.append(button);
      head.append(th);
    });
    return head;
  }

  function valueCell(key, [text, small, number]) {
    const td = make("td"), value = make("span", undefined, "value");
    td.dataset.key = key;
    if (number !== null) td.dataset.number = number;
    // Names break between parameters, not inside words; numbers do not.
    text.split(number === null ? /(?<=[(,=+])/ : "\n").forEach((part, n) => value.append(...(n ? [make("wbr")] : []), part));
    td.append(value);
    if (small) td.append(make("small", small));
    return td;
  }

  function selectable(tr, index, isSelected, choose) {
    tr.dataset.index = index;
    tr.tabIndex = 0;
    tr.setAttribute("aria-selected", isSelected);
    tr.addEventListener("click", () => choose(index));
    tr.addEventListener("keydown", (e) => {
      if (e.key === "Enter" || e.key === " ") { e.preventDefault(); choose(index); }
    });
    return tr;
  }

  const PLAIN = ["delta", "attack_drop", "queries", "wall_s", "seeds", "knn_distance", "published", "matched"];

  function drawTable() {
    const s = state.setup;
    fill($("table").tHead, [heading(s.columns, state.order, drawTable)]);
    fill($("table").tBodies[0], sorted(s.rows, s.columns, state.order).map(({ row, index }) => {
      const tr = selectable(make("tr"), index, index === state.row, select);
      tr.classList.toggle("front", row.on_front);
      tr.classList.toggle("unmatched", row.unmatched);
      row.cells.forEach((cell, i) => {
        const key = s.columns[i].key, td = valueCell(key, cell);
        if (i === 0 && row.on_front) {
          const mark = make("span", "●", "mark");
          mark.title = "on the front";
          mark.style.color = row.colour || "#222";
          td.prepend(mark);
        }
        if (PLAIN.includes(key)) td.classList.add("plain");
        if (key === "seeds" && row.bad) td.classList.add("bad");
        tr.append(td);
      });
      return tr;
    }));
  }

  function select(index) {
    state.row = state.row === index ? null : index;
    writeHash();
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

  function drawPlot() {
    const s = state.setup, plot = $("plot");
    hideHover();
    $("noplot").hidden = !!s.figure;
    $("noplot").textContent = s.refused ? `refused: ${s.refused}`
      : "no rows with both a test accuracy and an attack accuracy: nothing to plot";
    $("symbols").hidden = plot.hidden = !s.figure;
    if (!s.figure) { Plotly.purge(plot); return; }
    drawFigure(plot, s.figure, (index, event) => {
      const row = s.rows[index];
      showHover(row.defense + (row.on_front ? "  ● on the front" : ""), row.details, event);
    }, select).then(markSelection);
  }

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

  function showHover(title, details, event) {
    const box = $("hover"), list = make("dl");
    details.forEach(([name, text]) => list.append(make("dt", name), make("dd", text)));
    fill(box, [make("h3", title), list]);
    box.hidden = false;
    const wide = box.offsetWidth, high = box.offsetHeight;
    const left = event.clientX + 18 + wide < innerWidth ? event.clientX + 18 : event.clientX - wide - 18;
    box.style.left = Math.max(4, left) + "px";
    box.style.top = Math.max(4, Math.min(event.clientY - 20, innerHeight - high - 6)) + "px";
  }

  function hideHover() { $("hover").hidden = true; }

  function drawGrid() {
    const s = state.setup, grid = s.grid, n = grid.labels.length;
    $("rule").textContent = n
      ? `Shown: ${grid.rule}. Solid frame and ✓: the evaluator recognises the identity; dashed and ✗: it does not.`
      : "no rows: no reconstructions are stored for this setup";
    const head = make("tr");
    head.append(make("th"), ...grid.labels.map((label) => make("th", `id ${label}`)));
    fill($("grid").tHead, n ? [head] : []);
    const strips = n ? (grid.private ? [grid.private] : []).concat(grid.strips) : [];
    fill($("grid").tBodies[0], strips.map((strip) => {
      const tr = make("tr"), th = make("th", strip.title);
      th.scope = "row";
      if (strip === grid.private) th.append(make("small", "training images"));
      const row = s.rows[grid.strips.indexOf(strip)];
      if (row && row.y !== null) th.append(make("small", `att@1 ${row.y.toFixed(1)} %`));
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
        const verdict = { hit: "recognised", miss: "not recognised", unknown: "not judged", private: "private image" }[mark];
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

  function drawMatching() {
    const isThere = !!PAGE.matching;
    $("matching").hidden = $("tomatching").hidden = !isThere;
    if (!isThere) return;
    $("tomatching").textContent = "accuracy matching";
    fill($("matchtargets"), MATCHING.targets.map((t) => make("li", t)));
    $("matchcounts").textContent = `profile ${MATCHING.profile} · ${MATCHING.counts}`;
    $("matchcommand").hidden = !MATCHING.command;
    $("matchcommand").querySelector("code").textContent = MATCHING.command;
    const choices = MATCHING.rows.map((row, index) => {
      const option = make("option", `${row.id} – ${row.state}`);
      option.value = index;
      return option;
    });
    const none = make("option", "choose a row");
    none.value = "";
    fill($("matchrow"), [none, ...choices]);
    drawMatchTable();
    drawMatchDetail();
  }

  function drawMatchTable() {
    const { columns, rows } = MATCHING;
    $("unmatched").checked = state.unmatched;
    const head = heading(columns, state.matchOrder, drawMatchTable);
    fill($("matchtable").tHead, [head]);
    const shown = sorted(rows, columns, state.matchOrder).filter(({ row }) => !state.unmatched || row.state !== "matched");
    fill($("matchtable").tBodies[0], shown.map(({ row, index }) => {
      const tr = selectable(make("tr"), index, index === state.match, selectMatch);
      tr.dataset.state = row.state;
      if (row.setups.length) tr.title = `setups: ${row.setups.join(", ")}`;
      row.cells.forEach((cell, i) => {
        const key = columns[i].key, td = valueCell(key, cell);
        if (key === "history") fill(td, [sparkline(row.spark)]);
        tr.append(td);
      });
      return tr;
    }));
    for (const tr of [head, ...$("matchtable").tBodies[0].rows]) {
      [...tr.cells].forEach((cell, i) => cell.classList.toggle("text", MATCH_TEXT.includes(columns[i].key)));
    }
    if (!shown.length) {
      const tr = make("tr"), td = make("td", rows.length ? "no rows: all are matched" : "no rows: nothing was to be matched");
      td.colSpan = columns.length;
      tr.append(td);
      fill($("matchtable").tBodies[0], [tr]);
    }
  }

  const MATCH_TEXT = ["defense", "architecture", "private", "state", "parameter"];

  function sparkline({ top, tolerance, points }) {
    const wide = 132, high = 24, pad = 3;
    const svg = (tag, attributes) => {
      const node = document.createElementNS($("svg").namespaceURI, tag);
      for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
      return node;
    };
    const px = (i) => pad + (points.length > 1 ? (i * (wide - 2 * pad)) / (points.length - 1) : 0);
    const py = (gap) => high - pad - (Math.min(gap, top) / top) * (high - 2 * pad);
    const known = points.map(([gap, isOpen], i) => ({ gap, isOpen, i })).filter(({ gap }) => gap !== null);
    const words = points.map(([gap]) => (gap === null ? "–" : gap.toFixed(2))).join(", ");
    const picture = svg("svg", { class: "spark", width: wide, height: high, role: "img", "aria-label": `gaps: ${words || "none"}` });
    const band = py(Math.min(tolerance, top));
    picture.append(svg("rect", { class: "band", x: 0, width: wide, y: band, height: high - pad - band }));
    const line = known.filter(({ isOpen }) => !isOpen).map(({ gap, i }) => `${px(i)},${py(gap)}`).join(" ");
    picture.append(svg("polyline", { class: "gaps", points: line }));
    for (const { gap, isOpen, i } of known) {
      picture.append(svg("circle", { class: isOpen ? "confirm" : "search", cx: px(i), cy: py(gap), r: 2 }));
    }
    points.forEach(([gap], i) => {
      if (gap === null) picture.append(svg("line", { class: "lost", x1: px(i), x2: px(i), y1: high - 5, y2: high }));
    });
    return picture;
  }

  function selectMatch(index) {
    state.match = state.match === index ? null : index;
    writeHash();
    for (const tr of $("matchtable").tBodies[0].rows) tr.setAttribute("aria-selected", +tr.dataset.index === state.match);
    drawMatchDetail();
    if (state.match !== null) $("matchdetail").scrollIntoView({ block: "nearest" });
  }

  function drawMatchDetail() {
    const row = state.match === null ? null : MATCHING.rows[state.match];
    hideHover();
    $("matchrow").value = row ? state.match : "";
    $("matchdetail").hidden = !row;
    if (!row) return;
    $("matchdetail").querySelector("h3").textContent = `${row.id}: ${row.state}`;
    $("matchwhy").textContent = [row.reason, row.chosen && `attacked as ${row.chosen}`].filter(Boolean).join(" · ");
    for (const [name, absent] of [["history", "no trainings to compare with a target"], ["curve", "no strength was searched"]]) {
      const plot = $(name), none = $("no" + name), figure = row[name];
      none.hidden = !!figure;
      none.textContent = absent;
      plot.hidden = !figure;
      if (!figure) { Plotly.purge(plot); continue; }
      drawFigure(plot, figure, (index, event) => showHover(row.id, row.trainings[index], event));
    }
  }

  $("unmatched").addEventListener("change", (e) => {
    state.unmatched = e.target.checked;
    writeHash();
    drawMatchTable();
  });
  $("matchrow").addEventListener("change", (e) => selectMatch(e.target.value === "" ? state.match : +e.target.value));
  $("tomatching").addEventListener("click", () => $("matching").scrollIntoView());
  $("setup").addEventListener("change", (e) => {
    state.setup = PAGE.setups.find((s) => s.name === e.target.value) || state.setup;
    state.row = null;
    writeHash();
    drawSetup();
  });
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
})();
