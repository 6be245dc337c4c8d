"""Principal components and detector against what is known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from midef.analysis.answers_pca import (
    auc,
    compare,
    detector_auc,
    findings_of,
    fit_detector,
    ranked_logs,
)
from midef.analysis.plane.components import principal_components


def drawn(*size: int, seed: int) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def answers(count: int, classes: int, seed: int) -> Tensor:
    return torch.softmax(3 * drawn(count, classes, seed=seed), dim=1)


@pytest.mark.parametrize("apart", [0.0, 0.5, 1.0, 2.5])
def test_the_auc_of_two_gaussians_is_known(apart: float) -> None:
    """Equal spread, means `apart` standard deviations apart: Phi(apart / sqrt 2)."""
    clean, served = drawn(6000, 3, seed=1), drawn(6000, 3, seed=2)
    served[:, 1] += apart
    found = detector_auc(clean, served)
    assert found.value == pytest.approx(norm.cdf(apart / math.sqrt(2)), abs=0.015)
    assert found.low < norm.cdf(apart / math.sqrt(2)) < found.high


def test_a_difference_in_spread_is_seen_too() -> None:
    """Scales 1 and 3 along one direction: the AUC of the squares is P(9 a > b) of two chi-squares, 2 / pi atan 3."""
    clean, served = drawn(6000, 2, seed=3), drawn(6000, 2, seed=4)
    served[:, 0] *= 3
    assert detector_auc(clean, served).value == pytest.approx(2 / math.pi * math.atan(3), abs=0.015)


def test_the_auc_counts_pairs_and_halves_ties() -> None:
    clean, served = torch.tensor([0.1, 0.4, 0.4, 0.9]), torch.tensor([0.4, 0.2, 0.95, 0.9])
    pairs = [(s > c) + 0.5 * (s == c) for s in served.tolist() for c in clean.tolist()]
    assert auc(clean, served).value == pytest.approx(np.mean(pairs))


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Clean and served scores of one image correlate; an interval that took them as independent would be too wide."""
    truth, held = norm.cdf(0.8 / math.sqrt(2)), 0
    for seed in range(400):
        shared, own = drawn(60, 1, seed=seed), drawn(60, 2, seed=seed + 1000)
        scores = math.sqrt(0.6) * shared + math.sqrt(0.4) * own
        found = auc(scores[:, 0], scores[:, 1] + 0.8)
        held += found.low <= truth <= found.high
    assert 0.92 < held / 400 < 0.98


def test_equal_answers_cannot_be_told_apart() -> None:
    clean = answers(64, 5, seed=1)
    found = compare("none", clean, clean.clone())
    assert found.detector.value == found.of_plane.value == 0.5 and found.distance == 0.0
    assert (found.detector.low, found.detector.high) == (0.5, 0.5)
    assert findings_of([found], "x").verdict == "no answer was changed."


def test_components_of_a_known_covariance() -> None:
    variances = torch.tensor([9.0, 4.0, 0.25], dtype=torch.float64)
    turn, _ = torch.linalg.qr(drawn(3, 3, seed=5))
    rows = drawn(20_000, 3, seed=6) * variances.sqrt() @ turn.T + 7.0
    plane, shares = principal_components(rows)
    assert shares == pytest.approx((9 / 13.25, 4 / 13.25), abs=0.01)
    torch.testing.assert_close(plane.var(dim=0), variances[:2], rtol=0.03, atol=0)
    for i in range(2):  # along the direction that was drawn, up to its sign
        expected = (rows - 7.0) @ turn[:, i]
        assert abs(np.corrcoef(plane[:, i], expected)[0, 1]) > 0.999


def test_components_are_numpys() -> None:
    rows = answers(40, 6, seed=7)
    values = np.linalg.eigvalsh(np.cov(rows.numpy(), rowvar=False))[::-1]
    plane, shares = principal_components(rows)
    assert plane.var(dim=0).tolist() == pytest.approx(values[:2].tolist())
    assert shares == pytest.approx(tuple((values / values.sum())[:2]))


def test_a_score_raised_from_nearly_nothing_is_seen_by_the_logarithms_and_not_in_the_plane() -> None:
    """Served: 1e-4 moved from the largest score to the smallest ones, which are 1e-6 or less: far below the spread."""
    clean = torch.softmax(12 * drawn(400, 6, seed=8), dim=1)
    served = clean + 1e-4 * (torch.full_like(clean, 1 / 6) - torch.nn.functional.one_hot(clean.argmax(1), 6))
    found = compare("small", clean, served.clamp(min=1e-12))
    assert found.distance < 2e-4
    assert found.detector.low > 0.95 and 0.4 < found.of_plane.value < 0.6
    said = findings_of([found], "x").verdict
    assert said.startswith("a detector tells served answers of small (AUC") and "in the plane 0." in said


def test_logarithms_are_ranked_and_a_zero_is_finite() -> None:
    logs = ranked_logs(torch.tensor([[0.25, 0.75, 0.0]]))
    assert logs[0].tolist() == pytest.approx([math.log(0.75), math.log(0.25), math.log(1e-30)])


def test_a_feature_that_never_changes_is_not_blown_up() -> None:
    clean = torch.stack([drawn(100, seed=9), torch.full((100,), 3.0) + 1e-15 * drawn(100, seed=10)], dim=1)
    detector = fit_detector(clean, clean + torch.tensor([1.0, 0.0]))
    assert detector.expanded(clean)[:, [1, 3]].abs().max() == 0
