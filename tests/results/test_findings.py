"""What an analysis finds, as text and as a file."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from midef.results.findings import Drawing, Findings, text_table, to_parquet

NOTHING = Drawing(title="", panels=[])
ROWS = [{"head": "cut", "rank": 2, "error": 0.5}, {"head": "loft", "rank": 3, "error": None}]


def test_rows_come_back_from_parquet_with_their_types_and_what_they_are_about() -> None:
    content = to_parquet(Findings(rows=ROWS, verdict="half.", drawing=NOTHING), {"analysis": {"name": "rank"}})
    table = pq.read_table(io.BytesIO(content))
    assert table.to_pylist() == ROWS
    assert [field.type for field in table.schema] == [pa.string(), pa.int64(), pa.float64()]
    assert json.loads(table.schema.metadata[b"midef"]) == {"analysis": {"name": "rank"}, "verdict": "half."}


def test_a_long_table_says_how_much_it_leaves_out() -> None:
    lines = text_table(ROWS * 3, most=4).splitlines()
    assert len(lines) == 6 and lines[-1] == "and 2 more rows"
    assert lines[2] == "loft  3"


@pytest.mark.parametrize("rows", [[], [{"a": 1}, {"b": 1}]], ids=["none", "other columns"])
def test_refuses_rows_that_are_no_table(rows: list[dict[str, float]]) -> None:
    with pytest.raises(ValueError, match="needs rows with the same columns"):
        Findings(rows=rows, verdict="", drawing=NOTHING)
