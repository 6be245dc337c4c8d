"""Regression of the gap over the strength, and the test whether noise explains that it is not monotone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import chdtrc, ndtr

from midef.sweep.matching.bracketing.scale import Floats

NOT_MONOTONE_P = 0.001
"""Gaps are called not monotone when noise explains them with a smaller probability."""
LENGTHS = (0.05, 0.1, 0.2, 0.4, 0.8)
AMPLITUDES = (3.0, 8.0, 20.0)
LEVEL_SD, SLOPE, SLOPE_SD = 30.0, 25.0, 25.0
"""Of the linear mean: percentage points, and percentage points over the whole range."""


@dataclass(frozen=True, kw_only=True)
class Posterior:
    """Distribution of the noiseless gap at some places: a mixture of normals, one for each kernel.

    Args:
        weights: of the kernels, they sum to 1 [H].
        means: percentage points [H, G].
        sds: standard deviations, percentage points [H, G].
    """

    weights: Floats
    means: Floats
    sds: Floats

    def below(self, gap: float, *, noise: float = 0.0) -> Floats:
        """Probability that the gap (with noise: of one training) is below this one [G]."""
        spread = np.sqrt(self.sds**2 + noise**2)
        result: Floats = self.weights @ ndtr((gap - self.means) / spread)
        return result

    def within(self, tolerance: float, *, noise: float) -> Floats:
        """Probability of a match [G]."""
        return self.below(tolerance, noise=noise) - self.below(-tolerance, noise=noise)


def regress(at: Floats, gaps: Floats, variances: Floats, places: Floats, *, falls: bool) -> Posterior:
    """Gaussian process regression of the gap, with a linear mean.

    Level and slope of the mean have normal priors of their own, so two far points give their secant. Lengths and
    amplitudes of the squared-exponential rest are weighted by how well they explain the gaps, not chosen: with few
    evaluations one choice would be too sure of itself.

    Args:
        at: [N], 0 to 1.
        gaps: [N], percentage points.
        variances: of each gap around the curve, > 0 [N].
        places: where to predict [G].
        falls: sign of the expected slope.
    """
    slope = -SLOPE if falls else SLOPE
    lengths, amplitudes = (choice.reshape(-1, 1, 1) for choice in np.meshgrid(LENGTHS, AMPLITUDES))  # [H, 1, 1] each

    def kernel(p: Floats, q: Floats) -> Floats:
        bend = amplitudes**2 * np.exp(-0.5 * ((p[:, None] - q) / lengths) ** 2)
        result: Floats = bend + LEVEL_SD**2 + SLOPE_SD**2 * (p[:, None] - 0.5) * (q - 0.5)
        return result  # [H, P, Q]

    residuals = gaps - slope * (at - 0.5)
    root = np.linalg.cholesky(kernel(at, at) + np.diag(variances))
    white = np.linalg.solve(root, np.broadcast_to(residuals[:, None], (len(root), len(at), 1)))  # [H, N, 1]
    explained = np.linalg.solve(root, kernel(at, places))  # [H, N, G]
    prior = amplitudes[:, 0] ** 2 + LEVEL_SD**2 + SLOPE_SD**2 * (places - 0.5) ** 2  # [H, G]
    likelihood = -0.5 * (white**2).sum((1, 2)) - np.log(np.diagonal(root, axis1=1, axis2=2)).sum(1)
    scores = likelihood - 0.5 * (np.log(lengths.ravel() / 0.3) / 0.7) ** 2
    weights = np.exp(scores - scores.max())
    return Posterior(
        weights=weights / weights.sum(),
        means=slope * (places - 0.5) + (explained * white).sum(1),
        sds=np.sqrt(np.maximum(prior - (explained**2).sum(1), 1e-9)),
    )


def monotone_misfit(gaps: Sequence[float], variances: Sequence[float], *, rising: bool) -> tuple[float, int]:
    """Weighted squared residual of the best monotone curve, and the number of gaps that its levels pool away.

    Args:
        gaps: in the order of their strengths.
        variances: of each gap, > 0; their inverses are the weights.
        rising: whether the curve may not fall; else it may not rise.
    """
    weights = 1 / np.asarray(variances)
    fit = isotonic_regression(gaps, weights=weights, increasing=rising)
    return float(weights @ (np.asarray(gaps) - fit.x) ** 2), len(gaps) - (len(fit.blocks) - 1)


def is_monotone(gaps: Sequence[float], variances: Sequence[float]) -> bool:
    """True if noise can explain why the gaps neither fall nor rise throughout.

    Given its number of levels, the weighted residual of a monotone fit to a flat curve follows chi-square with as many
    degrees of freedom as values were pooled away; other monotone curves leave less.
    """
    for rising in (True, False):
        residual, pooled = monotone_misfit(gaps, variances, rising=rising)
        if pooled == 0 or chdtrc(pooled, residual) >= NOT_MONOTONE_P:
            return True
    return False
