"""Courses at equal natural accuracy, from hits that are known."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from midef.analysis.base import AnalysedCell
from midef.analysis.checkpoints import Checkpoint, at_accuracy, course_of, findings_of
from midef.defenses.stack import choose_defense

IDENTITIES = 40


def checkpoint(natural: float, hits: int, *, at: float = 1.0) -> Checkpoint:
    """Of 40 identities with a reconstruction each, of which the first ones are found."""
    order = np.arange(IDENTITIES)
    return Checkpoint(at=at, attacked=order, hits=(order < hits).astype(float), natural=natural)


@pytest.mark.parametrize(
    ("natural", "found"),
    [(50.0, 8.0), (55.0, 11.0), (70.0, 20.0), (85.0, 30.0), (90.0, 32.0), (49.9, None), (90.1, None)],
    ids=str,
)
def test_a_course_is_read_between_its_two_next_checkpoints(natural: float, found: float | None) -> None:
    """From 8 found at 50 % to 20 at 70 %, the mean of 30 and 26 at 80 %, and 32 at 90 %."""
    course = [checkpoint(90, 32), checkpoint(50, 8), checkpoint(80, 30), checkpoint(70, 20), checkpoint(80, 26)]
    hits = at_accuracy(course, natural)
    assert (None if hits is None else pytest.approx(float(hits.sum()))) == found


def test_a_difference_is_paired_by_identity() -> None:
    """Half way between 20 and 28 found, 16 are found: 12 to 15 of the hits stay, 16 to 19 lose 1, 20 to 27 lose 1/2.

    So gaps are -1 for 4, -1/2 for 8 and 0 for 28 of 40 identities: mean -0.2, Student's interval with 39 degrees.
    """
    courses = {"": [checkpoint(60, 20, at=0.5), checkpoint(80, 28)], "d": [checkpoint(70, 16)]}
    *_, row = findings_of(courses, "here").rows
    assert (row["defense"], row["natural"], row["attack"]) == ("d", 70.0, 40.0)
    assert row["more"] == pytest.approx(-20.0)
    variance = (4 * 0.8**2 + 8 * 0.3**2 + 28 * 0.2**2) / 39
    half = 2.0227 * math.sqrt(variance / 40)  # 97.5 % of Student's distribution with 39 degrees of freedom
    assert row["more_low"] == pytest.approx(-20 - 100 * half, rel=1e-4)
    assert row["more_high"] == pytest.approx(-20 + 100 * half, rel=1e-4)


def test_beyond_the_undefended_course_nothing_is_compared() -> None:
    found = findings_of({"": [checkpoint(60, 20, at=0.5), checkpoint(80, 28)], "d": [checkpoint(81, 2)]}, "here")
    assert found.rows[-1]["more"] is None
    assert found.verdict.endswith("d: not decidable, no checkpoint is as accurate as an undefended one.")


@pytest.mark.parametrize(
    ("hits", "words"),
    [
        ((4, 6), "d: reproduced at 2 of 2 of its 2 checkpoints that compare"),
        ((24, 25), "d: not decidable at this size, at 2 of its 2 checkpoints that compare"),
        ((40, 6), "d: not reproduced, it leaks more at 1 and less at 1 of 2 of its 2 checkpoints that compare"),
    ],
    ids=["less", "neither", "more"],
)
def test_the_verdict_counts_checkpoints_that_are_shown(hits: tuple[int, int], words: str) -> None:
    defended = [checkpoint(70, hits[0], at=0.5), checkpoint(75, hits[1])]
    found = findings_of({"d": defended, "": [checkpoint(60, 20, at=0.5), checkpoint(80, 28)]}, "here")
    assert words in found.verdict
    assert [(row["defense"], row["at"]) for row in found.rows] == [("none", 0.5), ("none", 1.0), ("d", 0.5), ("d", 1.0)]
    (panel,) = found.drawing.panels
    assert [(s.name, list(s.x), s.kind) for s in panel.series] == [
        ("none", [60, 80], "dashes"),
        ("d", [70, 75], "line"),
    ]


@pytest.mark.parametrize(
    ("written", "course"),
    [
        ("none", ("", 1.0)),
        ("early_stop(at=0.25)", ("", 0.25)),
        ("midre", ("midre", 1.0)),
        ("midre(area_high=0.6)+early_stop(at=0.5)", ("midre(area_high=0.6)", 0.5)),
        ("early_stop(at=0.5)+midre+nls", ("midre+nls", 0.5)),
    ],
)
def test_whose_checkpoint_a_cell_is(written: str, course: tuple[str, float]) -> None:
    cell = SimpleNamespace(defense=choose_defense(written))
    assert course_of(AnalysedCell(cast(Any, cell), cast(Any, None))) == course
