"""Corruptions of images that nobody optimises: noise, blur, contrast, brightness and coarse pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from midef.core.lazy import F, torch

if TYPE_CHECKING:
    from torch import Generator, Tensor

NOISE = 0.08
"""Standard deviation of Gaussian noise, of pixels in [0, 1]."""
BLUR_SHARE = 1 / 32
"""Standard deviation of the Gaussian blur as a share of the side: 1 px of 32."""
CONTRAST = 0.4
BRIGHTNESS = 0.2
PIXELS = 2
"""Side of the coarse pixels, px."""


def noise(images: Tensor, rng: Generator) -> Tensor:
    """Add Gaussian noise."""
    drawn = NOISE * torch.randn(images.shape, generator=rng)
    return (images + drawn.to(images)).clamp(0, 1)


def blur(images: Tensor, rng: Generator) -> Tensor:
    """Blur with a Gaussian, mirrored at the border."""
    sigma = BLUR_SHARE * images.shape[-1]
    reach = max(1, round(3 * sigma))
    offsets = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    line = torch.exp(-(offsets**2) / (2 * sigma**2))
    line = (line / line.sum()).expand(3, 1, -1)
    padded = F.pad(images, (reach, reach, reach, reach), mode="reflect")
    across = F.conv2d(padded, line[:, :, None, :], groups=3)
    return F.conv2d(across, line[:, :, :, None], groups=3).clamp(0, 1)


def contrast(images: Tensor, rng: Generator) -> Tensor:
    """Move every pixel towards the image's mean colour."""
    mean = images.mean(dim=(2, 3), keepdim=True)
    return mean + CONTRAST * (images - mean)


def brightness(images: Tensor, rng: Generator) -> Tensor:
    """Add the same to every pixel."""
    return (images + BRIGHTNESS).clamp(0, 1)


def pixelate(images: Tensor, rng: Generator) -> Tensor:
    """Average squares of pixels; a rest at the border is averaged with what is there."""
    small = F.avg_pool2d(images, PIXELS, ceil_mode=True)
    side = images.shape[2:]
    return small.repeat_interleave(PIXELS, dim=2).repeat_interleave(PIXELS, dim=3)[:, :, : side[0], : side[1]]


CORRUPTIONS = {f.__name__: f for f in (noise, blur, contrast, brightness, pixelate)}
"""By name: images [B, 3, H, W] in [0, 1] and a generator on the CPU, to images of the same shape and range."""
