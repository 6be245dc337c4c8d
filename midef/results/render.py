"""Tables as text for a terminal and as markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from midef.core.rows import ResultRow
from midef.core.text import markdown
from midef.results.gating import closing_lines
from midef.results.layout import TextColumn, column_blocks, wrapped_lines
from midef.results.notes import refusal, row_mark, stand_ins
from midef.results.summary import SummaryRow, by_setup
from midef.results.table import Table, TableCell, TableColumn, chosen_columns, setup_table

NO_ROWS = "no rows: nothing has been measured yet"


def text_table(
    summaries: Sequence[SummaryRow],
    published: Sequence[ResultRow] = (),
    *,
    columns: Sequence[str] = (),
    width: int | None = None,
) -> str:
    """Aligned tables for a terminal, one per setup; setups that were refused as a whole get a line each at the end.

    Args:
        summaries: rows of any setups.
        published: rows to show beside ours, see `setup_table`.
        columns: keys or titles of the columns to show, in this order; all if empty.
        width: characters of a line: sentences are wrapped and wide tables split; None for lines of any length.

    Raises:
        SpecError: for a column that no table has.
    """
    if not summaries:
        return NO_ROWS
    groups, refused, shared = split_setups(summaries)
    tables = chosen_columns([setup_table(group, published) for group in groups], columns)
    blocks = ["\n".join(wrapped_lines([f"stands in: {shared}"], width))] if shared else []
    is_alone = len(tables) == 1
    for table, group in zip(tables, groups, strict=True):
        blocks.append(_text_block(table, group, has_legends=is_alone, has_stand_ins=not shared, width=width))
    if tables and not is_alone:  # what holds for all of them is said once
        legends = dict.fromkeys(legend for table in tables for legend in table.legends)
        blocks.append("\n".join(wrapped_lines([*legends, *closing_lines(groups)], width)))
    if refused:
        blocks.append("\n".join(wrapped_lines(refused_lines(refused), width)))
    return "\n\n\n".join(blocks)


def refused_lines(groups: Sequence[Sequence[SummaryRow]]) -> list[str]:
    """A line per setup that was refused as a whole: its title and why."""
    titles = [setup_table(group).title for group in groups]
    wide = max(map(len, titles), default=0)
    return [f"{title:<{wide}}  refused: {refusal(group)}" for title, group in zip(titles, groups, strict=True)]


def split_setups(summaries: Iterable[SummaryRow]) -> tuple[list[list[SummaryRow]], list[list[SummaryRow]], str]:
    """Setups with results, setups refused as a whole, and the stand-ins if several setups with results share them."""
    groups = list(by_setup(summaries).values())
    shown = [group for group in groups if not refusal(group)]
    different = {stand_ins(group) for group in shown}
    shared = different.pop() if len(different) == 1 and len(shown) > 1 else ""
    return shown, [group for group in groups if refusal(group)], shared


def _text_block(
    table: Table, group: Sequence[SummaryRow], *, has_legends: bool, has_stand_ins: bool, width: int | None
) -> str:
    by_column = zip(table.columns, zip(*table.cells, strict=True), strict=True)
    columns = [TextColumn("", tuple(map(row_mark, group))), *(_aligned(column, cells) for column, cells in by_column)]
    blocks = column_blocks(columns, width, repeated=2)
    above = [table.title, *([f"stands in: {table.stand_ins}"] if table.stand_ins and has_stand_ins else [])]
    above += [table.facts, table.interval_legend, ""]
    below = [*(table.legends if has_legends else ()), *table.footnotes, *table.problems]
    body = "\n\n".join("\n".join(block) for block in blocks).split("\n")
    return "\n".join([*wrapped_lines(above, width), *body, *(["", *wrapped_lines(below, width)] if below else [])])


def _aligned(column: TableColumn, cells: Sequence[TableCell]) -> TextColumn:
    """A column as text: numbers to the right; "97.8 [96.1, 99.0]" aligns on both of its parts."""
    if column.kind == "interval":
        texts, spans = (max(map(len, parts)) for parts in zip(*((c.text, c.interval) for c in cells), strict=True))
        lines = tuple(f"{cell.text:>{texts}} {cell.interval:>{spans}}".rstrip() for cell in cells)
        return TextColumn(column.header, lines)
    lines = tuple(cell.joined for cell in cells)
    return TextColumn(column.header, lines, "left" if column.kind == "words" else "right")


def markdown_table(
    summaries: Sequence[SummaryRow], published: Sequence[ResultRow] = (), *, columns: Sequence[str] = ()
) -> str:
    """GitHub tables, one per setup, as `text_table` has them; front defenses are bold."""
    if not summaries:
        return NO_ROWS
    groups, refused, shared = split_setups(summaries)
    tables = chosen_columns([setup_table(group, published) for group in groups], columns)
    is_alone = len(tables) == 1
    blocks = [f"stands in: {markdown(shared)}"] if shared else []
    for table, group in zip(tables, groups, strict=True):
        blocks.append(_markdown_block(table, group, has_legends=is_alone, has_stand_ins=not shared))
    if tables and not is_alone:
        legends = dict.fromkeys(legend for table in tables for legend in table.legends)
        blocks.append("\n".join(_listed([*legends, *closing_lines(groups)])))
    if refused:
        blocks.append("\n".join(_listed(f"{setup_table(g).title}: refused: {refusal(g)}" for g in refused)))
    return "\n\n".join(blocks)


def _markdown_block(table: Table, group: Sequence[SummaryRow], *, has_legends: bool, has_stand_ins: bool) -> str:
    lines = [
        f"**{markdown(table.title)}**",
        "",
        *([f"stands in: {markdown(table.stand_ins)}", ""] if table.stand_ins and has_stand_ins else []),
        f"{markdown(table.facts)}; {markdown(table.interval_legend)}",
        "",
        "| | " + " | ".join(markdown(column.header) for column in table.columns) + " |",
        "| --- | --- |" + " ---: |" * (len(table.columns) - 1),
    ]
    for row, cells in zip(group, table.cells, strict=True):
        texts = [markdown(cell.joined) for cell in cells]
        if row.is_on_front:
            texts[0] = f"**{texts[0]}**"
        lines.append(f"| {row_mark(row)} | {' | '.join(texts)} |")
    lines += ["", *_listed([*(table.legends if has_legends else ()), *table.footnotes, *table.problems])]
    return "\n".join(lines).rstrip()


def _listed(lines: Iterable[str]) -> list[str]:
    return [f"- {markdown(line)}" for line in lines]
