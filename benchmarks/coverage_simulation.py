"""Simulated coverage of the intervals of success rates and over seeds; coverage.py makes the page.

Identities have rates drawn from a beta distribution, so that two images of one identity are correlated; the grid is
sizes x rates x correlations. `before` is the rule of earlier versions: Wilson's interval over identities where all have
one rate, else the percentile bootstrap over identities, here with its exact distribution in place of 2000 draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from midef.core.statistics import identity_bounds, t_interval, two_level_interval, wilson_interval

IDENTITIES = (10, 20, 42, 60, 120, 300)
IMAGES = (1, 2, 3, 5, 10)
MIDDLE = tuple(i / 100 for i in range(5, 100, 5))
EDGE = (0.0, 0.005, 0.01, 0.02, 0.03)
RATES = (*EDGE, *MIDDLE, *(1 - rate for rate in reversed(EDGE)))
CORRELATIONS = (0.0, 0.1, 0.3, 0.6)
TOLERANCE = 1e-12  # a rate at the very end is inside

Rule = Callable[[Any, int], tuple[Any, Any]]


def chances(rate: float, correlation: float, images: int) -> Any:
    """Probability of 0, 1, ..., m hits of an identity [m + 1]: beta-binomial, binomial at correlation 0."""
    from scipy.stats import betabinom, binom

    hits = np.arange(images + 1)
    if rate in (0, 1) or correlation == 0:
        return binom.pmf(hits, images, rate)
    if correlation == 1:
        return np.where(hits == 0, 1 - rate, 0.0) + np.where(hits == images, rate, 0.0)
    scale = (1 - correlation) / correlation
    mass = betabinom.pmf(hits, images, rate * scale, (1 - rate) * scale)
    return mass / mass.sum()


def now(counts: Any, identities: int) -> tuple[Any, Any]:
    """Ends [R] of the rule in use.

    Args:
        counts: identities with 0, 1, ..., m hits in each of R samples [R, m + 1].
    """
    images = counts.shape[1] - 1
    hits = counts @ np.arange(images + 1)
    between = counts @ np.arange(images + 1) ** 2 - hits**2 / identities
    return identity_bounds(hits, between, identities * images, identities * images**2)


def before(counts: Any, identities: int) -> tuple[Any, Any]:
    """Ends [R] of the rule of earlier versions; arguments as of `now`."""
    images, total = counts.shape[1] - 1, identities * (counts.shape[1] - 1)
    hits = counts @ np.arange(images + 1)
    # The sum of n draws of an identity: the n-fold convolution of the distribution that was seen.
    spectrum = np.fft.rfft(counts / identities, n=total + 1, axis=1) ** identities
    below = np.cumsum(np.fft.irfft(spectrum, n=total + 1, axis=1), axis=1)
    low, high = ((below < q - 1e-9).sum(axis=1) / total for q in (0.025, 0.975))
    alike = (counts.max(axis=1) == identities) | (images == 1)
    for i in np.flatnonzero(alike):
        low[i], high[i] = wilson_interval(float(hits[i]) / images, identities)
    return low, high


@dataclass(frozen=True)
class Coverage:
    """Coverage of one rule for one size.

    Args:
        least: of all points.
        rate, correlation: where that is.
        mean: over rates of 5 to 95 % and all correlations.
        least_of_few: smallest where fewer than five hits or misses are expected.
    """

    least: float
    rate: float
    correlation: float
    mean: float
    least_of_few: float


def summary(points: Sequence[tuple[float, float, float]], images: int) -> Coverage:
    """Summary of (coverage, rate, correlation) of every point, for this number of images in all."""
    rare = [one for one, rate, _ in points if min(rate, 1 - rate) * images < 5]
    middle = [one for one, rate, _ in points if 0.049 < rate < 0.951]
    return Coverage(*min(points), math.fsum(middle) / len(middle), min(rare, default=math.nan))


def share_inside(ends: tuple[Any, Any], truth: float) -> float:
    low, high = ends
    return float(((low <= truth + TOLERANCE) & (truth - TOLERANCE <= high)).mean())


def coverage(
    rule: Rule,
    identities: int,
    images: int,
    *,
    runs: int,
    rates: Sequence[float] = RATES,
    correlations: Sequence[float] = CORRELATIONS,
) -> Coverage:
    """Coverage of a rule over rates and correlations; one image of each identity has no correlation."""
    rng = np.random.default_rng((identities, images))
    points = []
    for correlation in correlations if images > 1 else (0.0,):
        for rate in rates:
            counts = rng.multinomial(identities, chances(rate, correlation, images), size=runs)
            points.append((share_inside(rule(counts, identities), rate), rate, correlation))
    return summary(points, identities * images)


def unequal(sizes: Sequence[int], *, runs: int) -> Coverage:
    """As `coverage`, of the rule in use, for identities with these numbers of images."""
    rng, n = np.random.default_rng(len(sizes)), np.array(sizes)
    points = []
    for correlation in CORRELATIONS:
        for rate in RATES:
            of_identity: Any = rate
            if correlation and 0 < rate < 1:
                scale = (1 - correlation) / correlation
                of_identity = rng.beta(rate * scale, (1 - rate) * scale, (runs, len(n)))
            hits = rng.binomial(n, of_identity, (runs, len(n)))
            total = hits.sum(axis=1)
            between = ((hits - n * (total / n.sum())[:, None]) ** 2).sum(axis=1)
            ends = identity_bounds(total, between, n.sum(), (n**2).sum())
            points.append((share_inside(ends, rate), rate, correlation))
    return summary(points, n.sum())


def falls(rule: Rule, identities: int, images: int) -> int:
    """How often an end falls when hits grow by one, spread as evenly as possible or packed as tightly as possible."""
    counts = np.zeros((2, identities * images + 1, images + 1), dtype=np.int64)
    for hits in range(identities * images + 1):
        each, more = divmod(hits, identities)
        counts[0, hits, each] = identities - more
        counts[0, hits, min(each + 1, images)] += more
        full, rest = divmod(hits, images)
        counts[1, hits, images] = full
        if full < identities:
            counts[1, hits, rest] += 1
            counts[1, hits, 0] += identities - full - 1
    return sum(int((np.diff(end) < -1e-12).sum()) for way in counts for end in rule(way, identities))


# --- over seeds -------------------------------------------------------------------------------------------------------


def over_seeds(
    rate: float,
    seed_effect: float,
    seeds: int,
    *,
    runs: int,
    identities: int = 60,
    images: int = 5,
    effect: float = 0.8,
) -> tuple[float, float, float]:
    """Coverage of the mean over seeds by: Student's t over seeds alone, the interval of one run, both sources.

    A run's rate for an identity is the normal distribution function of a level, an effect of the identity, which all
    seeds share, and an effect of the seed.

    Args:
        rate: over all identities and seeds.
        seed_effect, effect: standard deviation over seeds, over identities.
    """
    from scipy.special import ndtr, ndtri

    rng = np.random.default_rng((seeds, round(1000 * rate), round(1000 * seed_effect)))
    level = ndtri(rate) * math.sqrt(1 + effect**2 + seed_effect**2)
    of_identity = rng.normal(0, effect, (runs, 1, identities))
    of_seed = rng.normal(0, seed_effect, (runs, seeds, 1))
    hits = rng.binomial(images, ndtr(level + of_identity + of_seed))
    total, all_images = hits.sum(axis=2), identities * images
    between = (hits**2).sum(axis=2) - total**2 / identities
    ends = [end.mean(axis=1) for end in identity_bounds(total, between, all_images, identities * images**2)]
    covered = np.zeros(3)
    for values, low, high in zip(total / all_images, *ends, strict=True):
        alone = t_interval(values.tolist())
        assert alone is not None
        spans = (alone, (low, high), two_level_interval((low, high), values.tolist()))
        covered += [a <= rate <= b for a, b in spans]
    alone, one, both = (covered / runs).tolist()
    return alone, one, both
