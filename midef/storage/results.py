"""Stores result rows: one Parquet file per cell, merged by `compact`."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from midef.core.errors import DamagedFile, StoreError, StoreSchemaError
from midef.core.rows import ResultRow
from midef.storage.cell_state import STATE_COLUMNS, CellState, state_in, with_state, worst_states
from midef.storage.columns import ROW_SCHEMA, decoded, rows_from_table, table_from_rows, to_parquet
from midef.storage.location import DAMAGED, Location
from midef.storage.result_files import (
    COMPACT,
    COMPACTION_KEY,
    ROOT,
    ResultFile,
    cell_of,
    compaction_of,
    is_compact,
    merged,
    open_compact,
    parse_results,
    path_of,
    sorted_by_cell,
)
from midef.storage.row_file import RowFile
from midef.storage.seals import is_sealed
from midef.storage.words import as_arrow, encoded, has_word

MOST_LOOSE = 1000
"""Files of single cells that a store may hold before a run merges them. Each costs a reader some 2 ms."""
_ATTEMPTS = 10
_T = TypeVar("_T")
Where: TypeAlias = Mapping[str, Callable[[str], bool]]

log = logging.getLogger(__name__)


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
        path = path_of(cell_digest)
        if not rows:
            raise ValueError(f"no rows for cell {cell_digest[:10]}; a cell that failed is a row with status 'failed'")
        others = sorted({row.cell for row in rows} - {cell_digest})
        if others:
            raise ValueError(f"rows of cell {cell_digest!r} must have it as their 'cell', found {others}")
        table = table_from_rows(rows)
        self.location.put(path, to_parquet(with_state(table, cell_digest, worst_states(table)[cell_digest])))

    def has(self, cell_digest: str) -> bool:
        """True if readable rows of the cell are stored."""
        path = path_of(cell_digest)

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
            of_cells = [path for path in paths if not is_compact(path)]
            for path, content in zip(of_cells, self.location.get_all(of_cells), strict=True):
                state = self._state(path, content)
                if state is not None:
                    states[cell_of(path)] = state
            return {cell: states[cell] for cell in sorted(states)}

        return self._consistently(read)

    def _state(self, path: str, content: bytes | DamagedFile) -> CellState | None:
        """State of a cell by its own file; None for a damaged one, which is set aside."""
        state = None
        try:
            if isinstance(content, bytes):
                is_sealed(content)
                state = state_in(content, cell_of(path))
        except DamagedFile as error:
            content = error
        if state is None:
            table = self._parse(path, content, STATE_COLUMNS)
            state = None if table is None else worst_states(table)[cell_of(path)]
        return state

    def read(self, cells: Collection[str] | None = None, where: Where | None = None) -> list[ResultRow]:
        """Stored rows, sorted by cell; within a cell in the order they were written.

        Args:
            cells: the only ones whose rows are read; all if None.
            where: by columns of words, whether rows with a word are read.
        """
        return rows_from_table(self.read_encoded(cells, where))

    def read_table(self) -> pa.Table:
        """The same as `read`, as an Arrow table with the fields of `ResultRow` as columns."""
        return decoded(self.read_encoded())

    def read_encoded(self, cells: Collection[str] | None = None, where: Where | None = None) -> pa.Table:
        """The same, with columns of words as dictionaries.

        Only the column of cells is decoded of a compact file that holds none of them, and those of `where` of one that
        holds no such row.
        """
        import numpy as np

        wanted = None if cells is None else frozenset(cells)

        def read(paths: list[str]) -> pa.Table:
            own = [p for p in paths if not is_compact(p) and (wanted is None or cell_of(p) in wanted)]
            taken: set[str] = set()
            loose: list[pa.Table] = []
            for path, content in zip(own, self.location.get_all(own), strict=True):
                table = self._parse(path, content)
                if table is not None:
                    loose.append(table.replace_schema_metadata(ROW_SCHEMA.metadata))
                    taken.add(cell_of(path))
            parts = [_where(encoded(pa.concat_tables(loose)), where)] if loose else []
            for _, file in sorted(self._compact(paths), key=lambda one: (-one[0], one[1].name)):
                try:
                    texts, places = file.cells()
                    counts = np.array([text not in taken and (wanted is None or text in wanted) for text in texts])
                    lines = np.flatnonzero(counts[places])
                    for name, is_read in (where or {}).items():
                        lines = lines[has_word(file.column(name), is_read)[lines]] if len(lines) else lines
                    if len(lines):
                        parts.append(file.table(ROW_SCHEMA.names, lines))
                except DamagedFile as error:
                    self._set_aside(file.name, error)
                else:
                    taken.update(texts)
            return sorted_by_cell(pa.concat_tables(parts)) if parts else encoded(ROW_SCHEMA.empty_table())

        return self._consistently(read)

    def _compact(self, paths: Sequence[str]) -> Iterator[tuple[int, RowFile]]:
        """Time and content of compact files; without damaged ones, which are set aside."""
        compact = list(filter(is_compact, paths))
        for path, content in zip(compact, self.location.get_all(compact), strict=True):
            try:
                file = open_compact(path, content)
            except DamagedFile as error:
                self._set_aside(path, error)
            else:
                yield int(file.metadata.get(COMPACTION_KEY, b"0")), file

    def remove(self, cell_digest: str) -> None:
        """Forget a cell, so that it is computed again. An interrupted removal leaves the cell stored."""
        path = path_of(cell_digest)
        if cell_digest in self._consistently(self._compacted_states):
            began_ns = time.time_ns()
            compacts = [file for file in self._read_files() if file.compaction is not None]
            table = merged(compacts)
            self._replace(compacts, table.filter(pc.not_equal(table["cell"], cell_digest)), began_ns)
        self.location.delete(path)

    def set_aside(self, cell_digest: str, reason: str) -> str:
        """Keep the rows of a cell where a person can look at them, and forget them; returns the path."""
        rows = self.read([cell_digest])
        target = self.location.unused(f"{ROOT}/{DAMAGED}/{cell_digest}.parquet")
        log.warning("the rows of cell %s are set aside as %s: %s", cell_digest[:10], target, reason)
        if rows:
            self.location.put(target, to_parquet(table_from_rows(rows)))
        self.remove(cell_digest)
        return target

    def check(self) -> tuple[list[FileState], list[ResultRow]]:
        """State of every results file, and the rows of those that are whole; moves nothing."""

        def read(paths: list[str]) -> tuple[list[FileState], list[ResultFile]]:
            states, files = [], []
            for path, content in zip(paths, self.location.get_all(paths), strict=True):
                try:
                    table = parse_results(path, content)
                except (DamagedFile, StoreSchemaError) as error:
                    states.append(FileState(path, error))
                else:
                    assert isinstance(content, bytes)
                    states.append(FileState(path, None, is_sealed(content)))
                    files.append(ResultFile(path, content, table, compaction_of(path, table)))
            return states, files

        states, files = self._consistently(read)
        return states, rows_from_table(merged(files))

    def compact(self, *, began_ns: int | None = None) -> tuple[int, int, int]:
        """Merge all files into one; returns (files before, files after, rows).

        Safe to kill at any moment, and beside processes that read, write or compact.

        Args:
            began_ns: time that the merged file is from, now by default. A store that nobody else has takes 0, so that
                equal rows are equal files.
        """
        began_ns = time.time_ns() if began_ns is None else began_ns
        files = self._read_files()
        table = merged(files)
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
        if sum(not is_compact(path) for path in self._list()) <= most:
            return 0
        files = self._read_files(with_compact=False)
        self._compacted_states(self._list())
        known_ns = max((compaction for compaction, _ in list(self._compacted.values())), default=0)
        self._replace(files, merged(files), max(began_ns, 1 + known_ns))
        return len(files)

    def _replace(self, files: Sequence[ResultFile], table: pa.Table, began_ns: int) -> None:
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
            metadata = {**ROW_SCHEMA.metadata, COMPACTION_KEY: str(compaction).encode()}
            content = to_parquet(table.replace_schema_metadata(metadata))
            written = f"{ROOT}/{COMPACT}{hashlib.sha256(content).hexdigest()}.parquet"
            self.location.put(written, content)
        for file in files:
            if file.path != written and self._is_unchanged(file):
                self.location.delete(file.path)

    def _is_unchanged(self, file: ResultFile) -> bool:
        """False for a cell that was written again since we read it: its file holds newer rows and must stay."""
        try:
            return self.location.get(file.path) == file.content
        except (FileNotFoundError, DamagedFile):
            return False

    def _list(self) -> list[str]:
        return [path for path in self.location.files(ROOT) if path.endswith(".parquet") and path.count("/") == 1]

    def _consistently(self, read: Callable[[list[str]], _T]) -> _T:
        """Result of `read` on the listed files, repeated when a compaction moved rows between files meanwhile."""
        for _ in range(_ATTEMPTS):
            paths = self._list()
            try:
                result = read(paths)
            except FileNotFoundError:
                continue
            # A listing that runs beside a compaction may miss both the new file and the one it replaced.
            if set(filter(is_compact, self._list())) <= set(paths):
                return result
        raise StoreError(
            f"the results in {self.location.shown} change faster than they can be read; try again after the compaction"
        )

    def _read_files(self, *, with_compact: bool = True) -> list[ResultFile]:
        def read(paths: list[str]) -> list[ResultFile]:
            files = []
            paths = [path for path in paths if with_compact or not is_compact(path)]
            for path, content in zip(paths, self.location.get_all(paths), strict=True):
                table = self._parse(path, content)
                if table is not None and isinstance(content, bytes):
                    files.append(ResultFile(path, content, table, compaction_of(path, table)))
            return files

        return self._consistently(read)

    def _compacted_states(self, paths: list[str]) -> dict[str, CellState]:
        """State of every cell in compact files, the latest compaction last and so winning."""
        for compaction, file in self._compact([path for path in paths if path not in self._compacted]):
            try:
                self._compacted[file.name] = compaction, worst_states(file.table(STATE_COLUMNS))
            except DamagedFile as error:
                self._set_aside(file.name, error)
        latest: dict[str, CellState] = {}
        for _, states in sorted((self._compacted[p] for p in paths if p in self._compacted), key=lambda c: c[0]):
            latest.update(states)
        return latest

    def _parse(self, path: str, content: bytes | DamagedFile, columns: Sequence[str] | None = None) -> pa.Table | None:
        """The table of a file; None for a damaged one, which is set aside."""
        try:
            return parse_results(path, content, columns)
        except DamagedFile as error:
            self._set_aside(path, error)
        return None

    def _set_aside(self, path: str, error: DamagedFile) -> None:
        self.location.try_to_set_aside(path, f"its cells will be recomputed: {error}")


def _where(table: pa.Table, where: Where | None) -> pa.Table:
    import numpy as np

    for name, is_read in (where or {}).items():
        table = table.take(as_arrow(np.flatnonzero(has_word(table[name], is_read))))
    return table
