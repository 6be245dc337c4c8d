"""Small tables of words and numbers beside that of a setup, in every format that a table has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from midef.core.errors import SpecError, did_you_mean
from midef.core.text import latex, markdown
from midef.results.export import Record, csv_text
from midef.results.latex import HEAD, environment
from midef.results.layout import TextColumn, fitted_table, wrapped_lines


@dataclass(frozen=True)
class PlainColumn:
    """Heading of a column.

    Args:
        key: what `--columns` calls it.
        header: as shown.
        align: where the texts stand; numbers to the right.
        is_whole: never wrapped; numbers never are.
    """

    key: str
    header: str
    align: Literal["left", "right"] = "left"
    is_whole: bool = False


@dataclass(frozen=True)
class PlainTable:
    """One table.

    Args:
        title: what it is of.
        columns: from left to right.
        rows: texts, by row and column.
        records: the numbers, unrounded, of all rows.
        about: what the numbers and intervals are, above the table.
        notes: below it.
    """

    title: str
    columns: tuple[PlainColumn, ...]
    rows: tuple[tuple[str, ...], ...]
    records: tuple[Record, ...]
    about: str = ""
    notes: tuple[str, ...] = ()


def with_columns(tables: Sequence[PlainTable], chosen: Sequence[str]) -> list[PlainTable]:
    """The tables with the chosen columns of text alone, in the order of the choice; all if none is chosen.

    Raises:
        SpecError: for each that no table has.
    """
    if not chosen or not tables:
        return list(tables)
    keys = {name: column.key for table in tables for column in table.columns for name in (column.header, column.key)}
    if unknown := [name for name in chosen if name not in keys]:
        raise SpecError([f"no column {name!r}; {did_you_mean(name, set(keys.values()))}" for name in unknown])
    shown = []
    for table in tables:
        places = {column.key: place for place, column in enumerate(table.columns)}
        kept = [places[keys[name]] for name in chosen if keys[name] in places]
        rows = tuple(tuple(row[place] for place in kept) for row in table.rows)
        shown.append(replace(table, columns=tuple(table.columns[place] for place in kept), rows=rows))
    return shown


def plain_text(tables: Sequence[PlainTable], width: int) -> str:
    """For a terminal: cells are wrapped where a table is too wide."""
    blocks = []
    for table in tables:
        columns = [
            TextColumn(
                column.header,
                tuple(row[place] for row in table.rows),
                column.align,
                is_whole=column.is_whole or column.align == "right",
            )
            for place, column in enumerate(table.columns)
        ]
        above = [table.title, *([table.about] if table.about else []), ""]
        below = ["", *table.notes] if table.notes else []
        blocks.append(
            "\n".join([*wrapped_lines(above, width), *fitted_table(columns, width), *wrapped_lines(below, width)])
        )
    return "\n\n\n".join(blocks)


def plain_markdown(tables: Sequence[PlainTable]) -> str:
    """GitHub tables."""
    blocks = []
    for table in tables:
        rules = " | ".join("---:" if column.align == "right" else "---" for column in table.columns)
        lines = [f"**{markdown(table.title)}**", "", *([markdown(table.about), ""] if table.about else [])]
        lines += [f"| {' | '.join(markdown(column.header) for column in table.columns)} |", f"| {rules} |"]
        lines += [f"| {' | '.join(map(markdown, row))} |" for row in table.rows]
        lines += ["", *(f"- {markdown(note)}" for note in table.notes)]
        blocks.append("\n".join(lines).rstrip())
    return "\n\n".join(blocks)


def plain_latex(tables: Sequence[PlainTable]) -> str:
    """`table` environments with booktabs."""
    blocks = [HEAD]
    for table in tables:
        blocks.append(
            environment(
                caption="; ".join(filter(None, [table.title, table.about])),
                label=table.title,
                kinds="".join(column.align[0] for column in table.columns),
                heads=[latex(column.header) for column in table.columns],
                body=[[latex(text) for text in row] for row in table.rows],
                notes=table.notes,
            )
        )
    return "\n\n".join(blocks)


def plain_records(tables: Sequence[PlainTable]) -> list[Record]:
    """The numbers of all tables, of the same names."""
    lines = [record for table in tables for record in table.records]
    names = dict.fromkeys(name for line in lines for name in line)
    return [{name: line.get(name) for name in names} for line in lines]


def plain_csv(tables: Sequence[PlainTable]) -> str:
    """`plain_records` as CSV."""
    return csv_text(plain_records(tables))
