"""The Poincare loss against its formula, in numbers and one row at a time, and where it would be no number."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from midef.attacks.latent_search.poincare import poincare_loss


def by_hand(logits: list[float], label: int) -> float:
    """arcosh(1 + 2 |u - v|^2 / ((1 - |u|^2) (1 - |v|^2))), u by its L1 norm, v at .9999 and 0."""
    size = sum(map(abs, logits))
    u = [value / size for value in logits]
    v = [min(1.0, max(0.0, float(i == label) - 1e-4)) for i in range(len(logits))]
    apart = sum((a - b) ** 2 for a, b in zip(u, v, strict=True))
    room = (1 - sum(a * a for a in u)) * (1 - sum(b * b for b in v))
    return math.acosh(1 + 2 * apart / room)


def test_two_equal_logits_are_at_9_9034() -> None:
    """|u - v|^2 = .49990001, 1 - |u|^2 = .5, 1 - |v|^2 = 1.9999e-4: arcosh(1 + 2 * .49990001 / 9.9995e-5)."""
    (found,) = poincare_loss(torch.tensor([[1.0, 1.0]]), torch.tensor([0])).tolist()
    assert found == pytest.approx(math.acosh(1 + 2 * 0.49990001 / (0.5 * 1.9999e-4)), abs=1e-5)
    assert found == pytest.approx(9.9034, abs=1e-3)


@pytest.mark.parametrize("logits", [[3.0, -1.0, 0.5, 2.0], [-4.0, 1e-3, 7.0, -2.0], [0.1, 0.1, 0.1, 30.0]])
@pytest.mark.parametrize("label", [0, 3])
def test_it_is_its_formula(logits: list[float], label: int) -> None:
    (found,) = poincare_loss(torch.tensor([logits]), torch.tensor([label])).tolist()
    assert found == pytest.approx(by_hand(logits, label), rel=1e-5)


def test_a_row_does_not_depend_on_the_others() -> None:
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    alone = torch.cat([poincare_loss(logits[i : i + 1], labels[i : i + 1]) for i in range(6)])
    assert torch.equal(poincare_loss(logits, labels), alone)


@pytest.mark.parametrize(
    "logits", [[0.0, 0.0, 0.0], [5.0, 0.0, 0.0], [0.0, -3.0, 0.0], [1e30, 1.0, 1.0], [1e-30, 0.0, 0.0]], ids=str
)
def test_points_on_the_ball_and_nowhere_give_finite_losses_and_slopes(logits: list[float]) -> None:
    values = torch.tensor([logits]).requires_grad_(True)
    loss: Tensor = poincare_loss(values, torch.tensor([0]))
    (slope,) = torch.autograd.grad(loss.sum(), values)
    assert loss.isfinite().all() and slope.isfinite().all()


def test_its_slope_moves_a_saturated_target_where_cross_entropy_has_none() -> None:
    """Sure of class 1 by 200 logits: float32 softmax has no slope left."""
    values = torch.tensor([[0.0, 200.0, 3.0]]).requires_grad_(True)
    (slope,) = torch.autograd.grad(poincare_loss(values, torch.tensor([0])).sum(), values)
    assert slope[0, 0] < 0 < slope[0, 1] and slope.abs().min() > 1e-6
