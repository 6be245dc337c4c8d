"""A large results file whose columns are decoded when they are asked for.

A store of many cells has many rows and few different words, so columns of words are read as places in a list of the
different ones, and column by column: of a column only the wanted rows are kept. What a file says of itself is checked
when it is opened, and its checksum is over all of its bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from midef.core.errors import DamagedFile
from midef.storage.columns import DEFAULTS, ROW_SCHEMA, SCHEMA_KEY, as_ours, from_parquet, unreadable
from midef.storage.seals import is_sealed
from midef.storage.words import Words, as_arrow, encoded, words_of


class RowFile:
    """A results file, checked.

    Args:
        content: of the file.
        name: of the file, for messages.

    Raises:
        DamagedFile: if it is damaged or holds something else.
        StoreSchemaError: if a newer midef wrote it.
    """

    def __init__(self, content: bytes, name: str) -> None:
        self.name = name
        self._whole: pa.Table | None = None
        if not is_sealed(content):  # nothing but its values says that they are whole
            table = from_parquet(content, name)
            self.metadata: dict[bytes, bytes] = dict(table.schema.metadata or {})
            self._whole, self.length = encoded(table), table.num_rows
            return
        with unreadable():
            about = pq.read_metadata(pa.BufferReader(content))
            schema = about.schema.to_arrow_schema()
            words = [field.name for field in schema if field.type == pa.string()]
            self._file = pq.ParquetFile(
                pa.BufferReader(content), metadata=about, read_dictionary=words, page_checksum_verification=True
            )
        self.metadata = dict(schema.metadata or {})
        if not schema.equals(ROW_SCHEMA) or self.metadata.get(SCHEMA_KEY) != ROW_SCHEMA.metadata[SCHEMA_KEY]:
            as_ours(schema.empty_table(), name)
        self._names = frozenset(schema.names)
        self.length = about.num_rows

    def cells(self) -> Words:
        """The different cells, and the place of each row's cell among them [N]."""
        return words_of(self.column("cell"))

    def table(self, names: Sequence[str], lines: Any = None) -> pa.Table:
        """Columns of some rows; words are dictionaries.

        Args:
            names: of the columns.
            lines: numbers of the rows [N], int64; all rows if None.
        """
        if lines is None:
            return pa.table({name: self.column(name) for name in names})
        chosen, is_few = as_arrow(lines), 2 * len(lines) < self.length
        taken = ((name, self.column(name).take(chosen)) for name in names)  # one column at a time
        return encoded(pa.table({name: _without_unused(one) if is_few else one for name, one in taken}))

    def column(self, name: str) -> pa.ChunkedArray:
        """A column; words are a dictionary."""
        if self._whole is not None:
            return self._whole[name]
        field = ROW_SCHEMA.field(name)
        if name not in self._names:
            return encoded(pa.table({name: pa.array([DEFAULTS[name]] * self.length, field.type)}))[name]
        with unreadable():
            column = self._file.read(columns=[name], use_threads=False)[name]
        if column.null_count and not field.nullable:
            raise DamagedFile(f"column {name} lacks values")
        return column


def _without_unused(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column as plain words, so that those of rows that are left out are not kept."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
