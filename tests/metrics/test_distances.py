"""Distances of features with their intervals, against loops in Python numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from midef.core import TooFewSamples
from midef.core.statistics import mean_interval, t_interval
from midef.metrics import METRICS
from midef.metrics.centroid_distance import distances_to_centroid
from midef.testing.metrics import evidence, projected


def test_centroid_distance_is_plain_and_to_the_mean_of_the_identity() -> None:
    given = evidence(1)
    expected = []
    for row, label in zip(given.features.tolist(), given.labels.tolist(), strict=True):
        own = [p for p, of in zip(given.private_features.tolist(), given.private_labels, strict=True) if of == label]
        centre = [sum(column) / len(own) for column in zip(*own, strict=True)]
        expected.append(math.sqrt(sum((a - b) ** 2 for a, b in zip(row, centre, strict=True))))
    measured = METRICS.make("centroid_distance").measure(given)
    assert measured.value == pytest.approx(sum(expected) / len(expected), rel=1e-12)
    assert (measured.n, measured.groups) == (32, 8)


def test_centroid_distance_is_not_squared() -> None:
    private = np.array([[0.0, 0.0], [6.0, 8.0], [100.0, 100.0]])
    assert distances_to_centroid(np.array([[0.0, 0.0]]), np.array([0]), private, np.array([0, 0, 1])).tolist() == [5.0]


@pytest.mark.parametrize(
    "name", ["centroid_distance", "feature_distance_face", "feature_distance_facenet", "lpips_nearest"]
)
def test_an_identity_without_private_images_is_refused(name: str) -> None:
    given = evidence()
    kept = given.private_labels != 3
    assert given.private_images is not None
    less = replace(
        given,
        private_features=given.private_features[kept],
        private_labels=given.private_labels[kept],
        private_images=given.private_images[kept],
    )
    with pytest.raises(TooFewSamples, match="needs a private training image of identity 3, got none"):
        METRICS.make(name).measure(less)


@pytest.mark.parametrize("name", ["feature_distance_face", "feature_distance_facenet", "lpips_nearest"])
def test_face_distance_and_lpips_are_squared_distances_to_the_nearest_image_of_the_identity(name: str) -> None:
    given = evidence(2)
    assert given.images is not None and given.private_images is not None
    smallest = []
    for image, label in zip(given.images, given.labels, strict=True):
        own = [p for p, of in zip(given.private_images, given.private_labels, strict=True) if of == label]
        row = projected(image[None])[0].tolist()
        others = [projected(p[None])[0].tolist() for p in own]
        smallest.append(min(sum((a - b) ** 2 for a, b in zip(row, other, strict=True)) for other in others))
    assert METRICS.make(name).measure(given).value == pytest.approx(sum(smallest) / len(smallest), rel=1e-6)


def test_the_face_distance_of_an_evaluator_that_knows_faces_says_that_it_is_the_knn_distance_again() -> None:
    given = evidence(2)
    assert given.images is not None and given.private_images is not None
    face = METRICS.make("feature_distance_face")
    assert face.measure(given).remark == ""
    same = replace(given, features=projected(given.images), private_features=projected(given.private_images))
    measured = face.measure(same)
    assert measured.remark == "the evaluator's own features: the KNN distance once more"
    assert measured.value == pytest.approx(METRICS.make("knn_distance").measure(same).value)


def test_lpips_is_to_the_original_of_each_reconstruction() -> None:
    given = evidence(3)
    assert given.images is not None and given.originals is not None
    one, two = projected(given.images).astype(float), projected(given.originals).astype(float)
    assert METRICS.make("lpips").measure(given).value == pytest.approx(((one - two) ** 2).sum(axis=1).mean(), rel=1e-12)


def test_with_equal_identities_the_interval_is_students_of_their_means() -> None:
    values = np.random.default_rng(0).random((6, 5))
    found = mean_interval(values.ravel(), np.repeat(np.arange(6), 5))
    assert found is not None and found[:2] == pytest.approx(t_interval(values.mean(axis=1).tolist()), rel=1e-12)
    assert found[2] == "95 % Student, 6 identities"


def test_images_of_one_identity_add_no_certainty() -> None:
    """Ten copies of every image tell nothing more."""
    values, identities = np.random.default_rng(1).random(12), np.arange(12) % 4
    one, ten = mean_interval(values, identities), mean_interval(np.tile(values, 10), np.tile(identities, 10))
    assert one is not None and ten is not None
    assert ten[:2] == pytest.approx(one[:2]) and ten[2] == one[2]
    assert mean_interval([1.0, 2.0], [0, 0]) is None
