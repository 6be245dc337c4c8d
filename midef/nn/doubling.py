"""Sizes of the networks that double from 4 px, or halve down to it: resolutions, channels, operations. No torch."""

from __future__ import annotations

from math import log2

from midef.core.errors import ShapeError

FULL = 4
"""Doublings from 4 to 64 px, for which the papers' networks were made: channels change over those, and over no more."""
SMALLEST_PX = 8
LARGE_PX = 256
KERNELS, KERNEL_DIMS = 64, 50
"""Of KedMI's minibatch discrimination."""


def doublings(resolution_px: int) -> int:
    """Number of doublings from 4 px to the resolution.

    Raises:
        ShapeError: if it is not a power of two from 8 up.
    """
    count = log2(resolution_px / 4)
    if count < 1 or count != int(count):
        raise ShapeError(f"this prior draws 8, 16, 32, 64, ... px, got {resolution_px}; choose such a resolution_px")
    return int(count)


def drawn_for(resolution_px: int) -> int:
    """Pixels a side that networks draw for targets of this resolution, from `SMALLEST_PX` up: the next power of two.

    Between 64 and 256 px it is 256 unless a power of two was asked for: the papers have networks of these two sizes.

    >>> [drawn_for(px) for px in (28, 32, 64, 112, 128, 160, 224, 299)]
    [32, 32, 64, 256, 128, 256, 256, 512]
    """
    power = 1 << (resolution_px - 1).bit_length()
    is_between = (4 << FULL) < resolution_px < LARGE_PX and power != resolution_px
    return LARGE_PX if is_between else power


def halving(width: int, ups: int, *, widest: int) -> list[int]:
    """Channels before each of `ups` doublings and after the last one [ups + 1]: halved down to `width` and kept there.

    Args:
        ups: doublings of the resolution, >= 0.
        widest: how often they are halved at most.

    >>> halving(64, 3, widest=3), halving(64, 5, widest=3), halving(64, 1, widest=3)
    ([512, 256, 128, 64], [512, 256, 128, 64, 64, 64], [128, 64])
    """
    return [width << max(0, min(ups, widest) - i) for i in range(ups + 1)]


def rising(width: int, downs: int, *, widest: int) -> list[int]:
    """Channels after each of `downs` halvings of the resolution [downs]: doubled from `width` on and then kept.

    Args:
        widest: how often they are doubled at most.

    >>> rising(64, 4, widest=3), rising(64, 6, widest=3)
    ([64, 128, 256, 512], [64, 128, 256, 512, 512, 512])
    """
    return [width << min(i, widest) for i in range(downs)]


def minibatch_channels(resolution_px: int, width: int) -> list[int]:
    """Channels of KedMI's discriminator after each halving down to 4 px.

    >>> minibatch_channels(64, 64), minibatch_channels(256, 64)
    ([64, 128, 256, 256], [64, 128, 256, 256, 256, 256])
    """
    downs = doublings(resolution_px)
    return rising(width, downs, widest=min(max(downs - 2, 0), 2))
