"""Rows, verdict and figure of (eps, eta) curves, from errors that are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from midef.analysis.base import AnalysedCell
from midef.analysis.privacy_curve import ERRORS, PrivacyCurve, findings_of
from midef.core.choice import Choice

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


@pytest.mark.parametrize("written", [("none", "lpa"), ("lpa", "none")])
def test_others_are_compared_with_the_undefended_target_wherever_the_sweep_names_it(
    written: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stored(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
        return {ERRORS: PLAIN if path.parent.name == "none" else WORSE}

    monkeypatch.setattr("midef.storage.arrays.read_arrays", stored)
    setup = SimpleNamespace(id="here", attack=SimpleNamespace(label="tcnn"), target="digits")
    cells = [
        AnalysedCell(
            cast(Any, SimpleNamespace(defense=Choice(name, {}, 1, name), setup=setup)),
            cast(Any, SimpleNamespace(scores=SimpleNamespace(key=name))),
        )
        for name in written
    ]
    found = PrivacyCurve().analyse(cells, cast(Any, SimpleNamespace(artifacts=SimpleNamespace(fetch=Path))))
    assert found.verdict.endswith("nowhere above none: lpa.")
    assert [series.kind for series in found.drawing.panels[0].series if series.name == "none"] == ["dashes"]
