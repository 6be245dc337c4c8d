"""Multiplications of StyleGAN2's networks, for an image; without torch, so that plans can count them.

Convolutions, linear layers and the filters of 4 x 4 beside every change of resolution. A convolution that doubles (or
halves) the resolution multiplies each pixel of the smaller side once: a quarter of what its larger side suggests.
"""

from __future__ import annotations

from itertools import pairwise

FILTER = 16
"""Of a filter, for each pixel and channel it gives."""


def channels(side: int, base: int, most: int) -> int:
    """Channels of features of so many pixels a side."""
    return min(base // side, most)


def of_synthesis(resolution_px: int, base: int, most: int, style_dim: int = 512) -> int:
    """Of the generator after its mapping network.

    Args:
        base, most: channels at r px are base / r, at most `most`.

    >>> [round(of_synthesis(*sizes, 512) / 1e9, 1) for sizes in ((1024, 32768), (512, 32768), (256, 32768))]
    [75.4, 60.2, 45.4]
    """
    sides = [4 << i for i in range((resolution_px // 4).bit_length())]
    widths = [channels(side, base, most) for side in sides]
    first = widths[0] * (9 * widths[0] + 3) * 16 + style_dim * 2 * widths[0]
    return first + sum(
        _grown(before, wide, side, style_dim) for (before, wide), side in zip(pairwise(widths), sides[1:], strict=True)
    )


def _grown(before: int, wide: int, side: int, style_dim: int) -> int:
    """Of a block of the generator that draws at `side` px, from features of half as many."""
    doubling = 9 * before * wide * (side // 2) ** 2 + FILTER * wide * side**2
    colour = (3 * wide + 3 * FILTER) * side**2
    return doubling + 9 * wide * wide * side**2 + colour + style_dim * (before + 2 * wide)


def of_discriminator(resolution_px: int, base: int, most: int) -> int:
    """Of the residual discriminator."""
    sides = [resolution_px >> i for i in range((resolution_px // 4).bit_length())]
    widths = [channels(side, base, most) for side in sides]
    from_colours = 3 * widths[0] * resolution_px**2
    blocks = sum(_halved(wide, after, side) for (wide, after), side in zip(pairwise(widths), sides[:-1], strict=True))
    last = widths[-1]
    return from_colours + blocks + 9 * (last + 1) * last * 16 + last * 16 * last + last


def _halved(wide: int, after: int, side: int) -> int:
    """Of a block of the discriminator that takes features of `side` px."""
    half = (side // 2) ** 2
    halving = 9 * wide * after * half + FILTER * wide * (side + 1) ** 2
    skip = wide * after * half + FILTER * wide * half
    return 9 * wide * wide * side**2 + halving + skip
