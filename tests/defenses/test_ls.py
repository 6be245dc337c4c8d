from __future__ import annotations

from math import exp, log

import pytest
import torch
import torch.nn.functional as F

from midef.core import SpecError
from midef.defenses import DEFENSES, Batch, Tuning
from midef.defenses.ls import LabelSmoothing
from midef.nn.network import Forward


def drawn(seed: int, classes: int = 6, n: int = 5) -> tuple[Forward, Batch]:
    rng = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, classes, generator=rng)
    labels = torch.randint(classes, (n,), generator=rng)
    return Forward(logits, torch.zeros(n, 1), {}), Batch(torch.zeros(n, 3, 2, 2), labels, torch.arange(n))


@pytest.mark.parametrize("alpha", [0.1, 0.6])
def test_loss_from_the_formula(alpha: float) -> None:
    forward, batch = drawn(1)
    total = 0.0
    for row, label in zip(forward.logits.double().tolist(), batch.labels.tolist(), strict=True):
        sum_exp = sum(exp(v) for v in row)
        for k, value in enumerate(row):
            total -= ((1 - alpha) * (k == label) + alpha / len(row)) * log(exp(value) / sum_exp)
    found = LabelSmoothing(alpha=alpha).criterion(forward, batch, 0.0)
    assert found is not None and float(found) == pytest.approx(total / len(batch.labels), rel=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("progress", [0.0, 0.5, 0.99])
def test_is_label_smoothing_of_torch_at_any_time(alpha: float, progress: float) -> None:
    """Golden: torch.nn.functional.cross_entropy has its own implementation of the positive side."""
    forward, batch = drawn(2)
    found = LabelSmoothing(alpha=alpha).criterion(forward, batch, progress)
    torch.testing.assert_close(found, F.cross_entropy(forward.logits, batch.labels, label_smoothing=alpha))


def test_more_smoothing_makes_certainty_cost_more() -> None:
    forward = Forward(torch.tensor([[20.0, 0.0, 0.0]]), torch.zeros(1, 1), {})
    batch = Batch(torch.zeros(1, 3, 2, 2), torch.tensor([0]), torch.tensor([0]))
    costs = [LabelSmoothing(alpha=a).criterion(forward, batch, 0.0) for a in (0.0, 0.1, 0.5)]
    assert costs[0] < costs[1] < costs[2]  # type: ignore[operator]


def test_says_that_larger_does_not_hide_more() -> None:
    assert isinstance(LabelSmoothing.tuning, Tuning) and not LabelSmoothing.tuning.larger_hides
    assert LabelSmoothing(alpha=0.3).off() == LabelSmoothing(alpha=0.0)


@pytest.mark.parametrize("alpha", [-0.05, 1.0])
def test_impossible_values_are_refused(alpha: float) -> None:
    with pytest.raises(SpecError, match=f"needs 0 <= alpha < 1, got {alpha}; factors below 0 are the defense `nls`"):
        DEFENSES.make("ls", {"alpha": alpha})
