"""Random numbers that belong to a reconstruction, not to the batch it is searched in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from midef.core.in_step import in_step
from midef.core.upload import uploaded

BLOCK = 32
"""Steps drawn ahead. Changes speed, not results."""


class RowStreams:
    """One random stream for each row of a batch, each from its own seed.

    Numbers are drawn on the CPU, `BLOCK` steps ahead, and moved together: they are the same on every device and for
    every batch a row stands in, and a step of a search does not wait for the host.
    """

    def __init__(self, seeds: Sequence[int], device: str = "cpu") -> None:
        self._seeds = list(seeds)
        self._device = device
        self._streams: dict[tuple[Any, ...], list[Generator]] = {}
        self._ahead: dict[tuple[Any, ...], list[Tensor]] = {}

    def __len__(self) -> int:
        return len(self._seeds)

    def normal(self, *shape: int) -> Tensor:
        """The next standard normal numbers [N, *shape]."""
        return self._next("normal", torch.randn, shape)

    def uniform(self, *shape: int) -> Tensor:
        """The next numbers from [0, 1) [N, *shape]."""
        return self._next("uniform", torch.rand, shape)

    @in_step
    def _next(self, law: str, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        # each law and shape has streams of its own, so that drawing ahead of one never moves another
        key = (law, *shape)
        if not self._ahead.get(key):
            if key not in self._streams:
                self._streams[key] = [Generator().manual_seed(_mixed(seed, key)) for seed in self._seeds]
            block = torch.stack([draw(BLOCK, *shape, generator=rng) for rng in self._streams[key]], dim=1)
            self._ahead[key] = list(uploaded(block, self._device).flip(0).unbind(0))
        return self._ahead[key].pop()


def _mixed(seed: int, key: tuple[Any, ...]) -> int:
    from midef.core.seeds import derive_seed

    return derive_seed("stream", seed, *key)
