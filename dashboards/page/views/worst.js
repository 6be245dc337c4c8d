// Worst case: a table for each target, and for each defense every attack that was tried.

const worst = { data: null, open: new Set(), order: null };

function drawWorst(data) {
  worst.data = data;
  worst.order = readOrder("worst_sort", data.columns);
  if (linked("worst")) worst.open.add(linked("worst"));
  fill($("worstlegend"), data.legend.map((t) => make("li", t)));
  drawWorstTargets();
}

// A target is shown while a filter keeps one of its setups, with the defenses that are kept in one; its attacks are all
// compared, whatever is shown.
function drawWorstTargets() {
  const isKept = (target, line) => target.setups.some((id) => keepsNamed(id, line.defense));
  const targets = worst.data.targets.filter((t) => keepsIds(t.setups)).map((t) => ({ ...t, rows: t.rows.filter((line) => isKept(t, line)) }));
  $("worstnone").hidden = !!targets.length;
  fill($("worsttargets"), targets.map(worstTarget));
}

function worstTarget(target) {
  const { columns } = worst.data, box = make("section", undefined, "worsttarget");
  const table = make("table", undefined, "data"), head = make("thead"), body = make("tbody"), scroll = make("div", undefined, "scroll");
  head.append(heading(columns, worst.order, drawWorstTargets));
  for (const { row: line, index } of sorted(target.rows, columns, worst.order)) {
    const id = `${target.label}: ${line.defense}`, isOpen = worst.open.has(id);
    const tr = selectable(make("tr"), index, isOpen, () => {
      if (worst.open.has(id)) worst.open.delete(id); else worst.open.add(id);
      relink({ worst: [...worst.open].at(-1) || null });
      drawWorstTargets();
    });
    tr.setAttribute("aria-expanded", isOpen);
    tr.classList.toggle("undefended", line.is_undefended);
    line.cells.forEach((cell, i) => tr.append(valueCell(columns[i], cell)));
    body.append(tr);
    if (isOpen) body.append(worstTries(line));
  }
  table.append(head, body);
  scroll.append(table);
  box.append(make("h3", target.label), make("p", target.facts, "worstfacts"), scroll);
  return box;
}

function worstTries(line) {
  const columns = worst.data.attempt_columns;
  const tr = make("tr", undefined, "worsttries"), td = make("td"), table = make("table", undefined, "data");
  const head = make("thead"), body = make("tbody"), titles = make("tr");
  columns.forEach((c) => titles.append(make("th", c.header, c.is_text ? "text" : "")));
  head.append(titles);
  for (const cells of line.attempts) {
    const one = make("tr");
    one.dataset.state = cells[2].text;
    cells.forEach((cell, i) => one.append(valueCell(columns[i], cell)));
    body.append(one);
  }
  table.append(head, body);
  td.colSpan = worst.data.columns.length;
  td.append(table);
  tr.append(td);
  return tr;
}

addView("worst", {
  keys: ["worst", "worst_sort"],
  idle: {
    metric: "the worst case is of attack accuracy@1", interval: "a maximum has an interval of its own", published: "no published numbers here",
  },
  draw: drawWorst,
});
