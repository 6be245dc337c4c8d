"""Result rows as an Arrow table and as Parquet bytes. The columns are the fields of `ResultRow`."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

import midef
from midef.core.errors import DamagedFile, StoreSchemaError
from midef.core.rows import ROW_SCHEMA_VERSION, ResultRow
from midef.storage.seals import BLANK, is_sealed, seal

SCHEMA_KEY = b"midef_row_schema"
STATE_KEY = b"midef_state"
SEAL_KEY = b"midef_seal"
_SEALED_SINCE = 6
"""Files of rows carry a checksum from this row schema on."""
SINCE = {
    **dict.fromkeys(("attack_params", "evaluator_resolution_px", "resize", "counted", "group_size"), 2),
    **dict.fromkeys(("knn_reference",), 2),
    **dict.fromkeys(("certainty", "stand_ins", "remark"), 3),
    **dict.fromkeys(("matched", "match_target", "match_tolerance", "match_accuracy", "match_seeds"), 4),
    **dict.fromkeys(("failure", "column", "private_is_generated"), 5),
    **dict.fromkeys(("outcomes", "evaluator_low", "evaluator_high", "select_images"), 6),
    **dict.fromkeys(("ceiling", "is_estimate"), 7),
    **dict.fromkeys(("confidence_start", "confidence_end", "confidence_rise", "confidence_rise_low"), 8),
    **dict.fromkeys(("gradient_start", "gradient_end"), 8),
    **{"settings": 9, "victims": 10},
}
"""Row schema that a column came with; of any other, 1."""
ADDED_SINCE_1 = frozenset(SINCE)
_SMALL_ROWS = 64
"""Up to here packing saves no space worth its time: a cell's file is 10 % larger without, and read in two thirds."""
_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def _field(name: str, annotation: Any) -> pa.Field:
    """`float | None` is a nullable float64 column; a plain type is not nullable."""
    is_union = get_origin(annotation) in (Union, UnionType)
    options = get_args(annotation) if is_union else (annotation,)
    types = [option for option in options if option is not type(None)]
    if len(types) != 1 or types[0] not in _TYPES:
        raise TypeError(
            f"ResultRow.{name} is {annotation}; a column holds str, int, float, bool, or one of them or None"
        )
    return pa.field(name, _TYPES[types[0]], nullable=len(options) > 1)


def _row_schema() -> pa.Schema:
    hints = get_type_hints(ResultRow)
    columns = [_field(f.name, hints[f.name]) for f in fields(ResultRow)]
    return pa.schema(columns, metadata={SCHEMA_KEY: str(ROW_SCHEMA_VERSION).encode()})


ROW_SCHEMA = _row_schema()


def table_from_rows(rows: Sequence[ResultRow]) -> pa.Table:
    """One line per row, columns typed by `ROW_SCHEMA`.

    Raises:
        ValueError: for a value its column cannot hold, naming the column.
    """
    columns = []
    for column in ROW_SCHEMA:
        values = [getattr(row, column.name) for row in rows]
        try:
            array = pa.array(values, type=column.type)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
            raise ValueError(f"column {column.name!r} holds {column.type}: {error}") from error
        if array.null_count and not column.nullable:
            raise ValueError(f"column {column.name!r} must not be None; only {', '.join(_nullable())} may")
        columns.append(array)
    return pa.Table.from_arrays(columns, schema=ROW_SCHEMA)


def rows_from_table(table: pa.Table) -> list[ResultRow]:
    """Inverse of `table_from_rows`."""
    return [ResultRow(**line) for line in table.to_pylist()]


def to_parquet(table: pa.Table) -> bytes:
    """Parquet with a checksum over the whole file, and one per page, as other readers check it."""
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), SEAL_KEY: BLANK})
    sink = pa.BufferOutputStream()
    is_small = table.num_rows <= _SMALL_ROWS
    pq.write_table(
        table,
        sink,
        compression="none" if is_small else "zstd",
        use_dictionary=not is_small,
        write_page_checksum=True,
        write_statistics=False,
    )
    return seal(sink.getvalue().to_pybytes())


_MAGIC = b"PAR1"
_SUMMARY = re.compile(rb"midef_state:([0-9a-f]{8}):([0-9a-f]{8}):")


@dataclass(frozen=True)
class CellState:
    """Worst state of a cell.

    Args:
        status: the one of its rows that weighs most, `failed` before `ok` before `refused`.
        reason, failure: of the first row with that status; "" where all is well.
    """

    status: str
    reason: str = ""
    failure: str = ""


def with_state(table: pa.Table, cell: str, state: CellState) -> pa.Table:
    """The table of one cell whose file says in a few bytes what became of the cell, for `state_in` to find."""
    content = json.dumps([ROW_SCHEMA_VERSION, cell, *astuple(state)]).encode()
    summary = b"midef_state:%08x:%08x:%s" % (zlib.crc32(content), len(content), content)
    return table.replace_schema_metadata({**(table.schema.metadata or {}), STATE_KEY: summary})


def state_in(content: bytes, cell: str) -> CellState | None:
    """State that `with_state` put into the file of a cell; None where the columns must be asked.

    Decoding the footer of a file costs more than all else about a status: every column is described there. So it
    is not decoded but searched, and what is found there proves itself by its checksum.
    """
    footer = int.from_bytes(content[-8:-4], "little") if content[-4:] == _MAGIC == content[:4] else 0
    if not 0 < footer <= len(content) - 12:
        return None
    match = _SUMMARY.search(content, len(content) - 8 - footer)
    if match is None:
        return None
    summary = content[match.end() : match.end() + int(match[2], 16)]
    if zlib.crc32(summary) != int(match[1], 16):
        return None
    version, of, *state = json.loads(summary)
    return CellState(*state) if version <= ROW_SCHEMA_VERSION and of == cell else None


def from_parquet(content: bytes, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The table in a results file called `name`, with the file's own metadata.

    Raises:
        DamagedFile: if it is damaged or holds something else.
        StoreSchemaError: if a newer midef wrote it.
    """
    table = read_checked(content, columns)
    metadata = table.schema.metadata or {}
    version = metadata.get(SCHEMA_KEY, b"")
    if not version.isdigit():
        raise DamagedFile(f"expected the metadata {SCHEMA_KEY.decode()}, found none")
    if int(version) >= _SEALED_SINCE and SEAL_KEY not in metadata:
        raise DamagedFile("its checksum is missing")
    if int(version) > ROW_SCHEMA_VERSION:
        raise StoreSchemaError(
            f"results file {name} has row schema {int(version)}, midef {midef.__version__} supports up to "
            f"{ROW_SCHEMA_VERSION}: upgrade midef or choose another --store"
        )
    expected = ROW_SCHEMA if columns is None else pa.schema([ROW_SCHEMA.field(column) for column in columns])
    if int(version) < ROW_SCHEMA_VERSION:
        table = _upgraded(table, expected)
    if not table.schema.equals(expected):
        raise DamagedFile(f"expected the columns of row schema {ROW_SCHEMA_VERSION}, found {table.schema.names}")
    return table


def _upgraded(table: pa.Table, expected: pa.Schema) -> pa.Table:
    """A table of an older schema with the columns that were added since, holding their defaults.

    What is not a table of an older schema comes back with other columns or types than `expected`.
    """
    metadata = table.schema.metadata
    defaults = {f.name: f.default for f in fields(ResultRow)}
    for column in expected:
        if column.name not in table.schema.names and column.name in ADDED_SINCE_1:
            values = pa.array([defaults[column.name]] * len(table), type=column.type)
            table = table.append_column(column, values)
    if sorted(table.schema.names) != sorted(expected.names):
        return table
    table = table.select(expected.names)
    if table.schema.types != expected.types:
        return table
    if any(table[column.name].null_count for column in expected if not column.nullable):
        return table
    # What is nullable now was not then. The metadata stays: it counts compactions.
    return pa.Table.from_arrays(table.columns, schema=expected.with_metadata(metadata))


def read_checked(content: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """Any Parquet file, checked; its metadata holds `SEAL_KEY` where the whole file was under a checksum.

    Raises:
        DamagedFile: if it cannot be read, or its checksum does not hold.
    """
    sealed = is_sealed(content)
    try:
        source = pa.BufferReader(content)
        table = pq.ParquetFile(source, page_checksum_verification=True).read(columns=columns, use_threads=False)
        table.validate(full=True)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError, pa.ArrowException) as error:
        raise DamagedFile(str(error)) from error
    if not sealed and SEAL_KEY in (table.schema.metadata or {}):
        raise DamagedFile("its checksum is missing")
    return table


def _nullable() -> list[str]:
    return [column.name for column in ROW_SCHEMA if column.nullable]
