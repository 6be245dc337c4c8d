"""Gaussian blur of the training images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from typing_extensions import override

from midef.core.lazy import torch
from midef.defenses.base import DEFENSES, Batch, Defense
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from torch import Generator

_REFERENCE_PX = 224


@DEFENSES.add("gaussian_blur")
@dataclass(frozen=True, kw_only=True)
class GaussianBlur(Defense):
    """Blur every training image, in every iteration, by a Gaussian of random width.

    Args:
        sigma_low, sigma_high: range of the width, drawn per image, 0 < low <= high, both 0 for off; larger hides
            more.
        kernel_px: side of the kernel that cuts the Gaussian off, odd, 3 to 223.

    All three are pixels of an image of 224 px and scale with its side, so that a face is blurred alike at any
    resolution; the kernel becomes the nearest odd number, at least 3: 7 at 64 px.

    Source: a baseline of MIDRE, TMLR 2025 (table 4), which gives no parameters; ours are common in contrastive
    learning at 224 px.
    """

    paper: ClassVar[str] = "baseline of MIDRE, TMLR 2025 (arXiv 2409.01062)"
    acts_on: ClassVar[str] = "training images"
    tuning: ClassVar[Tuning | NotTuned] = Tuning(parameter="sigma_high", low=0.2, high=8.0, scale="log")

    sigma_low: float = 0.1
    sigma_high: float = 2.0
    kernel_px: int = 23

    def __post_init__(self) -> None:
        is_off = self.sigma_low == self.sigma_high == 0
        if not is_off and not 0 < self.sigma_low <= self.sigma_high:
            raise ValueError(f"needs 0 < sigma_low <= sigma_high, or both 0, got {self.sigma_low}, {self.sigma_high}")
        if self.kernel_px % 2 == 0 or not 3 <= self.kernel_px < _REFERENCE_PX:
            raise ValueError(f"needs an odd kernel_px from 3 to {_REFERENCE_PX - 1}, got {self.kernel_px}")

    def kernel_at(self, side_px: int) -> int:
        """Side of the kernel for images of this side."""
        return max(3, 2 * round((self.kernel_px * side_px / _REFERENCE_PX - 1) / 2) + 1)

    @override
    def transform_batch(self, batch: Batch, progress: float, rng: Generator) -> Batch:
        from midef.datasets.files.augment import gaussian_blur

        if self.sigma_high == 0:
            return batch
        images, side_px = batch.images, batch.images.shape[-1]
        drawn = torch.rand(len(images), generator=rng, device=images.device)
        sigma = (self.sigma_low + (self.sigma_high - self.sigma_low) * drawn) * side_px / _REFERENCE_PX
        return batch.with_images(gaussian_blur(images, sigma, kernel_px=self.kernel_at(side_px)))

    @override
    def off(self) -> Self:
        return replace(self, sigma_low=0.0, sigma_high=0.0)
