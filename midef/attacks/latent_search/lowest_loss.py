"""Of each row of a search, the values with the lowest loss that it met."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from midef.core.in_step import in_step
from midef.core.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


class LowestLoss:
    """Remembers, for each row, the searched values whose loss was lowest; a loss that is no number never is."""

    def __init__(self) -> None:
        self._loss: Tensor | None = None
        self._values: list[Tensor] = []

    @in_step
    def see(self, loss: Tensor, searched: Sequence[Tensor]) -> None:
        """Take the losses [N] of these values [N, ...]."""
        loss = torch.where(loss.detach().isnan(), torch.inf, loss.detach())
        if self._loss is None:
            self._loss, self._values = loss, [tensor.detach().clone() for tensor in searched]
            return
        lower = loss < self._loss
        self._loss = torch.where(lower, loss, self._loss)
        for kept, tensor in zip(self._values, searched, strict=True):
            kept.copy_(torch.where(lower.view(-1, *[1] * (tensor.dim() - 1)), tensor.detach(), kept))

    def restore_(self, searched: Sequence[Tensor]) -> None:
        """Set the searched values to those with the lowest loss, in place."""
        with torch.no_grad():
            for kept, tensor in zip(self._values, searched, strict=True):
                tensor.copy_(kept)
