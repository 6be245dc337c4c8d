// Every cell: its state, where and how long it ran, why it failed, and the command that runs it again.

function drawRuns(data) {
  unpack(data.sheet);
  const again = () => drawRuns(data), column = (key) => data.sheet.columns.find((c) => c.key === key).values;
  const states = column("state"), cells = column("cell"), kinds = column("failure"), setups = column("setup"), defenses = column("defense");
  fill($("runcounts"), data.counts.map(([state, n]) => {
    const tile = make("span", undefined, `tile ${state}`);
    tile.append(make("b", n), make("span", state));
    return tile;
  }));
  $("runcauses").hidden = !data.causes.columns[0].values.length;
  drawSheet($("runcauses").querySelector(".sheetbox"), data.causes, {});
  fill($("runkinds"), data.kinds.flatMap(([kind, meaning]) => [make("dt", kind), make("dd", meaning)]));
  const failures = [...new Set(kinds.filter(Boolean))].sort();
  const chosen = [chips("run_state", data.counts.map(([state, n]) => [state, `${state} ${n}`]), again, "all states")];
  if (failures.length > 1) chosen.push(chips("run_kind", failures.map((kind) => [kind, kind]), again, "all kinds"));
  fill($("runtools"), chosen);
  const keeps = (i) => keepsNamed(setups[i], defenses[i]) && (!linked("run_state") || states[i] === linked("run_state")) && (!linked("run_kind") || kinds[i] === linked("run_kind"));
  drawSheet($("runsheet"), data.sheet, {
    sort: "run_sort", text: "run_text", keeps,
    decorate: (td, { key }, i) => {
      if (key === "state") td.classList.add("state", states[i]);
      if (key === "cell" && cells[i] in data.logs) {
        const button = make("button", "log", "plain");
        button.type = "button";
        button.addEventListener("click", () => showLog(cells[i], data.logs[cells[i]]));
        td.append(" ", button);
      }
    },
    empty: states.length ? "no rows: no cell has this state, kind and text, and passes the filters" : "no rows: nothing was planned or run",
  });
}

function showLog(cell, text) {
  const box = $("runlog");
  box.querySelector("h3").textContent = `cell ${cell}`;
  box.querySelector("p").textContent = `The end of its last log; midef logs ${cell} prints all of it.`;
  box.querySelector("pre").textContent = text;
  box.showModal();
}

addView("runs", {
  keys: ["run_state", "run_kind", "run_sort", "run_text"],
  idle: { metric: "a cell has all its metrics", interval: "no intervals here", published: "no published numbers here" },
  draw: drawRuns,
});
