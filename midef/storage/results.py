"""Stores result rows: one Parquet file per cell, merged by `compact`."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa

from midef.core.errors import DamagedFile, StoreError, StoreSchemaError
from midef.core.rows import ResultRow
from midef.storage.columns import (
    ROW_SCHEMA,
    SEAL_KEY,
    CellState,
    from_parquet,
    rows_from_table,
    state_in,
    table_from_rows,
    to_parquet,
    with_state,
)
from midef.storage.location import DAMAGED, Location
from midef.storage.seals import is_sealed

_ROOT = "results"
_COMPACT = "compact-"
_COMPACTION_KEY = b"midef_compaction"
MOST_LOOSE = 1000
"""Files of single cells that a store may hold before a run merges them. Each costs a reader some 2 ms."""
_CELL = re.compile(r"[A-Za-z0-9_]+")
_ATTEMPTS = 10
_T = TypeVar("_T")
# A failure is unfinished business: a cell with one has something to retry. A metric that does not apply spoils no cell.
_WEIGHT = {"refused": 0, "ok": 1, "failed": 2}
_STATE_COLUMNS = ("cell", "status", "reason", "failure")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _File:
    """One results file as it was read. `compaction` orders compactions; None marks the file of one cell."""

    path: str
    content: bytes
    table: pa.Table
    compaction: int | None


@dataclass(frozen=True)
class FileState:
    """State of a results file: what is wrong with it, None if it is whole, and whether it carries a checksum."""

    path: str
    error: StoreError | None
    is_sealed: bool = False


class ResultStore:
    """Result rows under `results/<cell digest>.parquet`.

    A cell is stored in the file of its own, in a `compact-<digest>.parquet`, or in both after an interrupted
    compaction; then its own file counts, and otherwise the latest compaction. So no row is lost or read twice.
    Damaged files are moved to `results/.damaged/` with a warning, and their cells are no longer stored. Every reader
    checks each file as a whole. Of a cell's own file `cells`, `states` and `has` then decode only what it says of
    itself, and the columns where it says nothing.
    """

    def __init__(self, location: Location) -> None:
        self.location = location
        self._compacted: dict[str, tuple[int, dict[str, CellState]]] = {}  # by path; such files never change

    def write(self, cell_digest: str, rows: Sequence[ResultRow]) -> None:
        """Store all rows of a cell, replacing earlier ones.

        Raises:
            ValueError: for no rows, rows of another cell, or a value that does not fit its column.
            StoreError: if the store is full or cannot be written.
        """
        path = _path(cell_digest)
        if not rows:
            raise ValueError(f"no rows for cell {cell_digest[:10]}; a cell that failed is a row with status 'failed'")
        others = sorted({row.cell for row in rows} - {cell_digest})
        if others:
            raise ValueError(f"rows of cell {cell_digest!r} must have it as their 'cell', found {others}")
        table = table_from_rows(rows)
        self.location.put(path, to_parquet(with_state(table, cell_digest, _worst(table)[cell_digest])))

    def has(self, cell_digest: str) -> bool:
        """True if readable rows of the cell are stored."""
        path = _path(cell_digest)

        def is_stored(paths: list[str]) -> bool:
            if path in paths and self._state(path, self.location.get_all([path])[0]) is not None:
                return True
            return cell_digest in self._compacted_states(paths)

        return self._consistently(is_stored)

    def cells(self) -> dict[str, str]:
        """Every stored cell: 'failed' if any metric did, else 'ok' if any was measured, else 'refused'."""
        return {cell: state.status for cell, state in self.states().items()}

    def states(self) -> dict[str, CellState]:
        """Every stored cell, with the reason and the kind of failure of what failed or was refused."""

        def read(paths: list[str]) -> dict[str, CellState]:
            states = self._compacted_states(paths)
            of_cells = [path for path in paths if not _is_compact(path)]
            for path, content in zip(of_cells, self.location.get_all(of_cells), strict=True):
                state = self._state(path, content)
                if state is not None:
                    states[_cell(path)] = state
            return dict(sorted(states.items()))

        return self._consistently(read)

    def _state(self, path: str, content: bytes | DamagedFile) -> CellState | None:
        """State of a cell by its own file; None for a damaged one, which is set aside."""
        state = None
        try:
            if isinstance(content, bytes):
                is_sealed(content)
                state = state_in(content, _cell(path))
        except DamagedFile as error:
            content = error
        if state is None:
            table = self._parse(path, content, _STATE_COLUMNS)
            state = None if table is None else _worst(table)[_cell(path)]
        return state

    def read(self) -> list[ResultRow]:
        """Every stored row, sorted by cell; within a cell in the order they were written."""
        return rows_from_table(self.read_table())

    def read_table(self) -> pa.Table:
        """The same as `read`, as an Arrow table with the fields of `ResultRow` as columns."""
        return _merged(self._read_files())

    def remove(self, cell_digest: str) -> None:
        """Forget a cell, so that it is computed again. An interrupted removal leaves the cell stored."""
        path = _path(cell_digest)
        if cell_digest in self._consistently(self._compacted_states):
            began_ns = time.time_ns()
            compacts = [file for file in self._read_files() if file.compaction is not None]
            table = _merged(compacts)
            keep = [index for index, cell in enumerate(table["cell"].to_pylist()) if cell != cell_digest]
            self._replace(compacts, _take(table, keep), began_ns)
        self.location.delete(path)

    def set_aside(self, cell_digest: str, reason: str) -> str:
        """Keep the rows of a cell where a person can look at them, and forget them; returns the path."""
        rows = [row for row in self.read() if row.cell == cell_digest]
        target = self.location.unused(f"{_ROOT}/{DAMAGED}/{cell_digest}.parquet")
        log.warning("the rows of cell %s are set aside as %s: %s", cell_digest[:10], target, reason)
        if rows:
            self.location.put(target, to_parquet(table_from_rows(rows)))
        self.remove(cell_digest)
        return target

    def check(self) -> tuple[list[FileState], list[ResultRow]]:
        """State of every results file, and the rows of those that are whole; moves nothing."""

        def read(paths: list[str]) -> tuple[list[FileState], list[_File]]:
            states, files = [], []
            for path, content in zip(paths, self.location.get_all(paths), strict=True):
                try:
                    table = parse_results(path, content)
                except (DamagedFile, StoreSchemaError) as error:
                    states.append(FileState(path, error))
                else:
                    assert isinstance(content, bytes)
                    states.append(FileState(path, None, is_sealed(content)))
                    files.append(_File(path, content, table, _compaction(path, table)))
            return states, files

        states, files = self._consistently(read)
        return states, rows_from_table(_merged(files))

    def compact(self, *, began_ns: int | None = None) -> tuple[int, int, int]:
        """Merge all files into one; returns (files before, files after, rows).

        Safe to kill at any moment, and beside processes that read, write or compact.

        Args:
            began_ns: time that the merged file is from, now by default. A store that nobody else has takes 0, so that
                equal rows are equal files.
        """
        began_ns = time.time_ns() if began_ns is None else began_ns
        files = self._read_files()
        table = _merged(files)
        if len(files) < 2 and all(file.compaction is not None for file in files):
            return len(files), len(files), table.num_rows
        self._replace(files, table, began_ns)
        return len(files), len(self._list()), table.num_rows

    def compact_when_many(self, most: int = MOST_LOOSE) -> int:
        """Merge the files of single cells into one more compact file if there are more than `most`.

        The other compact files stay, so that a store of many cells is not written again for every thousand. As safe as
        `compact`.

        Returns:
            how many were merged.
        """
        began_ns = time.time_ns()
        if sum(not _is_compact(path) for path in self._list()) <= most:
            return 0
        files = self._read_files(with_compact=False)
        self._compacted_states(self._list())
        known_ns = max((compaction for compaction, _ in self._compacted.values()), default=0)
        self._replace(files, _merged(files), max(began_ns, 1 + known_ns))
        return len(files)

    def _replace(self, files: Sequence[_File], table: pa.Table, began_ns: int) -> None:
        """Write `table` as a compact file, then delete the files it stands for.

        Args:
            files: that were read.
            table: all rows of theirs that count.
            began_ns: time before they were read. The file with the later time wins: of two processes that compact, one
                may have read a cell before it was written again, and the other after.
        """
        written = ""
        if table.num_rows:
            compaction = max(began_ns, 1 + max((file.compaction or 0 for file in files), default=0))
            metadata = {**ROW_SCHEMA.metadata, _COMPACTION_KEY: str(compaction).encode()}
            content = to_parquet(table.replace_schema_metadata(metadata))
            written = f"{_ROOT}/{_COMPACT}{hashlib.sha256(content).hexdigest()}.parquet"
            self.location.put(written, content)
        for file in files:
            if file.path != written and self._is_unchanged(file):
                self.location.delete(file.path)

    def _is_unchanged(self, file: _File) -> bool:
        """False for a cell that was written again since we read it: its file holds newer rows and must stay."""
        try:
            return self.location.get(file.path) == file.content
        except (FileNotFoundError, DamagedFile):
            return False

    def _list(self) -> list[str]:
        return [path for path in self.location.files(_ROOT) if path.endswith(".parquet") and path.count("/") == 1]

    def _consistently(self, read: Callable[[list[str]], _T]) -> _T:
        """Result of `read` on the listed files, repeated when a compaction moved rows between files meanwhile."""
        for _ in range(_ATTEMPTS):
            paths = self._list()
            try:
                result = read(paths)
            except FileNotFoundError:
                continue
            # A listing that runs beside a compaction may miss both the new file and the one it replaced.
            if set(filter(_is_compact, self._list())) <= set(paths):
                return result
        raise StoreError(
            f"the results in {self.location.shown} change faster than they can be read; try again after the compaction"
        )

    def _read_files(self, *, with_compact: bool = True) -> list[_File]:
        def read(paths: list[str]) -> list[_File]:
            files = []
            paths = [path for path in paths if with_compact or not _is_compact(path)]
            for path, content in zip(paths, self.location.get_all(paths), strict=True):
                table = self._parse(path, content)
                if table is not None and isinstance(content, bytes):
                    files.append(_File(path, content, table, _compaction(path, table)))
            return files

        return self._consistently(read)

    def _compacted_states(self, paths: list[str]) -> dict[str, CellState]:
        """State of every cell in compact files, the latest compaction last and so winning."""
        new = list(filter(_is_compact, set(paths) - set(self._compacted)))
        for path, content in zip(new, self.location.get_all(new), strict=True):
            table = self._parse(path, content, _STATE_COLUMNS)
            if table is not None:
                self._compacted[path] = _compaction(path, table) or 0, _worst(table)
        latest: dict[str, CellState] = {}
        for _, states in sorted((self._compacted[p] for p in paths if p in self._compacted), key=lambda c: c[0]):
            latest.update(states)
        return latest

    def _parse(self, path: str, content: bytes | DamagedFile, columns: Sequence[str] | None = None) -> pa.Table | None:
        """The table of a file; None for a damaged one, which is set aside."""
        try:
            return parse_results(path, content, columns)
        except DamagedFile as error:
            self.location.try_to_set_aside(path, f"its cells will be recomputed: {error}")
        return None


def parse_results(path: str, content: bytes | DamagedFile, columns: Sequence[str] | None = None) -> pa.Table:
    """The table in a results file.

    Raises:
        DamagedFile: if it is damaged, or holds the rows of another cell.
        StoreSchemaError: if a newer midef wrote it.
    """
    if isinstance(content, DamagedFile):
        raise content
    if _is_compact(path) and hashlib.sha256(content).hexdigest() != _cell(path).removeprefix(_COMPACT):
        raise DamagedFile("its content does not match the checksum in its name")
    table = from_parquet(content, path, columns)
    cells = set(table["cell"].to_pylist())
    if not _is_compact(path) and cells != {_cell(path)}:
        raise DamagedFile(f"expected rows of cell {_cell(path)}, found {sorted(cells)}")
    if columns is None and SEAL_KEY not in table.schema.metadata:
        try:
            rows_from_table(table)
        except ValueError as error:
            raise DamagedFile(str(error)) from error
    return table


def _path(cell_digest: str) -> str:
    if not _CELL.fullmatch(cell_digest):
        raise ValueError(f"a cell digest is made of letters and digits, got {cell_digest!r}")
    return f"{_ROOT}/{cell_digest}.parquet"


def _cell(path: str) -> str:
    return path.removeprefix(_ROOT + "/").removesuffix(".parquet")


def _is_compact(path: str) -> bool:
    return path.startswith(f"{_ROOT}/{_COMPACT}")


def _compaction(path: str, table: pa.Table) -> int | None:
    if not _is_compact(path):
        return None
    return int((table.schema.metadata or {}).get(_COMPACTION_KEY, b"0"))


def _worst(table: pa.Table) -> dict[str, CellState]:
    """State of each cell: of its first row with the status that weighs most."""
    worst: dict[str, CellState] = {}
    columns = (table[name].to_pylist() for name in _STATE_COLUMNS)
    for cell, status, reason, failure in zip(*columns, strict=True):
        if cell not in worst or _WEIGHT.get(status, 2) > _WEIGHT.get(worst[cell].status, 2):
            worst[cell] = CellState(status, reason, failure)
    return worst


def _merged(files: Sequence[_File]) -> pa.Table:
    """The rows that count, sorted by cell: a cell's own file first, then the latest compaction that has it."""
    taken: set[str] = set()
    parts = [ROW_SCHEMA.empty_table()]
    for file in sorted(files, key=lambda f: (f.compaction is not None, -(f.compaction or 0), f.path)):
        cells = file.table["cell"].to_pylist()
        keep = [index for index, cell in enumerate(cells) if cell not in taken]
        part = file.table if len(keep) == len(cells) else _take(file.table, keep)
        parts.append(part.replace_schema_metadata(ROW_SCHEMA.metadata))
        taken.update(cells)
    table = pa.concat_tables(parts).combine_chunks()  # rows are taken from one chunk faster than from thousands
    cells = table["cell"].to_pylist()
    return _take(table, sorted(range(len(cells)), key=cells.__getitem__))


def _take(table: pa.Table, lines: Sequence[int]) -> pa.Table:
    return table.take(pa.array(lines, pa.int64()))  # arrow cannot tell the type of no lines
