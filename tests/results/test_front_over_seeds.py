"""Attainment and P(on front), against slow computations from their definitions."""

from __future__ import annotations

import importlib.util
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from midef.core.statistics import pareto_front
from midef.results.attainment import attained, attainment, seeds_of
from midef.results.front_share import RESAMPLES, front_shares, on_front, resamples, shares_of
from midef.results.seed_points import SeedPoints, seed_points
from midef.results.summary import SummaryRow
from tests.results.conftest import a_cell

Point = tuple[float, float]


def slow_attained(sets: Sequence[Sequence[Point]], count: int) -> list[Point]:
    """Of all crossings of a utility and an attack accuracy: the attained ones that no other attained one beats."""
    every = [point for one in sets for point in one if not any(map(math.isnan, point))]
    crossings = {(x, y) for x, _ in every for _, y in every}

    def holds(x: float, y: float) -> bool:
        return sum(any(px >= x and py <= y for px, py in one) for one in sets) >= count

    region = [crossing for crossing in crossings if holds(*crossing)]
    return sorted((x, y) for x, y in region if not any((px, py) != (x, y) and px >= x and py <= y for px, py in region))


def sets_with_ties(rng: np.random.Generator) -> list[list[Point]]:
    """Points on a coarse grid, so that ties and duplicates are common; some are nan."""
    sets = []
    for _ in range(int(rng.integers(1, 7))):
        points = rng.integers(0, 6, size=(int(rng.integers(0, 6)), 2)).astype(float)
        points[rng.random(points.shape) < 0.05] = math.nan
        sets.append([(float(x), float(y)) for x, y in points])
    return sets


def test_attained_is_what_the_definition_says() -> None:
    rng = np.random.default_rng(0)
    for _ in range(120):
        sets = sets_with_ties(rng)
        for count in range(1, len(sets) + 1):
            assert list(attained(sets, count)) == slow_attained(sets, count), (sets, count)


@pytest.mark.skipif(importlib.util.find_spec("moocore") is None, reason="moocore, which is only an oracle, is missing")
def test_attained_equals_moocore() -> None:
    import moocore  # type: ignore[import-not-found, import-untyped, unused-ignore]

    rng = np.random.default_rng(1)
    for _ in range(300):
        n = int(rng.integers(1, 6))
        data = np.column_stack([rng.integers(0, 8, (5 * n, 2)).astype(float), np.repeat(range(n), 5)])
        sets = [[(float(x), float(y)) for x, y, s in data if s == number] for number in range(n)]
        flipped = data * [-1, 1, 1]
        for count in range(1, n + 1):
            theirs = moocore.eaf(flipped[:, :2], flipped[:, 2].astype(int), percentiles=[100 * count / n])
            assert sorted((-x, y) for x, y, _ in theirs) == list(attained(sets, count))


def test_one_set_attains_its_front() -> None:
    points = [(90.0, 50.0), (80.0, 20.0), (80.0, 30.0), (70.0, 20.0), (80.0, 20.0)]
    assert attained([points], 1) == ((80.0, 20.0), (90.0, 50.0))
    with pytest.raises(ValueError, match="count must be 1 to 1, the number of sets, got 2"):
        attained([points], 2)


def test_the_levels_of_five_seeds_are_fifths() -> None:
    points = SeedPoints(None, (0, 1, 2, 3, 4), (0,), ((1.0, 2.0, 3.0, 4.0, 5.0),), ((0.0,) * 5,))
    found = attainment(points)
    assert found is not None
    assert found.counts == (1, 3, 4)
    # one defense of equal leak: the k-th most useful seed is attained by k of them
    assert [found.best, found.median, found.worst] == [((5.0, 0.0),), ((3.0, 0.0),), ((2.0, 0.0),)]
    assert found.words == "line: attained in at least 3 of 5 seeds; band: in 1 to 4 of 5"
    assert [seeds_of(0.2, n) for n in (3, 5, 10)] == [1, 1, 2]


def slow_front(utility: Sequence[float], attack: Sequence[float]) -> list[bool]:
    front = pareto_front(list(zip(utility, attack, strict=True)))
    return [i in front for i in range(len(utility))]


def test_on_front_is_the_pareto_front_of_every_sample() -> None:
    rng = np.random.default_rng(2)
    for size in (1, 2, 5, 12):
        utility, attack = rng.integers(0, 5, (2, 200, size)).astype(float)
        found = on_front(utility, attack)
        assert found.tolist() == [slow_front(x, y) for x, y in zip(utility, attack, strict=True)]


def slow_shares(points: SeedPoints) -> list[float]:
    """Every ordered draw of n seeds from n, counted one by one."""
    n, hits = len(points.seeds), Counter[int]()
    for draw in itertools.product(range(n), repeat=n):
        means = [
            (round(math.fsum(u[i] for i in draw) / n, 9), round(math.fsum(a[i] for i in draw) / n, 9))
            for u, a in zip(points.utility, points.attack, strict=True)
        ]
        hits.update(pareto_front(means))
    return [hits[i] / n**n for i in range(len(points.indices))]


@pytest.mark.parametrize("n", [3, 4, 5])
def test_shares_are_those_of_all_draws(n: int) -> None:
    rng = np.random.default_rng(n)
    values = np.round(rng.normal(0, 1, (2, 6, n)) + rng.normal(0, 1, (2, 6, 1)), 1)
    values[:, 5] = values[:, 4, ::-1]  # the same numbers in another order: their full mean is the same
    points = SeedPoints(None, tuple(range(n)), tuple(range(6)), *(tuple(map(tuple, v.tolist())) for v in values))
    assert shares_of(points) == pytest.approx(slow_shares(points), abs=1e-12)


def test_of_many_seeds_draws_are_sampled() -> None:
    """Two defenses of one utility: the one with the lower mean is on the front; by symmetry half of the draws."""
    assert len(resamples(7)[0]) == 1716
    assert len(resamples(8)[0]) == RESAMPLES
    rng = np.random.default_rng(3)
    one = rng.normal(0, 1, 10)
    points = SeedPoints(None, tuple(range(10)), (0, 1), ((50.0,) * 10,) * 2, (tuple(one), tuple(-one - 2 * one.mean())))
    shares = shares_of(points)
    assert sum(shares) == pytest.approx(1, abs=1e-3)
    assert all(0 <= share <= 1 for share in shares)
    twin = SeedPoints(None, tuple(range(10)), (0, 1), ((50.0,) * 10,) * 2, (tuple(one), tuple(one)))
    assert shares_of(twin) == [pytest.approx(1), pytest.approx(1)]


def rows_of(summary: Any, numbers: dict[str, Sequence[Point]], **changes: Any) -> list[SummaryRow]:
    rows = [row for name, points in numbers.items() for seed, point in enumerate(points)
            for row in a_cell(name, seed, *point, **changes)]  # fmt: skip
    return list(summary(rows))


def shares_by_name(group: Sequence[SummaryRow]) -> dict[str, float]:
    return {group[index].defense: share for index, share in front_shares(group).items()}


def test_rows_of_a_setup_get_their_shares() -> None:
    from midef.results.summary import summarise

    numbers = {
        "none": [(90.0, 80.0), (91.0, 81.0), (90.0, 79.0)],
        "midre": [(85.0, 40.0), (86.0, 41.0), (84.0, 42.0)],
        "worse": [(80.0, 60.0), (80.0, 61.0), (80.0, 62.0)],
    }
    assert shares_by_name(rows_of(summarise, numbers)) == {"none": 1.0, "midre": 1.0, "worse": 0.0}
    apart = [row for name, points in numbers.items() for seed, point in enumerate(points)
             for row in a_cell(name, seed, *point)]  # fmt: skip
    group = summarise([*apart, *a_cell("late", 9, 99.0, 1.0)])  # over another seed: compared with nothing
    assert shares_by_name(group) == {"none": 1.0, "midre": 1.0, "worse": 0.0}
    two_seeds = {name: points[:2] for name, points in numbers.items()}
    group = rows_of(summarise, two_seeds)
    assert front_shares(group) == {}
    assert [attainment(points) for points in seed_points(group)] == [None]


def test_a_utility_that_costs_is_turned_around() -> None:
    from midef.results.summary import summarise

    group = rows_of(summarise, {"none": [(90.0, 80.0)] * 3, "bido": [(70.0, 80.0)] * 3})
    points = seed_points(group, "natural_accuracy", larger_is_better=False)[0]
    assert [values[0] for values in points.utility] == [
        -group[i].natural_accuracy.by_seed[0][1] for i in points.indices
    ]
    shares = front_shares(group, larger_is_better=False)
    assert {group[index].defense: share for index, share in shares.items()} == {"none": 0.0, "bido": 1.0}


def test_matched_defenses_are_compared_at_their_accuracy_only() -> None:
    from midef.results.summary import summarise

    matched = {"matched": True, "match_target": 85.0, "match_tolerance": 0.5, "match_accuracy": 85.1, "match_seeds": 1}
    missed = {**matched, "matched": False}
    rows = [
        row
        for seed in range(3)
        for name, attack, how in (("none", 80.0, {}), ("a", 40.0, matched), ("b", 50.0, matched), ("c", 1.0, missed))
        for row in a_cell(name, seed, 85.0, attack + seed, **how)
    ]
    group = summarise(rows)
    assert shares_by_name(group) == {"a": 1.0, "b": 0.0}
    assert [points.target for points in seed_points(group)] == [85.0]
