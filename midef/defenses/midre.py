"""MIDRE: random erasing of every training image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from typing_extensions import override

from midef.core.lazy import torch
from midef.defenses._base import DEFENSES, Batch, Defense

if TYPE_CHECKING:
    from torch import Generator, Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)


@DEFENSES.add("midre")
@dataclass(frozen=True, kw_only=True)
class Midre(Defense):
    """Erase one square from every training image in every iteration.

    area_low, area_high: range of the erased share of the image, 0 <= low <= high < 1; larger hides more, 0 erases
    nothing. sampler: `valid_corner` draws the area, then a corner among those where the square fits (released code:
    mean area 0.25 for (0.1, 0.4), 0.45 for (0.1, 0.8)); `reject_joint` draws corner and area together and draws again
    until the square fits (paper text: 0.22 and 0.29). fill_space: `pixel` writes the ImageNet mean colour;
    `normalised` writes it where the released 224-px code does, after Normalize(0.5, 0.5), a light grey in pixels.

    Source: MIDRE, arXiv 2409.01062, TMLR 2025, section 4; released configs use torchvision's RandomErasing with
    ratio (1, 1). Code and text disagree on the sampler; we follow the code.
    """

    paper: ClassVar[str] = "MIDRE, TMLR 2025 (arXiv 2409.01062)"
    acts_on: ClassVar[str] = "training images"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "celeba-64": {"area_low": 0.1, "area_high": 0.4},
        "facescrub-224": {"area_low": 0.1, "area_high": 0.4, "fill_space": "normalised"},
        "facescrub-224-strong": {"area_low": 0.1, "area_high": 0.8, "fill_space": "normalised"},
    }

    area_low: float = 0.1
    area_high: float = 0.4
    sampler: Literal["valid_corner", "reject_joint"] = "valid_corner"
    fill_space: Literal["pixel", "normalised"] = "pixel"

    def __post_init__(self) -> None:
        if not 0 <= self.area_low <= self.area_high < 1:
            raise ValueError(f"needs 0 <= area_low <= area_high < 1, got ({self.area_low}, {self.area_high})")

    @override
    def transform_batch(self, batch: Batch, progress: float, rng: Generator) -> Batch:
        if self.area_high == 0:
            return batch
        shape = (batch.images.shape[0], batch.images.shape[2], batch.images.shape[3])
        draw = valid_corner_squares if self.sampler == "valid_corner" else reject_joint_squares
        squares = draw(shape, area=(self.area_low, self.area_high), rng=rng)
        return batch.with_images(erase(batch.images, squares, fill=self.fill_colour()))

    def fill_colour(self) -> tuple[float, float, float]:
        """The RGB triple in pixel space."""
        if self.fill_space == "pixel":
            return IMAGENET_MEAN
        red, green, blue = (0.5 + 0.5 * v for v in IMAGENET_MEAN)
        return red, green, blue

    @override
    def off(self) -> Self:
        return replace(self, area_low=0.0, area_high=0.0)


def valid_corner_squares(shape: tuple[int, int, int], *, area: tuple[float, float], rng: Generator) -> Tensor:
    """Squares for a batch of (B, H, W): area uniform, then a corner uniform among those that fit.

    Returns:
        [B, 3] int64: top, left, side. The side is rounded and kept strictly below the image, as in torchvision.
    """
    n, height, width = shape
    low, high = area
    draws = torch.rand(n, 3, generator=rng, device=rng.device)
    share = low + (high - low) * draws[:, 0]
    side = (share * height * width).sqrt().round().long().clamp(max=min(height, width) - 1)
    top = (draws[:, 1] * (height - side + 1)).long()
    left = (draws[:, 2] * (width - side + 1)).long()
    return torch.stack([top, left, side], dim=1)


def reject_joint_squares(shape: tuple[int, int, int], *, area: tuple[float, float], rng: Generator) -> Tensor:
    """Squares for a batch of (B, H, W): corner uniform over the image, area uniform, all drawn again until it fits.

    Small squares fit more often, so the mean area is below the middle of the range.
    """
    n, height, width = shape
    low, high = area
    found = torch.zeros(n, 3, dtype=torch.long, device=rng.device)
    missing = torch.ones(n, dtype=torch.bool, device=rng.device)
    while bool(missing.any()):
        draws = torch.rand(n, 3, generator=rng, device=rng.device)
        side = ((low + (high - low) * draws[:, 0]) * height * width).sqrt().round().long()
        top = (draws[:, 1] * height).long()
        left = (draws[:, 2] * width).long()
        fits = missing & (top + side <= height) & (left + side <= width)
        found = torch.where(fits[:, None], torch.stack([top, left, side], dim=1), found)
        missing &= ~fits
    return found


def erase(images: Tensor, squares: Tensor, *, fill: tuple[float, float, float]) -> Tensor:
    """Images [B, 3, H, W] with the square (top, left, side) of each filled by one colour."""
    squares = squares.to(images.device)
    rows = torch.arange(images.shape[2], device=images.device)
    columns = torch.arange(images.shape[3], device=images.device)
    top, left, side = squares[:, 0:1], squares[:, 1:2], squares[:, 2:3]
    inside = ((rows >= top) & (rows < top + side))[:, None, :, None] & ((columns >= left) & (columns < left + side))[
        :, None, None, :
    ]
    colour = images.new_tensor(fill).view(1, 3, 1, 1)
    return torch.where(inside, colour, images)
