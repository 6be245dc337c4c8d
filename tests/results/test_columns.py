"""Columns of metrics: named by the rows, in a fixed order, written by their unit."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from midef.core import ResultRow
from midef.results.columns import STANDING, MetricColumn
from midef.results.export import csv_table
from midef.results.render import markdown_table, text_table
from midef.results.summary import SummaryRow, summarise
from midef.results.table import setup_table

Row = Callable[..., ResultRow]
Rows = Callable[..., list[ResultRow]]
NEW: dict[str, Any] = {"column": "leak nats", "unit": "nats", "larger_is": "less private"}


def headers(summaries: Sequence[SummaryRow]) -> list[str]:
    return [column.header for column in setup_table(summaries).columns]


def test_a_metric_nobody_here_knows_has_a_column_by_what_its_rows_say(row: Row, cell: Rows) -> None:
    summaries = summarise([*cell("none", 0, 90, 50), row("mutual_information", 1.23456, **NEW)])
    assert headers(summaries) == [
        *("defense", "test acc %", "att@1 %", "att@5 %", "leak nats", "KNN dist", "Delta", "against none", "queries"),
        *("attack s", "ok/failed"),
    ]
    for table in (text_table(summaries), markdown_table(summaries)):
        assert "leak nats" in table and "1.23" in table
    (line,) = csv.DictReader(io.StringIO(csv_table(summaries)))
    assert line["mutual_information"] == "1.23456" and line["mutual_information_within_run_low"] == ""


def test_rows_of_an_older_schema_have_the_columns_of_then_and_no_others(row: Row, cell: Rows) -> None:
    old = [*cell("none", 0, 90, 50), row("coverage", 50.0), row("train_s", 12.0, unit="seconds")]
    assert headers(summarise(old)) == [
        *("defense", "test acc %", "att@1 %", "att@5 %", "KNN dist", "Delta", "against none", "queries", "attack s"),
        "ok/failed",
    ]
    assert "coverage" not in csv_table(summarise(old))


def test_old_and_new_rows_stand_in_one_table(row: Row, cell: Rows) -> None:
    """The title of a row counts, and a defense without the metric has a dash."""
    rows = [*cell("none", 0, 90, 50), *cell("a", 0, 80, 20), row("mutual_information", 1.0, "a", **NEW)]
    rows.append(row("natural_accuracy", 70.0, "b", column="accuracy %"))
    table = setup_table(summarise(rows))
    keys = [column.key for column in table.columns]
    assert table.columns[1].header == "accuracy %"
    assert {cells[0].text: cells[keys.index("mutual_information")].text for cells in table.cells} == {
        **{"none": "–", "a": "1.00", "b": "–"}
    }


def test_a_metric_that_always_failed_keeps_its_column(row: Row, cell: Rows) -> None:
    failed = row("mutual_information", None, status="failed", reason="no such network", **NEW)
    table = setup_table(summarise([*cell("none", 0, 90, 50), failed]))
    assert "leak nats" in [column.header for column in table.columns]
    assert table.problems == ("failed: none, seed 0, mutual_information: no such network",)


def test_a_metric_that_lacks_a_file_has_a_line_and_no_column(row: Row, cell: Rows) -> None:
    about = {"status": "refused", "reason": "no file x.pth", **NEW}
    rows = [*cell("none", 0, 90, 50), *cell("a", 0, 80, 20)]
    rows += [row("mutual_information", None, defense, failure="data", **about) for defense in ("none", "a")]
    rows += [row("oddity", None, d, failure="refused", **{**about, "reason": "no pairs"}) for d in ("none", "a")]
    table = setup_table(summarise(rows))
    assert "leak nats" not in [column.header for column in table.columns]
    assert table.problems == (
        "refused: none, seed 0, mutual_information: no file x.pth",
        "refused: a, seed 0, mutual_information: no file x.pth",
    )


@pytest.mark.parametrize("lost", [("b", 0), ("a", 1)], ids=["a defense", "a seed of one"])
def test_a_lost_cell_brings_no_columns_of_metrics_that_do_not_apply(
    row: Row, cell: Rows, lost: tuple[str, int]
) -> None:
    """All metrics of a lost cell are failed, those of pairs among them, which other cells refuse."""
    rows = [*cell("none", 0, 90, 50), *cell("a", 0, 80, 20)]
    about = {**NEW, "reason": "no pairs", "failure": "refused"}
    rows += [row("mutual_information", None, defense, status="refused", **about) for defense in ("none", "a")]
    gone = {"status": "failed", "reason": "out of memory", "failure": "oom"}
    rows += [row(metric, None, *lost, **gone) for metric in ("natural_accuracy", "attack_accuracy_at_1")]
    rows.append(row("mutual_information", None, *lost, **{**NEW, **gone}))
    table = setup_table(summarise(rows))
    assert "leak nats" not in [column.header for column in table.columns]
    assert not [line for line in table.problems if "no pairs" in line]
    assert [line for line in table.problems if "out of memory" in line]


def test_what_to_know_beside_a_metric_stands_below_the_table(row: Row, cell: Rows) -> None:
    rows = [*cell("none", 0, 90, 50), *cell("a", 0, 80, 20)]
    rows += [row("mutual_information", 1.0, d, remark="40 images", **NEW) for d in ("none", "a")]
    rows += [row("oddity", 1.0, d, column="odd", remark=f"floor {n}") for d, n in (("none", 1), ("a", 2))]
    said = setup_table(summarise(rows)).footnotes
    assert "leak nats: 40 images" in said and "odd: none, floor 1; a, floor 2" in said


def test_what_is_the_same_of_all_defenses_and_seeds_is_said_once(row: Row, cell: Rows) -> None:
    rows = [line for d in ("none", "a") for seed in (0, 1) for line in cell(d, seed, 90, 50)]
    for defense, seed, floor in (("none", 0, 3), ("none", 1, 4), ("a", 0, 2), ("a", 1, 2)):
        remark = f"a student, 40 images; floor {floor} %"
        rows.append(row("mutual_information", 1.0, defense, seed, remark=remark, **NEW))
    (said,) = [line for line in setup_table(summarise(rows)).footnotes if line.startswith("leak nats")]
    assert said == "leak nats: a student, 40 images; none, floor 3 %, floor 4 %; a, floor 2 %"
    lines = {line["defense"]: line for line in csv.DictReader(io.StringIO(csv_table(summarise(rows))))}
    assert lines["a"]["mutual_information_remark"] == "a student, 40 images; floor 2 %"
    assert "knn_distance_remark" not in lines["a"], "only of metrics of which anything is said"


def test_costs_stand_behind_delta_and_utility_in_front(row: Row, cell: Rows) -> None:
    rows = [*cell("none", 0, 90, 50)]
    rows.append(row("energy_kwh", 2.0, column="energy", unit="kWh", larger_is="more costly"))
    rows.append(row("balanced_accuracy", 80.0, column="bal acc %", larger_is="more useful"))
    rows.append(row("oddity", 1.0, column="oddity", unit="", larger_is="who knows"))
    rows.append(row("distortion", 0.1, column="conf dist", unit="distance of scores", larger_is="less useful"))
    shown = headers(summarise(rows))
    assert shown[1:4] == ["test acc %", "bal acc %", "conf dist"]
    assert shown.index("oddity") < shown.index("Delta") < shown.index("energy") < shown.index("queries")


FOUND: dict[str, Any] = {"column": "found %", "larger_is": "less private"}


@pytest.mark.parametrize(("share", "is_column"), [(100.0, False), (99.9, True)])
def test_a_share_that_is_always_100_is_a_fact_and_no_column(
    row: Row, cell: Rows, share: float, is_column: bool
) -> None:
    rows = [*cell("none", 0, 90, 50), *cell("a", 0, 80, 20)]
    rows += [row("coverage", 100.0, **FOUND), row("coverage", share, "a", **FOUND)]
    summaries = summarise(rows)
    assert ("found %" in headers(summaries)) == is_column
    assert ("found 100 % in every run" in setup_table(summaries).facts) != is_column
    assert "coverage" in csv_table(summaries)


def test_a_standing_column_stays_at_100(row: Row, cell: Rows) -> None:
    rows = [*cell("none", 0, 100, 100), row("attack_accuracy_at_5", 100.0, column="att@5 %", larger_is="less private")]
    assert headers(summarise(rows))[1:4] == ["test acc %", "att@1 %", "att@5 %"]
    assert "in every run" not in setup_table(summarise(rows)).facts


@pytest.mark.parametrize(
    ("unit", "value", "largest", "text"),
    [
        ("percent", 97.25, 100.0, "97.2"),
        ("images", 214000.4, 214000.4, "214,000"),
        ("seconds", 9.96, 2000.0, "10.0"),
        ("seconds", 1234.5, 1234.5, "1,234"),
        ("feature distance", 0.61249, 0.7, "0.612"),
        ("feature distance", 0.61249, 1.0, "0.61"),
        ("feature distance", 0.61249, 100.0, "0.6"),
        ("distance of scores", 0.00014, 0.99, "0.00014"),
    ],
    ids=str,
)
def test_the_unit_decides_how_a_number_is_written(unit: str, value: float, largest: float, text: str) -> None:
    assert MetricColumn("m", "m", unit, "more costly").write(value, largest) == text


def test_a_title_in_a_sentence_is_without_its_unit() -> None:
    names = {column.metric: column.name for column in STANDING}
    assert names["attack_accuracy_at_1"] == "attack accuracy@1"
    assert (names["attack_accuracy_at_5"], names["wall_s"], names["knn_distance"]) == ("att@5", "attack", "KNN dist")
