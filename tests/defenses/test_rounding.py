from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from midef.core import SpecError
from midef.defenses import DEFENSES
from midef.defenses.rounding import Rounding
from midef.defenses.serving import Query

every_decimals = pytest.mark.parametrize("decimals", range(8))


def softmax(seed: int, classes: int, sharpness: float, rows: int = 20) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.softmax(sharpness * torch.randn(rows, classes, generator=rng), dim=1)


def answered(asked: Tensor, decimals: int | None) -> Tensor:
    images = torch.zeros(len(asked), 3, 1, 1)
    return Rounding(decimals=decimals).answer(Query(images, asked, asked.argmax(dim=1)), None)


def slowly(probabilities: Tensor, decimals: int) -> list[list[float]]:
    """Round; the class that was first keeps a lead of one last digit; scale to sum 1."""
    answers = []
    for row in probabilities.numpy():
        first = max(range(len(row)), key=lambda k: (row[k], -k))
        steps = [float(np.rint(p * np.float32(10**decimals))) for p in row]
        rival = max(s for k, s in enumerate(steps) if k != first)
        if steps[first] <= rival:
            steps[first] = rival + 1
        answers.append([s / sum(steps) for s in steps])
    return answers


@every_decimals
@pytest.mark.parametrize("sharpness", [0.01, 1.0, 10.0], ids=["flat", "usual", "sure"])
def test_by_a_loop(decimals: int, sharpness: float) -> None:
    asked = softmax(decimals, 6, sharpness)
    found = answered(asked, decimals)
    torch.testing.assert_close(found, torch.tensor(slowly(asked, decimals)), atol=1e-6, rtol=1e-5)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 50), st.sampled_from([0.001, 0.3, 3.0, 40.0]), st.integers(0, 7))
def test_rows_sum_to_one_and_keep_the_predicted_class(seed: int, classes: int, sharpness: float, decimals: int) -> None:
    asked = softmax(seed, classes, sharpness)
    found = answered(asked, decimals)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(20))
    assert (found >= 0).all()
    first = asked.argmax(dim=1, keepdim=True)
    rivals = found.scatter(1, first, -1.0).amax(dim=1, keepdim=True)
    assert (found.gather(1, first) > rivals).all(), "the predicted class lost its lead"


def test_a_tie_that_rounding_makes_is_broken_for_the_first() -> None:
    found = answered(torch.tensor([[0.34, 0.33, 0.33], [0.31, 0.32, 0.37]]), 1)
    torch.testing.assert_close(found, torch.tensor([[0.4, 0.3, 0.3], [0.3, 0.3, 0.4]]))


def test_a_row_that_rounds_to_zeros_becomes_its_class() -> None:
    asked = torch.full((1, 1000), 0.001)
    asked[0, 7] = 0.0011
    found = answered(asked, 1)
    assert found[0, 7] == 1 and found.sum() == 1


def test_decimals_zero_leaves_the_label_alone() -> None:
    asked = softmax(0, 5, 1.0)
    expected = torch.nn.functional.one_hot(asked.argmax(dim=1), 5).float()
    found = answered(asked, 0)
    assert torch.equal(found.argmax(dim=1), expected.argmax(dim=1))
    assert set(found.flatten().tolist()) <= {0.0, 0.5, 1.0}


def test_fewer_decimals_hide_more() -> None:
    asked = softmax(1, 10, 1.0, rows=500)
    distinct = [len(answered(asked, d).unique()) for d in range(5)]
    assert distinct == sorted(distinct) and distinct[0] < distinct[-1]
    distance = [float((answered(asked, d) - asked).abs().mean()) for d in range(8)]
    assert distance == sorted(distance, reverse=True)


def test_none_answers_what_it_was_given() -> None:
    asked = softmax(2, 4, 1.0)
    assert answered(asked, None) is asked


@pytest.mark.parametrize("decimals", [-1, 8])
def test_too_many_or_negative_decimals_are_refused(decimals: int) -> None:
    with pytest.raises(SpecError, match=f"needs decimals from 0 to 7, or none; got {decimals}"):
        DEFENSES.make("rounding", {"decimals": decimals})
