"""Numbers unrounded, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import pytest

from midef.core import ResultRow
from midef.results.export import csv_table
from midef.results.render import text_table
from midef.results.summary import summarise

Rows = Callable[..., list[ResultRow]]


def test_csv_holds_every_number_unrounded(cell: Rows) -> None:
    rows = [*cell("none", 0, 90, 50, within=1.0), *cell("a", 0, 80, 100 / 3, within=1.0)]
    found = list(csv.DictReader(io.StringIO(csv_table(summarise(rows)))))
    assert [r["defense"] for r in found] == ["none", "a"]
    assert float(found[1]["attack_accuracy_at_1"]) == 100 / 3
    assert float(found[1]["delta"]) == pytest.approx((50 - 100 / 3) / 10)
    assert found[0]["delta"] == "" and found[0]["comparison"] == "reference"
    assert found[1]["comparison"] == "loses 10.0 [8.6, 11.4]; leaks 16.7 less [15.3, 18.1] (unpaired)"
    assert float(found[1]["utility_drop_low"]) == pytest.approx(10 - 2**0.5)
    assert found[1]["utility_drop_interval"] == "95 %, from both within-run intervals"
    assert float(found[1]["attack_drop"]) == 50 - 100 / 3 and found[0]["attack_drop"] == ""
    assert found[1]["natural_accuracy_within_run_low"] == "79.0"
    assert found[1]["knn_distance"] == ""


def test_matched_and_other_setups_side_by_side(cell: Rows, matched_rows: list[ResultRow]) -> None:
    others = [r for d, *pair in (("none", 90, 50), ("a", 80, 20)) for r in cell(d, 0, *pair, within=1.0, setup="two")]
    found = summarise([*matched_rows, *others])
    alone = text_table(summarise(others)).partition("\n\n● on the front")[0]
    assert alone in text_table(found)
    lines = list(csv.DictReader(io.StringIO(csv_table(found))))
    two = [line for line in lines if line["setup"] == "two"]
    assert [(line["matched"], line["match_target"], line["comparison"]) for line in two] == [
        ("0", "", "reference"),
        ("0", "", "loses 10.0 [8.6, 11.4]; leaks 30.0 less [28.6, 31.4] (unpaired)"),
    ]


def test_csv_holds_what_was_matched_and_no_delta_of_it(matched_rows: list[ResultRow]) -> None:
    lines = {line["defense"]: line for line in csv.DictReader(io.StringIO(csv_table(summarise(matched_rows))))}
    names = ("matched", "match_target", "match_tolerance", "match_accuracy", "match_seeds", "delta", "comparison")
    assert [lines["b"][name] for name in names] == ["1", "88.2", "0.5", "88.15", "3", "", "not resolved (att -20.0)"]
    assert [lines["c"][name] for name in names] == ["0", "88.2", "0.5", "84.1", "3", "", "not matched"]
    assert lines["none"]["comparison"] == "reference"
    assert (lines["b"]["attack_drop"], lines["b"]["attack_drop_low"]) == ("20.0", "")
    columns = list(lines["b"])
    natural = [i for i, name in enumerate(columns) if name.startswith("natural_accuracy")]
    assert columns[natural[-1] + 1 :][:5] == list(names[:5])


def test_csv_is_no_program(cell: Rows) -> None:
    rows = cell("=HYPERLINK(1)", 0, 90, 20, setup="@one\x1b", private="+faces")
    (line,) = csv.DictReader(io.StringIO(csv_table(summarise(rows))))
    assert (line["defense"], line["setup"], line["private"]) == ("'=HYPERLINK(1)", "'@one\\x1b", "'+faces")
    assert float(line["natural_accuracy"]) == 90


def test_csv_holds_no_difference_that_the_table_does_not_show(
    cell: Rows, matching: Callable[..., dict[str, object]]
) -> None:
    rows = [*cell("none", 0, 90, 50, within=1.0, **matching(90.2)), *cell("a", 0, 88, 20, within=1.0, **matching(88.2))]
    rows += cell("far", 0, 70, 10, within=1.0, **matching(70.0))
    lines = {line["defense"]: line for line in csv.DictReader(io.StringIO(csv_table(summarise(rows))))}
    kept = {d: [name for name, value in line.items() if "_drop" in name and value] for d, line in lines.items()}
    ends = ["attack_drop", "attack_drop_low", "attack_drop_high", "attack_drop_interval"]
    assert kept == {"none": [], "a": ends, "far": []}
