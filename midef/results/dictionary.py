"""Data dictionary of the result rows, read from `ResultRow` itself."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, dataclass, fields

from midef.core.rows import ROW_SCHEMA_VERSION, ResultRow

__all__ = ["ROW_SCHEMA_VERSION", "ColumnFacts", "data_dictionary"]

_ENTRY = re.compile(r" {4}(\w+(?:, \w+)*): (.*)")


@dataclass(frozen=True, kw_only=True)
class ColumnFacts:
    """One column of the result rows.

    Args:
        name: of the column, in files, frames and CSV.
        type: Arrow type in the store.
        is_nullable: whether it may hold no value, which means "does not apply".
        since: row schema that it came with.
        default: that rows of an older schema have; "" where every row says it.
        meaning: in words.
    """

    name: str
    type: str
    is_nullable: bool
    since: int
    default: str
    meaning: str


def data_dictionary() -> list[ColumnFacts]:
    """Every column of a result row, in order."""
    from midef.storage.columns import ROW_SCHEMA, SINCE

    meanings = _meanings()
    return [
        ColumnFacts(
            name=f.name,
            type=str(ROW_SCHEMA.field(f.name).type),
            is_nullable=ROW_SCHEMA.field(f.name).nullable,
            since=SINCE.get(f.name, 1),
            default="" if f.default is MISSING else repr(f.default),
            meaning=meanings.get(f.name, ""),
        )
        for f in fields(ResultRow)
    ]


def _meanings() -> dict[str, str]:
    """Entries of the `Args:` block of `ResultRow`."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in inspect.cleandoc(ResultRow.__doc__ or "").partition("Args:\n")[2].splitlines():
        entry = _ENTRY.fullmatch(line)
        if entry:
            names = entry[1].split(", ")
            found |= dict.fromkeys(names, entry[2])
        elif line.strip():
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found
