"""Intervals, the trade-off Delta and the Pareto front: pure functions, no torch.

Fractions are in [0, 1]; accuracies given to `trade_off_delta` and `pareto_front` are in percent.
numpy and scipy are imported where they are used, so that importing `midef.core` stays fast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

UNSTABLE_BELOW_POINTS = 0.5


@lru_cache(16)
def _two_sided_z(level: float) -> float:
    from scipy.special import ndtri

    return float(ndtri((1 + level) / 2))


def wilson_interval(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Score interval of a fraction; it has a width even for 0 and for n successes.

    Args:
        successes: 0 to n; a non-integer is fine (a mean success rate times n).
        n: independent trials, > 0.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    Journal of the American Statistical Association 22 (1927), 209-212.
    """
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"need n > 0 and 0 <= successes <= n, got {successes} of {n}")
    z = _two_sided_z(level)
    rate = successes / n
    scale = 1 + z * z / n
    centre = (rate + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # At 0 and n successes one end is exactly 0 or 1; rounding must not push it beyond.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def identity_bounds(hits: Any, between: Any, images: Any, squares: Any, *, level: float = 0.95) -> tuple[Any, Any]:
    """Ends of the interval of a success rate, for many samples at once; `identity_interval` takes images.

    All arguments broadcast; the ends have their common shape.

    Args:
        hits: successes of a sample.
        between: sum over identities of (successes - images * overall rate) ^ 2.
        images: N > 0, images of a sample.
        squares: sum over identities of images ^ 2.
    """
    import numpy as np

    z = _two_sided_z(level)
    rate = np.asarray(hits, dtype=np.float64) / images
    size = _effective_size(rate * (1 - rate), np.minimum(rate, 1 - rate), between, images, squares, z)

    def upper(rate: Any) -> Any:
        moved = rate + rate / (2 * size)  # half an image away from 1, none at 0
        moved, scale = np.minimum(moved, 1.0), 1 + z * z / size
        half = z * np.sqrt(moved * (1 - moved) / size + z * z / (4 * size * size))
        # At 1 the end is exactly 1; rounding must not push it beyond.
        return np.where(rate >= 1, 1.0, np.minimum((moved + z * z / (2 * size) + half) / scale, 1.0))

    return 1 - upper(1 - rate), upper(rate)


def _effective_size(variance: Any, rarity: Any, between: Any, images: Any, squares: Any, z: float) -> Any:
    """Independent images that tell as much as these: N where identities do not matter, else fewer.

    N / (1 + correlation * (m - 1)), m the mean size of an image's identity. The correlation is Pearson's estimate, kept
    in 0 to 1 and moved towards 1 where hits or misses are rare: with none, nothing can be estimated and it is 1; from
    twice the rate on that an interval of no hits reaches, the estimate stands alone.

    Args:
        variance: of one image.
        rarity: share of the rarer outcome.
        between: sum over identities of squared deviations of their totals.
    """
    import numpy as np

    largest = squares / images  # m: the design effect at correlation 1
    least = images / largest  # independent observations at correlation 1
    with np.errstate(divide="ignore", invalid="ignore"):
        dispersion = between / (images * variance * (1 - 1 / least))
        correlation = np.clip((dispersion - 1) / (largest - 1), 0.0, 1.0)
    weight = np.clip(1 - rarity * (least + z * z) / (2 * z * z), 0.0, 1.0) ** 4
    # No variance, one identity, or one image of each: nothing to estimate.
    correlation = np.where(np.isnan(correlation), 1.0, weight + (1 - weight) * correlation)
    return images / (1 + correlation * (largest - 1))


def _identity_totals(values: Any, identities: Any) -> tuple[Any, Any]:
    """Sum of the values of each identity, and its number of images."""
    import numpy as np

    labels = np.asarray(identities).ravel()
    if values.size != labels.size:
        raise ValueError(f"{values.size} images but {labels.size} identities; give one identity for each image")
    if values.size == 0:
        raise ValueError("no images: an interval needs at least one identity with one image")
    _, position, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return np.bincount(position.ravel(), weights=values), counts.astype(np.float64)


def identity_interval(hits: Any, identities: Any = None, *, level: float = 0.95) -> tuple[float, float, str]:
    """Interval of a success rate when the images of one identity are not independent.

    Wilson's interval with as many images as independent ones would tell as much (`identity_bounds`), each end moved out
    by up to half an image. The number falls with the correlation of the images of an identity. Where hits or misses are
    rare the correlation cannot be seen in them and is taken larger than it looks, up to 1 (one observation an identity)
    with none at all. One rule for every sample: with one more hit, spread as evenly as possible or packed into as few
    identities as possible, neither end falls. Coverage: see `docs/intervals.md`.

    Args:
        hits: success 0/1 of each image [N] if `identities` is given, else one array per identity.
        identities: which identity each image belongs to [N].

    Returns:
        (low, high, kind): fractions, and what the interval is, in words.

    Raises:
        ValueError: for no images, or arrays of different length.

    Source: E. L. Korn and B. I. Graubard, "Confidence intervals for proportions with small expected number of positive
    counts estimated from survey data", Survey Methodology 24 (1998), 193-201, for the effective number.
    We differ: Wilson instead of Clopper-Pearson, and the correlation is moved towards 1 where counts are small.
    """
    import numpy as np

    if identities is None:
        parts = [np.asarray(part, dtype=np.float64).ravel() for part in hits]
        hits = np.concatenate(parts) if parts else np.empty(0)
        identities = np.repeat(np.arange(len(parts)), [part.size for part in parts])
    flat = np.asarray(hits, dtype=np.float64).ravel()
    successes, counts = _identity_totals(flat, identities)
    between = np.sum((successes - counts * flat.mean()) ** 2)
    low, high = identity_bounds(flat.sum(), between, flat.size, np.sum(counts**2), level=level)
    return float(low), float(high), f"{100 * level:g} % interval over identities"


def identity_lower_bound(hits: Any, identities: Any, *, level: float = 0.95) -> float:
    """Lower end of an exact interval of a success rate, where it has to hold far from 95 %.

    Clopper's and Pearson's lower end, of as many images as independent ones would tell as much (`identity_interval`).
    Wilson's is nearer to the rate, but where hits are rare it is missed far more often than its level says: with one
    image of each of 10 identities and ten attacks compared, at .3 %, 29 % of the highest lower ends lie above the rate.

    Args:
        hits: success 0/1 of each image [N].
        identities: which identity each image belongs to [N].
        level: of the interval with both ends; the rate is below this end with probability (1 - level) / 2 at most.

    Raises:
        ValueError: for no images, or arrays of different length.

    Source: as `identity_interval`, which puts Wilson's interval in the place of this one.
    """
    import numpy as np
    from scipy.special import betaincinv

    flat = np.asarray(hits, dtype=np.float64).ravel()
    successes, counts = _identity_totals(flat, identities)
    rate = float(flat.mean())
    if rate == 0:
        return 0.0
    between = np.sum((successes - counts * rate) ** 2)
    z = _two_sided_z(level)
    size = _effective_size(rate * (1 - rate), min(rate, 1 - rate), between, flat.size, np.sum(counts**2), z)
    return float(betaincinv(rate * size, (1 - rate) * size + 1, (1 - level) / 2))


def mean_interval(values: Any, identities: Any, *, level: float = 0.95) -> tuple[float, float, str] | None:
    """Interval of a mean over images when those of one identity are not independent; None for fewer than two.

    Student's interval with the identities as the observations: the variance of the mean is the sum over identities of
    (total of the identity - its images * mean) ^ 2, over N ^ 2, times G / (G - 1). Where all identities have one number
    of images it is Student's interval of the means of identities. Nothing is clipped to a range.

    Args:
        values: one number per image [N].
        identities: which identity each image belongs to [N].

    Returns:
        (low, high, kind): in the unit of the values, and what the interval is, in words.

    >>> low, high, kind = mean_interval([1.0, 1.0, 3.0, 3.0], [0, 0, 1, 1])
    >>> round(low, 2), round(high, 2), kind
    (-10.71, 14.71, '95 % Student, 2 identities')

    Raises:
        ValueError: for no images, or arrays of different length.

    Source: the ratio estimator of cluster samples, W. G. Cochran, Sampling Techniques, 3rd ed., section 2.11.
    """
    import numpy as np
    from scipy.special import stdtrit

    flat = np.asarray(values, dtype=np.float64).ravel()
    totals, images = _identity_totals(flat, identities)
    groups = len(images)
    if groups < 2:
        return None
    mean = flat.mean()
    error = math.sqrt(groups / (groups - 1) * float(((totals - images * mean) ** 2).sum())) / flat.size
    half = float(stdtrit(groups - 1, (1 + level) / 2)) * error
    return float(mean) - half, float(mean) + half, f"{100 * level:g} % Student, {groups} identities"


def paired_bounds(lost: Any, gained: Any, images: Any, *, level: float = 0.95) -> tuple[Any, Any]:
    """Ends of the interval of a paired difference, for many samples at once; `paired_interval` takes images.

    Args:
        lost: images of each identity on which only the first model succeeds [..., G].
        gained: images on which only the second does [..., G].
        images: of each identity, > 0 [G].

    Returns:
        (low, high) [...].
    """
    import numpy as np
    from scipy.special import stdtrit

    images = np.asarray(images, dtype=np.float64)
    lost, gained = (np.asarray(part, dtype=np.float64) for part in (lost, gained))
    squares = np.sum(images**2)
    total, size = images.sum(), squares / images.sum()  # size: mean size of an image's identity
    identities = total / size  # identities of equal size that would tell as much
    changes, discordant = lost - gained, (lost + gained).sum(axis=-1)
    mean = changes.sum(axis=-1) / total
    # At least what independent images would vary by.
    apart = np.sum((changes - images * mean[..., None]) ** 2, axis=-1)
    between = np.maximum(apart, discordant - total * _power(mean, 2))
    pseudo = _pseudo_difference(changes, lost + gained, size, _two_sided_z(level))
    # Two more identities, on average at `around`: 0 where they differ by 1, the mean where they differ by little.
    around = mean * (1 - pseudo)
    centre = (total * mean + 2 * size * around) / (total + 2 * size)
    spread = between + squares * _power(mean - centre, 2) + 2 * size**2 * (pseudo + _power(centre - around, 2))
    half = stdtrit(max(identities - 1, 1.0), (1 + level) / 2) * np.sqrt(spread) / (total + 2 * size)
    return np.maximum(centre - half, -1.0), np.minimum(centre + half, 1.0)


def _pseudo_difference(changes: Any, discordant: Any, size: float, z: float) -> Any:
    """Squared difference of each of the two pseudo-identities of `paired_bounds`, above 0 up to 1 [...].

    That of the identities that differ, as an average; moved towards 1, an identity whose images all change, where few
    identities differ. With none or one it is 1; from 4 z^2 + 1 on (16.4 at 95 %) the average stands alone.

    Args:
        changes: images lost less images gained, of each identity [..., G].
        discordant: images lost or gained [..., G].
        size: images of an identity.
    """
    import numpy as np

    count = discordant.sum(axis=-1)
    # Identities that differ: unequal ones count less, as in Kish's effective sample size.
    differing = count**2 / np.maximum(np.sum(discordant**2, axis=-1), 1.0)
    seen = np.maximum(np.sum(changes**2, axis=-1), count) / (np.maximum(differing, 1.0) * size**2)
    weight = _power(np.clip(1 - (differing - 1) / (4 * z * z), 0.0, 1.0), 4)
    return weight + (1 - weight) * np.minimum(seen, 1.0)


def _power(values: Any, exponent: int) -> Any:
    """Powers of numbers [...], each as Python computes it: numpy's of an array may have another last digit."""
    import numpy as np

    numbers = np.asarray(values)
    return np.array([value**exponent for value in numbers.ravel().tolist()]).reshape(numbers.shape)


def paired_interval(before: Any, after: Any, identities: Any, *, level: float = 0.95) -> tuple[float, float]:
    """Interval of mean(before) - mean(after), of two models on the same images; wider than 0 also if none differs.

    Student's interval of the mean difference of an identity, with two identities added that differ by the same in
    opposite directions. Where many identities differ, they differ by as much as those that were seen, and the interval
    is about that of a cluster-robust variance. Where few do, how much others might differ cannot be seen, and they are
    taken to differ in up to all their images. With one image of each identity it is Bonett's and Price's interval, with
    Student's quantile. Coverage: see `docs/intervals.md`.

    Args:
        before: success 0/1 of the first model on each image [N].
        after: of the second.
        identities: which identity each image belongs to [N].

    Returns:
        (low, high): within -1 to 1; positive means that the second model succeeds less often.

    Raises:
        ValueError: for no images, or arrays of different length.

    Source: D. G. Bonett and R. M. Price, "Adjusted Wald confidence interval for a difference of binomial proportions
    based on paired data", Journal of Educational and Behavioral Statistics 37 (2012), 479-488.
    We differ: identities instead of images, and what the added ones differ by.
    """
    import numpy as np

    first, second = (np.asarray(part, dtype=np.float64).ravel() for part in (before, after))
    if first.size != second.size:
        raise ValueError(f"{first.size} images before but {second.size} after; pair results of the same images")
    lost, images = _identity_totals(first > second, identities)
    gained, _ = _identity_totals(first < second, identities)
    low, high = paired_bounds(lost, gained, images, level=level)
    return float(low), float(high)


_AT_ONCE = 64
"""Runs whose intervals are computed at once: more take memory and no less time."""


def paired_intervals(runs: Sequence[tuple[Any, Any, Any]]) -> list[tuple[float, float]]:
    """`paired_interval` of several runs, at once for those that share one array of identities.

    Args:
        runs: success 0/1 before and after, and identity, of each image [N], bool and ascending integers.
    """
    spans: list[tuple[float, float]] = [(0.0, 0.0)] * len(runs)
    of_people: dict[int, list[int]] = {}
    for place, (*_, people) in enumerate(runs):
        of_people.setdefault(id(people), []).append(place)
    for places in of_people.values():
        for begin in range(0, len(places), _AT_ONCE):
            some = places[begin : begin + _AT_ONCE]
            for place, span in zip(some, _of_the_same_people([runs[place] for place in some]), strict=True):
                spans[place] = span
    return spans


def _of_the_same_people(runs: Sequence[tuple[Any, Any, Any]]) -> list[tuple[float, float]]:
    import numpy as np

    people = runs[0][2]
    if not len(people):
        return [paired_interval(*run) for run in runs]
    before, after = np.array([run[0] for run in runs]), np.array([run[1] for run in runs])
    first = np.concatenate([[0], 1 + np.flatnonzero(people[1:] != people[:-1])])
    changed = (before & ~after, after & ~before)
    lost, gained = (np.add.reduceat(part.astype(np.int64), first, axis=1) for part in changed)
    low, high = paired_bounds(lost, gained, np.concatenate([first[1:], [len(people)]]) - first)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def t_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Student's interval of the mean of independent runs; None for fewer than two.

    >>> low, high = t_interval([1.0, 3.0])
    >>> round(low, 2), round(high, 2)
    (-10.71, 14.71)
    """
    n = len(values)
    if n < 2:
        return None
    mean = math.fsum(values) / n
    sd = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    half = _student(n - 1, (1 + level) / 2) * sd / math.sqrt(n)
    return mean - half, mean + half


@lru_cache(256)
def _student(freedom: int, share: float) -> float:
    """Quantile of Student's distribution."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, share))


def two_level_interval(
    within: tuple[float, float], values: Sequence[float], *, level: float = 0.95
) -> tuple[float, float]:
    """Interval of the mean over seeds that holds both sources: which seeds were run, and which identities were tested.

    Each side is the root of the sum of squares of two: the side of `within`, and that of Student's interval over seeds.
    More seeds narrow the second only, since all of them share the identities; so it is never narrower than `within`.
    Any unit, rates and differences alike; nothing is clipped.

    Args:
        within: interval of the identities alone, averaged over the runs.
        values: one per seed, >= 1; one seed gives `within`.

    >>> low, high = two_level_interval((0.0, 8.4), [0.0, 0.0, 0.0])
    >>> round(low, 1), round(high, 1)
    (0.0, 8.4)
    """
    if not values:
        raise ValueError("no values: an interval over seeds needs at least one")
    mean = math.fsum(values) / len(values)
    seeds = t_interval(values, level)
    half = 0.0 if seeds is None else seeds[1] - mean
    below, above = (max(0.0, side) for side in (mean - within[0], within[1] - mean))
    return mean - math.hypot(below, half), mean + math.hypot(above, half)


@dataclass(frozen=True)
class Delta:
    """Drop in attack accuracy for each point of accuracy lost.

    Args:
        value: larger is better, may be negative; None where no accuracy is lost.
        attack_drop: percentage points, shown beside the value.
        utility_drop: percentage points, shown beside the value.
        is_unstable: the utility drop is smaller than half a point, so the value mostly shows noise.
    """

    value: float | None
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
        return Delta(None, attack_drop, utility_drop, is_unstable)
    return Delta(attack_drop / utility_drop, attack_drop, utility_drop, is_unstable)


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
