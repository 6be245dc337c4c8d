"""Distances between two sets of features, for training a generator to draw like a set of images.

Source: of Peng et al., 2024 (PPDG-MI), and released code: the kernels and bandwidths of its maximum mean discrepancy,
its conditional transport, and pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from midef.core.lazy import F, torch

if TYPE_CHECKING:
    from torch import Tensor

BANDWIDTHS = 5
SetDistance = Callable[["Tensor", "Tensor"], "Tensor"]


def mean_discrepancy(x: Tensor, y: Tensor) -> Tensor:
    """Squared maximum mean discrepancy of features x [N, F] and y [M, F], N + M >= 2: the biased estimate, >= 0.

    Five Gaussian kernels exp(-|a - b|^2 / b_j) are summed, b_j = b_0 2^j for j from 0 to 4, where 4 b_0 is the mean
    squared distance of two different members of both sets together, a constant to gradients.
    """
    from torch.utils.checkpoint import checkpoint

    both = torch.cat([x, y])
    # of differences: products of long features leave nothing of small distances in float32. They are not kept for the
    # way back but computed again, as there are as many of the size of `both` as it has members
    columns = [checkpoint(_distances_from, both, one, use_reentrant=False, preserve_rng_state=False) for one in both]
    distances = torch.stack(columns)
    members = len(both)
    mean = distances.detach().sum() / (members**2 - members)
    bandwidth = (mean / 2 ** (BANDWIDTHS // 2)).clamp(min=torch.finfo(mean.dtype).tiny)
    kernels = torch.stack([(-distances / (bandwidth * 2**j)).exp() for j in range(BANDWIDTHS)]).sum(dim=0)
    of_x, of_y, between = kernels[: len(x), : len(x)], kernels[len(x) :, len(x) :], kernels[: len(x), len(x) :]
    return of_x.mean() + of_y.mean() - 2 * between.mean()


def _distances_from(members: Tensor, one: Tensor) -> Tensor:
    return (members - one).square().sum(dim=1)


def transport_cost(x: Tensor, y: Tensor) -> Tensor:
    """Conditional transport between features x [N, F] and y [M, F], the same in both directions.

    To move a to b costs 1 - cos(a, b). A member of one set goes to those of the other with probability softmax(a . b);
    the mean costs of both directions are averaged.
    """
    alike = x @ y.T
    costs = 1 - F.normalize(x, dim=1) @ F.normalize(y, dim=1).T
    forward = (costs * alike.softmax(dim=1)).sum(dim=1).mean()
    backward = (costs * alike.softmax(dim=0)).sum(dim=0).mean()
    return (forward + backward) / 2


def pair_distance(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared distance of row i of x [N, F] to row i of y [N, F]."""
    return (x - y).square().sum(dim=1).mean()


SET_DISTANCES: Mapping[str, SetDistance] = {"mmd": mean_discrepancy, "ct": transport_cost, "pw": pair_distance}
"""By the names that PPDG-MI gives its variants."""
