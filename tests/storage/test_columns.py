"""Rows as Parquet: nothing is lost, nothing is read wrongly."""

from __future__ import annotations

import math
import random
from dataclasses import fields, replace
from typing import Any, get_args, get_type_hints

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midef.core import ResultRow, StoreSchemaError
from midef.core.rows import ROW_SCHEMA_VERSION
from midef.storage.columns import (
    ROW_SCHEMA,
    SCHEMA_KEY,
    UnreadableFile,
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
    type(None): st.none(),
}


def _values(annotation: Any) -> st.SearchStrategy[Any]:
    return st.one_of([VALUES[option] for option in get_args(annotation) or (annotation,)])


@st.composite
def any_row(draw: st.DrawFn) -> ResultRow:
    values = {name: draw(_values(annotation)) for name, annotation in get_type_hints(ResultRow).items()}
    values["status"] = draw(st.sampled_from(["ok", "failed", "refused"]))
    values["origin"] = draw(st.sampled_from(["measured", "published"]))
    if values["status"] == "ok":
        values["value"] = draw(st.floats())
    else:
        values["reason"] = draw(st.text(min_size=1, max_size=8))
    return ResultRow(**values)


def plain_row(**given: Any) -> ResultRow:
    texts = {f.name: "x" for f in fields(ResultRow) if f.name in ROW_SCHEMA.names and f.type == "str"}
    numbers = {"resolution_px": 64, "identities": 3, "images_per_identity": 2, "seed": 0, "value": 1.5}
    return ResultRow(**{**texts, **numbers, "status": "ok", "origin": "measured", **given})


@settings(max_examples=60, deadline=None)
@given(st.lists(any_row(), min_size=1, max_size=4))
def test_rows_come_back_as_they_were(rows: list[ResultRow]) -> None:
    back = rows_from_table(from_parquet(to_parquet(table_from_rows(rows)), "x"))
    assert [repr(row) for row in back] == [repr(row) for row in rows]  # repr: nan is nan, 1.0 is not 1


def test_columns_are_typed_as_the_fields_are() -> None:
    assert ROW_SCHEMA.names == [f.name for f in fields(ResultRow)]
    assert ROW_SCHEMA.field("metric") == pa.field("metric", pa.string(), nullable=False)
    assert ROW_SCHEMA.field("seed") == pa.field("seed", pa.int64(), nullable=False)
    assert ROW_SCHEMA.field("value") == pa.field("value", pa.float64(), nullable=True)
    assert ROW_SCHEMA.field("n") == pa.field("n", pa.int64(), nullable=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"unit": 3}, "column 'unit' holds string"),
        ({"value": "high"}, "column 'value' holds double"),
        ({"seed": 2**63}, "column 'seed' holds int64"),
        ({"unit": None}, "column 'unit' must not be None; only value, low"),
    ],
    ids=["number as text", "text as number", "too large", "none"],
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
    with pytest.raises(UnreadableFile, match="expected the metadata midef_row_schema, found none"):
        from_parquet(to_parquet(pa.table({"a": [1]})), "x")
    lacking = table_from_rows([plain_row()]).drop_columns(["unit"])
    with pytest.raises(UnreadableFile, match="expected the columns of row schema"):
        from_parquet(to_parquet(lacking), "x")


def test_a_flipped_bit_never_gives_other_rows() -> None:
    rows = [plain_row(metric=name, value=math.pi) for name in ("attack_accuracy", "test_accuracy")]
    content = to_parquet(table_from_rows(rows))
    rng, found = random.Random(0), 0
    for position in rng.sample(range(len(content)), 300):
        damaged = bytearray(content)
        damaged[position] ^= 1 << rng.randrange(8)
        try:
            assert rows_from_table(from_parquet(bytes(damaged), "x")) == rows, position
        except (UnreadableFile, StoreSchemaError):
            found += 1
    assert found > 100


def test_rows_of_an_older_schema_are_read_with_defaults_for_what_came_later() -> None:
    row = _example()
    later = ["attack_params", "evaluator_resolution_px", "resize", "counted", "group_size", "knn_reference"]
    old = table_from_rows([row]).drop_columns(later).replace_schema_metadata({SCHEMA_KEY: b"1"})
    (read,) = rows_from_table(from_parquet(to_parquet(old), "old"))
    absent = {"attack_params": "", "resize": "", "counted": "", "knn_reference": ""}
    assert read == replace(row, evaluator_resolution_px=None, group_size=None, **absent)
    (only,) = from_parquet(to_parquet(old), "old", columns=["metric", "group_size"]).to_pylist()
    assert only == {"metric": row.metric, "group_size": None}


@pytest.mark.parametrize("column", ["sweep", "status"])
def test_an_older_file_without_a_column_it_had_is_not_ours(column: str) -> None:
    row = _example()
    old = table_from_rows([row]).drop_columns([column]).replace_schema_metadata({SCHEMA_KEY: b"1"})
    with pytest.raises(UnreadableFile, match="expected the columns"):
        from_parquet(to_parquet(old), "old")


def _example() -> ResultRow:
    """Every column with a value of its type that is no default."""
    values = {str: "measured", int: 3, float: 0.5}
    hints = get_type_hints(ResultRow)
    given = {f.name: values[(get_args(hints[f.name]) or (hints[f.name],))[0]] for f in fields(ResultRow)}
    return ResultRow(**{**given, "status": "ok"})
