"""Tables of views in columns: what they show is sorted, filtered and exported by the page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Value = str | float | None


@dataclass(frozen=True, kw_only=True)
class SheetColumn:
    """One column.

    Args:
        key: unique in its table, and what links and exports call it.
        header: as shown.
        values: one of each row; None is shown as a dash and exported as nothing.
        texts: of a column whose words repeat: each once, and `values` are places in them.
        digits: decimals of a column of numbers; None of a column of words.
        is_long: sentences: they may break, and take what room is left.
        is_code: a command, to be copied.
    """

    key: str
    header: str
    values: tuple[Value, ...]
    texts: tuple[str, ...] = ()
    digits: int | None = None
    is_long: bool = False
    is_code: bool = False


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table.

    Args:
        name: of its exported files.
        caption: what it shows, for exports.
        columns: all of one length.
    """

    name: str
    caption: str
    columns: tuple[SheetColumn, ...]

    def __post_init__(self) -> None:
        lengths = {column.key: len(column.values) for column in self.columns}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the columns of a table have one length, got {lengths}")

    @property
    def length(self) -> int:
        """Number of rows."""
        return len(self.columns[0].values) if self.columns else 0


def words(
    key: str, header: str, values: Iterable[str | None], *, long: bool = False, code: bool = False
) -> SheetColumn:
    """A column of words; words that repeat are written once."""
    given = tuple(values)
    known = dict.fromkeys(text for text in given if text is not None)
    if 2 * len(known) >= len(given):
        return SheetColumn(key=key, header=header, values=given, is_long=long, is_code=code)
    place = {text: number for number, text in enumerate(known)}
    places = tuple(None if text is None else place[text] for text in given)
    return SheetColumn(key=key, header=header, values=places, texts=tuple(known), is_long=long, is_code=code)


def numbers(key: str, header: str, values: Iterable[float | None], digits: int = 1) -> SheetColumn:
    """A column of numbers with so many decimals."""
    return SheetColumn(key=key, header=header, values=tuple(values), digits=digits)
