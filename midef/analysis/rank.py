"""Ideal inversion error past a head of low rank: LoFt's bound."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from midef.core.errors import SpecError


@dataclass(frozen=True)
class RankError:
    """Least expected inversion error past a head.

    Args:
        rank: of the head.
        error: least expected squared error.
        share: of the error when nothing is seen, 0 to 1.
    """

    rank: int
    error: float
    share: float


def ideal_inversion_error(weight: Tensor, covariance: Tensor, *, noise: float = 0.0) -> float:
    """E|h - E[h|y]|^2 for y = W h + e, h ~ N(m, S), e ~ N(0, noise I): the trace of the posterior covariance.

    No reconstruction of h from y has a smaller mean squared error; for other distributions of h none that is linear
    in y has. With S = I and no noise it is D - rank(W). Computed in double precision.

    Args:
        weight: [K, D]; covariance: [D, D], symmetric, no negative eigenvalue; noise: variance, >= 0.

    Raises:
        SpecError: if the shapes do not fit or noise is negative.

    Source: the linear-Gaussian argument of the LoFt paper; the posterior covariance is standard.
    """
    if weight.ndim != 2 or covariance.shape != (weight.shape[1],) * 2 or noise < 0:
        given = f"{tuple(weight.shape)}, {tuple(covariance.shape)}, {noise}"
        raise SpecError(f"needs weight [K, D], covariance [D, D] and noise >= 0; got {given}")
    weight, covariance = weight.double(), covariance.double()
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp(min=0).sqrt()  # S = root root^T
    _, size, right = torch.linalg.svd(weight @ root, full_matrices=True)
    variance = (root @ right.T).square().sum(dim=0)  # of h along each direction that W sees, then those it does not
    squares = size.square()
    visible = squares > 1e-20 * squares.max() if len(squares) else squares > 0
    seen = torch.zeros_like(variance)
    seen[: len(size)] = torch.where(visible, squares / (squares + noise), torch.zeros_like(squares))
    return float((variance * (1 - seen)).sum())


def error_against_rank(weight: Tensor, covariance: Tensor, ranks: Iterable[int]) -> list[RankError]:
    """The ideal inversion error behind the best rank-k approximation of a head, for each k.

    Args:
        weight: [K, D] of the trained head; covariance: [D, D] of the features it sees; ranks: 0 sees nothing.

    Raises:
        SpecError: for a rank below 0 or above min(K, D).
    """
    left, size, right = torch.linalg.svd(weight.double(), full_matrices=False)
    whole = float(covariance.double().trace())
    errors = []
    for rank in ranks:
        if not 0 <= rank <= len(size):
            raise SpecError(f"a head of shape {tuple(weight.shape)} has ranks 0 to {len(size)}; got {rank}")
        error = ideal_inversion_error((left[:, :rank] * size[:rank]) @ right[:rank], covariance)
        errors.append(RankError(rank, error, error / whole if whole else 0.0))
    return errors


def feature_covariance(features: Tensor) -> Tensor:
    """Covariance [D, D] of features [N, D], divided by N - 1; N >= 2."""
    centred = features.double() - features.double().mean(dim=0)
    return centred.T @ centred / (len(features) - 1)
