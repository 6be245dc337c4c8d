from __future__ import annotations

from math import exp, log

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from midef.core import SpecError
from midef.defenses import DEFENSES, Batch, Tuning
from midef.defenses.nls import NegativeLabelSmoothing, smoothed_cross_entropy
from midef.nn.network import Forward


def drawn(seed: int, classes: int = 6, n: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(n, classes, generator=rng), torch.randint(classes, (n,), generator=rng)


@pytest.mark.parametrize(
    ("epoch", "expected"), [(0, 0.0), (49, 0.0), (50, -0.001), (74, -0.025), (75, -0.05), (99, -0.05)]
)
def test_the_released_ramp_over_a_hundred_epochs(epoch: int, expected: float) -> None:
    assert NegativeLabelSmoothing(alpha=-0.05).alpha_at(epoch / 100, step=1 / 100) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("epochs", [2, 10, 100])
def test_any_run_ends_at_full_strength(epochs: int) -> None:
    steps = 8
    last = (epochs - 1 + (steps - 1) / steps) / epochs
    assert NegativeLabelSmoothing(alpha=-0.05).alpha_at(last) == -0.05


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True), st.booleans())
def test_strength_never_falls_during_training(first: float, second: float, continuous: bool) -> None:
    defense = NegativeLabelSmoothing(alpha=-0.2, ramp_from=0.3, ramp_to=0.9, continuous=continuous)
    early, late = sorted((first, second))
    assert 0 >= defense.alpha_at(early) >= defense.alpha_at(late) >= -0.2


@pytest.mark.parametrize(
    ("epoch", "expected"), [(0, 0.0), (49, 0.0), (50, -0.05 / 25), (61, -0.05 * 12 / 25), (74, -0.05), (124, -0.05)]
)
def test_a_continuous_ramp_reaches_full_strength(epoch: int, expected: float) -> None:
    """The third-party schedule of 50 epochs of cross entropy, 25 of ramp and 50 at full strength."""
    defense = DEFENSES.remake(DEFENSES.choose("nls:facescrub-resnet152-0.05"))
    assert isinstance(defense, NegativeLabelSmoothing)
    assert defense.alpha_at(epoch / 125, step=1 / 125) == pytest.approx(expected, abs=1e-12)
    assert defense.alpha_at(0.6 - 1e-9) == pytest.approx(-0.05, abs=1e-6), "no jump at the end"


@pytest.mark.parametrize("epoch", [50, 60, 74])
def test_a_batch_lies_between_the_released_factors_of_this_epoch_and_the_one_before(epoch: int) -> None:
    defense = NegativeLabelSmoothing(alpha=-0.05)
    before, now = ((epoch + i - 50) * -0.05 / 50 for i in (0, 1))
    assert defense.alpha_at(epoch / 100) == pytest.approx(before, abs=1e-12)
    assert before > defense.alpha_at((epoch + 0.5) / 100) > now


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_factor_zero_is_cross_entropy(seed: int) -> None:
    logits, labels = drawn(seed)
    assert torch.equal(smoothed_cross_entropy(logits, labels, alpha=0.0), F.cross_entropy(logits, labels))
    near = smoothed_cross_entropy(logits, labels, alpha=1e-12)
    torch.testing.assert_close(near, F.cross_entropy(logits, labels))


@pytest.mark.parametrize("alpha", [-0.5, -0.05, 0.05, 0.5])
def test_loss_from_the_formula(alpha: float) -> None:
    logits, labels = drawn(1)
    total = 0.0
    for row, label in zip(logits.double().tolist(), labels.tolist(), strict=True):
        sum_exp = sum(exp(v) for v in row)
        for k, value in enumerate(row):
            target = (1 - alpha) * (k == label) + alpha / len(row)
            total -= target * log(exp(value) / sum_exp)
    found = smoothed_cross_entropy(logits, labels, alpha=alpha)
    assert float(found) == pytest.approx(total / len(logits), rel=1e-5)


def test_loss_can_be_negative() -> None:
    logits = torch.full((1, 10), -20.0)
    logits[0, 3] = 20.0
    assert smoothed_cross_entropy(logits, torch.tensor([3]), alpha=-0.05) < -1


def test_criterion_follows_progress() -> None:
    logits, labels = drawn(3)
    batch = Batch(torch.zeros(5, 3, 2, 2), labels, torch.arange(5))
    forward = Forward(logits, torch.zeros(5, 1), {})
    defense = NegativeLabelSmoothing(alpha=-0.4)
    for progress, alpha in ((0.2, 0.0), (0.6, -0.4 * 0.1 / 0.5), (0.9, -0.4)):
        expected = smoothed_cross_entropy(logits, labels, alpha=alpha)
        found = defense.criterion(forward, batch, progress)
        assert found is not None
        torch.testing.assert_close(found, expected)


def test_tuning_covers_every_published_strength() -> None:
    tuning = NegativeLabelSmoothing.tuning
    assert isinstance(tuning, Tuning) and not tuning.larger_hides
    assert all(tuning.low <= p["alpha"] <= tuning.high for p in NegativeLabelSmoothing.presets.values())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"alpha": 0.1}, "needs alpha <= 0, got 0.1; factors above 0 help the attacker and are `ls`"),
        ({"ramp_from": 0.8}, "needs 0 <= ramp_from <= ramp_to <= 1"),
        ({"ramp_from": 1.0, "ramp_to": 1.0}, "ramp_from < 1"),
    ],
    ids=["alpha", "ramp backwards", "ramp never"],
)
def test_impossible_values_are_refused(params: dict[str, float], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        DEFENSES.make("nls", params)
