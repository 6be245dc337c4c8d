from __future__ import annotations

from math import e, exp, log
from typing import Any

import pytest
import torch

from midef.core import Recipe, SpecError
from midef.defenses import DEFENSES, PHASE_ONE, Batch
from midef.defenses.base import defended_as
from midef.defenses.calor import Calor, confidence_adaptation
from midef.defenses.loft import LoFt
from midef.defenses.stack import choose_defense
from midef.nn.network import Forward
from midef.training import TrainingRecipe

UNDEFENDED = Recipe("target", "classifier", {"seed": 0, "defense": DEFENSES.choose("none").keyed})
STRENGTHS = [(8.0, 0.25), (4.0, 0.25), (1.0, 2.0)]


def loss_at(p: torch.Tensor, *, gamma: float, alpha: float) -> torch.Tensor:
    """The loss of one image whose true class has probability p, through two-class logits."""
    logits = torch.stack([torch.log(p), torch.log1p(-p)])[None]
    return confidence_adaptation(logits, torch.tensor([0]), gamma=gamma, alpha=alpha)


@pytest.mark.parametrize(("gamma", "alpha"), STRENGTHS)
def test_is_smallest_at_its_optimal_confidence(gamma: float, alpha: float) -> None:
    grid = torch.linspace(1e-4, 1 - 1e-4, 20001, dtype=torch.float64)
    losses = torch.stack([loss_at(p, gamma=gamma, alpha=alpha) for p in grid[::20]])
    best = grid[::20][losses.argmin()]
    assert float(best) == pytest.approx(exp(-1 / gamma), abs=1e-3)
    assert float(losses.min()) == pytest.approx(-alpha / (e * gamma), rel=1e-4)
    assert (losses <= 0).all()


def test_published_optimal_confidences() -> None:
    assert exp(-1 / 8) == pytest.approx(0.8825, abs=5e-5) and exp(-1 / 4) == pytest.approx(0.7788, abs=5e-5)


@pytest.mark.parametrize(("gamma", "alpha"), STRENGTHS)
def test_full_confidence_is_punished_with_slope_alpha(gamma: float, alpha: float) -> None:
    p = torch.tensor(1 - 1e-9, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss_at(p, gamma=gamma, alpha=alpha), p)
    assert float(slope) == pytest.approx(alpha, rel=1e-6)


def test_matches_the_formula_image_by_image() -> None:
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 5, generator=rng, dtype=torch.float64) * 3
    labels = torch.tensor([0, 4, 2, 2, 1, 3])
    expected = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        p = exp(row[label]) / sum(exp(value) for value in row)
        expected += 0.25 * p**8 * log(p) / 6
    assert float(confidence_adaptation(logits, labels, gamma=8.0, alpha=0.25)) == pytest.approx(expected)


def test_is_finite_where_the_probability_underflows() -> None:
    logits = torch.tensor([[-500.0, 500.0], [500.0, -500.0]], requires_grad=True)
    loss = confidence_adaptation(logits, torch.tensor([0, 0]), gamma=8.0, alpha=0.25)
    (slope,) = torch.autograd.grad(loss, logits)
    assert loss.item() == 0 and torch.isfinite(slope).all()


@pytest.mark.parametrize("from_scratch", [True, False], ids=["pre-trained backbone", "after the undefended target"])
def test_phase_one_is_the_same_target_under_loft(from_scratch: bool) -> None:
    defense = Calor(rank=12, activation="relu", init="random", pre_bn=True, from_scratch=from_scratch)
    loft = LoFt(rank=12, activation="relu", init="random", pre_bn=True, from_scratch=from_scratch)
    (needed,) = defense.requires(UNDEFENDED).values()
    assert needed == defended_as(UNDEFENDED, loft) and needed.params["defense"]["name"] == "loft"
    assert needed.inputs == ({} if from_scratch else {PHASE_ONE: UNDEFENDED})
    assert defense.has_phase_one


def test_the_loss_never_trains_without_a_first_phase() -> None:
    forward = Forward(torch.randn(3, 4), torch.randn(3, 2), {})
    batch = Batch(torch.rand(3, 3, 4, 4), torch.tensor([0, 1, 2]), torch.arange(3))
    for defense in (Calor(), Calor(init="random", from_scratch=True), Calor().off()):
        has_loss = defense.criterion(forward, batch, 0.0) is not None
        assert has_loss == (PHASE_ONE in defense.requires(UNDEFENDED)) == bool(defense.rank)


def test_fine_tunes_as_the_release_does_whatever_the_setup_trains_like() -> None:
    planned = {"preset": "facescrub-224"}
    found = TrainingRecipe.make({**planned, **Calor().training_overrides(planned)})
    assert (found.optimizer, found.momentum, found.nesterov, found.batch_size) == ("sgd", 0.9, False, 96)
    assert (found.epochs, found.checkpoint, found.flip) == (5, "last", 0.5)
    assert found.crop_scale is None and not any(found.color_jitter)
    rates = [found.rate_at(epoch / 5) for epoch in range(5)]
    assert rates == pytest.approx([2e-5, 2e-5, 2e-5, 2e-6, 2e-7])


def test_rank_zero_is_off() -> None:
    off = Calor().off()
    assert off.requires(UNDEFENDED) == {} and off.training_overrides({"epochs": 3}) == {} and off.off() == off


@pytest.mark.parametrize("other", ["loft", "nls"])
def test_owns_the_head_and_the_loss(other: str) -> None:
    with pytest.raises(SpecError, match=r"both replace the (head|criterion); a stack can hold one of them"):
        choose_defense(f"calor+{other}")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"gamma": 0.0}, "needs gamma, alpha > 0, got 0.0, 0.25"),
        ({"alpha": -1.0}, "needs gamma, alpha > 0, got 8.0, -1.0"),
        ({"epochs": 0}, "needs epochs >= 1"),
        ({"rank": -1}, "needs rank >= 0, got -1"),
        ({"pre_bn": True}, "init='svd' would decompose a head behind a new BatchNorm"),
    ],
    ids=["gamma", "alpha", "epochs", "rank", "svd"],
)
def test_impossible_values_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        DEFENSES.make("calor", params)
