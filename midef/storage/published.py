"""Published numbers of a store: one file at its root, so that no table takes them for measured rows."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from midef.core.errors import DamagedFile
from midef.core.rows import ResultRow
from midef.storage.columns import from_parquet, rows_from_table, table_from_rows, to_parquet
from midef.storage.seals import is_sealed
from midef.storage.store import Store

PATH = "published.parquet"

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
