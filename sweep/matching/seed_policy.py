"""Seeds of a strength: when their mean is a match, how much they differ, and when to train more of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

from midef.core.match import MatchTraining

if TYPE_CHECKING:
    from midef.sweep.matching.bracketing.assess import Curve

PRIOR_NOISE = 0.4
"""Points by which seeds are expected to differ, until some were seen; it counts as much as three differences seen."""
LEAST_CHANCE = 0.05
"""Further seeds are not trained for a smaller probability of a match."""


@dataclass(frozen=True)
class Goal:
    """When the mean over the seeds is a match.

    Args:
        target: accuracy to reach, percent.
        tolerance: largest distance of the mean from it, points.
        seeds: that the mean is taken over.
    """

    target: float
    tolerance: float
    seeds: tuple[int, ...]

    def is_near(self, accuracy: float) -> bool:
        """True within the tolerance."""
        return abs(accuracy - self.target) <= self.tolerance

    def is_reachable(self, accuracies: Sequence[float], missing: int) -> bool:
        """True if the mean can still come within the tolerance, whatever the missing accuracies turn out to be."""
        count = len(accuracies) + missing
        low = math.fsum(accuracies) / count
        high = low + 100.0 * missing / count
        return low <= self.target + self.tolerance and high >= self.target - self.tolerance


@dataclass
class SeedGroup:
    """Trainings at one strength, one per seed.

    Args:
        strength: of all of them.
        trainings: by seed.
    """

    strength: float
    trainings: dict[int, MatchTraining] = field(default_factory=dict)

    @property
    def diverged(self) -> bool:
        return any(t.accuracy is None for t in self.trainings.values())

    @property
    def accuracies(self) -> list[float]:
        return [t.accuracy or 0.0 for t in self.trainings.values()]

    @property
    def accuracy(self) -> float:
        """Mean; a training that diverged counts as 0 %."""
        return fmean(self.accuracies)

    def missing(self, seeds: Sequence[int]) -> list[int]:
        """Seeds without a training."""
        return [seed for seed in seeds if seed not in self.trainings]

    def is_near(self, goal: Goal) -> bool:
        """True if the mean of the seeds trained so far is within the tolerance, and none diverged."""
        return not self.diverged and goal.is_near(self.accuracy)

    def is_match(self, goal: Goal) -> bool:
        """True if all seeds are trained, none diverged, and their mean is within the tolerance."""
        return not self.missing(goal.seeds) and self.is_near(goal)

    def is_futile(self, goal: Goal, more: Sequence[float] = ()) -> bool:
        """True if further seeds cannot bring the mean within the tolerance any more.

        Args:
            goal: what the mean is compared with.
            more: accuracies of further seeds, beside those of the group.
        """
        known = [*self.accuracies, *more]
        return not goal.is_reachable(known, len(goal.seeds) - len(known))

    def is_open(self, goal: Goal) -> bool:
        """True if seeds are missing that could still bring the mean within the tolerance."""
        return bool(self.missing(goal.seeds)) and not self.diverged and not self.is_futile(goal)


def seed_groups(trainings: Iterable[MatchTraining]) -> list[SeedGroup]:
    """Trainings by strength, in the order in which strengths were first tried."""
    groups: dict[float, SeedGroup] = {}
    for training in trainings:
        assert training.strength is not None, "only strengths are grouped"
        groups.setdefault(training.strength, SeedGroup(training.strength)).trainings[training.seed] = training
    return list(groups.values())


def seed_noise(groups: Iterable[Sequence[float]]) -> float:
    """Standard deviation between seeds, in points, pooled over groups of accuracies that differ in the seed alone.

    Few differences say little, so `PRIOR_NOISE` counts as three of them.
    """
    squares, freedom = 3 * PRIOR_NOISE**2, 3.0
    for values in groups:
        if len(values) > 1:
            mean = fmean(values)
            squares += math.fsum((v - mean) ** 2 for v in values)
            freedom += len(values) - 1
    return math.sqrt(squares / freedom)


def worth_more_seeds(
    groups: Sequence[SeedGroup], curve: Curve, goal: Goal, noise: float
) -> tuple[SeedGroup | None, float]:
    """The strength whose further seeds promise more matches per training than a new strength would.

    Where the first training of a strength is within the tolerance, and seeds differ by less, they promise a lot.

    Args:
        groups: strengths with seeds that could still bring a match.
        curve: regression through all strengths that were tried.
        goal: what is a match.
        noise: standard deviation between seeds, points.

    Returns:
        The strength, and the probability that its mean then matches; None and 0 if no strength is worth more seeds.
    """
    count = len(goal.seeds)
    best, promise, chance = None, 0.0, 0.0
    for group in groups:
        gaps, missing = [a - goal.target for a in group.accuracies], len(group.missing(goal.seeds))
        means, sds, weights = curve.at(group.strength)
        spread = np.sqrt((missing * sds) ** 2 + missing * noise**2) / count
        middle = (math.fsum(gaps) + missing * means) / count
        p = float(weights @ (ndtr((goal.tolerance - middle) / spread) - ndtr((-goal.tolerance - middle) / spread)))
        if p / missing > promise:
            best, promise, chance = group, p / missing, p
    if chance < LEAST_CHANCE or promise < curve.best_chance(goal.tolerance, noise / math.sqrt(count)) / count:
        return None, 0.0
    return best, chance
