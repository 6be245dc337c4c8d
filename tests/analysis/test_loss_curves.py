"""Fluctuation, ratio, rows and verdict of losses that are written by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from midef.analysis.base import AnalysedCell
from midef.analysis.loss_curves import Compared, Course, by_attackers, findings_of, pairs_of
from midef.analysis.stored.accuracies import Run
from midef.core.traces import Traces

STEPS = np.arange(21)
NAMES = np.arange(100)


def course(*swings: float, found: int = 50) -> Course:
    """A row an identity: a steady fall by 3 a step, and a swing up and down from step to step."""
    loss = np.array([100 - 3 * STEPS + swing * (STEPS % 2) for swing in swings])
    traces = Traces(STEPS, {"loss": loss}, np.arange(len(swings)), np.zeros(len(swings), dtype=int))
    return Course.of_traces(traces, [Run(0, NAMES, found > NAMES, NAMES, NAMES < 90)])


def test_a_steady_fall_does_not_fluctuate_and_a_swing_does() -> None:
    """The changes are -3 + s and -3 - s in turn: their standard deviation is s."""
    assert course(0.0, 1.0, 4.0).fluctuations == pytest.approx([0.0, 1.0, 4.0])


def test_only_the_second_half_counts_and_lost_rows_do_not() -> None:
    loss = np.zeros((3, 21))
    loss[0, :10] = 50 * (STEPS[:10] % 2)
    loss[1] = 2 * (STEPS % 2)
    loss[2, 5] = np.nan
    of = Course.of_traces(Traces(STEPS, {"loss": loss}, np.array([4, 5, 6]), np.zeros(3, dtype=int)), [])
    assert of.by_identity == pytest.approx({4: 0.0, 5: 2.0})


def test_the_ratio_is_the_geometric_mean_over_identities() -> None:
    ratio, low, high = Compared("here", "there", "midre", True, course(1.0, 1.0), course(2.0, 8.0)).ratio
    assert ratio == pytest.approx(4.0) and low * high == pytest.approx(16.0)  # an interval of logarithms


PLAIN = course(1.0, 1.1, 0.9, found=60)


@pytest.mark.parametrize(
    ("adaptive", "word"),
    [
        (course(4.0, 5.0, 4.5, found=20), "reproduced"),
        (course(4.0, 5.0, 4.5, found=95), "not reproduced"),
        (course(0.1, 0.1, 0.1, found=20), "not reproduced"),
        (course(4.0, 5.0, 4.5, found=58), "not decidable at this size"),
    ],
    ids=["wilder and weaker", "stronger", "calmer", "as strong"],
)
def test_the_verdict_has_both_claims(adaptive: Course, word: str) -> None:
    found = findings_of([Compared("here", "there", "midre", True, PLAIN, adaptive)], "network")
    assert found.verdict.startswith(f"{word}: under midre of here the adaptive attacker's loss (there) fluctuates ")
    assert "where the plain one finds 60.0 % (" in found.verdict


def test_a_row_is_a_point_and_what_does_not_erase_is_no_claim() -> None:
    calm = Compared("here", "there", "none", False, PLAIN, course(0.1, 0.1, 0.1))
    found = findings_of(
        [calm, Compared("here", "there", "midre", True, PLAIN, course(4.0, 5.0, 4.5, found=20))], "network"
    )
    assert found.verdict.startswith("reproduced: under midre")
    assert len(found.rows) == 2 * 2 * 21
    first = found.rows[1]
    assert (first["setup"], first["defense"], first["attacker"], first["step"]) == ("here", "none", "plain", 1)
    assert {(row["setup"], row["attacker"]) for row in found.rows} == {("here", "plain"), ("there", "adaptive")}
    assert first["loss"] == pytest.approx(97 + 1.0) and first["fluctuation"] == pytest.approx(1.0)
    assert first["attack"] == 60.0 and 97.9 < first["low"] < first["high"] < 98.1 + 1e-9
    assert [panel.title for panel in found.drawing.panels] == ["none: here, there", "midre: here, there"]
    assert [len(panel.series) for panel in found.drawing.panels] == [4, 4]


def cell(name: str, target: str, seed: int = 0, **attack: float) -> AnalysedCell:
    setup = SimpleNamespace(
        id=name, attack=SimpleNamespace(name="gmi", params=attack), public="public", protocol="protocol"
    )
    recipes = SimpleNamespace(target=SimpleNamespace(key=target))
    defense = SimpleNamespace(label="midre")
    return AnalysedCell(cast(Any, SimpleNamespace(setup=setup, seed=seed, defense=defense)), cast(Any, recipes))


def test_a_pair_differs_by_what_is_erased_alone() -> None:
    plain, other = cell("a", "x", iterations=5), cell("b", "x", iterations=9, erase_low=0.1, erase_high=0.4)
    adaptive = cell("c", "x", iterations=5, erase_low=0.1, erase_high=0.4)
    elsewhere = cell("c", "y", iterations=5, erase_low=0.1, erase_high=0.4)
    assert pairs_of([plain, other, adaptive, elsewhere]) == [(plain, adaptive)]


def test_two_adaptive_attackers_are_no_seeds_of_one() -> None:
    plain = [cell("a", f"x{seed}", seed) for seed in (0, 1)]
    some, much = (
        [cell(name, f"x{seed}", seed, erase_low=0.1, erase_high=high) for seed in (0, 1)]
        for name, high in (("b", 0.2), ("c", 0.4))
    )
    grouped = by_attackers(pairs_of([*plain, *some, *much]))
    assert list(grouped) == [("a", "b", "midre"), ("a", "c", "midre")]
    assert grouped["a", "b", "midre"] == list(zip(plain, some, strict=True))
    assert grouped["a", "c", "midre"] == list(zip(plain, much, strict=True))
