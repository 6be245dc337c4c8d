"""What inversion networks are fed, and how what they draw is judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from midef.core.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def score_features(scores: Tensor, *, top: int | None = None, shift: float = 50.0, floor: float = -1000.0) -> Tensor:
    """Log scores [B, K], shifted and made non-negative; entries below the `top` largest become 0.

    The logarithm lets small differences between near-zero scores count. A score of 0 has the slope 0.
    Source: Yang et al., CCS 2019, released code.
    """
    k = scores.shape[1] if top is None else min(top, scores.shape[1])
    largest, index = scores.topk(k, dim=1)
    logs = torch.where(largest > 0, largest, 1.0).log().clamp(min=floor)
    values = torch.where(largest > 0, logs, floor) + shift
    values = values + torch.relu(-values.amin(dim=1, keepdim=True))
    return torch.zeros_like(scores).scatter(1, index, values)


def mean_squared(drawn: Tensor, images: Tensor) -> Tensor:
    """Mean squared error of each image [B] over its pixels."""
    return (drawn - images).square().flatten(1).mean(dim=1)


def negative_psnr(drawn: Tensor, images: Tensor) -> Tensor:
    """Minus the peak signal-to-noise ratio of each image [B], in dB, for images in [0, 1]."""
    return 10 * mean_squared(drawn, images).clamp(min=1e-12).log10()


IMAGE_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": mean_squared, "psnr": negative_psnr}
"""Losses of drawn images, [B] each."""


def mean_loss(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The mean over drawn images of one of `IMAGE_LOSSES`: a scalar for drawn images and images."""
    return lambda drawn, images: IMAGE_LOSSES[name](drawn, images).mean()
