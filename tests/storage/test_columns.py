"""Rows as Parquet: nothing is lost, nothing is read wrongly."""

from __future__ import annotations

import math
import random
from collections import ChainMap
from dataclasses import MISSING, Field, fields, replace
from typing import Any, get_args, get_type_hints

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midef.core import DamagedFile, ResultRow, StoreSchemaError
from midef.core.errors import FAILURE_KINDS
from midef.core.rows import ROW_SCHEMA_VERSION
from midef.storage.columns import (
    ADDED_SINCE_1,
    ROW_SCHEMA,
    SCHEMA_KEY,
    from_parquet,
    rows_from_table,
    table_from_rows,
    to_parquet,
)

INT64 = st.integers(-(2**63), 2**63 - 1)
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=8),
    int: INT64,
    float: st.floats(),
    bool: st.booleans(),
    type(None): st.none(),
}


def _values(annotation: Any) -> st.SearchStrategy[Any]:
    return st.one_of([VALUES[option] for option in get_args(annotation) or (annotation,)])


@st.composite
def any_row(draw: st.DrawFn) -> ResultRow:
    values = {name: draw(_values(annotation)) for name, annotation in get_type_hints(ResultRow).items()}
    values["status"] = draw(st.sampled_from(["ok", "failed", "refused"]))
    values["origin"] = draw(st.sampled_from(["measured", "published"]))
    values["failure"] = draw(st.sampled_from(["", *FAILURE_KINDS]))
    values["matched"] &= None not in [value for name, value in values.items() if name.startswith("match_")]
    if values["status"] == "ok":
        values["value"] = draw(st.floats())
    else:
        values["reason"] = draw(st.text(min_size=1, max_size=8))
    return ResultRow(**values)


def plain_row(**given: Any) -> ResultRow:
    texts = {f.name: "x" for f in fields(ResultRow) if f.name in ROW_SCHEMA.names and f.type == "str"}
    numbers = {"resolution_px": 64, "identities": 3, "images_per_identity": 2, "seed": 0, "value": 1.5}
    return ResultRow(**{**texts, **numbers, "status": "ok", "origin": "measured", "failure": "", **given})


MATCH_NUMBERS = {"match_target": 88.2, "match_tolerance": 0.5, "match_accuracy": 88.4, "match_seeds": 3}


@pytest.mark.parametrize("name", MATCH_NUMBERS)
def test_a_matched_row_says_to_what_and_how_near(name: str) -> None:
    assert plain_row(matched=True, **MATCH_NUMBERS).matched
    with pytest.raises(ValueError, match="row x of x is matched, and does not say to what and how near"):
        plain_row(matched=True, **{**MATCH_NUMBERS, name: None})


def test_a_failure_is_of_a_known_kind() -> None:
    assert plain_row(status="failed", failure="oom").failure == "oom"
    with pytest.raises(ValueError, match=r"failure must be one of oom, hung, .*, got 'memory'"):
        plain_row(status="failed", failure="memory")


@settings(max_examples=60, deadline=None)
@given(st.lists(any_row(), min_size=1, max_size=4))
def test_rows_come_back_as_they_were(rows: list[ResultRow]) -> None:
    back = rows_from_table(from_parquet(to_parquet(table_from_rows(rows)), "x"))
    assert [repr(row) for row in back] == [repr(row) for row in rows]  # repr: nan is nan, 1.0 is not 1


def test_columns_are_typed_as_the_fields_are() -> None:
    assert ROW_SCHEMA.names == [f.name for f in fields(ResultRow)]
    assert ROW_SCHEMA.field("metric") == pa.field("metric", pa.string(), nullable=False)
    assert ROW_SCHEMA.field("seed") == pa.field("seed", pa.int64(), nullable=True)
    assert ROW_SCHEMA.field("value") == pa.field("value", pa.float64(), nullable=True)
    assert ROW_SCHEMA.field("n") == pa.field("n", pa.int64(), nullable=True)
    assert ROW_SCHEMA.field("matched") == pa.field("matched", pa.bool_(), nullable=False)


@pytest.mark.parametrize("field", fields(ResultRow), ids=lambda field: field.name)
def test_what_came_after_schema_1_has_a_default_and_nothing_else_is_filled_in(field: Field[Any]) -> None:
    came_later = field.name not in {column.name for column in SCHEMA_1}
    assert (field.name in ADDED_SINCE_1) == came_later
    assert not came_later or field.default is not MISSING


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"unit": 3}, "column 'unit' holds string"),
        ({"value": "high"}, "column 'value' holds double"),
        ({"seed": 2**63}, "column 'seed' holds int64"),
        ({"matched": "yes", **MATCH_NUMBERS}, "column 'matched' holds bool"),
        ({"unit": None}, "column 'unit' must not be None; only resolution_px, identities"),
    ],
    ids=["number as text", "text as number", "too large", "text as yes or no", "none"],
)
def test_a_value_its_column_cannot_hold_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        table_from_rows([plain_row(**given)])


def test_a_newer_row_schema_is_refused() -> None:
    table = table_from_rows([plain_row()]).replace_schema_metadata({SCHEMA_KEY: str(ROW_SCHEMA_VERSION + 1).encode()})
    expected = f"results file c.parquet has row schema {ROW_SCHEMA_VERSION + 1}, midef .* supports up to"
    with pytest.raises(StoreSchemaError, match=expected):
        from_parquet(to_parquet(table), "c.parquet")


def test_other_parquet_files_are_unreadable() -> None:
    with pytest.raises(DamagedFile, match="expected the metadata midef_row_schema, found none"):
        from_parquet(to_parquet(pa.table({"a": [1]})), "x")
    lacking = table_from_rows([plain_row()]).drop_columns(["unit"])
    with pytest.raises(DamagedFile, match="expected the columns of row schema"):
        from_parquet(to_parquet(lacking), "x")


def test_a_flipped_bit_never_gives_other_rows() -> None:
    rows = [plain_row(metric=name, value=math.pi) for name in ("attack_accuracy", "test_accuracy")]
    content = to_parquet(table_from_rows(rows))
    assert rows_from_table(from_parquet(content, "x")) == rows
    rng = random.Random(0)
    for position in rng.sample(range(len(content)), 300):
        damaged = bytearray(content)
        damaged[position] ^= 1 << rng.randrange(8)
        with pytest.raises(DamagedFile):
            from_parquet(bytes(damaged), "x")


def _texts(*names: str) -> list[pa.Field]:
    return [pa.field(name, pa.string(), nullable=False) for name in names]


def _numbers(kind: pa.DataType, *names: str, nullable: bool = True) -> list[pa.Field]:
    return [pa.field(name, kind, nullable=nullable) for name in names]


# The columns as midef wrote them then, not derived from what ResultRow is today.
SCHEMA_1 = [
    *_texts("sweep", "profile", "cell", "setup", "defense", "defense_name", "defense_params", "attack", "attack_name"),
    *_texts("access", "architecture", "private", "public", "evaluator"),
    *_numbers(pa.int64(), "resolution_px", "identities", "images_per_identity", "seed", nullable=False),
    *_texts("metric"),
    *_numbers(pa.float64(), "value"),
    *_texts("unit", "larger_is"),
    *_numbers(pa.float64(), "low", "high"),
    *_texts("interval"),
    *_numbers(pa.int64(), "n", "groups"),
    *_numbers(pa.float64(), "spread"),
    *_texts("spread_kind"),
    *_numbers(pa.float64(), "chance", "evaluator_accuracy"),
    *_texts("status", "reason", "origin", "source", "target_key", "reconstructions_key", "scores_key"),
    *_texts("code_version", "device"),
    *_numbers(pa.float64(), "wall_s", "peak_memory_mb"),
    *_numbers(pa.int64(), "queries"),
]
NULLABLE_SINCE_3 = ("resolution_px", "identities", "images_per_identity", "seed")
SCHEMA_2 = [
    *SCHEMA_1,
    *_texts("attack_params"),
    *_numbers(pa.int64(), "evaluator_resolution_px"),
    *_texts("resize", "counted"),
    *_numbers(pa.int64(), "group_size"),
    *_texts("knn_reference"),
]
SCHEMA_3 = [
    *[pa.field(c.name, c.type) if c.name in NULLABLE_SINCE_3 else c for c in SCHEMA_2],
    *_texts("certainty", "stand_ins", "remark"),
]
SCHEMA_4 = [
    *SCHEMA_3,
    pa.field("matched", pa.bool_(), nullable=False),
    *_numbers(pa.float64(), "match_target", "match_tolerance", "match_accuracy"),
    *_numbers(pa.int64(), "match_seeds"),
]
SCHEMA_5 = [
    *SCHEMA_4,
    *_texts("failure"),
    pa.field("private_is_generated", pa.bool_()),
    *_texts("column"),
]
SCHEMA_6 = [
    *SCHEMA_5,
    *_texts("outcomes"),
    *_numbers(pa.float64(), "evaluator_low", "evaluator_high"),
    *_numbers(pa.int64(), "select_images"),
]
SCHEMA_7 = [
    *SCHEMA_6,
    *_numbers(pa.float64(), "ceiling"),
    pa.field("is_estimate", pa.bool_(), nullable=False),
]
SCHEMA_8 = [
    *SCHEMA_7,
    *_numbers(pa.float64(), "confidence_start", "confidence_end", "confidence_rise", "confidence_rise_low"),
    *_numbers(pa.float64(), "gradient_start", "gradient_end"),
]
SCHEMA_9 = [*SCHEMA_8, *_texts("settings")]
OLDER = {
    **{9: SCHEMA_9},
    **{1: SCHEMA_1, 2: SCHEMA_2, 3: SCHEMA_3, 4: SCHEMA_4, 5: SCHEMA_5, 6: SCHEMA_6, 7: SCHEMA_7, 8: SCHEMA_8},
}
ADDED_IN_2: dict[str, Any] = {
    **{"attack_params": "", "evaluator_resolution_px": None, "resize": "", "counted": "", "group_size": None},
    **{"knn_reference": ""},
}
ADDED_IN_3: dict[str, Any] = {"certainty": "", "stand_ins": "", "remark": ""}
ADDED_IN_4: dict[str, Any] = {
    **{"matched": False, "match_target": None, "match_tolerance": None, "match_accuracy": None, "match_seeds": None},
}
ADDED_IN_5: dict[str, Any] = {"failure": "", "column": "", "private_is_generated": None}
ADDED_IN_6: dict[str, Any] = {
    **{"outcomes": "", "evaluator_low": None, "evaluator_high": None, "select_images": None},
}
ADDED_IN_7: dict[str, Any] = {"ceiling": None, "is_estimate": False}
ADDED_IN_8: dict[str, Any] = {
    **{"confidence_start": None, "confidence_end": None, "confidence_rise": None, "confidence_rise_low": None},
    **{"gradient_start": None, "gradient_end": None},
}
ADDED_IN_9: dict[str, Any] = {"settings": ""}
ADDED_IN_10: dict[str, Any] = {"victims": ""}
ADDED = [
    *(ADDED_IN_2, ADDED_IN_3, ADDED_IN_4, ADDED_IN_5, ADDED_IN_6, ADDED_IN_7, ADDED_IN_8, ADDED_IN_9, ADDED_IN_10),
]
DEFAULTS = {version: dict(ChainMap(*ADDED[version - 1 :])) for version in OLDER}


def old_file(version: int, columns: list[pa.Field] | None = None, **metadata: str) -> bytes:
    """A results file as midef wrote it under an older schema: one line, no value a default."""
    of_type = {pa.string(): "measured", pa.int64(): 3, pa.float64(): 0.5, pa.bool_(): True}
    columns = columns if columns is not None else OLDER[version]
    known = {"status": "ok", "failure": "bug"}
    line = {column.name: known.get(column.name, of_type[column.type]) for column in columns}
    about = {SCHEMA_KEY: str(version).encode(), **{k.encode(): v.encode() for k, v in metadata.items()}}
    return to_parquet(pa.Table.from_pylist([line], schema=pa.schema(columns, metadata=about)))


@pytest.mark.parametrize("version", OLDER)
def test_rows_of_an_older_schema_are_read_with_defaults_for_what_came_later(version: int) -> None:
    (read,) = rows_from_table(from_parquet(old_file(version), "old"))
    assert read == replace(_example(), **DEFAULTS[version])


@pytest.mark.parametrize("version", OLDER)
@pytest.mark.parametrize(
    "columns",
    [
        ["cell", "status"],
        ["seed", "status", "cell"],
        ["metric", "group_size"],
        ["certainty"],
        ["remark", "value"],
        ["match_target", "matched"],
        ["cell", "status", "reason", "failure"],
        ["column", "metric"],
        ["outcomes", "evaluator_low"],
        ["metric", "ceiling", "is_estimate"],
        ["confidence_end", "metric"],
        ["settings", "certainty"],
        ["victims"],
    ],
    ids="+".join,
)
def test_some_columns_of_an_older_file(version: int, columns: list[str]) -> None:
    table = from_parquet(old_file(version), "old", columns=columns)
    whole = vars(replace(_example(), **DEFAULTS[version]))
    assert table.to_pylist() == [{name: whole[name] for name in columns}]
    assert table.schema.equals(pa.schema([ROW_SCHEMA.field(name) for name in columns]))


@pytest.mark.parametrize("version", OLDER)
@pytest.mark.parametrize("columns", [None, ["cell", "status"]])
def test_an_older_file_keeps_its_own_metadata(version: int, columns: list[str] | None) -> None:
    table = from_parquet(old_file(version, midef_compaction="7"), "old", columns=columns)
    assert table.schema.metadata[b"midef_compaction"] == b"7"
    assert table.schema.metadata[SCHEMA_KEY] == str(version).encode()


@pytest.mark.parametrize("version", OLDER)
@pytest.mark.parametrize("columns", [None, ["cell", "seed"]])
@pytest.mark.parametrize(
    "field",
    [pa.field("seed", pa.string(), nullable=False), pa.field("cell", pa.int64(), nullable=False)],
    ids=["seed as text", "cell as number"],
)
def test_an_older_file_with_another_type_is_not_ours(version: int, columns: list[str] | None, field: pa.Field) -> None:
    other = [field if column.name == field.name else column for column in OLDER[version]]
    with pytest.raises(DamagedFile, match="expected the columns"):
        from_parquet(old_file(version, other), "old", columns)


def test_a_file_that_has_a_later_column_with_another_type_is_not_ours() -> None:
    with pytest.raises(DamagedFile, match="expected the columns"):
        from_parquet(old_file(3, [*SCHEMA_3, *_texts("matched")]), "old")


def test_an_older_file_with_a_gap_in_a_column_that_has_none_is_not_ours() -> None:
    nullable = [pa.field(column.name, column.type) for column in SCHEMA_2]
    table = pa.Table.from_pylist([{"cell": None}], schema=pa.schema(nullable, metadata={SCHEMA_KEY: b"2"}))
    with pytest.raises(DamagedFile, match="expected the columns"):
        from_parquet(to_parquet(table), "old")


@pytest.mark.parametrize("column", ["sweep", "status"])
def test_an_older_file_without_a_column_it_had_is_not_ours(column: str) -> None:
    row = _example()
    old = table_from_rows([row]).drop_columns([column]).replace_schema_metadata({SCHEMA_KEY: b"1"})
    with pytest.raises(DamagedFile, match="expected the columns"):
        from_parquet(to_parquet(old), "old")


def _example() -> ResultRow:
    """Every column with a value of its type that is no default."""
    values: dict[type, Any] = {str: "measured", int: 3, float: 0.5, bool: True}
    hints = get_type_hints(ResultRow)
    given = {f.name: values[(get_args(hints[f.name]) or (hints[f.name],))[0]] for f in fields(ResultRow)}
    return ResultRow(**{**given, "status": "ok", "failure": "bug"})
