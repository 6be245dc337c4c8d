"""The precision in which an attack asks its networks."""

from __future__ import annotations

from typing import Literal

from midef.core.lazy import torch

Precision = Literal["float32", "bfloat16"]
"""`bfloat16` is autocast around networks, for GPUs; it changes roundings only."""


def autocast(precision: Precision, device: str) -> torch.autocast:
    """The precision of networks on a device, as a context."""
    kind = device.partition(":")[0]
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=precision == "bfloat16")
