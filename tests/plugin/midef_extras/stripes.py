"""Stripes: people who are nothing but the direction, width and colours of their stripes."""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import override

from midef.core.lazy import torch
from midef.datasets.base import DATASETS, Card, Dataset, Images, Splits


@DATASETS.add("stripes")
@dataclass(frozen=True, kw_only=True)
class Stripes(Dataset):
    """Drawn from the parameters alone; each image has stripes of another phase, and noise.

    Args:
        identities: how many, >= 2.
        train_images, select_images, report_images: of each identity in each split, >= 1.
        labelled: False hides who is who, as in public data.
        seed: another one gives other people.
    """

    identities: int = 100
    train_images: int = 16
    select_images: int = 2
    report_images: int = 4
    labelled: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.identities < 2 or min(self.train_images, self.select_images, self.report_images) < 1:
            raise ValueError("needs identities >= 2 and at least one image of each in every split")

    @property
    @override
    def is_labelled(self) -> bool:
        return self.labelled

    @override
    def n_identities(self) -> int:
        return self.identities if self.labelled else 0

    @override
    def load(self, resolution_px: int) -> Splits:
        import numpy as np

        counts = (self.train_images, self.select_images, self.report_images)
        axis = np.linspace(0, 2 * np.pi, resolution_px, endpoint=False)
        drawn = []
        for identity in range(self.identities):
            rng = np.random.default_rng([self.seed, identity])
            angle, width, first, second = rng.uniform(0, np.pi), rng.uniform(1, 5), *rng.uniform(0, 255, (2, 3))
            across = width * (np.cos(angle) * axis[:, None] + np.sin(angle) * axis[None])
            phases = rng.uniform(0, 2 * np.pi, sum(counts))
            share = 0.5 + 0.5 * np.sin(across[None] + phases[:, None, None])
            images = share[:, None] * first[:, None, None] + (1 - share[:, None]) * second[:, None, None]
            drawn.append((images + rng.normal(0, 8, images.shape)).clip(0, 255).astype(np.uint8))
        parts, start = [], 0
        for count in counts:
            pixels = np.concatenate([images[start : start + count] for images in drawn])
            labels = torch.arange(self.identities).repeat_interleave(count)
            parts.append(Images(torch.from_numpy(pixels), labels if self.labelled else torch.full_like(labels, -1)))
            start += count
        return Splits(*parts, tuple(f"person {i}" for i in range(self.n_identities())))

    @override
    def card(self) -> Card:
        counts = {"images": self.identities * (self.train_images + self.select_images + self.report_images)}
        return Card(
            title="Stripes",
            licence="none needed: drawn by a program",
            consent="nobody is shown",
            source="drawn from its parameters",
            counts={**counts, "identities": self.n_identities()} if self.labelled else counts,
        )
