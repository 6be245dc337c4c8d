// Tables that are sorted by a click on a heading and whose rows can be selected.

function sorted(rows, columns, order) {
  const numbered = rows.map((row, index) => ({ row, index }));
  const column = columns.findIndex((c) => c.key === order.sort);
  if (column < 0) return numbered;
  const sign = order.down ? -1 : 1, isText = rows.every((r) => r.cells[column].number === null);
  return numbered.sort((a, b) => {
    const { text: p, number: m } = a.row.cells[column], { text: q, number: n } = b.row.cells[column];
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
    if (c.is_text) th.classList.add("text");
    if (c.key === order.sort) th.setAttribute("aria-sort", order.down ? "descending" : "ascending");
    button.addEventListener("click", () => {
      order.down = order.sort === c.key ? !order.down : false;
      order.sort = c.key;
      writeOrder(order);
      redraw();
    });
    th.append(button);
    head.append(th);
  });
  return head;
}

function valueCell(column, { text, interval, number }) {
  const td = make("td"), value = make("span", undefined, "value");
  td.dataset.key = column.key;
  if (column.is_text) td.classList.add("text");
  if (column.is_plain) td.classList.add("plain");
  if (number !== null) td.dataset.number = number;
  if (number === null) breakable(value, text);
  else value.append(text);
  td.append(value);
  if (interval) td.append(make("small", interval));
  return td;
}

function selectable(tr, index, isSelected, choose) {
  tr.dataset.index = index;
  tr.tabIndex = 0;
  tr.setAttribute("aria-selected", isSelected);
  tr.addEventListener("click", (e) => choose(index, e));
  tr.addEventListener("keydown", (e) => {
    if (e.key === "Enter" || e.key === " ") { e.preventDefault(); choose(index, e); }
  });
  return tr;
}
