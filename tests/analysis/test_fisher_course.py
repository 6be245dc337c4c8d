"""Which cells a course is made of, its shares, and its verdict."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from midef.analysis.base import AnalysedCell
from midef.analysis.fisher_course import FisherCourse, findings_of, points_of
from midef.core.choice import Choice

NONE, NLS = Choice("none", {}, 1), Choice("nls", {}, 1)


def cell(
    iterations: int, *, defense: Choice = NONE, seed: int = 0, target: str = "t", rate: float = 0.1
) -> AnalysedCell:
    attack = Choice("pool_search", {"iterations": iterations, "learning_rate": rate}, 2)
    setup = SimpleNamespace(attack=attack, id=f"faces-{iterations}")
    recipes = SimpleNamespace(target=SimpleNamespace(key=target))
    return AnalysedCell(cast(Any, SimpleNamespace(setup=setup, defense=defense, seed=seed)), cast(Any, recipes))


def test_a_course_is_the_undefended_cells_of_one_seed_in_order() -> None:
    cells = [cell(50), cell(5, defense=NLS), cell(5), cell(1), cell(15, seed=1)]
    assert points_of(cells) == [cells[3], cells[2], cells[0]]
    assert FisherCourse().problems(cells) == []


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ([cell(1), cell(5, target="other")], "got 2 undefended targets and 1 attacks that differ beyond iterations"),
        ([cell(1), cell(5, rate=0.2)], "got 1 undefended targets and 2 attacks that differ beyond iterations"),
        ([cell(1, defense=NLS)], "add `none` to defenses"),
    ],
    ids=["targets", "attacks", "no undefended one"],
)
def test_what_is_no_course_is_told(cells: list[AnalysedCell], problem: str) -> None:
    (told,) = FisherCourse().problems(cells)
    assert problem in told


def test_shares_are_of_the_sum_over_units() -> None:
    found = findings_of({1: {"a": (10, 3.0), "b": (20, 1.0)}, 50: {"a": (10, 1.0), "b": (20, 0.25)}}, "here")
    assert [(row["iterations"], row["unit"], row["share"]) for row in found.rows] == [
        (1, "a", 75.0),
        (1, "b", 25.0),
        (50, "a", 80.0),
        (50, "b", 20.0),
    ]
    (panel,) = found.drawing.panels
    assert [(line.name, list(line.x), list(line.y)) for line in panel.series] == [
        ("a", [1, 50], [75.0, 80.0]),
        ("b", [1, 50], [25.0, 20.0]),
    ]


@pytest.mark.parametrize(
    ("course", "verdict"),
    [
        ({1: 3.0, 50: 4.0}, "over the iterations is reproduced: a holds 75.0 % after 1, 80.0 % after 50."),
        ({1: 3.0, 50: 0.25}, "over the iterations is not reproduced: a holds 75.0 % after 1, 20.0 % after 50."),
        ({50: 3.0}, "not decidable from one number of iterations: a holds 75.0 %."),
    ],
    ids=["always", "at first", "one"],
)
def test_the_verdict_asks_for_the_first_unit_at_every_point(course: dict[int, float], verdict: str) -> None:
    found = findings_of({number: {"a": (1, first), "b": (1, 1.0)} for number, first in course.items()}, "here")
    assert found.verdict.endswith(verdict)
