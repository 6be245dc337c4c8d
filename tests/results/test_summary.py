"""Summaries of rows made by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from midef.core import ResultRow
from midef.results.render import text_table
from midef.results.summary import SummaryRow, summarise

Rows = Callable[..., list[ResultRow]]


ByDefense = Callable[[list[ResultRow]], dict[str, SummaryRow]]


def test_failed_refused_and_missing_cells_are_counted_with_reasons(
    row: Callable[..., ResultRow], cell: Rows, by_defense: ByDefense
) -> None:
    rows = [*cell("none", 0, 90, 50), *cell("none", 1, 91, 51), *cell("a", 0, 80, 20)]
    rows.append(row("knn_distance", None, "a", 0, status="failed", reason="out of memory"))
    rows += [row("natural_accuracy", None, "b", s, status="refused", reason="two owners of criterion") for s in (0, 1)]
    found = by_defense(rows)
    assert [(r.ok, r.failed, r.refused, r.missing) for r in (found["none"], found["a"], found["b"])] == [
        (2, 0, 0, 0),
        (0, 1, 0, 1),
        (0, 0, 2, 0),
    ]
    assert found["a"].natural_accuracy.mean == 80  # one failed metric does not hide the others
    assert found["b"].natural_accuracy.mean is None
    assert not found["b"].is_on_front
    said = text_table(list(found.values()))
    assert "failed: a, seed 0, knn_distance: out of memory" in said
    assert "refused: b, seeds 0, 1, natural_accuracy: two owners of criterion" in said
    assert "missing: a has no result for 1 of the setup's seeds" in said
    assert "0/2" in said


def test_published_rows_are_not_averaged_with_measured_ones(cell: Rows) -> None:
    rows = [*cell("none", 0, 90, 50), *cell("none", 0, 10, 90, origin="published", cell="table 1")]
    (found,) = summarise(rows)
    assert found.natural_accuracy.mean == 90


def test_two_results_of_one_seed_are_not_mixed(cell: Rows) -> None:
    old = cell("none", 0, 10, 10, cell="old")
    (found,) = summarise([*old, *cell("none", 0, 90, 50, cell="new")])
    assert found.natural_accuracy.by_seed == ((0, 90),)
    assert "seed 0: 2 results of different recipes are stored" in text_table([found])


def test_defenses_with_one_label_and_different_parameters_stay_apart(cell: Rows) -> None:
    rows = [*cell("a", 0, 90, 50, defense_params="1"), *cell("a", 0, 80, 40, defense_params="2", cell="other")]
    assert [r.natural_accuracy.mean for r in summarise(rows)] == [80, 90]


def test_order_undefended_first_then_least_attacked_then_failed(row: Callable[..., ResultRow], cell: Rows) -> None:
    rows = [*cell("b", 0, 80, 30), *cell("c", 0, 80, 20), *cell("none", 0, 90, 10)]
    rows.append(row("natural_accuracy", None, "a", status="failed", reason="x"))
    assert [r.defense for r in summarise(rows)] == ["none", "c", "b", "a"]


def test_a_measured_row_has_a_seed(row: Callable[..., ResultRow], papers: list[ResultRow]) -> None:
    with pytest.raises(ValueError, match="measured row natural_accuracy of none in one has no seed"):
        summarise([replace(row("natural_accuracy", 90.0), seed=None)])
    assert summarise(papers) == []


def test_a_summary_row_knows_what_it_was_matched_to(by_defense: ByDefense, matched_rows: list[ResultRow]) -> None:
    found = by_defense(matched_rows)
    assert [(d, r.is_matched, r.match_accuracy) for d, r in found.items()] == [
        ("none", False, 90.2),
        *(("a", True, 88.4), ("b", True, 88.15), ("d", True, 88.0)),
        *(("c", False, 84.1), ("e", False, 93.0)),
    ]
    assert {(r.match_target, r.match_tolerance, r.match_seeds) for r in found.values()} == {(88.2, 0.5, 3)}


def test_matched_rows_come_before_the_others_and_the_undefended_first_of_all(
    lost: Rows, matching: Callable[..., dict[str, Any]], matched_cells: Rows, matched_rows: list[ResultRow]
) -> None:
    rows = [*matched_rows, *lost("broken", status="failed", **matching(88.3)), *matched_cells("unasked", None, 0.0)]
    assert [r.defense for r in summarise(rows)] == ["none", "a", "b", "d", "broken", "unasked", "c", "e"]


def test_seeds_of_two_matchings_are_not_one_matched_defense(
    cell: Rows, matching: Callable[..., dict[str, Any]], by_defense: ByDefense
) -> None:
    rows = [*cell("none", 0, 90, 50, **matching(88.2)), *cell("a", 0, 88, 30, **matching(88.4))]
    rows += cell("a", 1, 88, 30, **matching(80.0, target=80.0))
    found = by_defense(rows)["a"]
    assert not found.is_matched and not found.is_on_front
    assert "note: a, its seeds were matched apart from each other and count as not matched" in text_table([found])
