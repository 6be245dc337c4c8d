"""Rows, verdict and figure of runs whose hits are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from midef.analysis.base import AnalysedCell
from midef.analysis.erased_area import Curve, ErasedArea, findings_of
from midef.analysis.stored.accuracies import Run
from midef.defenses.stack import choose_defense

NAMES = np.arange(100)


def run(attack: int, natural: int) -> Run:
    """Percentages of 100 identities with one image each."""
    return Run(0, NAMES, np.arange(100) < attack, NAMES, np.arange(100) < natural)


def curve(name: str, *points: tuple[float, int, int]) -> Curve:
    """Points are erased area, attack and natural accuracy."""
    return Curve(name, "attack on network", {area: [run(attack, natural)] for area, attack, natural in points})


FALLS = curve("falls", (0.0, 90, 95), (0.2, 60, 94), (0.5, 20, 90))
COSTS = curve("costs", (0.0, 30, 95), (0.5, 20, 40))
EVEN = curve("even", (0.0, 50, 95), (0.5, 40, 86))


def test_a_row_is_an_area_of_a_setup() -> None:
    found = findings_of([FALLS, COSTS])
    assert [(row["setup"], row["area"]) for row in found.rows] == [
        *(("falls", area) for area in (0.0, 0.2, 0.5)),
        *(("costs", area) for area in (0.0, 0.5)),
    ]
    last = found.rows[2]
    assert (last["attack"], last["natural"]) == (20.0, 90.0)
    assert (last["attack_drop"], last["natural_drop"]) == pytest.approx((70.0, 5.0))
    assert last["attack_drop_low"] < 70 < last["attack_drop_high"] and found.rows[0]["attack_drop"] == 0.0
    natural, attack = found.drawing.panels
    assert [(line.name, list(line.x)) for line in attack.series] == [("falls", [0.0, 0.2, 0.5]), ("costs", [0.0, 0.5])]
    assert list(attack.series[0].y) == [90.0, 60.0, 20.0] and list(natural.series[1].y) == [95.0, 40.0]


@pytest.mark.parametrize(
    ("curves", "words"),
    [
        ([FALLS], "reproduced: more attack than natural accuracy is lost in 1 of 1 setups, less in 0 ("),
        ([FALLS, COSTS], "not reproduced: more attack than natural accuracy is lost in 1 of 2 setups, less in 1 ("),
        ([FALLS, EVEN], "not decidable at this size: more attack than natural accuracy is lost in 1 of 2 setups, less"),
    ],
    ids=["falls", "costs", "even"],
)
def test_the_verdict_compares_what_is_lost(curves: list[Curve], words: str) -> None:
    said = findings_of(curves).verdict
    assert said.startswith(words) and f"{curves[-1].name} at 0.5: " in said


def test_areas_are_constant_ones_of_midre_alone() -> None:
    written = ("none", "midre(area_low=0.3,area_high=0.3)", "midre", "midre(area_low=0.2,area_high=0.2)+bido")
    setup = SimpleNamespace(id="here")
    cells = [
        AnalysedCell(
            cast(Any, SimpleNamespace(defense=choose_defense(name), seed=0, setup=setup)),
            cast(Any, SimpleNamespace(scores=name)),
        )
        for name in written
    ]
    assert ErasedArea().problems(cells) == []
    assert ErasedArea().requires(cells) == ["none", "midre(area_low=0.3,area_high=0.3)"]
    for fewer in (cells[1:], [cells[0], *cells[2:]]):
        (problem,) = ErasedArea().problems(fewer)
        assert problem.startswith("here have no undefended target or no constant area; add none and midre(")
