"""Projection onto an L1 ball, for searches that must stay near their start."""

from __future__ import annotations

import torch
from torch import Tensor


def nearest_in_l1_ball(values: Tensor, centre: Tensor, *, radius: float) -> Tensor:
    """For each row of values [N, ...] the nearest point (L2) with |point - centre|_1 <= radius.

    Args:
        radius: > 0.

    Rows inside stay as they are, to the bit. The ball lies around `centre`, not around 0: a released code of the
    intermediate-layer attacks projects the values themselves, which pulls every feature towards 0. Sums are taken in
    float64: a feature map has millions of values.

    Source: Duchi et al., ICML 2008, figure 1: soft thresholding by the value at which the rest sums to the radius.
    """
    offset = (values - centre).flatten(1)
    is_inside = offset.abs().sum(dim=1, keepdim=True, dtype=torch.float64) <= radius
    if values.device.type == "cpu" and bool(is_inside.all()):  # waits: nothing does on a CPU
        return values
    # A GPU would be waited for to tell which rows have to be projected: all of them are, and those inside not taken.
    # float32 has the same order as the float64 that the sums need, and is sorted faster
    falling = offset.abs().sort(dim=1, descending=True).values.double()
    excess = falling.cumsum(dim=1) - radius
    rank = torch.arange(1, falling.shape[1] + 1, device=values.device, dtype=torch.float64)
    nonzero = (falling * rank > excess).sum(dim=1, keepdim=True).clamp(min=1)  # none where a value is infinite
    threshold = excess.gather(1, nonzero - 1) / nonzero
    nearest = offset.sign().double() * (offset.abs().double() - threshold).clamp(min=0)
    return torch.where(is_inside, values.flatten(1), centre.flatten(1) + nearest.to(values.dtype)).view_as(values)
