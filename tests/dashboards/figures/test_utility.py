"""Attack accuracy against another utility than test accuracy: less distortion is better, and right is better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from midef.core import ResultRow
from midef.dashboards.figures.places import places_of
from midef.dashboards.figures.trade_off import draw
from midef.dashboards.figures.utility import utility_of, with_front
from midef.results.published import Published
from midef.results.summary import SummaryRow, summarise

METRIC = "confidence_distortion"
ABOUT: dict[str, Any] = {"unit": "distance of scores", "larger_is": "less useful", "column": "conf dist"}
NUMBERS = {  # distortion, attack accuracy
    "none": (0.0, 90.0),
    "small": (0.001, 80.0),
    "large": (0.002, 40.0),
    "wasteful": (0.003, 60.0),
}


@pytest.fixture
def group(row: Callable[..., ResultRow]) -> list[SummaryRow]:
    """Defenses that all keep the test accuracy, and distort scores more or less."""
    rows = []
    for defense, (distortion, attack) in NUMBERS.items():
        made = [
            row("natural_accuracy", 95.0),
            row("attack_accuracy_at_1", attack, larger_is="less private"),
            row(METRIC, distortion, **ABOUT),
        ]
        rows += [replace(one, defense=defense, defense_name=defense, cell=f"of{defense}") for one in made]
    return summarise(rows)


def front_of(group: Sequence[SummaryRow], metric: str) -> set[str]:
    return {row.defense for row in with_front(group, utility_of(group, metric)) if row.is_on_front}


def test_the_front_is_of_the_utility_that_is_plotted(group: list[SummaryRow]) -> None:
    beaten = {
        defense
        for defense, (distortion, attack) in NUMBERS.items()
        if any(d <= distortion and a <= attack and (d, a) != (distortion, attack) for d, a in NUMBERS.values())
    }
    assert front_of(group, METRIC) == set(NUMBERS) - beaten == {"none", "small", "large"}
    assert front_of(group, "natural_accuracy") == {"large"}, "at equal accuracy the least attacked one"


def test_less_distortion_is_further_right_and_the_front_a_staircase(group: list[SummaryRow]) -> None:
    figure = draw(group, utility=METRIC)
    left, right = figure.layout.xaxis.range
    assert left > 0.003 and right < 0.0 and left - right < 0.004
    assert figure.layout.xaxis.title.text == "conf dist (distance of scores), reversed  → better"
    points = {t.name: (t.x[0], t.y[0]) for t in figure.data if t.customdata}
    assert points == NUMBERS
    (front,) = (t for t in figure.data if t.name == "front")
    steps = list(zip(front.x, front.y, strict=True))
    assert all(x0 >= x1 and y0 <= y1 for (x0, y0), (x1, y1) in pairwise(steps[:-1]))
    assert all(((x, y) in steps) == (name != "wasteful") for name, (x, y) in NUMBERS.items())


def test_published_points_and_targets_are_of_test_accuracy_alone(group: list[SummaryRow]) -> None:
    theirs = {"small": Published("small", 90.0, 50.0)}
    matched = [replace(row, match_target=90.0, match_tolerance=1.0) for row in group]
    accuracy, distortion = places_of(matched, theirs), places_of(matched, theirs, utility_of(group, METRIC))
    assert accuracy is not None and accuracy.published and accuracy.targets
    assert distortion is not None and not distortion.published and not distortion.targets
    assert len(distortion.fronts) == 1


def test_a_utility_that_was_not_measured_draws_nothing(group: list[SummaryRow]) -> None:
    assert draw(group, utility="train_s") is None
