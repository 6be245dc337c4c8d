"""Principal components: rows of numbers in the plane of their largest variance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from midef.core.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def principal_components(rows: Tensor) -> tuple[Tensor, tuple[float, float]]:
    """The two directions of largest variance: coordinates [N, 2] of rows [N, K], K >= 2, and their shares of variance.

    Computed in double precision. The signs are such that the largest entry of each direction is positive.
    """
    centred = rows.double() - rows.double().mean(dim=0)
    _, size, directions = torch.linalg.svd(centred, full_matrices=False)
    first = directions[:2]
    first = first * first.gather(1, first.abs().argmax(dim=1, keepdim=True)).sign()
    variance = size.square() / size.square().sum().clamp(min=1e-300)
    return centred @ first.T, (float(variance[0]), float(variance[1]))
