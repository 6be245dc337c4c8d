"""Simulated coverage of the interval of paired differences, now and before; coverage.py makes the page.

An identity has a rate for each of two models, from beta distributions: two images of an identity are correlated. Three
kinds of pairs say how much the models have in common. `before` is the rule of earlier versions.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from midef.core.statistics import paired_bounds

IDENTITIES = (20, 42, 60, 120, 300)
IMAGES = (1, 2, 5, 20, 50)
BEFORE = (0.5, 0.9, 0.97)
DROPS = (0.0, 0.01, 0.02, 0.05, 0.2)
CORRELATIONS = (0.0, 0.1, 0.3, 0.6)
# Correlation of the rates of an identity (normal scores); share of the images on which both models decide alike.
MODELS = {"apart": (0.6, 0.0), "related": (1.0, 0.5), "alike": (1.0, 0.95)}
FEW = 5  # at a corner of the grid fewer identities differ than this
TOLERANCE = 1e-12
SCORES = np.linspace(-5, 5, 2001)


@dataclass(frozen=True)
class Point:
    """One population.

    Args:
        before: success rate of the first model.
        drop: true difference.
        correlation: of two images of an identity, in each model.
        models: key of `MODELS`.
    """

    before: float
    drop: float
    correlation: float
    models: str

    def __str__(self) -> str:
        return f"{100 * self.before:g} %, {100 * self.drop:g}, {self.correlation:g}, {self.models}"


@dataclass(frozen=True)
class Found:
    """Results at one point.

    Args:
        images: of an identity, mean.
        before, now: coverage of the rules.
        width_before, width_now: mean widths.
        seen_before, seen_now: share of intervals above 0.
        differing: mean number of identities with an image on which the models differ.
    """

    point: Point
    images: float
    before: float
    now: float
    width_before: float
    width_now: float
    seen_before: float
    seen_now: float
    differing: float


def points(
    images: int,
    *,
    before: Sequence[float] = BEFORE,
    drops: Sequence[float] = DROPS,
    correlations: Sequence[float] = CORRELATIONS,
) -> list[Point]:
    """All points; images of one identity each have no correlation."""
    some = correlations if images > 1 else (0.0,)
    return [Point(*values) for values in itertools.product(before, drops, some, MODELS)]


@functools.cache
def _rates(rate: float, correlation: float) -> Any:
    """Rates of identities at `SCORES`."""
    from scipy.special import betaincinv, ndtr

    scale = (1 - correlation) / correlation
    return betaincinv(rate * scale, (1 - rate) * scale, ndtr(SCORES))


def draw(point: Point, images: Any, *, runs: int, again: bool = False) -> tuple[Any, Any]:
    """Images lost and gained by each identity [runs, G].

    Args:
        images: of each identity [G].
        again: other random numbers than without.
    """
    text = f"{len(images)} {images.sum()} {point} {again}"
    rng = np.random.default_rng(list(text.encode()))
    shape, rates = (runs, len(images)), (point.before, point.before - point.drop)
    together, alike = MODELS[point.models]
    first: Any
    second: Any
    first, second = (np.full(shape, rate) for rate in rates)
    if point.correlation:
        scores = rng.standard_normal(shape)
        others = together * scores + math.sqrt(1 - together**2) * rng.standard_normal(shape) if together < 1 else scores
        first, second = (
            np.interp(at, SCORES, _rates(rate, point.correlation))
            for at, rate in zip((scores, others), rates, strict=True)
        )
    both = alike * np.minimum(first, second) + (1 - alike) * first * second
    loses, gains = np.clip(first - both, 0, 1), np.clip(second - both, 0, 1)
    lost = rng.binomial(images, loses)
    return lost, rng.binomial(images - lost, np.clip(gains / np.maximum(1 - loses, 1e-12), 0, 1))


def earlier_bounds(lost: Any, gained: Any, images: Any) -> tuple[Any, Any]:
    """Ends [R] of the rule of earlier versions: Bonett's and Price's interval with an effective number of images.

    The correlation of the images of an identity was moved towards 1 where images differ rarely, however many identities
    these belong to.
    """
    from scipy.special import ndtri

    z, total, squares = float(ndtri(0.975)), images.sum(), (images**2).sum()
    least, largest = total**2 / squares, squares / total
    mean = (lost - gained).sum(axis=1) / total
    variance = (lost + gained).sum(axis=1) / total - mean**2
    between = ((lost - gained - images * mean[:, None]) ** 2).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = np.clip((between / (total * variance * (1 - 1 / least)) - 1) / (largest - 1), 0, 1)
    weight = np.clip(1 - variance * (least + z * z) / (2 * z * z), 0, 1) ** 4
    correlation = np.where(np.isnan(correlation), 1, weight + (1 - weight) * correlation)
    size = total / (1 + correlation * (largest - 1))
    up, down = ((size * part.sum(axis=1) / total + 1) / (size + 2) for part in (lost, gained))
    half = z * np.sqrt((up + down - (up - down) ** 2) / (size + 2))
    return np.maximum(up - down - half, -1), np.minimum(up - down + half, 1)


def coverage(point: Point, images: Any, *, runs: int, again: bool = False) -> Found:
    """Both rules on the same samples; arguments as of `draw`."""
    return measure(point, *draw(point, images, runs=runs, again=again), images)


def measure(point: Point, lost: Any, gained: Any, images: Any) -> Found:
    """Both rules on samples [R, G] of a population with the difference `point.drop`."""
    each = []
    for rule in (earlier_bounds, paired_bounds):
        low, high = rule(lost, gained, images)
        inside = (low <= point.drop + TOLERANCE) & (point.drop - TOLERANCE <= high)
        each.append([float(inside.mean()), float((high - low).mean()), float((low > 0).mean())])
    (before, width_before, seen_before), (now, width_now, seen_now) = each
    differing = float(((lost + gained) > 0).sum(axis=1).mean())
    return Found(point, float(images.mean()), before, now, width_before, width_now, seen_before, seen_now, differing)


def some_lose_all(share: float, background: float, identities: int, images: int, *, runs: int) -> Found:
    """A share of the identities loses every image, the others change at random in both directions.

    Args:
        background: share of the images of the others that changes.
    """
    rng = np.random.default_rng((identities, images, round(1000 * share)))
    shape = (runs, identities)
    hit = rng.random(shape) < share
    lost = np.where(hit, images, rng.binomial(images, background / 2, shape))
    gained = np.where(hit, 0, rng.binomial(images - lost, background / (2 - background)))
    return measure(Point(1.0, share, 1.0, "apart"), lost, gained, np.full(identities, images))


def least_and_mean(found: Sequence[Found]) -> tuple[Found, float]:
    """Least coverage, and the mean away from the corners, of the rule in use; NaN where all points are at corners."""
    middle = [one.now for one in found if one.differing >= FEW]
    return min(found, key=lambda one: one.now), math.fsum(middle) / len(middle) if middle else math.nan
