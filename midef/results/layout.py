"""Text that fits a width: sentences are wrapped, a wide table is split into blocks of columns. Nothing is cut off."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Literal

from midef.core.text import printable

WIDTH = 100
"""Columns of a text table that is not told the width of a terminal."""
_GAP = 2
_INTERVAL = r"\[-?[\d.]+, -?[\d.]+\]"
_WORD = re.compile(rf"\s*(?:{_INTERVAL}|\S)+(?: %(?!\w))?")
"""What a line is not broken in: a word, an interval, a number with its percent sign."""
_AFTER = ",;+(/="
"""A word that is longer than a line is broken after one of these, where there is one."""


@dataclass(frozen=True)
class TextColumn:
    """One column of a text table.

    Args:
        header: as shown.
        cells: one text per row.
        align: where the texts stand.
        is_whole: its cells are never wrapped by `fitted_table`, as numbers; its heading may be.
    """

    header: str
    cells: tuple[str, ...]
    align: Literal["left", "right"] = "left"
    is_whole: bool = False

    @property
    def width(self) -> int:
        return max(map(len, (self.header, *self.cells)))


def wrapped(text: str, width: int, *, indent: str = "  ") -> list[str]:
    """Lines of at most `width` characters; only white space at a break is lost.

    Args:
        text: one line.
        width: at least 8.
        indent: before every line but the first.

    >>> wrapped("leaks 26.2 less [12.2, 39.2]", 20)
    ['leaks 26.2 less', '  [12.2, 39.2]']
    """
    if len(text) <= width:
        return [text]
    lines, line = [], ""
    for word in _WORD.findall(text):
        if line and len(line) + len(word) > width:
            lines.append(line)
            line, word = "", word.lstrip()
        for part in _parts(word, width - len(indent)):
            if line and len(line) + len(part) > width:
                lines.append(line)
                line = ""
            line = line + part if line else (indent if lines else "") + part
    return [*lines, line] if line else lines


def _parts(word: str, width: int) -> Iterator[str]:
    """The word, in as many parts as need be."""
    while len(word) > width:
        at = 1 + max(word.rfind(mark, 0, width) for mark in _AFTER)
        at = at if at > width // 3 else width
        yield word[:at]
        word = word[at:]
    yield word


def wrapped_lines(lines: Iterable[str], width: int | None) -> list[str]:
    """Every line wrapped; as they are without a width. Control characters are shown as their codes."""
    shown = [printable(line, keep="") for line in lines]
    return shown if width is None else [part for line in shown for part in wrapped(line, width)]


def column_blocks(columns: Sequence[TextColumn], width: int | None, *, repeated: int = 1) -> list[list[str]]:
    """A table as lines, in as many blocks of columns as it needs to fit.

    Args:
        columns: from left to right.
        width: None for one block of any width.
        repeated: leading columns that every block begins with.

    Returns:
        The lines of each block: headings, a rule, the rows.
    """
    shown = [_printable(column) for column in columns]
    if width is None:
        return [_lines([_fitted(column, column.width) for column in shown])]
    leading = [_fitted(column, max(8, width * 2 // 5)) for column in shown[:repeated]]  # room beside every name
    taken = sum(_width(column) + _GAP for column in leading)
    room = max(8, width - taken)
    blocks: list[list[_Wrapped]] = []
    used = 0
    for column in shown[repeated:]:
        fitted = _fitted(column, room)
        needed = _width(fitted) + _GAP * (used > 0)
        if not blocks or used + needed > room:
            blocks.append([])
            used, needed = 0, _width(fitted)
        blocks[-1].append(fitted)
        used += needed
    return [_lines([*leading, *block]) for block in blocks or [[]]]


def fitted_table(columns: Sequence[TextColumn], width: int, *, least: int = 8) -> list[str]:
    """A table in one block: the widest columns of words are narrowed until it fits, and their cells wrapped.

    Args:
        columns: from left to right.
        width: of a line; a table of very many columns is wider.
        least: characters that every column keeps.
    """
    shown = [_printable(column) for column in columns]
    room = width - _GAP * (len(shown) - 1)
    caps = range(max((column.width for column in shown), default=least), least, -1)
    cap = next((cap for cap in caps if sum(_narrowed(column, cap) for column in shown) <= room), least)
    return _lines([_fitted(column, _narrowed(column, cap)) for column in shown])


def _narrowed(column: TextColumn, cap: int) -> int:
    """Characters of a column that is to have `cap` at most; more where its cells are not wrapped."""
    whole = max(map(len, column.cells), default=0) if column.is_whole else 0
    return max(whole, min(column.width, cap))


_Wrapped = tuple[list[list[str]], Literal["left", "right"]]
"""Lines of the heading and of every cell, and where they stand."""


def _printable(column: TextColumn) -> TextColumn:
    cells = tuple(printable(text, keep="") for text in column.cells)
    return replace(column, header=printable(column.header, keep=""), cells=cells)


def _fitted(column: TextColumn, room: int) -> _Wrapped:
    if column.width <= room:
        return [[text] for text in (column.header, *column.cells)], column.align
    return [wrapped(text.strip(), room) for text in (column.header, *column.cells)], column.align


def _width(column: _Wrapped) -> int:
    return max((len(line) for lines in column[0] for line in lines), default=0)


def _lines(columns: Sequence[_Wrapped]) -> list[str]:
    widths = [_width(column) for column in columns]
    rows = []
    for cells in zip(*(column[0] for column in columns), strict=True):
        for parts in zip_longest(*cells, fillvalue=""):
            placed = (
                part.rjust(wide) if column[1] == "right" else part.ljust(wide)
                for part, wide, column in zip(parts, widths, columns, strict=True)
            )
            rows.append((" " * _GAP).join(placed).rstrip())
    heads = max((len(column[0][0]) for column in columns), default=1)
    return [*rows[:heads], "-" * max(map(len, rows)), *rows[heads:]]
