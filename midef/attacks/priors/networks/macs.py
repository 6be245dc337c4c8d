"""Multiplications of the networks that double from 4 px, for an image; without torch, so that plans can count them.

Convolutions and linear layers alone: norms, resizing and colours are a few per cent of them.
"""

from __future__ import annotations

from itertools import pairwise

from midef.nn.doubling import (
    FULL,
    KERNEL_DIMS,
    KERNELS,
    doublings,
    halving,
    minibatch_channels,
    rising,
)


def of_generator(latent_dim: int, resolution_px: int, width: int) -> int:
    """Of `dcgan.Generator`.

    >>> round(of_generator(100, 64, 64) / 1e9, 3), round(of_generator(100, 256, 64) / 1e9, 3)
    (0.163, 0.761)
    """
    channels = halving(width, doublings(resolution_px) - 1, widest=FULL - 1)
    grown = sum(25 * c_in * c_out * (4 << i) ** 2 for i, (c_in, c_out) in enumerate(pairwise([*channels, 3])))
    return latent_dim * channels[0] * 16 + grown


def of_critic(resolution_px: int, width: int) -> int:
    """Of `dcgan.Critic`.

    >>> round(of_critic(64, 64) / 1e9, 3), round(of_critic(256, 64) / 1e9, 3)
    (0.162, 3.12)
    """
    channels = rising(width, doublings(resolution_px), widest=FULL - 1)
    return _halved(channels, resolution_px, last_kernel=5) + channels[-1] * 16


def of_minibatch_discriminator(resolution_px: int, width: int) -> int:
    """Of `kedmi.MinibatchDiscriminator`, without its head, which depends on the number of classes.

    >>> round(of_minibatch_discriminator(64, 64) / 1e9, 3)
    0.132
    """
    channels = minibatch_channels(resolution_px, width)
    return _halved(channels, resolution_px, last_kernel=3) + channels[-1] * 16 * KERNELS * KERNEL_DIMS


def of_conditional_generator(latent_dim: int, resolution_px: int, width: int) -> int:
    """Of `conditional.ConditionalGenerator`, whose shortcuts are computed before they are doubled."""
    channels = halving(width, doublings(resolution_px), widest=FULL)
    blocks = (
        (9 * (c_in + c_out) * c_out * 4 + c_in * c_out) * (4 << i) ** 2
        for i, (c_in, c_out) in enumerate(pairwise(channels))
    )
    return latent_dim * channels[0] * 16 + sum(blocks) + width * 3 * resolution_px**2


def of_down_trunk(resolution_px: int, width: int) -> int:
    """Of `conditional.DownTrunk`, whose shortcuts are computed after they are halved; its heads are next to nothing."""
    channels = rising(width, doublings(resolution_px) + 1, widest=FULL)
    first = (9 * (3 + width) * width * 4 + 3 * width) * (resolution_px // 2) ** 2
    later = (
        (9 * c_in * (c_in + c_out) * 4 + c_in * c_out) * (resolution_px >> (i + 2)) ** 2
        for i, (c_in, c_out) in enumerate(pairwise(channels))
    )
    return first + sum(later)


def of_transposed_cnn(resolution_px: int, width: int, blocks: int | None = None) -> int:
    """Of `dcgan.TransposedCnn`, without its first layer, which depends on the number of classes."""
    needed = doublings(resolution_px)
    ups = needed if blocks is None else min(needed, blocks - 1)
    first_px, more = resolution_px >> ups, 0 if blocks is None else max(0, blocks - 1 - needed)
    channels = halving(width, ups - 1, widest=FULL - 1)
    grown = sum(16 * c_in * c_out * (first_px << i) ** 2 for i, (c_in, c_out) in enumerate(pairwise([*channels, 3])))
    return grown + more * 9 * width**2 * (resolution_px // 2) ** 2


def _halved(channels: list[int], resolution_px: int, *, last_kernel: int) -> int:
    """Of strided convolutions k5 from three colours on; the last one may have another kernel."""
    kernels = [5] * (len(channels) - 1) + [last_kernel]
    ends = zip(kernels, pairwise([3, *channels]), strict=True)
    return sum(k**2 * c_in * c_out * (resolution_px >> (i + 1)) ** 2 for i, (k, (c_in, c_out)) in enumerate(ends))
