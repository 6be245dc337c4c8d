"use strict";
// All text reaches the page through textContent: names come from a store and may hold anything.
(() => {
  const CFG = {
    showSendToCloud: false, displaylogo: false, responsive: true,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  };
  const PAGE = window.MIDEF || { header: {}, warnings: [], setups: [] };
  const $ = (id) => document.getElementById(id);
  const state = { setup: null, row: null, sort: null, down: false };

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
    const sort = (given.get("sort") || "").replace(/^-/, "");
    state.sort = state.setup && state.setup.columns.some((c) => c.key === sort) ? sort : null;
    state.down = (given.get("sort") || "").startsWith("-");
  }

  function writeHash() {
    const link = new URLSearchParams();
    link.set("setup", state.setup.name);
    if (state.row !== null) link.set("defense", state.setup.rows[state.row].defense);
    if (state.sort) link.set("sort", (state.down ? "-" : "") + state.sort);
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
    $("legend").textContent = s.legend;
    fill($("footnotes"), s.footnotes.map((t) => make("li", t)));
    $("problems").hidden = !s.problems.length;
    fill($("problems").querySelector("ul"), s.problems.map((t) => make("li", t)));
    drawTable();
    drawPlot();
    drawGrid();
  }

  function sortedRows() {
    const column = state.setup.columns.findIndex((c) => c.key === state.sort);
    const rows = state.setup.rows.map((row, index) => ({ row, index }));
    if (column < 0) return rows;
    const sign = state.down ? -1 : 1;
    return rows.sort((a, b) => {
      const [p, , m] = a.row.cells[column], [q, , n] = b.row.cells[column];
      if (column === 0) return sign * p.localeCompare(q);
      if (m === null || n === null) return (m === null) - (n === null) || a.index - b.index;
      return sign * (m - n) || a.index - b.index;
    });
  }

  function drawTable() {
    const s = state.setup, head = make("tr");
    s.columns.forEach((c) => {
      const th = make("th"), button = make("button", c.header);
      th.scope = "col";
      if (c.key === state.sort) th.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      button.addEventListener("click", () => {
        state.down = state.sort === c.key ? !state.down : false;
        state.sort = c.key;
        writeHash();
        drawTable();
      });
      th.append(button);
      head.append(th);
    });
    fill($("table").tHead, [head]);
    fill($("table").tBodies[0], sortedRows().map(({ row, index }) => {
      const tr = make("tr");
      tr.dataset.index = index;
      tr.tabIndex = 0;
      tr.classList.toggle("front", row.on_front);
      tr.setAttribute("aria-selected", index === state.row);
      row.cells.forEach(([text, interval, number], i) => {
        const td = make("td"), key = s.columns[i].key;
        td.dataset.key = key;
        if (number !== null) td.dataset.number = number;
        if (i === 0 && row.on_front) {
          const mark = make("span", "●", "mark");
          mark.title = "on the front";
          mark.style.color = row.colour || "#222";
          td.append(mark);
        }
        const value = make("span", undefined, "value");
        // Names break between parameters, not inside words.
        text.split(/(?<=[(,=+])/).forEach((part, n) => value.append(...(n ? [make("wbr")] : []), part));
        td.append(value);
        if (interval) td.append(make("small", interval));
        if (["delta", "queries", "wall_s", "seeds", "knn_distance", "published"].includes(key)) td.classList.add("plain");
        if (key === "seeds" && row.bad) td.classList.add("bad");
        tr.append(td);
      });
      tr.addEventListener("click", () => select(index));
      tr.addEventListener("keydown", (e) => {
        if (e.key === "Enter" || e.key === " ") { e.preventDefault(); select(index); }
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
    const trace = state.setup.figure.data.length - 1;
    Plotly.restyle($("plot"), { x: [shown ? [row.x] : []], y: [shown ? [row.y] : []] }, [trace]);
  }

  function drawPlot() {
    const s = state.setup, plot = $("plot");
    hideHover();
    $("noplot").hidden = !!s.figure;
    $("noplot").textContent = s.refused ? `refused: ${s.refused}`
      : "no rows with both a test accuracy and an attack accuracy: nothing to plot";
    $("symbols").hidden = plot.hidden = !s.figure;
    if (!s.figure) { Plotly.purge(plot); return; }
    const figure = structuredClone(s.figure);
    plot.removeAllListeners && plot.removeAllListeners();
    Plotly.react(plot, figure.data, figure.layout, CFG).then(() => {
      plot.on("plotly_hover", (e) => {
        const index = e.points.map((p) => p.customdata).find((i) => i !== undefined && i !== null);
        if (index !== undefined) showHover(index, e.event);
      });
      plot.on("plotly_unhover", hideHover);
      plot.on("plotly_click", (e) => {
        const index = e.points.map((p) => p.customdata).find((i) => i !== undefined && i !== null);
        if (index !== undefined) select(index);
      });
      markSelection();
    });
  }

  function showHover(index, event) {
    const row = state.setup.rows[index], box = $("hover"), list = make("dl");
    row.details.forEach(([name, text]) => list.append(make("dt", name), make("dd", text)));
    fill(box, [make("h3", row.defense + (row.on_front ? "  ● on the front" : "")), list]);
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

  $("setup").addEventListener("change", (e) => {
    state.setup = PAGE.setups.find((s) => s.name === e.target.value) || state.setup;
    state.row = null;
    writeHash();
    drawSetup();
  });
  addEventListener("hashchange", () => { readHash(); drawSetup(); });
  addEventListener("keydown", (e) => {
    if (e.key === "Escape" && state.row !== null) select(state.row);
  });
  drawHeader();
  readHash();
  drawSetup();
})();
