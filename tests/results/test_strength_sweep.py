"""Families of strengths, and what they reach at one accuracy."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from midef.core.statistics import t_interval
from midef.results.strength_sweep import NOT_REACHED, Family, at_accuracy, families, interpolated
from midef.results.summary import SummaryRow, summarise
from tests.results.conftest import a_cell


def group_of(
    points: dict[str, tuple[dict[str, Any], Sequence[tuple[float, float]]]], **changes: Any
) -> list[SummaryRow]:
    """Rows of defenses with parameters, one point a seed."""
    rows = [
        row
        for label, (params, seeds) in points.items()
        for seed, point in enumerate(seeds)
        for row in a_cell(label, seed, *point, defense_params=json.dumps(params), **changes)
    ]
    return summarise(rows)


def three(natural: float, attack: float) -> list[tuple[float, float]]:
    return [(natural, attack), (natural + 1, attack + 3), (natural - 1, attack - 1)]


SWEEP = {
    "none": ({}, three(95.0, 90.0)),
    "midre(area=0.2)": ({"area": 0.2, "place": "random"}, three(92.0, 70.0)),
    "midre(area=0.8)": ({"area": 0.8, "place": "random"}, three(80.0, 30.0)),
    "midre(area=0.4)": ({"area": 0.4, "place": "random"}, three(88.0, 50.0)),
    "bido(lambda_x=1)": ({"lambda_x": 1, "lambda_y": 10}, three(94.0, 60.0)),
    "bido(lambda_x=2)": ({"lambda_x": 2, "lambda_y": 20}, three(91.0, 40.0)),
    "loft": ({"rank": 5}, three(90.0, 20.0)),
}


def test_strengths_of_one_defense_are_a_family_weakest_first() -> None:
    group = group_of(SWEEP)
    found = {one.name: one for one in families(group)}
    assert set(found) == {"midre(place=random)", "bido"}  # one strength is no family
    midre = found["midre(place=random)"]
    assert [group[i].defense for i in midre.members] == [
        "none",
        "midre(area=0.2)",
        "midre(area=0.4)",
        "midre(area=0.8)",
    ]
    assert (midre.parameters, midre.strengths) == (("area",), (None, 0.2, 0.4, 0.8))
    assert found["bido"].parameters == ("lambda_x", "lambda_y")


def test_a_grid_of_two_parameters_is_no_family() -> None:
    grid = {f"d(a={a},b={b})": ({"a": a, "b": b}, three(90.0 - a - 2 * b, 50.0)) for a in (1, 2) for b in (1, 2)}
    assert families(group_of({"none": ({}, three(95.0, 90.0)), **grid})) == []


def test_a_weaker_strength_may_be_the_larger_number() -> None:
    crop = {f"crop(low={low})": ({"low": low}, three(80.0 + 10 * low, 50.0)) for low in (0.1, 0.5, 0.9)}
    [found] = families(group_of({"none": ({}, three(95.0, 90.0)), **crop}))
    assert found.strengths == (None, 0.9, 0.5, 0.1)


def slow(curve: Sequence[tuple[float, float]], target: float) -> float | None:
    """The highest point of the drawn line within a hair of the target."""
    near = []
    for (x0, y0), (x1, y1) in itertools.pairwise(curve):
        t = np.linspace(0, 1, 4001)
        x, y = x0 + t * (x1 - x0), y0 + t * (y1 - y0)
        near += list(y[np.abs(x - target) < 1e-2])
    return float(max(near)) if near else None


def test_interpolation_is_where_the_drawn_line_passes() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        curve = [(float(x), float(y)) for x, y in rng.uniform(0, 20, (int(rng.integers(2, 6)), 2))]
        target = float(rng.uniform(-2, 22))
        found, drawn = interpolated(curve, target), slow(curve, target)
        assert (found is None) == (drawn is None) or min(abs(x - target) for x, _ in curve) < 2e-2
        if found is not None and drawn is not None:
            assert found == pytest.approx(drawn, abs=0.5)
    assert interpolated([(90.0, 80.0), (80.0, 40.0)], 79.9) is None
    assert interpolated([(90.0, 80.0), (80.0, 40.0)], 80.0) == 40.0
    assert interpolated([(90.0, 80.0), (math.nan, 1.0), (80.0, 40.0)], 85.0) is None
    assert interpolated([(80.0, 40.0), (80.0, 50.0)], 80.0) == 50.0


def midre_of(group: Sequence[SummaryRow]) -> Family:
    return next(one for one in families(group) if one.name.startswith("midre"))


def test_the_value_at_an_accuracy_is_the_mean_of_the_seeds() -> None:
    group = group_of(SWEEP)
    found = at_accuracy(midre_of(group), group, 90.0)
    curves = [[SWEEP[group[i].defense][1][seed] for i in midre_of(group).members] for seed in range(3)]
    values = [interpolated(curve, 90.0) for curve in curves]
    assert None not in values
    known = [value for value in values if value is not None]
    assert found.value == pytest.approx(np.mean(known))
    low, high = t_interval(known) or (0, 0)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high))
    wide = group_of(SWEEP, within=9.0)
    span = at_accuracy(midre_of(wide), wide, 90.0).interval
    assert span is not None and span.high - span.low > max(18.0, high - low)


def test_nothing_is_extrapolated() -> None:
    group = group_of(SWEEP)
    family = midre_of(group)
    for target, words in (
        (99.0, NOT_REACHED),
        (60.0, NOT_REACHED),
        (80.5, "reached in 2 of 3 seeds"),
        (95.5, "reached in 1 of 3 seeds"),
    ):
        found = at_accuracy(family, group, target)
        assert (found.value, found.interval, found.words) == (None, None, words)
    one_seed = group_of({name: (params, seeds[:1]) for name, (params, seeds) in SWEEP.items()})
    found = at_accuracy(midre_of(one_seed), one_seed, 90.0)
    assert (found.value, found.interval) == (60.0, None)
