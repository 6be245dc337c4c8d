"""Pairs, differences and verdict of TL-DMI against its control, from hits that are known."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from midef.analysis.base import AnalysedCell
from midef.analysis.stored.accuracies import Run
from midef.analysis.trained_part import Part, compared_of, findings_of, pairs_of
from midef.core.choice import Choice

UNITS = ("a", "b", "c", "d")
IDENTITIES = 40


def part(where: str, frozen: str, *hits: int, weights: int = 100, correct: int = 20) -> Part:
    """At each seed, of 40 identities with an image each, the first ones are found; and 20 private images."""
    order, tested = np.arange(IDENTITIES), np.arange(20)
    return Part(
        label=f"{where}:{frozen}",
        where=where,
        frozen=tuple(frozen),
        weights=weights,
        runs=[Run(seed, order, order < found, tested, tested < correct) for seed, found in enumerate(hits)],
    )


@pytest.mark.parametrize(
    ("frozen", "expected"),
    [
        (["ab", "c"], [(0, 1)]),
        (["ab", "cd"], [(0, 1)]),
        (["c", None, "ab"], [(2, 0)]),
        (["a", "ab", "bc", "d"], [(0, 2)]),
        (["ab", "d"], []),
        (["ab", "bc"], []),
        (["ab", ""], []),
        ([None, "ab"], []),
    ],
    ids=str,
)
def test_a_control_begins_to_freeze_where_the_published_cut_ends(
    frozen: list[str | None], expected: list[tuple[int, int]]
) -> None:
    assert pairs_of([None if f is None else tuple(f) for f in frozen], UNITS) == expected


def test_a_difference_is_paired_by_identity() -> None:
    """Bonett and Price: with one identity added each way, 21 and 1 of 42 differ; 1.96 is near Student's quantile."""
    parts = [part("first", "ab", 10), part("range", "c", 30, weights=60, correct=18)]
    published, control = findings_of(parts, UNITS, "here").rows
    assert published["control_of"] == "" and published["more"] is None
    assert (control["control_of"], control["more"]) == ("first:ab", pytest.approx(50.0))
    share = 20 / 42
    half = 1.96 * math.sqrt((22 / 42 - share**2) / 42)
    assert control["more_low"] == pytest.approx(100 * (share - half), abs=1.0)
    assert control["more_high"] == pytest.approx(100 * (share + half), abs=1.0)
    assert (published["attack"], control["attack"]) == (25.0, 75.0)
    assert (published["natural"], control["natural"]) == (100.0, 90.0)
    assert (published["frozen"], control["frozen"], control["trained_weights"]) == ("a to b", "c to c", 60)


@pytest.mark.parametrize(
    ("controls", "verdict"),
    [
        ((30, 11), "that the first units matter most for inversion is reproduced in 1 of 2 pairs: "),
        ((0, 30), "is not reproduced, the reverse is shown in 1 of 2 pairs and it in 1: "),
        ((0, 10), "is not reproduced, the reverse is shown in 1 of 2 pairs and it in 0: "),
        ((10, 11), "is not decidable at this size: "),
    ],
    ids=["more", "both", "less", "neither"],
)
def test_the_verdict_counts_pairs_that_are_shown(controls: tuple[int, int], verdict: str) -> None:
    ranges = [part("range", "c", controls[0]), part("last", "cd", controls[1])]
    found = findings_of([part("first", "ab", 10), *ranges], UNITS, "here")
    assert verdict in found.verdict
    assert f"gains {2.5 * (controls[0] - 10):+.1f} points [" in found.verdict


def test_three_seeds_add_the_spread_over_trainings() -> None:
    """Controls find 20, 10 and 0 of 40 more: Student's half width over 50, 25 and 0 points is 4.3027 * 25 / sqrt(3)."""
    found = findings_of([part("first", "ab", 10, 10, 10), part("range", "c", 30, 20, 10)], UNITS, "here")
    control = found.rows[1]
    assert (control["more"], control["seeds"], control["images"]) == (pytest.approx(25.0), 3, 120)
    half = 4.3027 * 25 / math.sqrt(3)
    assert control["more_low"] < 25 - half and control["more_high"] > 25 + half
    assert "is not decidable at this size: " in found.verdict
    steady = findings_of([part("first", "ab", 10, 10, 10), part("range", "c", 20, 21, 22)], UNITS, "here")
    assert "is reproduced in 1 of 1 pairs: " in steady.verdict


def test_the_figure_has_a_colour_for_each_place_that_freezes() -> None:
    parts = [
        part("", "", 36),
        part("first", "ab", 10),
        part("range", "c", 20),
        part("first", "a", 8),
    ]
    (panel,) = findings_of(parts, UNITS, "here").drawing.panels
    assert [(s.name, list(s.y)) for s in panel.series] == [
        ("nothing freezes", [90.0]),
        ("first units freeze (TL-DMI)", [25.0, 20.0]),
        ("units behind them freeze", [50.0]),
    ]
    assert all(low < y < high for s in panel.series for low, y, high in zip(s.low, s.y, s.high, strict=True))


def test_cells_are_compared_over_the_seeds_that_all_have(monkeypatch: pytest.MonkeyPatch) -> None:
    def cell(name: str, seed: int) -> AnalysedCell:
        return AnalysedCell(cast(Any, SimpleNamespace(defense=Choice(name, {}, 1), seed=seed)), cast(Any, None))

    frozen = {"tl_dmi": ("a",), "none": None, "nls": None}
    monkeypatch.setattr("midef.analysis.trained_part.frozen_of", lambda cell: frozen[cell.label])
    cells = [cell(name, seed) for name, seed in [("tl_dmi", 2), ("nls", 1), ("none", 1), ("tl_dmi", 1), ("none", 0)]]
    cells.append(cell("tl_dmi", 0))
    compared = [[(one.label, one.cell.seed) for one in same] for same in compared_of(cells)]
    assert compared == [[("none", 0), ("none", 1)], [("tl_dmi", 0), ("tl_dmi", 1)]]
