"""Heads that are fitted on the features of a network that is not trained: by class centres, or a linear layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WEIGHT_DECAY = 1e-4
"""Of the linear head: half of it times the squared weights and biases is added to the loss."""


def centre_head(features: Tensor, labels: Tensor, n_classes: int) -> tuple[Tensor, Tensor]:
    """The normalised mean feature of each class as weights, so that a logit is a cosine to it.

    Args:
        features: of length 1, [N, D].
        labels: 0 to K - 1, each at least once, [N].
        n_classes: K.

    Returns:
        weight [K, D], each row of length 1, and bias [K], zero.
    """
    sums = features.new_zeros(n_classes, features.shape[1]).index_add_(0, labels, features)
    return F.normalize(sums, dim=1), features.new_zeros(n_classes)


def linear_head(features: Tensor, labels: Tensor, n_classes: int) -> tuple[Tensor, Tensor]:
    """The linear layer of least `linear_loss`; strictly convex, found from zero without randomness.

    Args:
        features: float64, [N, D].
        labels: 0 to K - 1, each at least once, [N].
        n_classes: K.

    Returns:
        weight [K, D] and bias [K].
    """
    weight = features.new_zeros(n_classes, features.shape[1], requires_grad=True)
    bias = features.new_zeros(n_classes, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weight, bias],
        max_iter=1000,
        tolerance_grad=1e-9,
        tolerance_change=0.0,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> float:
        solver.zero_grad()
        loss = linear_loss(weight, bias, features, labels)
        loss.backward()
        return float(loss.detach())

    solver.step(closure)
    return weight.detach(), bias.detach()


def linear_loss(weight: Tensor, bias: Tensor, features: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy in which every class weighs the same, and `WEIGHT_DECAY`; a scalar.

    Args:
        weight: [K, D].
        bias: [K].
        features: [N, D].
        labels: [N].
    """
    share = 1 / (len(weight) * labels.bincount(minlength=len(weight)).to(features.dtype))
    of_image = F.cross_entropy(features @ weight.T + bias, labels, reduction="none")
    return (of_image * share[labels]).sum() + WEIGHT_DECAY / 2 * (weight.square().sum() + bias.square().sum())
