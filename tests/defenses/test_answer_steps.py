"""The steps that defenses of answers share: distributions, budgets, labels; and the distortion of Conf.Dist."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from midef.defenses.families.answers import keeping_labels, moved, within
from midef.defenses.one_para import OnePara
from midef.defenses.serving import Query


def answers(seed: int, classes: int, sharpness: float, rows: int = 20) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.softmax(sharpness * torch.randn(rows, classes, generator=rng), dim=1)


SHARP = st.sampled_from([0.001, 0.3, 3.0, 40.0])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(2, 20), SHARP, st.sampled_from([1e-5, 1e-3, 0.1, 1.0, 2.0]), st.booleans())
def test_moved_answers_are_distributions_within_the_budget(
    seed: int, classes: int, sharpness: float, radius: float, divides: bool
) -> None:
    clean = answers(seed, classes, sharpness)
    delta = 3 * radius * torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed + 1))
    found = moved(clean, delta, radius, normalise="sum" if divides else "mean")
    assert (found >= 0).all()
    torch.testing.assert_close(found.sum(dim=1), torch.ones(len(found)))
    assert float(torch.linalg.vector_norm(found - clean, dim=1).max()) <= radius + 1e-6


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(2, 20), SHARP, SHARP)
def test_labels_are_kept_exactly_and_no_more_of_the_way_is_given_up_than_needed(
    seed: int, classes: int, sharpness: float, other: float
) -> None:
    clean, far = answers(seed, classes, sharpness), answers(seed + 1, classes, other)
    found = keeping_labels(clean, far)
    assert torch.equal(found.argmax(dim=1), clean.argmax(dim=1))
    keeps = far.argmax(dim=1) == clean.argmax(dim=1)
    torch.testing.assert_close(found[keeps], far[keeps], rtol=2e-3, atol=1e-6)


def test_the_kept_share_of_the_way_is_that_of_a_bisection() -> None:
    clean, far = answers(3, 6, 2.0, rows=50), answers(4, 6, 2.0, rows=50)
    found = keeping_labels(clean, far)
    for row in range(50):
        low, high = 0.0, 1.0
        label = int(clean[row].argmax())
        for _ in range(40):
            middle = (low + high) / 2
            is_kept = int((clean[row] + middle * (far[row] - clean[row])).argmax()) == label
            low, high = (middle, high) if is_kept else (low, middle)
        way = far[row] - clean[row]
        share = float((found[row] - clean[row]).norm() / way.norm())
        assert share == pytest.approx(low, rel=2e-3)


def test_within_is_the_nearest_point_of_the_way() -> None:
    clean, far = torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([[0.2, 0.8, 0.0]])
    expected = clean + 0.1 * torch.tensor([[-1.0, 1.0, 0.0]]) / math.sqrt(2)
    torch.testing.assert_close(within(clean, far, 0.1), expected)
    torch.testing.assert_close(within(clean, far, 1.0), far)


def test_the_distortion_of_softmax_of_one_hot_scores() -> None:
    """1 - e / (e + 4) on the label, 1 / (e + 4) on the four others: what an attacker's softmax adds to sure answers."""
    sure = torch.eye(5)
    distance = float(torch.linalg.vector_norm(sure.softmax(dim=1) - sure, dim=1).mean())
    label, other = 1 - math.e / (math.e + 4), 1 / (math.e + 4)
    assert distance == pytest.approx(math.sqrt(label**2 + 4 * other**2), rel=1e-6)
    assert distance == pytest.approx(0.6656, abs=1e-4)


@pytest.mark.parametrize("privacy", [0.01, 1.0, 20.0])
def test_the_stand_in_for_one_parameter_keeps_ranks_and_stays_below_the_largest_distance(privacy: float) -> None:
    clean = answers(0, 5, 3.0, rows=200)
    query = Query(torch.zeros(200, 3, 1, 1), clean, clean.argmax(dim=1))
    found = OnePara(privacy=privacy).answer(query, None)
    weights = [[math.exp(privacy * v / 2) for v in row] for row in clean.tolist()]
    expected = torch.tensor([[w / sum(row) for w in row] for row in weights])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(found.argmax(dim=1), clean.argmax(dim=1))
    assert float(torch.linalg.vector_norm(found - clean, dim=1).max()) <= math.sqrt(1 - 1 / 5) + 1e-6, "0.894"
