"""Rows, verdict and figure of (eps, eta) curves, from errors that are known."""

from __future__ import annotations

import numpy as np
import pytest

from midef.analysis.privacy_curve import findings_of

PLAIN = np.array([0.0, 0.125, 0.25, 0.5])
WORSE = np.array([0.125, 0.25, 0.375, 0.5])
CROSSING = np.array([0.1875, 0.1875, 0.1875, 0.1875])


def test_a_row_is_a_point_of_a_curve_of_a_defense() -> None:
    found = findings_of({"none": PLAIN, "lpa": WORSE}, "here", points=5)
    points = {name: [row for row in found.rows if row["defense"] == name] for name in ("none", "lpa")}
    for name, eta, area in (
        ("none", [0.0, 0.25, 0.5, 0.75, 0.75], 0.78125),
        ("lpa", [0.0, 0.0, 0.25, 0.5, 0.75], 0.6875),
    ):
        assert [row["eps"] for row in points[name]] == [0.0, 0.125, 0.25, 0.375, 0.5]
        assert [row["eta"] for row in points[name]] == eta
        assert [row["area"] for row in points[name]] == pytest.approx([area] * 5)
        assert {row["images"] for row in points[name]} == {4}
    (panel,) = found.drawing.panels
    assert [(series.name, series.kind) for series in panel.series] == [("none", "dashes"), ("lpa", "line")]
    assert list(panel.series[1].y) == [row["eta"] for row in found.rows if row["defense"] == "lpa"]


def test_the_verdict_says_which_curves_are_nowhere_above_the_undefended_one() -> None:
    found = findings_of({"none": PLAIN, "lpa": WORSE, "other": CROSSING}, "here", points=41)
    assert found.verdict == (
        "area under eta: 0.7812 under none, 0.6875 under lpa, 0.8125 under other; nowhere above none: lpa."
    )
    assert findings_of({"none": PLAIN, "same": PLAIN}, "here").verdict.endswith("nowhere above none: none of them.")
    assert findings_of({"none": PLAIN}, "here").verdict == "area under eta: 0.7812 under none."
