"""The distance of served scores from undefended ones, against loops and against the number of the paper."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from midef.core import NotApplicable, ShapeError
from midef.metrics import METRICS, Evidence, Measurement
from midef.metrics.confidence_distortion import score_distances
from midef.testing.metrics import evidence

DISTORTION = METRICS.make("confidence_distortion")


def measured(served: np.ndarray, undefended: np.ndarray, **changes: object) -> Measurement:
    given = evidence()
    assert given.answers is not None
    labels = np.arange(len(served)) % 5
    answers = replace(given.answers, labels=labels, served=served, undefended=undefended, **changes)  # type: ignore[arg-type]
    return DISTORTION.measure(replace(given, answers=answers))


def test_softmax_of_a_one_hot_vector_of_5_is_0_6656_away() -> None:
    """e / (e + 4) in place of 1, and 1 / (e + 4) in place of each 0. LPA prints 0.66523: its scores are not one-hot."""
    one_hot = torch.eye(5).repeat(3, 1)
    found = measured(one_hot.softmax(dim=1).numpy(), one_hot.numpy())
    first, others = 1 - math.e / (math.e + 4), 1 / (math.e + 4)
    assert found.value == pytest.approx(math.sqrt(first**2 + 4 * others**2), rel=1e-6)
    assert found.value == pytest.approx(0.6656, abs=1e-4)
    assert found.low == pytest.approx(found.value) == found.high and (found.n, found.groups) == (15, 5)


def test_it_is_the_mean_of_the_distances_of_each_image() -> None:
    given = evidence(1)
    assert given.answers is not None
    distances = [
        math.sqrt(sum((a - b) ** 2 for a, b in zip(one, other, strict=True)))
        for one, other in zip(given.answers.served.tolist(), given.answers.undefended.tolist(), strict=True)
    ]
    assert DISTORTION.measure(given).value == pytest.approx(sum(distances) / len(distances), rel=1e-9)


def test_it_is_0_for_what_is_not_changed_and_the_root_of_2_at_most() -> None:
    scores = np.random.default_rng(0).dirichlet(np.ones(5), 20)
    assert measured(scores, scores).value == 0.0
    most = measured(np.eye(5), np.roll(np.eye(5), 1, axis=0))
    assert most.value == pytest.approx(math.sqrt(2)) and most.high is not None and most.high <= DISTORTION.high  # type: ignore[operator]


def test_it_says_whose_answers_these_are() -> None:
    scores = np.eye(5)
    assert measured(scores, scores).remark == "of the answers that the attacker observed"
    assert "private report split" in measured(scores, scores, are_observed=False).remark


def test_an_attack_that_sees_labels_alone_is_refused() -> None:
    given: Evidence = replace(evidence(), answers=None, sees_scores=False)
    with pytest.raises(NotApplicable, match="compares score vectors: this attack sees labels alone"):
        DISTORTION.measure(given)


def test_scores_of_other_images_are_no_pairs() -> None:
    with pytest.raises(ShapeError, match=r"two times \[N, K\]"):
        score_distances(np.eye(5), np.eye(4))
