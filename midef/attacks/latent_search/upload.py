"""Numbers that are drawn on the host, on their way to a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def uploaded(numbers: Tensor, device: str) -> Tensor:
    """Numbers of the host on a device, without waiting for what a GPU does: they leave from pinned memory."""
    if device == "cpu":
        return numbers
    return numbers.pin_memory().to(device, non_blocking=True)
