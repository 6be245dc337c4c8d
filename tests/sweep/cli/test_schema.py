"""`midef schema`: the data dictionary is that of the rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields

import pytest

from midef.core.rows import ROW_SCHEMA_VERSION, ResultRow
from midef.results.dictionary import data_dictionary
from midef.storage.columns import ROW_SCHEMA

Midef = Callable[..., tuple[int, str, str]]


def test_every_column_has_a_type_and_a_meaning() -> None:
    columns = data_dictionary()
    assert [one.name for one in columns] == [f.name for f in fields(ResultRow)] == ROW_SCHEMA.names
    assert not [one.name for one in columns if len(one.meaning) < 8]
    by_name = {one.name: one for one in columns}
    assert (by_name["victims"].since, by_name["value"].since, by_name["knn_reference"].since) == (10, 1, 2)
    assert by_name["value"].is_nullable and not by_name["metric"].is_nullable
    assert by_name["outcomes"].meaning.endswith("in rows of a schema before 6.")  # of two lines


def test_text_and_json_say_the_same(midef: Midef, monkeypatch: pytest.MonkeyPatch) -> None:
    said = json.loads(midef("schema", "--json")[1])
    assert said["row_schema"] == ROW_SCHEMA_VERSION
    assert said["columns"][0].keys() >= {"name", "type", "is_nullable", "since", "meaning"}
    lines = midef("schema")[1].splitlines()
    assert all(len(line) <= 100 for line in lines)
    starts = [line.split()[0] for line in lines[4:] if not line.startswith(" ")]
    assert starts == [one["name"] for one in said["columns"]]


def test_no_other_arguments(midef: Midef, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        midef("schema", "results")
    assert stopped.value.code == 2 and "unrecognized arguments" in capsys.readouterr().err
