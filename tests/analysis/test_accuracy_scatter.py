"""Rows, verdict and figure of runs whose hits are known."""

from __future__ import annotations

import numpy as np
import pytest

from midef.analysis.accuracy_scatter import Network, findings_of
from midef.analysis.stored.accuracies import Run

NAMES = np.arange(400)


def run(attack: int, natural: int) -> Run:
    """Percentages of 400 identities with one image each."""
    return Run(0, NAMES, np.arange(400) < 4 * attack, NAMES, np.arange(400) < 4 * natural)


def network(name: str, **accuracies: tuple[int, int]) -> Network:
    """Attack and natural accuracy by defense."""
    return Network(name, f"{name}_tiny", {label: [run(*both)] for label, both in accuracies.items()})


BETTER = network("a", none=(90, 90), midre=(30, 95), bido=(60, 80))
COSTS = network("b", none=(90, 90), midre=(30, 70))


def test_a_point_is_a_defense_on_an_architecture() -> None:
    found = findings_of([BETTER, COSTS], "none", {"midre"})
    assert [(row["setup"], row["architecture"], row["defense"]) for row in found.rows] == [
        *(("a", "a_tiny", label) for label in ("none", "midre", "bido")),
        *(("b", "b_tiny", label) for label in ("none", "midre")),
    ]
    row = found.rows[1]
    assert (row["attack"], row["natural"], row["attack_drop"], row["natural_drop"]) == pytest.approx((30, 95, 60, -5))
    (panel,) = found.drawing.panels
    assert [(s.name, list(s.x), list(s.y)) for s in panel.series] == [
        ("none", [90.0, 90.0], [90.0, 90.0]),
        ("midre", [95.0, 70.0], [30.0, 30.0]),
        ("bido", [80.0], [60.0]),
    ]
    assert all(low < y < high for s in panel.series for low, y, high in zip(s.low, s.y, s.high, strict=True))


def test_the_verdict_is_about_midre() -> None:
    assert findings_of([BETTER], "none", {"midre"}).verdict == (
        "reproduced: midre lowers attack accuracy on 1 of 1 architectures and costs less than a point of natural "
        "accuracy on 1, more on 0."
    )
    assert findings_of([BETTER, COSTS], "none", {"midre"}).verdict == (
        "not reproduced: midre lowers attack accuracy on 2 of 2 architectures and costs less than a point of natural "
        "accuracy on 1, more on 1."
    )
    few = Network("d", "d_tiny", {label: [run(*both)] for label, both in {"none": (90, 91), "midre": (30, 90)}.items()})
    assert findings_of([few], "none", {"midre"}).verdict.startswith("not decidable at this size: ")


def test_less_than_a_point_of_natural_accuracy_is_no_cost() -> None:
    """10 of 4,000 images: a quarter of a point, and the interval is above 0."""
    names = np.arange(4000)
    plain, erasing = (
        Run(0, names, names < hits, names, names < correct) for hits, correct in ((3600, 3900), (99, 3890))
    )
    found = findings_of([Network("e", "e_tiny", {"none": [plain], "midre": [erasing]})], "none", {"midre"})
    assert found.rows[1]["natural_drop_low"] > 0 and found.verdict.startswith("reproduced: ")
