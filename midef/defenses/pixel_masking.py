"""Pixel masking: scattered pixels replaced by noise, where MIDRE erases one square."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from typing_extensions import override

from midef.core.lazy import torch
from midef.defenses.base import DEFENSES, Batch, Defense
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from torch import Generator, Tensor


@DEFENSES.add("pixel_masking")
@dataclass(frozen=True, kw_only=True)
class PixelMasking(Defense):
    """Replace a random share of the pixels of every training image, in every iteration, by uniform noise.

    Args:
        share_low, share_high: range of that share, drawn per image, 0 <= low <= high <= 1; larger hides more, 0
            masks nothing. A pixel is masked in all three channels at once, each with its own value from U(0, 1).

    Source: MIDRE, TMLR 2025, ablation "a random 10 to 60 % of pixels replaced by random values"; its results are in a
    figure only.
    We differ: each pixel is masked with the drawn probability, so the masked share scatters around it.
    """

    paper: ClassVar[str] = "MIDRE, ablation pixel masking, TMLR 2025 (arXiv 2409.01062)"
    acts_on: ClassVar[str] = "training images"
    tuning: ClassVar[Tuning | NotTuned] = Tuning(parameter="share_high", low=0.1, high=0.95)

    share_low: float = 0.1
    share_high: float = 0.6

    def __post_init__(self) -> None:
        if not 0 <= self.share_low <= self.share_high <= 1:
            raise ValueError(f"needs 0 <= share_low <= share_high <= 1, got ({self.share_low}, {self.share_high})")

    @override
    def transform_batch(self, batch: Batch, progress: float, rng: Generator) -> Batch:
        if self.share_high == 0:
            return batch
        return batch.with_images(masked(batch.images, share=(self.share_low, self.share_high), rng=rng))

    @override
    def off(self) -> Self:
        return replace(self, share_low=0.0, share_high=0.0)


def masked(images: Tensor, *, share: tuple[float, float], rng: Generator) -> Tensor:
    """Images [B, 3, H, W] in which each pixel is noise with the probability drawn for its image from `share`."""
    n, _, height, width = images.shape
    low, high = share
    probability = low + (high - low) * torch.rand(n, 1, 1, 1, generator=rng, device=images.device)
    chosen = torch.rand(n, 1, height, width, generator=rng, device=images.device) < probability
    noise = torch.rand(images.shape, generator=rng, device=images.device)
    return torch.where(chosen, noise, images)
