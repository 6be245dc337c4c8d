"""Published numbers of a store: one file at its root, so that no table takes them for measured rows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from midef.core.errors import DamagedFile
from midef.core.rows import ResultRow
from midef.storage.columns import from_parquet, rows_from_table, table_from_rows, to_parquet
from midef.storage.seals import is_sealed
from midef.storage.store import Store

PATH = "published.parquet"
IMPORTED = "imported"
"""`sweep` of numbers that somebody brought, which no run replaces."""
_IDENTITY = ("source", "setup", "defense", "attack", "architecture", "private", "public", "metric")
_SAID = ("value", "unit", "spread", "spread_kind", "remark")

log = logging.getLogger(__name__)


def write_published(store: Store, rows: Sequence[ResultRow]) -> None:
    """Keep `rows` as the store's published numbers, replacing earlier ones; a store that has them is left alone.

    Raises:
        ValueError: for a row that was measured, or a value that does not fit its column.
        StoreSchemaError: if a newer midef wrote those that are there.
        StoreError: if the store cannot be written.
    """
    measured = [row for row in rows if row.origin != "published"]
    if measured:
        first = measured[0]
        raise ValueError(
            f"{len(measured)} of {len(rows)} rows are not of origin 'published', the first is {first.metric} of "
            f"{first.defense} in {first.setup}; measured rows belong to a cell: store.results.write"
        )
    content = to_parquet(table_from_rows(rows))
    try:
        stored = store.location.get(PATH)
        if is_sealed(stored) and parse_published(stored) == list(rows):
            return
    except (FileNotFoundError, DamagedFile):
        pass
    store.location.put(PATH, content)


@dataclass
class PublishedChange:
    """What became of published numbers that were brought to a store.

    Args:
        added: numbers that it did not have.
        same: numbers that it had.
        replaced: numbers that took the place of another one of their source.
        conflicts: numbers of a source that the store has with another value, one sentence each; kept as they were.
    """

    added: int = 0
    same: int = 0
    replaced: int = 0
    conflicts: list[str] = field(default_factory=list)


def refresh_published(store: Store, rows: Sequence[ResultRow]) -> None:
    """Keep `rows` as the numbers that midef itself brings, before those that were imported."""
    write_published(store, [*rows, *(row for row in read_published(store) if row.sweep == IMPORTED)])


def merge_published(
    store: Store, rows: Sequence[ResultRow], *, replace: bool = False, dry: bool = False
) -> PublishedChange:
    """Add numbers to those of a store; the same number of the same source is there once.

    Args:
        store: gains what it lacks.
        rows: published ones.
        replace: take numbers that a source has with another value here.
        dry: say what would become of them, and write nothing.

    Raises:
        ValueError, StoreSchemaError, StoreError: as `write_published`.
    """
    change = PublishedChange()
    stored = {_identity(row): row for row in read_published(store)}
    for row in rows:
        known = stored.get(_identity(row))
        if known is None:
            change.added += 1
        elif all(getattr(known, name) == getattr(row, name) for name in _SAID):
            change.same += 1
            continue
        elif replace:
            change.replaced += 1
        else:
            what = f"{row.metric} of {row.defense} in {row.setup or row.private}, {row.source}"
            change.conflicts.append(f"{what}: {_value(known)} is stored, {_value(row)} was brought")
            continue
        stored[_identity(row)] = row
    if (change.added or change.replaced) and not dry:
        write_published(store, list(stored.values()))
    return change


def _identity(row: ResultRow) -> tuple[str, ...]:
    own = () if row.sweep == IMPORTED else (row.cell,)  # a printed table may have two lines that differ in no column
    return (*(str(getattr(row, name)) for name in _IDENTITY), *own)


def _value(row: ResultRow) -> str:
    return "no number" if row.value is None else f"{row.value:g}"


def read_published(store: Store) -> list[ResultRow]:
    """The published numbers, in the order they were written; none if nobody wrote any, or if the file is damaged.

    A damaged file is warned about: what stands beside the numbers measured here is not worth refusing those.

    Raises:
        StoreSchemaError: if a newer midef wrote them.
        StoreError: if the store cannot be read.
    """
    try:
        return parse_published(store.location.get(PATH))
    except FileNotFoundError:
        return []
    except DamagedFile as error:
        log.warning("%s is damaged, published numbers are not shown until a run writes it again: %s", PATH, error)
        return []


def parse_published(content: bytes) -> list[ResultRow]:
    """The published numbers in a file.

    Raises:
        DamagedFile: if it is damaged.
        StoreSchemaError: if a newer midef wrote them.
    """
    try:
        rows = rows_from_table(from_parquet(content, PATH))
    except ValueError as error:  # of a row whose values contradict each other
        raise DamagedFile(str(error)) from error
    if any(row.origin != "published" for row in rows):
        raise DamagedFile("it holds rows that were measured")
    return rows
