"""Accuracy."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from midef.core.errors import TrainingDiverged
from midef.datasets import Images
from midef.nn.network import Forward
from midef.training.classifier.evaluate import accuracy


def test_accuracy_counts_hits() -> None:
    class Fixed(torch.nn.Module):
        def forward(self, images: Tensor) -> Forward:
            return Forward(torch.nn.functional.one_hot(images[:, 0, 0, 0].mul(255).long(), 4).float(), images, {})

    images = torch.tensor([0, 1, 2, 3, 3], dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 3, 2, 2)
    part = Images(images, torch.tensor([0, 1, 2, 0, 0]))
    assert accuracy(Fixed(), part, device="cpu", batch_size=2) == 60.0  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_no_answer(value: float) -> None:
    """argmax would take the first NaN for the surest class."""

    class Broken(torch.nn.Module):
        def forward(self, images: Tensor) -> Forward:
            logits = torch.zeros(len(images), 4)
            logits[images[:, 0, 0, 0] > 0, 1] = value
            return Forward(logits, images, {})

    images = torch.tensor([0, 1, 1, 0, 1], dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 3, 2, 2)
    with pytest.raises(TrainingDiverged, match="the logits of 3 of 5 images are not finite; lower learning_rate"):
        accuracy(Broken(), Images(images, torch.ones(5).long()), device="cpu", batch_size=2)  # type: ignore[arg-type]
