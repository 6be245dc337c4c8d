"""Pairs of cells that differ by the sampler, and rows, verdict and figure of runs whose hits are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from midef.analysis.base import AnalysedCell
from midef.analysis.erasing_samplers import Compared, ErasingSamplers, findings_of, pairs_of
from midef.analysis.stored.accuracies import Run
from midef.defenses.stack import choose_defense

NAMES = np.repeat(np.arange(20), 2)


def cells(*defenses: str, seeds: tuple[int, ...] = (0, 1)) -> list[AnalysedCell]:
    return [
        AnalysedCell(cast(Any, SimpleNamespace(defense=choose_defense(name), seed=seed)), cast(Any, None))
        for name in defenses
        for seed in seeds
    ]


def run(seed: int, hits: int, correct: int = 30) -> Run:
    return Run(seed, NAMES, np.arange(40) < hits, NAMES, np.arange(40) < correct)


def test_a_pair_differs_by_the_sampler_alone() -> None:
    given = cells(
        "none",
        "midre(area_high=0.8)",
        "midre(sampler=reject_joint)",
        "midre",
        "midre(area_high=0.8,sampler=reject_joint,fill=zero)",
        "midre+bido",
        "midre(sampler=reject_joint)+bido",
    )
    (pair,) = pairs_of(given)
    assert pair.label == "midre"
    assert [[cell.label for cell in side] for side in pair.sides] == [
        ["midre", "midre"],
        ["midre(sampler=reject_joint)", "midre(sampler=reject_joint)"],
    ]


def test_seeds_of_one_side_alone_are_left_out() -> None:
    (pair,) = pairs_of([*cells("midre", seeds=(0, 1, 2)), *cells("midre(sampler=reject_joint)", seeds=(2, 1))])
    assert [[cell.cell.seed for cell in side] for side in pair.sides] == [[1, 2], [1, 2]]


def test_without_a_pair_it_says_what_to_add() -> None:
    (problem,) = ErasingSamplers().problems(cells("none", "midre"))
    assert problem.endswith("add midre and midre(sampler=reject_joint) to defenses")


def compared(code: tuple[int, ...], text: tuple[int, ...]) -> Compared:
    return Compared(
        "midre",
        (0.25, 0.22),
        [run(s, hits) for s, hits in enumerate(code)],
        [run(s, hits, correct=34) for s, hits in enumerate(text)],
    )


def test_a_row_is_a_seed_and_the_last_one_their_mean() -> None:
    found = findings_of([compared((10, 12, 14), (20, 20, 20))], "here")
    assert [row["seed"] for row in found.rows] == ["0", "1", "2", "mean"]
    assert [row["attack_valid_corner"] for row in found.rows] == pytest.approx([25.0, 30.0, 35.0, 30.0])
    assert [row["attack_difference"] for row in found.rows] == pytest.approx([25.0, 20.0, 15.0, 20.0])
    assert [row["natural_difference"] for row in found.rows] == pytest.approx([10.0] * 4)
    assert (found.rows[0]["erased_valid_corner"], found.rows[0]["erased_reject_joint"]) == (0.25, 0.22)
    _, attack = found.drawing.panels
    assert attack.series[0].y == pytest.approx([20.0]) and attack.series[1].y == pytest.approx([25.0, 20.0, 15.0])
    assert attack.series[0].low[0] == found.rows[-1]["attack_low"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ((40, 40, 40), "the sampler of the text leaks more than that of the code, +50.0 ["),
        ((0, 0, 0), "the sampler of the text leaks less than that of the code, -50.0 ["),
        ((20, 14, 26), "which sampler leaks more is not decidable at this size, +0.0 ["),
    ],
    ids=["more", "less", "neither"],
)
def test_the_verdict_is_about_the_interval(text: tuple[int, ...], words: str) -> None:
    said = findings_of([compared((20, 20, 20), text)], "here").verdict
    assert words in said and said.endswith("(3 seeds; it erases 22 % of an image, the code's 25 %).")
