"""A setup of many defenses is compared at once; each comparison is what it is alone, and what a slow reference says."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from midef.core.statistics import paired_interval, two_level_interval
from midef.results.compare import ATTACK, NATURAL, trade_off, trade_offs
from midef.results.summary import summarise
from tests.results.test_compare import ByDefense, Rows

SEEDS, PEOPLE, EACH = 4, 30, 5


def answers(draws: np.random.Generator, rate: float) -> np.ndarray:
    return draws.random((PEOPLE, EACH)) < np.clip(draws.normal(rate, 0.15, (PEOPLE, 1)), 0.02, 0.98)


@pytest.fixture
def hits() -> dict[str, list[dict[str, np.ndarray]]]:
    """Successes by defense, seed and metric."""
    draws = np.random.default_rng(5)
    return {
        name: [{NATURAL: answers(draws, 0.9 - drop), ATTACK: answers(draws, 0.7 - 4 * drop)} for _ in range(SEEDS)]
        for name, drop in (("none", 0.0), ("a", 0.02), ("b", 0.05), ("c", 0.1), ("old", 0.01), ("other", 0.03))
    }


@pytest.fixture
def rows(judged: Rows, hits: dict[str, list[dict[str, np.ndarray]]]) -> list[Any]:
    """`old` does not say which images succeeded, and the report split of `other` is of other images."""
    return [
        row
        for name, runs in hits.items()
        for seed, run in enumerate(runs)
        for row in judged(
            name,
            seed,
            run[NATURAL],
            run[ATTACK],
            images="ef" * 8 if name == "other" else "ab" * 8,
            **({"outcomes": ""} if name == "old" else {}),
        )
    ]


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_intervals_are_those_of_a_slow_reference(
    rows: list[Any], hits: dict[str, list[dict[str, np.ndarray]]], by_defense: ByDefense, name: str
) -> None:
    found = by_defense(rows)[name].trade_off
    people = np.repeat(np.arange(PEOPLE), EACH)
    for metric, difference in ((NATURAL, found.utility), (ATTACK, found.attack)):
        pairs = [(before[metric], after[metric]) for before, after in zip(hits["none"], hits[name], strict=True)]
        spans = [paired_interval(before.ravel(), after.ravel(), people) for before, after in pairs]
        ends = [100 * math.fsum(side) / SEEDS for side in zip(*spans, strict=True)]
        drops = [100 * float(before.mean()) - 100 * float(after.mean()) for before, after in pairs]
        low, high = two_level_interval((ends[0], ends[1]), drops)
        assert difference is not None and difference.interval is not None and difference.is_paired
        assert (difference.interval.low, difference.interval.high) == (low, high)


@pytest.mark.parametrize("name", ["a", "b", "c", "old", "other"])
def test_a_defense_among_many_is_compared_as_it_is_alone(rows: list[Any], by_defense: ByDefense, name: str) -> None:
    alone = by_defense([row for row in rows if row.defense in ("none", name)])
    assert by_defense(rows)[name].trade_off == alone[name].trade_off
    utility = alone[name].trade_off.utility
    assert utility is not None and utility.is_paired == (name not in ("old", "other"))


def test_defenses_that_are_not_compared_leave_the_others_as_they_are(rows: list[Any]) -> None:
    summaries = summarise([row for row in rows if row.defense != "c" or row.seed == 0])
    reference = next(row.accuracies for row in summaries if row.is_undefended)
    others = [row.accuracies for row in summaries]
    without = replace(others[1], natural=type(others[1].natural)())
    asked = [others[0], without, *others[1:]]
    assert trade_offs(asked, reference) == [trade_off(one, reference) for one in asked]
    assert trade_offs(asked, reference)[1].reason == "it has no pair of accuracies"
    reason = "the setup has no undefended model (defense 'none') to compare with"
    assert [one.reason for one in trade_offs(asked, None)] == [reason] * len(asked)
