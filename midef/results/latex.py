"""Tables of results as LaTeX with booktabs: names escaped, the interval said in the caption."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from midef.core.rows import ResultRow
from midef.core.text import latex
from midef.results.gating import closing_lines
from midef.results.notes import row_mark
from midef.results.render import NO_ROWS, refused_lines, split_setups
from midef.results.summary import SummaryRow
from midef.results.table import Table, chosen_columns, setup_table

HEAD = r"""% \usepackage{booktabs,graphicx}"""


def latex_table(
    summaries: Sequence[SummaryRow], published: Sequence[ResultRow] = (), *, columns: Sequence[str] = ()
) -> str:
    """One `table` environment per setup; front defenses are bold, notes stand below the table they belong to.

    A table that is wider than the line is scaled down to it; `columns` chooses fewer. Lines that hold for all setups
    and setups that were refused as a whole follow as comments.

    Args:
        summaries: rows of any setups.
        published: rows to show beside ours, see `setup_table`.
        columns: keys or titles of the columns to show, in this order; all if empty.

    Raises:
        SpecError: for a column that no table has.
    """
    if not summaries:
        return f"% {NO_ROWS}"
    groups, refused, shared = split_setups(summaries)
    tables = chosen_columns([setup_table(group, published) for group in groups], columns)
    blocks = [HEAD]
    for table, group in zip(tables, groups, strict=True):
        blocks.append(_environment(table, group, stands_in=shared or table.stand_ins))
    comments = [*(closing_lines(groups) if len(groups) > 1 else []), *refused_lines(refused)]
    blocks += ["\n".join(f"% {latex(line)}" for line in comments)] if comments else []
    return "\n\n".join(blocks)


def _environment(table: Table, group: Sequence[SummaryRow], *, stands_in: str) -> str:
    said = [table.title, *([f"stands in: {stands_in}"] if stands_in else []), table.facts, table.interval_legend]
    kinds = {"words": "l", "number": "r", "interval": "l"}
    body = []
    for row, cells in zip(group, table.cells, strict=True):
        texts = [latex(cell.joined) for cell in cells]
        if row.is_on_front:
            texts[0] = rf"\textbf{{{texts[0]}}}"
        body.append([latex(row_mark(row)), *texts])
    return environment(
        caption="; ".join(filter(None, said)),
        label=group[0].setup,
        kinds="l" + "".join(kinds[column.kind] for column in table.columns),
        heads=["", *(latex(column.header) for column in table.columns)],
        body=body,
        notes=[*table.legends, *table.footnotes, *table.problems],
    )


def environment(
    *,
    caption: str,
    label: str,
    kinds: str,
    heads: Sequence[str],
    body: Iterable[Sequence[str]],
    notes: Iterable[str] = (),
) -> str:
    """A `table` environment.

    Args:
        caption: plain text.
        label: plain text; what a label may not hold becomes a hyphen.
        kinds: `l` or `r` of each column.
        heads: of the columns, in LaTeX.
        body: rows of cells, in LaTeX.
        notes: plain text, below the table.
    """
    lines = [rf"{' & '.join(cells)} \\" for cells in (heads, *body)]
    below = [rf"{latex(note)}\par" for note in notes]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex(caption)}.}}",
            rf"\label{{tab:{re.sub(r'[^A-Za-z0-9:.]+', '-', label)}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{kinds}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}}",
            *(
                [r"\par\smallskip", r"\begin{minipage}{\linewidth}\footnotesize", *below, r"\end{minipage}"]
                if below
                else []
            ),
            r"\end{table}",
        ]
    )
