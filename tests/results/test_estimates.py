"""Means and intervals over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from midef.core import ResultRow
from midef.core.statistics import t_interval, two_level_interval
from midef.results.summary import summarise

Rows = Callable[..., list[ResultRow]]


def test_seeds_are_averaged_with_both_intervals(cell: Rows) -> None:
    rows = [r for seed, acc in enumerate((90.0, 92.0, 94.0)) for r in cell("none", seed, acc, 50.0 + seed, within=2.0)]
    (found,) = summarise(rows)
    natural = found.natural_accuracy
    assert natural.mean == pytest.approx(92.0)
    assert natural.by_seed == ((0, 90.0), (1, 92.0), (2, 94.0))
    assert natural.within_run is not None and natural.over_seeds is not None
    assert (natural.within_run.low, natural.within_run.high) == pytest.approx((90.0, 94.0))
    assert natural.within_run.kind == "95 % made up, mean of 3 runs"
    both = two_level_interval((90.0, 94.0), [90.0, 92.0, 94.0])
    assert (natural.over_seeds.low, natural.over_seeds.high) == pytest.approx(both)
    assert natural.over_seeds.kind == "95 % interval over seeds and identities, 3 seeds"
    assert (found.chance, found.evaluator_accuracy, found.seeds, found.ok) == (0.5, 99.0, (0, 1, 2), 3)


def test_three_runs_without_a_leak_are_not_sure_of_zero(row: Callable[..., ResultRow]) -> None:
    same = {"low": 0.0, "high": 8.4, "interval": "95 % interval over identities"}
    (found,) = summarise([row("attack_accuracy_at_1", 0.0, seed=seed, **same) for seed in range(3)])
    span = found.attack_accuracy_at_1.over_seeds
    assert span is not None
    assert (span.low, span.high) == (0.0, 8.4)


def test_what_reports_no_interval_of_its_own_has_that_over_seeds(cell: Rows) -> None:
    rows = [r for seed, acc in enumerate((90.0, 92.0, 94.0)) for r in cell("none", seed, acc, 50.0)]
    natural = summarise(rows)[0].natural_accuracy
    assert natural.within_run is None and natural.over_seeds is not None
    assert (natural.over_seeds.low, natural.over_seeds.high) == pytest.approx(t_interval([90.0, 92.0, 94.0]))
    assert natural.over_seeds.kind == "95 % t interval, 3 seeds"


def test_intervals_of_accuracies_stay_possible(cell: Rows) -> None:
    rows = [r for seed, acc in enumerate((99.0, 100.0)) for r in cell("none", seed, acc, 0.5 * seed, within=2.0)]
    (found,) = summarise(rows)
    for estimate in (found.natural_accuracy, found.attack_accuracy_at_1):
        for span in (estimate.over_seeds, estimate.within_run):
            assert span is not None
            assert 0 <= span.low <= span.high <= 100


def test_not_a_number_is_no_value(row: Callable[..., ResultRow]) -> None:
    (found,) = summarise([row("natural_accuracy", math.nan), row("attack_accuracy_at_1", 5.0)])
    assert found.natural_accuracy.mean is None
    assert not found.is_on_front
    assert found.attack_accuracy_at_1.mean == 5.0
