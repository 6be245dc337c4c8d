"""Counts, differences and verdict of likely reconstructions that the evaluator does not recognise."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from midef.analysis.base import AnalysedCell
from midef.analysis.false_positives import FalsePositives, Judged, findings_of
from midef.core.choice import Choice

IDENTITIES = 40


def judged(label: str, *, likely: int, recognised: int) -> Judged:
    """Of 40 identities the first ones are likely (0.95, the others 0.25), and the first ones are recognised."""
    order = np.arange(IDENTITIES)
    return Judged(
        label=label,
        labels=order,
        likelihoods=np.where(order < likely, 0.95, 0.25),
        hits=order < recognised,
    )


def test_a_false_positive_is_likely_and_not_recognised() -> None:
    plain, defended = findings_of(
        [judged("none", likely=40, recognised=36), judged("d", likely=30, recognised=12)], ""
    ).rows
    assert [plain[name] for name in ("likely", "recognised", "true_positives", "false_positives", "false_share")] == [
        100.0,
        90.0,
        90.0,
        10.0,
        10.0,
    ]
    assert (defended["likely"], defended["true_positives"], defended["false_positives"]) == (75.0, 30.0, 45.0)
    assert defended["false_share"] == pytest.approx(60.0) and defended["median_likelihood"] == 0.95
    assert plain["more"] is None and defended["more"] == pytest.approx(35.0)


def test_a_difference_is_paired_by_identity() -> None:
    """18 identities (12 to 29) are false positives under the defense alone, 4 (36 to 39) without it alone.

    Bonett and Price add one each way: 19 and 5 of 42; 1.96 is near Student's quantile.
    """
    _, row = findings_of([judged("none", likely=40, recognised=36), judged("d", likely=30, recognised=12)], "").rows
    centre = (19 - 5) / 42
    half = 1.96 * math.sqrt(((19 + 5) / 42 - centre**2) / 42)
    assert row["more_low"] == pytest.approx(100 * (centre - half), abs=1.0)
    assert row["more_high"] == pytest.approx(100 * (centre + half), abs=1.0)


def test_without_a_likely_one_there_is_no_share() -> None:
    (row,) = findings_of([judged("none", likely=0, recognised=5)], "").rows
    assert row["false_share"] is None and row["false_positives"] == 0.0
    assert findings_of([judged("none", likely=0, recognised=5)], "").verdict == (
        "false positives: 0.0 % of all reconstructions of the undefended target."
    )


def test_the_threshold_is_a_parameter() -> None:
    one = judged("none", likely=10, recognised=0)
    assert [findings_of([one], "", likely=at).rows[0]["likely"] for at in (0.2, 0.9, 0.95, 0.96)] == [100, 25, 25, 0]
    with pytest.raises(ValueError, match="needs 0 < likely <= 1, got 0"):
        FalsePositives(likely=0.0)


def test_the_verdict_says_where_it_is_shown() -> None:
    found = findings_of(
        [
            judged("none", likely=40, recognised=30),
            judged("more", likely=40, recognised=4),
            judged("less", likely=40, recognised=40),
            judged("same", likely=40, recognised=29),
        ],
        "",
    )
    assert found.verdict.startswith(
        "that a defense makes attacks end in false positives is reproduced under more (+65.0 points ["
    )
    assert "; the reverse is shown under less (-25.0 points [" in found.verdict
    assert "; not decidable at this size under same (+2.5 points [" in found.verdict
    assert found.verdict.endswith("against 25.0 % of all reconstructions of the undefended target.")


def test_likelihoods_are_of_the_reconstruction_that_was_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores of the best restarts alone, in another order than the images: matched by identity and restart."""
    images = np.zeros((4, 3, 2, 2), dtype=np.uint8)
    images[:, 0, 0, 0] = [10, 20, 30, 40]  # percent that the target gives the attacked identity
    stored = {
        "images.npz": {"images": images, "labels": np.array([0, 0, 1, 1]), "restarts": np.array([0, 1, 0, 1])},
        "per_image.npz": {
            "labels": np.array([1, 0]),
            "restarts": np.array([0, 1]),
            "hit_at_1": np.array([True, False]),
        },
    }

    def clean(seen: torch.Tensor) -> torch.Tensor:
        share = seen[:, 0, 0, 0].double() / 100
        own = torch.tensor([[0], [1]])
        return (1 - share)[:, None].repeat(1, 2).scatter(1, own, share[:, None])

    target = SimpleNamespace(spec=SimpleNamespace(resolution_px=2), clean=clean)
    monkeypatch.setattr("midef.analysis.stored.load.splits_of", lambda *_: SimpleNamespace(class_names=("a", "b")))
    monkeypatch.setattr("midef.analysis.stored.load.asked_of", lambda *_: target)
    monkeypatch.setattr("midef.storage.arrays.read_arrays", lambda path, names: stored[path.name])
    setup = SimpleNamespace(attack=SimpleNamespace(label="gmi"), target="vgg16_tiny")
    recipes = {name: SimpleNamespace(key=name) for name in ("private", "target", "reconstructions", "scores")}
    cell = AnalysedCell(
        cast(Any, SimpleNamespace(defense=Choice("none", {}, 1, "none"), setup=setup)),
        cast(Any, SimpleNamespace(**recipes)),
    )
    store = cast(Any, SimpleNamespace(artifacts=SimpleNamespace(fetch=Path)))
    (row,) = FalsePositives(likely=0.2).analyse([cell], store).rows
    assert row["median_likelihood"] == pytest.approx(0.25), "of the images with 20 % and 30 %"
    assert (row["likely"], row["true_positives"], row["false_positives"]) == (100.0, 50.0, 50.0)


def test_the_figure_has_a_point_for_each_defense_and_the_line_of_the_sure_target() -> None:
    found = findings_of([judged("none", likely=40, recognised=36), judged("d", likely=30, recognised=12)], "")
    (panel,) = found.drawing.panels
    drawn = [(series.name, list(series.x), list(series.y)) for series in panel.series]
    assert drawn == [
        ("none", [10.0], [90.0]),
        ("d", [45.0], [30.0]),
        ("every one is likely", [0.0, 100.0], [100.0, 0.0]),
    ]
