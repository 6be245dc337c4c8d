// Exports of a table as it is shown: the same rows and columns in the same order.

const MARKDOWN = (text) => text.replace(/\\/g, "\\\\").replace(/\|/g, "\\|").replace(/\r?\n/g, " ");
const LATEX_SIGNS = {
  "\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", "$": "\\$", "&": "\\&", "#": "\\#", "_": "\\_", "%": "\\%",
  "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}", ">": "\\textgreater{}", "±": "$\\pm$",
  "–": "--", "●": "$\\bullet$", "×": "$\\times$", "≤": "$\\leq$", "≥": "$\\geq$", "†": "$\\dagger$", "⊘": "$\\oslash$",
};
const LATEX = (text) => text.replace(/[\\{}$&#_%~^<>±–●×≤≥†⊘]/g, (sign) => LATEX_SIGNS[sign]).replace(/\r?\n/g, " ");

// Spreadsheets run what begins like a formula; an apostrophe in front makes it text.
function csvText(text, isNumber) {
  const safe = !isNumber && /^[=+@\t\r]|^-(?!\d)/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
}

const asCsv = ({ columns, texts }) =>
  [columns.map((c) => csvText(c.header, false)), ...texts.map((cells) => cells.map((t, k) => csvText(t, columns[k].isNumber)))]
    .map((cells) => cells.join(",") + "\r\n").join("");

const asMarkdown = ({ columns, texts }) =>
  [columns.map((c) => c.header), columns.map((c) => (c.isNumber ? "---:" : "---")), ...texts]
    .map((cells, n) => `| ${cells.map((t) => (n === 1 ? t : MARKDOWN(t))).join(" | ")} |\n`).join("");

const asLatex = ({ columns, texts }, caption) => [
  "% needs \\usepackage{booktabs}", "\\begin{table}", "\\centering", `\\caption{${LATEX(caption)}}`,
  `\\begin{tabular}{${columns.map((c) => (c.isNumber ? "r" : "l")).join("")}}`, "\\toprule",
  columns.map((c) => LATEX(c.header)).join(" & ") + " \\\\", "\\midrule",
  ...texts.map((cells) => cells.map(LATEX).join(" & ") + " \\\\"), "\\bottomrule", "\\end{tabular}", "\\end{table}", "",
].join("\n");

const EXPORTS = {
  csv: { label: "CSV", type: "text/csv", of: asCsv, says: "numbers as shown" },
  parquet: { label: "Parquet", type: "application/vnd.apache.parquet", of: parquetOf, says: "numbers not rounded" },
  tex: { label: "LaTeX", type: "application/x-tex", of: asLatex, says: "as shown; needs booktabs" },
  md: { label: "Markdown", type: "text/markdown", of: asMarkdown, says: "as shown" },
};

// Buttons that export what `table()` returns:
//   columns: [{name, header, isNumber, isWhole}], texts: by row, values: by column
function exportMenu(name, caption, table) {
  const box = make("span", "export ", "exports");
  for (const [extension, { label, type, of, says }] of Object.entries(EXPORTS)) {
    const button = make("button", label, "plain");
    button.type = "button";
    button.dataset.format = extension;
    button.title = `the rows and columns shown, ${says}`;
    button.addEventListener("click", () => saveFile(`${name}.${extension}`, type, of(table(), caption)));
    box.append(button);
  }
  return box;
}

function saveFile(name, type, content) {
  const anchor = make("a"), url = URL.createObjectURL(new Blob([content], { type }));
  anchor.href = url;
  anchor.download = name;
  document.body.append(anchor);
  anchor.click();
  anchor.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

// A table of cells {text, interval, number}, as setups and matchings have them: an interval is a column of its own.
function ofCells(columns, rows) {
  const parts = columns.flatMap((c, k) => {
    const hasMore = rows.some((cells) => cells[k].interval), isNumber = !c.is_text && rows.every((cells) => isPlain(cells[k]));
    const value = { name: c.key, header: c.header, isNumber, of: (cells) => cells[k] };
    return hasMore ? [value, { name: `${c.key}_interval`, header: `${c.header} interval`, isNumber: false, of: (cells) => cells[k], isMore: true }] : [value];
  });
  const text = (part, cells) => (part.isMore ? part.of(cells).interval : part.of(cells).text) || "";
  return {
    columns: parts,
    texts: rows.map((cells) => parts.map((part) => text(part, cells))),
    values: parts.map((part) => rows.map((cells) => (part.isNumber ? part.of(cells).number : text(part, cells) || null))),
  };
}

// The buttons below a table of such cells; `rows` are those shown, in their order.
function exportBelow(table, name, caption, columns, rows) {
  let box = table.nextElementSibling;
  if (!box || !box.classList.contains("exportline")) {
    box = make("div", undefined, "sheettools exportline");
    table.after(box);
  }
  fill(box, rows.length ? [exportMenu(name, caption, () => ofCells(columns, rows))] : []);
}

// Whether a cell says a number and nothing else; a dash says none.
const isPlain = ({ text, number }) => number === null ? text === "–" || text === "" : /^[-−]?[\d.,]+$/.test(text);
