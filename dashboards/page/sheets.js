// Tables in columns (`Sheet`): sorted, searched, and exported as they are shown.

// Words that repeat are written once, and the column holds their places: put them back.
function unpack(sheet) {
  for (const column of sheet.columns) {
    if (!column.texts.length) continue;
    column.values = column.values.map((place) => (place === null ? null : column.texts[place]));
    column.texts = [];
  }
  return sheet;
}

const shownText = (column, i) => {
  const value = column.values[i];
  if (value === null || value === "") return "";
  return column.digits === null ? String(value) : Number(value).toFixed(column.digits);
};

// Rows of a sheet in the order of the link, as far as `keeps` and the text that was searched keep them.
function rowsOf(sheet, order, keeps, text) {
  const length = sheet.columns.length ? sheet.columns[0].values.length : 0, words = text.toLowerCase();
  const rows = [...Array(length).keys()].filter((i) => keeps(i) &&
    (!words || sheet.columns.some((c) => c.digits === null && String(c.values[i] ?? "").toLowerCase().includes(words))));
  const column = sheet.columns.find((c) => c.key === order.sort);
  if (!column) return rows;
  const sign = order.down ? -1 : 1;
  return rows.sort((a, b) => {
    const p = column.values[a], q = column.values[b];
    if (p === null || q === null) return (p === null) - (q === null) || a - b;
    return sign * (column.digits === null ? p.localeCompare(q, "en", { numeric: true }) : p - q) || a - b;
  });
}

// Draws a sheet into `box`.
//   sort: name in the link of its order
//   keeps: which rows are shown
//   text: a name in the link of what is searched for; without it nothing is searched
//   decorate(td, column, i): changes a cell
//   most: rows that are drawn at first
// Columns without a value in any shown row are not drawn.
function drawSheet(box, sheet, { sort, keeps = () => true, text = null, decorate = null, most = 300, empty = "no rows" }) {
  unpack(sheet);
  const order = sort ? readOrder(sort, sheet.columns) : { sort: null, down: false };
  const redraw = () => drawSheet(box, sheet, { sort, keeps, text, decorate, most, empty });
  const rows = rowsOf(sheet, order, keeps, text ? linked(text) : "");
  const columns = sheet.columns.filter((c) => rows.some((i) => c.values[i] !== null && c.values[i] !== ""));
  const head = sort ? heading(columns.map((c) => ({ ...c, is_text: c.digits === null })), order, redraw) : plainHeading(columns);
  const table = make("table", undefined, "data sheet"), thead = make("thead"), body = make("tbody");
  thead.append(head);
  table.append(thead, body);
  const line = (i) => {
    const tr = make("tr");
    for (const c of columns) tr.append(sheetCell(c, i, decorate));
    return tr;
  };
  fill(body, rows.slice(0, most).map(line));
  if (!rows.length) fill(body, [noRows(empty, Math.max(1, columns.length))]);
  const tools = make("div", undefined, "sheettools");
  if (text) tools.append(searchBox(text, redraw));
  tools.append(make("span", rows.length === 1 ? "1 row" : `${rows.length} rows`, "count"));
  tools.append(exportMenu(sheet.name, sheet.caption, () => ({
    columns: columns.map((c) => ({ name: c.key, header: c.header, isNumber: c.digits !== null, isWhole: c.digits === 0 })),
    texts: rows.map((i) => columns.map((c) => shownText(c, i))),
    values: columns.map((c) => rows.map((i) => (c.values[i] === "" ? null : c.values[i]))),
  })));
  const scroll = make("div", undefined, "scroll");
  scroll.tabIndex = 0;
  scroll.append(table);
  const had = box.querySelector("input[type=search]") === document.activeElement && document.activeElement;
  const at = had ? had.selectionStart : 0;
  fill(box, [tools, scroll]);
  if (had) {
    const field = box.querySelector("input[type=search]");
    field.focus();
    field.setSelectionRange(at, at);
  }
  if (rows.length > most) {
    const more = make("button", `show all ${rows.length} rows`, "plain");
    more.type = "button";
    more.addEventListener("click", () => { fill(body, rows.map(line)); more.remove(); });
    box.append(more);
  }
  return rows;
}

function plainHeading(columns) {
  const tr = make("tr");
  for (const c of columns) {
    const th = make("th", c.header, c.digits === null ? "text still" : "still");
    th.scope = "col";
    th.dataset.key = c.key;
    tr.append(th);
  }
  return tr;
}

function sheetCell(column, i, decorate) {
  const td = make("td"), text = shownText(column, i);
  td.dataset.key = column.key;
  if (column.digits === null) td.classList.add("text");
  if (column.is_long) td.classList.add("long");
  if (column.is_code && text) td.append(copied(text));
  else if (column.digits === null) breakable(td, text || "–");
  else td.textContent = text || "–";
  if (decorate) decorate(td, column, i);
  return td;
}

// A command with a button that copies it.
function copied(text) {
  const box = make("span", undefined, "copied"), code = make("code", text), button = make("button", "copy", "plain");
  button.type = "button";
  button.setAttribute("aria-label", `copy: ${text}`);
  button.addEventListener("click", async (e) => {
    e.stopPropagation();
    button.textContent = (await toClipboard(text)) ? "copied" : "select it and copy";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
  box.append(code, button);
  return box;
}

// Pages from disk may lack the clipboard's interface.
async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = make("textarea", text);
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}

function noRows(text, span) {
  const tr = make("tr"), td = make("td", text, "text");
  td.colSpan = span;
  tr.append(td);
  return tr;
}

function searchBox(name, redraw) {
  const label = make("label", "search "), field = make("input");
  field.type = "search";
  field.value = linked(name);
  field.addEventListener("input", () => { relink({ [name]: field.value }); redraw(); });
  label.append(field);
  return label;
}

// Buttons that choose one of several words, or all; `name` is where the link keeps the choice.
function chips(name, choices, redraw, all = "all") {
  const box = make("span", undefined, "chips");
  for (const [value, label] of [["", all], ...choices]) {
    const button = make("button", label, "chip");
    button.type = "button";
    button.setAttribute("aria-pressed", linked(name) === value);
    button.addEventListener("click", () => { relink({ [name]: value }); redraw(); });
    box.append(button);
  }
  return box;
}
