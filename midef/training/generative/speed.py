"""How the training of a prior uses a device: fields that every trained prior has."""

from __future__ import annotations

from dataclasses import dataclass, field

from midef.core.canonical import ADDED_LATER
from midef.training.numerics import Precision


@dataclass(frozen=True, kw_only=True)
class SpeedSettings:
    """Speed for other roundings. Both change weights a little, so they are part of a key where they are set.

    Args:
        precision: `float32`; `tf32` rounds the factors of matrix products to 10 bits, on GPUs; `bfloat16` is autocast
            around networks, losses stay in float32.
        captured: on a GPU an update (loss and gradient) is captured once as a CUDA graph and then replayed, which
            saves the launches of its kernels, and optimizers are fused. It draws the same random numbers. On a CPU
            nothing changes.
    """

    precision: Precision = field(default="float32", metadata=ADDED_LATER)
    captured: bool = field(default=False, metadata=ADDED_LATER)
