"""Adversarial examples in the logits: answers that a trained inversion network draws badly."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from midef.core.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from midef.defenses.families.alignment import Substitute

LEAST_SCORE = 1e-30
"""Scores that are smaller count as this much, so that a logit is a number."""


def logits_of(probabilities: Tensor) -> Tensor:
    """Logits [B, K] whose softmax is these probabilities."""
    return probabilities.clamp(min=LEAST_SCORE).log()


def slope_of_error(substitute: Substitute, logits: Tensor, images: Tensor) -> Tensor:
    """Gradient [B, K] of the substitute's loss on each image with respect to the logits of its answer."""
    with torch.enable_grad():
        leaf = logits.detach().requires_grad_()
        (slope,) = torch.autograd.grad(substitute.losses(leaf.softmax(dim=1), images).sum(), leaf)
    return slope


def climbed(
    substitute: Substitute,
    start: Tensor,
    images: Tensor,
    *,
    rounds: int,
    step: Callable[[Tensor], Tensor],
    bounded: Callable[[Tensor], Tensor],
    corrected: Callable[[Tensor], Tensor] = lambda logits: logits,
) -> Tensor:
    """Logits [B, K] after steps up the substitute's loss.

    Args:
        step: of a gradient [B, K].
        bounded: noise within its bound, of noise on the starting logits.
        corrected: of the logits after each step, before the noise is bounded.
    """
    logits = start
    for _ in range(rounds):
        logits = corrected(logits + step(slope_of_error(substitute, logits, images)))
        logits = start + bounded(logits - start)
    return logits


def shortened(noise: Tensor, bound: float, order: float) -> Tensor:
    """Noise [B, K], scaled to the bound where its norm of this order is larger."""
    lengths: Tensor = torch.linalg.vector_norm(noise, ord=order, dim=1, keepdim=True)
    return noise * (bound / lengths.clamp(min=1e-30)).clamp(max=1.0)
