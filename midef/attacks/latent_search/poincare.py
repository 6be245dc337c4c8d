"""The Poincare distance between a network's logits and a class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MARGIN = 1e-4
"""How far the target point lies inside the unit ball: on the ball the distance is infinite."""


def poincare_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Hyperbolic distance [N] between the logits [N, K], divided by the sum of their sizes, and the point of the label.

    The point is 1 - `MARGIN` at the label and 0 elsewhere. Smaller the more of the logits' size is the label's; not
    invariant to a shift of the logits. Its slope does not vanish where the softmax is saturated.

    Source: Struppek et al., ICML 2022 (PPA), equation 4, and released code, which takes logits, not probabilities.
    We differ: computed in float64, as 1 - |u|^2 of nearly one-hot logits cancels in float32. Clamped where it would be
    no number (logits that are all 0, or all 0 but one); a clamped row has no slope through the clamped factor.
    """
    values = logits.double()
    point = values / values.abs().sum(dim=1, keepdim=True).clamp(min=1e-12)
    goal = (1 - MARGIN) * F.one_hot(labels, logits.shape[1]).to(values.dtype)
    apart = (point - goal).square().sum(dim=1)
    room = (1 - point.square().sum(dim=1)) * (1 - goal.square().sum(dim=1))
    argument = 1 + 2 * apart / room.clamp(min=1e-12)
    return torch.acosh(argument.clamp(min=1 + 1e-7)).to(dtype=torch.promote_types(logits.dtype, torch.float32))
