"""KNN distance against loops in Python numbers."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from midef.core import ShapeError, TooFewSamples
from midef.metrics import METRICS, Evidence
from midef.metrics.knn_distance import nearest_squared


def evidence(scale: float = 1.0, offset: float = 0.0) -> Evidence:
    rng = np.random.default_rng(0)
    none = np.empty(0, dtype=np.int64)
    return Evidence(
        n_classes=4,
        report_labels=none,
        report_predictions=none,
        labels=np.array([0, 0, 1, 3, 3, 3]),
        restarts=np.array([0, 1, 0, 0, 1, 2]),
        found=np.ones(6, bool),
        evaluator_logits=np.zeros((6, 4)),
        features=(offset + scale * rng.standard_normal((6, 7))).astype(np.float32),
        private_features=(offset + scale * rng.standard_normal((20, 7))).astype(np.float32),
        private_labels=np.arange(20) % 4,
        queries=0,
        attack_s=0.0,
        train_s=0.0,
    )


@pytest.mark.parametrize("offset", [0.0, 1000.0], ids=["near zero", "far from zero"])
def test_it_is_the_mean_of_the_smallest_squared_distances(offset: float) -> None:
    """Far from zero a float32 sum of squares would lose all its digits."""
    given = evidence(offset=offset)
    smallest = []
    for row, label in zip(given.features.tolist(), given.labels.tolist(), strict=True):
        own = [p for p, of in zip(given.private_features.tolist(), given.private_labels, strict=True) if of == label]
        smallest.append(min(sum((a - b) ** 2 for a, b in zip(row, p, strict=True)) for p in own))
    found = METRICS.make("knn_distance").measure(given)
    assert found.value == pytest.approx(sum(smallest) / 6, rel=1e-12)
    assert (found.n, found.groups) == (6, 3)


def test_it_is_squared() -> None:
    assert nearest_squared(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0], [30.0, 40.0]])).tolist() == [25.0]


def test_only_private_images_of_the_identity_count() -> None:
    given = evidence()
    nearer = given.private_features.copy()
    nearer[given.private_labels == 2] = given.features[0]  # identity 2 is not attacked
    closer = replace(given, private_features=nearer)
    metric = METRICS.make("knn_distance")
    assert metric.measure(closer).value == metric.measure(given).value


def test_an_identity_without_private_images_is_refused() -> None:
    given = evidence()
    kept = given.private_labels != 3
    less = replace(given, private_features=given.private_features[kept], private_labels=given.private_labels[kept])
    with pytest.raises(TooFewSamples, match="needs a private training image of identity 3, got none"):
        METRICS.make("knn_distance").measure(less)


@pytest.mark.parametrize("private", [np.zeros((0, 3)), np.zeros((2, 4))], ids=["none", "another width"])
def test_wrong_shapes_are_explained(private: np.ndarray) -> None:
    with pytest.raises(ShapeError, match=r"needs \[N, D\] and \[M, D\] with M >= 1"):
        nearest_squared(np.zeros((1, 3)), private)


def test_large_features_do_not_overflow() -> None:
    far = np.full((1, 2), 1e25, dtype=np.float32)  # its square is beyond float32
    assert nearest_squared(far, np.zeros((1, 2), dtype=np.float32))[0] == pytest.approx(2e50, rel=1e-6)
    assert sys.float_info.max > 2e50
