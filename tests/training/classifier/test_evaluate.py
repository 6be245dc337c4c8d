"""Accuracy."""

from __future__ import annotations

import torch
from torch import Tensor

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
