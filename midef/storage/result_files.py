"""Results files: what a path says, what the checksums say, and which rows of several files count."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from midef.core.errors import DamagedFile
from midef.storage.columns import ROW_SCHEMA, SEAL_KEY, from_parquet, rows_from_table
from midef.storage.row_file import RowFile
from midef.storage.words import as_arrow, words_of

ROOT = "results"
COMPACT = "compact-"
COMPACTION_KEY = b"midef_compaction"
_CELL = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True)
class ResultFile:
    """One results file as it was read. `compaction` orders compactions; None marks the file of one cell."""

    path: str
    content: bytes
    table: pa.Table
    compaction: int | None


def parse_results(path: str, content: bytes | DamagedFile, columns: Sequence[str] | None = None) -> pa.Table:
    """The table in a results file.

    Raises:
        DamagedFile: if it is damaged, or holds the rows of another cell.
        StoreSchemaError: if a newer midef wrote it.
    """
    content = _whole(path, content)
    table = from_parquet(content, path, columns)
    cells = set(table["cell"].unique().to_pylist())
    if not is_compact(path) and cells != {cell_of(path)}:
        raise DamagedFile(f"expected rows of cell {cell_of(path)}, found {sorted(cells)}")
    if columns is None and SEAL_KEY not in table.schema.metadata:
        try:
            rows_from_table(table)
        except ValueError as error:
            raise DamagedFile(str(error)) from error
    return table


def _whole(path: str, content: bytes | DamagedFile) -> bytes:
    """Content of a file that has the checksum in its name, if there is one."""
    if isinstance(content, DamagedFile):
        raise content
    if is_compact(path) and hashlib.sha256(content).hexdigest() != cell_of(path).removeprefix(COMPACT):
        raise DamagedFile("its content does not match the checksum in its name")
    return content


def open_compact(path: str, content: bytes | DamagedFile) -> RowFile:
    """A compact file.

    Raises:
        DamagedFile, StoreSchemaError: as `parse_results`.
    """
    return RowFile(_whole(path, content), path)


def path_of(cell_digest: str) -> str:
    if not _CELL.fullmatch(cell_digest):
        raise ValueError(f"a cell digest is made of letters and digits, got {cell_digest!r}")
    return f"{ROOT}/{cell_digest}.parquet"


def cell_of(path: str) -> str:
    return path.removeprefix(ROOT + "/").removesuffix(".parquet")


def is_compact(path: str) -> bool:
    return path.startswith(f"{ROOT}/{COMPACT}")


def compaction_of(path: str, table: pa.Table) -> int | None:
    if not is_compact(path):
        return None
    return int((table.schema.metadata or {}).get(COMPACTION_KEY, b"0"))


def merged(files: Sequence[ResultFile]) -> pa.Table:
    """The rows that count, sorted by cell: a cell's own file first, then the latest compaction that has it."""
    import numpy as np

    taken: set[str] = set()
    parts = [ROW_SCHEMA.empty_table()]
    for file in sorted(files, key=lambda f: (f.compaction is not None, -(f.compaction or 0), f.path)):
        texts, places = words_of(file.table["cell"])
        counts = np.array([text not in taken for text in texts], bool)
        part = file.table if counts.all() else file.table.take(as_arrow(np.flatnonzero(counts[places])))
        parts.append(part.replace_schema_metadata(ROW_SCHEMA.metadata))
        taken.update(texts)
    return sorted_by_cell(pa.concat_tables(parts))


def sorted_by_cell(table: pa.Table) -> pa.Table:
    """The rows by cell; those of a cell keep their order."""
    import numpy as np

    texts, places = words_of(table["cell"])
    rank = np.empty(len(texts), np.int64)
    rank[sorted(range(len(texts)), key=texts.__getitem__)] = np.arange(len(texts))
    ranks = rank[places]
    if (np.diff(ranks) >= 0).all():
        return table
    # rows are taken from one chunk faster than from thousands
    return table.combine_chunks().take(as_arrow(np.argsort(ranks, kind="stable")))
