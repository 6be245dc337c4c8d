"""Copies of host tensors on a device that nobody waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from midef.core.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def uploaded(values: Tensor, device: str | torch.device) -> Tensor:
    """A host tensor on a device; on a GPU through pinned memory, so that the host goes on while it is copied.

    On the CPU it is the tensor itself. The pinned copy lives as long as the transfer needs it.
    """
    if torch.device(device).type != "cuda":
        return values.to(device)  # waits: nothing does on a CPU
    return values.pin_memory().to(device, non_blocking=True)
