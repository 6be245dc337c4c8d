"""Intervals, the trade-off Delta and the Pareto front: pure functions, no torch.

Fractions are in [0, 1]; accuracies given to `trade_off_delta` and `pareto_front` are in percent.
numpy and scipy are imported where they are used, so that importing `midef.core` stays fast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

UNSTABLE_BELOW_POINTS = 0.5


def wilson_interval(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Score interval of a fraction; it has a width even for 0 and for n successes.

    Args:
        successes: 0 to n; a non-integer is fine (a mean success rate times n).
        n: independent trials, > 0.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    Journal of the American Statistical Association 22 (1927), 209-212.
    """
    from scipy.special import ndtri

    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"need n > 0 and 0 <= successes <= n, got {successes} of {n}")
    z = float(ndtri((1 + level) / 2))
    rate = successes / n
    scale = 1 + z * z / n
    centre = (rate + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # At 0 and n successes one end is exactly 0 or 1; rounding must not push it beyond.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def cluster_interval(
    hits: Any,
    identities: Any = None,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float, str]:
    """Interval of a success rate when the images of one identity are not independent.

    Percentile bootstrap that draws identities, each with all of its images. Falls back to Wilson with n = number of
    identities where the bootstrap has nothing to resample: one image per identity, or all identities equally successful
    (all images succeed, none does, one identity only).

    Args:
        hits: success 0/1 of each image [N] if `identities` is given, else one array per identity.
        identities: which identity each image belongs to [N].

    Returns:
        (low, high, kind): fractions, and which of the two intervals this is.

    Raises:
        ValueError: for no images, or arrays of different length.
    """
    import numpy as np

    if identities is None:
        per_identity = [np.asarray(h, dtype=np.float64).ravel() for h in hits]
        per_identity = [h for h in per_identity if h.size]
        successes = np.array([h.sum() for h in per_identity])
        counts = np.array([h.size for h in per_identity], dtype=np.float64)
    else:
        flat, labels = np.asarray(hits, dtype=np.float64).ravel(), np.asarray(identities).ravel()
        if flat.size != labels.size:
            raise ValueError(f"{flat.size} successes but {labels.size} identities; give one identity for each image")
        _, position, images = np.unique(labels, return_inverse=True, return_counts=True)
        successes = np.bincount(position.ravel(), weights=flat)
        counts = images.astype(np.float64)
    n = counts.size
    if n == 0:
        raise ValueError("no images: an interval needs at least one identity with one image")
    percent = f"{100 * level:g} %"
    rates = successes / counts
    if counts.max() == 1 or np.all(rates == rates[0]):
        low, high = wilson_interval(float(successes.sum() / counts.sum()) * n, n, level)
        return low, high, f"{percent} Wilson over identities"
    rng = np.random.default_rng(seed)
    resampled = np.empty(resamples)
    step = max(1, 2_000_000 // n)  # bounds the memory of one block of draws
    for start in range(0, resamples, step):
        drawn = rng.integers(0, n, (min(step, resamples - start), n))
        resampled[start : start + len(drawn)] = successes[drawn].sum(1) / counts[drawn].sum(1)
    low, high = (float(q) for q in np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2]))
    return low, high, f"{percent} bootstrap over identities"


def t_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Student's interval of the mean of independent runs; None for fewer than two.

    >>> low, high = t_interval([1.0, 3.0])
    >>> round(low, 2), round(high, 2)
    (-10.71, 14.71)
    """
    n = len(values)
    if n < 2:
        return None
    from scipy.special import stdtrit

    mean = math.fsum(values) / n
    sd = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    half = float(stdtrit(n - 1, (1 + level) / 2)) * sd / math.sqrt(n)
    return mean - half, mean + half


@dataclass(frozen=True)
class Delta:
    """Drop in attack accuracy for each point of accuracy lost.

    Args:
        value: larger is better, may be negative; None unless the verdict is "ok".
        verdict: "ok"; "OP" (outperforms: at least as accurate and attacked less); "NA" (at least as accurate, attacked
            as much).
        attack_drop: percentage points, shown beside the value.
        utility_drop: percentage points, shown beside the value.
        is_unstable: the utility drop is smaller than half a point, so the value mostly shows noise.
    """

    value: float | None
    verdict: Literal["ok", "OP", "NA"]
    attack_drop: float
    utility_drop: float
    is_unstable: bool


def trade_off_delta(nodef_acc: float, nodef_attack: float, acc: float, attack: float) -> Delta:
    """Drop in attack accuracy over drop in natural accuracy, points over points. All arguments in percent.

    >>> round(trade_off_delta(86.90, 20.07, 79.85, 3.20).value, 2)
    2.39

    Source: the Delta of the MIDRE, TL-DMI and RoLSS papers. Their tables also print values over tiny drops (712.29);
    we keep the value and say that it is unstable.
    """
    attack_drop, utility_drop = nodef_attack - attack, nodef_acc - acc
    is_unstable = abs(utility_drop) < UNSTABLE_BELOW_POINTS
    if utility_drop <= 0:
        return Delta(None, "OP" if attack_drop > 0 else "NA", attack_drop, utility_drop, is_unstable)
    return Delta(attack_drop / utility_drop, "ok", attack_drop, utility_drop, is_unstable)


def pareto_front(points: Sequence[tuple[float, float]]) -> set[int]:
    """Indices of the (natural accuracy, attack accuracy) points that no other point dominates.

    Natural accuracy is maximised, attack accuracy minimised. Every duplicate of a front point is on the front;
    a point with NaN never is.

    >>> sorted(pareto_front([(90, 50), (80, 20), (80, 30), (70, 20), (80, 20)]))
    [0, 1, 4]
    """
    usable = sorted(
        (i for i, p in enumerate(points) if not (math.isnan(p[0]) or math.isnan(p[1]))),
        key=lambda i: (-points[i][0], points[i][1]),
    )
    front: set[int] = set()
    last: tuple[float, float] | None = None
    for i in usable:
        acc, attack = points[i]
        if last is None or attack < last[1] or (acc, attack) == last:
            front.add(i)
            last = (acc, attack)
    return front
