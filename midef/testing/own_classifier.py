"""A small classifier of a person's own, with its preprocessing, and images to guard it with."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

PX, CLASSES = 8, 4
SMALL = "inverter_width=2, inverter_epochs=1, inverter_batch=8"
PER_QUERY = f"lpa({SMALL}, rounds=2, radius=0.05, alignment=per_query)"


class Classifier(nn.Module):
    """Normalises for itself; its logits are far apart."""

    def __init__(self, seed: int = 0, mean: float = 0.5, classes: int = CLASSES) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.mean = mean
        last = nn.Linear(36, classes)
        with torch.no_grad():
            last.weight *= 10
        convolved = (nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5))
        self.body = nn.Sequential(*convolved, last)

    @override
    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.body((images - self.mean) / 0.2)
        return logits


def drawn(count: int, seed: int) -> Tensor:
    """Images [count, 3, PX, PX] uint8."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, PX, PX), generator=rng, dtype=torch.uint8)


PUBLIC, PRIVATE = drawn(24, 1), drawn(16, 2)
IMAGES = drawn(10, 3).float() / 255
