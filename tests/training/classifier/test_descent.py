"""The loss under a defense, and batches that are worked through in parts to save memory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from typing_extensions import override

from midef.datasets import Splits
from midef.defenses import Batch, Defense
from midef.defenses.stack import choose_defense, remake_defense
from midef.models import ARCHITECTURES
from midef.nn.network import Forward, TargetModel
from midef.training import TrainingRecipe
from midef.training.classifier.descent import loss_of
from midef.training.classifier.fit import fit_classifier

# Plain gradient descent with rate 1 and no decay: the change of a weight is minus its gradient.
ONE_STEP: dict[str, Any] = {"learning_rate": 1.0, "momentum": 0.0, "weight_decay": 0.0, "epochs": 1}


def step(faces: Splits, micro_batches: int, *, architecture: str = "vit_b16_tiny", defense: str = "none") -> Tensor:
    """All weights after one epoch of two steps."""
    torch.manual_seed(0)
    chosen = ARCHITECTURES.make(architecture)
    model: TargetModel = chosen.build(8, 32)
    fit_classifier(
        model,
        faces.train,
        faces.select,
        facts=chosen.facts(),
        recipe=TrainingRecipe(**{**ONE_STEP, "batch_size": 63}),
        defense=remake_defense(choose_defense(defense)),
        seed=5,
        micro_batches=micro_batches,
    )
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("defense", ["none", "cutmix", "midre(area_high=0.2)"])
def test_gradients_of_micro_batches_add_up(faces: Splits, defense: str, caplog: pytest.LogCaptureFixture) -> None:
    """63 images are 32 and 31."""
    with caplog.at_level(logging.WARNING, "midef"):
        whole, halves = step(faces, 1, defense=defense), step(faces, 2, defense=defense)
    torch.testing.assert_close(halves, whole, rtol=1e-5, atol=1e-5)
    assert "micro-batches" not in caplog.text, "nothing here sees a micro-batch"


@pytest.mark.parametrize(
    ("architecture", "defense", "named"),
    [
        ("vgg16_tiny", "none", "batch norms"),
        ("vgg16_tiny", "bido", "batch norms and the loss of Bido"),
        ("vit_b16_tiny", "bido", "whole batches: the loss of Bido"),
    ],
)
def test_what_sees_a_micro_batch_is_told(
    architecture: str, defense: str, named: str, faces: Splits, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "midef"):
        step(faces, 2, architecture=architecture, defense=defense)
    assert named in caplog.text


def test_the_network_sees_half_a_batch(faces: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    passed: Callable[..., Any] = TargetModel.forward

    def spy(self: TargetModel, images: Tensor, taps: tuple[str, ...] = ()) -> Any:
        sizes.append(len(images))
        return passed(self, images, taps)

    monkeypatch.setattr("midef.training.classifier.fit.EVALUATED_AT_ONCE", 6)
    monkeypatch.setattr(TargetModel, "forward", spy)
    step(faces, 2)
    assert sizes[:2] == [32, 31]
    assert set(sizes[2:-1]) == {3}


def test_loss_of_adds_penalties_to_the_criterion() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Priced(Defense):
        @override
        def penalties(self, forward: Forward, batch: Batch, progress: float) -> dict[str, Tensor]:
            return {"one": torch.tensor(1.0), "half": torch.tensor(0.5)}

    batch = Batch(torch.zeros(2, 3, 4, 4), torch.tensor([0, 1]), torch.arange(2))
    forward = Forward(torch.zeros(2, 2), torch.zeros(2, 2), {})
    assert loss_of(Priced(), forward, batch, 0.0).item() == pytest.approx(float(torch.tensor(2.0).log()) + 1.5)
