"""Random changes of image batches [B, 3, H, W] in [0, 1], each image on its own, on the images' device.

Whole batches at once, drawn from the generator given: torchvision's transforms draw once per call, from a global one.
What is done once the numbers are drawn is a function of its own (`moved`, `cropped`, `rotated`, `mirrored`,
`jittered`), for those who draw in another way; all of these pass gradients.
"""

from __future__ import annotations

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in Pillow


@cache
def constant(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Numbers [N] on a device, copied there once: a copy in every step would make a GPU wait for the host."""
    return torch.tensor(values, device=device, dtype=dtype)


def flip(images: Tensor, rng: Generator, *, p: float = 0.5) -> Tensor:
    """Mirror each image left to right with probability p."""
    return mirrored(images, torch.rand(len(images), generator=rng, device=images.device) < p)


def mirrored(images: Tensor, chosen: Tensor) -> Tensor:
    """Mirror the images that are chosen [B] left to right."""
    return torch.where(chosen[:, None, None, None], images.flip(3), images)


def shift(images: Tensor, rng: Generator, *, pixels: int) -> Tensor:
    """Move each image by up to `pixels` in both directions; the border is repeated."""
    n, _, height, width = images.shape
    offset = torch.randint(0, 2 * pixels + 1, (n, 2), generator=rng, device=images.device)
    padded = F.pad(images, (pixels,) * 4, mode="replicate")
    rows = offset[:, :1] + torch.arange(height, device=images.device)
    columns = offset[:, 1:] + torch.arange(width, device=images.device)
    which = torch.arange(n, device=images.device)
    return padded[which[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def moved(images: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """Move each image by shares [B] of its width and height, between pixels too; the border is repeated."""
    theta = images.new_zeros(len(images), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1
    theta[:, 0, 2], theta[:, 1, 2] = -2 * right, -2 * down
    return _warp(images, theta, padding="border")


def resized_crop(
    images: Tensor, rng: Generator, *, scale: tuple[float, float], p: float = 1.0, ratio: float = 1.0
) -> Tensor:
    """Cut a random rectangle of a share of the area drawn from `scale` and resize it to the full image (bilinear).

    Larger rectangles than the image are cut to fit.

    Args:
        ratio: width to height of the rectangle.
        p: probability per image, others stay.
    """
    area, left, top, chosen = torch.rand(4, len(images), generator=rng, device=images.device)
    share = scale[0] + (scale[1] - scale[0]) * area
    return torch.where(
        (chosen < p)[:, None, None, None], cropped(images, share, left, top, ratio=ratio).clamp(0, 1), images
    )


def cropped(images: Tensor, share: Tensor, left: Tensor, top: Tensor, *, ratio: float | Tensor = 1.0) -> Tensor:
    """Cut a rectangle of this share of the area of each image and resize it to the full image (bilinear).

    Not clipped: bright pixels may come out a rounding above 1.

    Args:
        share: [B], above 0.
        left: [B], place of the rectangle, from 0 (at the left edge) to 1 (at the right).
        top: [B], from 0 (at the upper edge) to 1 (at the lower).
        ratio: width to height of the rectangle, of all or of each [B].
    """
    wide = (share * ratio).sqrt().clamp(max=1.0)
    high = (share / ratio).sqrt().clamp(max=1.0)
    theta = images.new_zeros(len(images), 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = wide, high
    theta[:, 0, 2], theta[:, 1, 2] = (2 * left - 1) * (1 - wide), (2 * top - 1) * (1 - high)
    return _warp(images, theta, padding="border")


def rotate(images: Tensor, rng: Generator, *, degrees: float, p: float = 1.0) -> Tensor:
    """Turn each image about its centre by an angle drawn from +-degrees; corners become black. p as above."""
    drawn, chosen = torch.rand(2, len(images), generator=rng, device=images.device)
    turned = rotated(images, (2 * drawn - 1) * math.radians(degrees)).clamp(0, 1)
    return torch.where((chosen < p)[:, None, None, None], turned, images)


def rotated(images: Tensor, radians: Tensor) -> Tensor:
    """Turn each image about its centre by its angle [B]; corners become black. Not clipped, as above."""
    n, _, height, width = images.shape
    theta = images.new_zeros(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = radians.cos()
    theta[:, 0, 1], theta[:, 1, 0] = -radians.sin() * height / width, radians.sin() * width / height
    return _warp(images, theta, padding="zeros")


def _warp(images: Tensor, theta: Tensor, *, padding: str) -> Tensor:
    """Bilinear resampling along one affine map per image. The weights of a pixel can add up to a little more than 1."""
    with torch.autocast(images.device.type, enabled=False):  # would round the places of pixels
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def color_jitter(
    images: Tensor, rng: Generator, *, brightness: float, contrast: float, saturation: float, hue: float
) -> Tensor:
    """Change brightness, contrast, saturation (factors drawn from 1 +- value) and hue (a turn drawn from +-hue).

    In this order; torchvision's ColorJitter draws the order too. The result is clipped to [0, 1].
    """
    drawn = 2 * torch.rand(4, len(images), 1, 1, 1, generator=rng, device=images.device) - 1
    factors = (1 + brightness * drawn[0], 1 + contrast * drawn[1], 1 + saturation * drawn[2])
    images = jittered(images, *factors)
    return images if hue == 0 else _turn_hue(images, hue * drawn[3])


def jittered(images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor | None = None) -> Tensor:
    """Multiply brightness, contrast (about the mean grey) and saturation by these factors [B, 1, 1, 1], in this order.

    Clipped to [0, 1] after each; 1 changes nothing but roundings, None nothing at all.
    """
    luma = constant(_LUMA, images.device, images.dtype).view(1, 3, 1, 1)
    images = (images * brightness).clamp(0, 1)
    grey = (images * luma).sum(1, keepdim=True).mean(dim=(2, 3), keepdim=True)
    images = (grey + (images - grey) * contrast).clamp(0, 1)
    if saturation is None:
        return images
    grey = (images * luma).sum(1, keepdim=True)
    return (grey + (images - grey) * saturation).clamp(0, 1)


def _turn_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Move the hue of HSV by `turns` [B, 1, 1, 1] of a full circle."""
    high, low = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    span = high - low
    red, green, blue = images.split(1, dim=1)
    safe = torch.where(span > 0, span, torch.ones_like(span))
    sixths = torch.where(
        high == red,
        ((green - blue) / safe) % 6,
        torch.where(high == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    sixths = sixths + 6 * turns
    offsets = constant((5.0, 3.0, 1.0), images.device, images.dtype).view(1, 3, 1, 1)
    k = (offsets + sixths) % 6
    return high - span * torch.minimum(torch.minimum(k, 4 - k), torch.ones_like(k)).clamp(min=0)


def gaussian_blur(images: Tensor, sigma: Tensor, *, kernel_px: int) -> Tensor:
    """Blur each image with its own sigma [B] in pixels; the border is reflected.

    Args:
        kernel_px: odd, at most 2 H - 1.
    """
    n, channels, height, width = images.shape
    half = kernel_px // 2
    offsets = torch.arange(-half, half + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
    padded = F.pad(images, (half,) * 4, mode="reflect").reshape(1, n * channels, height + 2 * half, width + 2 * half)
    across = F.conv2d(padded, kernel[:, None, None, :], groups=n * channels)
    down = F.conv2d(across, kernel[:, None, :, None], groups=n * channels)
    return down.reshape(n, channels, height, width).clamp(0, 1)
