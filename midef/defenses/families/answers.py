"""Steps that defenses of answers share: staying a distribution, within a budget, and true to the label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from midef.core.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


LEAST = 1e-12
"""Smallest score of a moved answer. An inversion network is fed logarithms, and 0 would be -1000 to it, far from all it
has seen, where its gradient is flat and nothing can be aligned."""


def moved(given: Tensor, delta: Tensor, radius: float, *, normalise: str = "mean") -> Tensor:
    """Probabilities [B, K] plus a perturbation [B, K], made a distribution again, at most `radius` away in L2.

    Gradients pass to `delta`, except through what is clamped and through the factor that brings it within the radius.

    Args:
        normalise: `mean` takes the mean off the perturbation, which keeps the sum, before entries below `LEAST` are set
            to it and all are divided by their sum; `sum` only does the latter.
    """
    if normalise == "mean":
        delta = delta - delta.mean(dim=1, keepdim=True)
    raised = (given + delta).clamp(min=LEAST)
    return within(given, raised / raised.sum(dim=1, keepdim=True), radius)


def within(given: Tensor, answers: Tensor, radius: float) -> Tensor:
    """Answers [B, K], or the point on the way to them that is `radius` away from `given` in L2, where that is nearer.

    Both are distributions, and so is every point between.
    """
    way = answers - given
    with torch.no_grad():
        share: Tensor = (radius / torch.linalg.vector_norm(way, dim=1, keepdim=True).clamp(min=1e-30)).clamp(max=1.0)
    return given + share * way


def keeping_labels(given: Tensor, answers: Tensor) -> Tensor:
    """Answers [B, K], or as much of the way to them as leaves the largest of `given` the largest.

    The share of the way has a closed form, since the lead of a class shrinks in proportion to it; where rounding still
    makes another class the largest it is halved, and in the end the answer is `given`.
    """
    labels = given.argmax(dim=1, keepdim=True)
    way = answers - given
    with torch.no_grad():
        lead = (given.gather(1, labels) - given).clamp(min=0)
        lost = way - way.gather(1, labels)
        reach = torch.where(lost > 0, lead / lost.clamp(min=1e-30), torch.inf).amin(dim=1, keepdim=True)
        share = torch.where(reach > 1, 1.0, 0.999 * reach)
        for _ in range(8):
            is_kept = (given + share * way).argmax(dim=1, keepdim=True) == labels
            if not torch.compiler.is_compiling() and is_kept.all():  # a graph has no way out, and the same result
                break
            share = torch.where(is_kept, share, share / 2)
        else:
            share = torch.where(is_kept, share, 0.0)
    return given + share * way
