"""The points of a setup seed by seed: utility and attack accuracy of the defenses that share a front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from midef.results.compare import NATURAL
from midef.results.summary import SummaryRow, is_matched_setup


@dataclass(frozen=True)
class SeedPoints:
    """Defenses that are compared with each other, over the same seeds.

    Args:
        target: accuracy they were matched to, percent; None where nothing was matched.
        seeds: ascending.
        indices: of the rows of the setup, D of them.
        utility: by defense and seed [D][seeds]; larger is better.
        attack: attack accuracy@1, percent [D][seeds]; smaller is better.
    """

    target: float | None
    seeds: tuple[int, ...]
    indices: tuple[int, ...]
    utility: tuple[tuple[float, ...], ...]
    attack: tuple[tuple[float, ...], ...]

    def of_seed(self, number: int) -> list[tuple[float, float]]:
        """(utility, attack accuracy) of every defense in the seed of this position."""
        return [(one[number], other[number]) for one, other in zip(self.utility, self.attack, strict=True)]


def seed_points(
    group: Sequence[SummaryRow], metric: str = NATURAL, *, larger_is_better: bool = True
) -> list[SeedPoints]:
    """Points of one setup; one entry for each accuracy that defenses were matched to, else one in all.

    What is excluded, over seeds of its own, or not matched in a matched setup is compared with nothing and left out;
    so is a row without both numbers in every seed of the others.

    Args:
        group: rows of the setup.
        metric: utility.
        larger_is_better: False turns its sign, so that larger is better in what is returned.
    """
    is_matched = metric == NATURAL and is_matched_setup(group)
    by_target: dict[float | None, list[tuple[int, dict[int, tuple[float, float]]]]] = {}
    for index, row in enumerate(group):
        if row.is_excluded or row.has_own_seeds or (is_matched and not row.is_matched):
            continue
        attack = dict(row.attack_accuracy_at_1.by_seed)
        sign = 1.0 if larger_is_better else -1.0
        points = {seed: (sign * value, attack[seed]) for seed, value in row.estimate(metric).by_seed if seed in attack}
        if points and all(map(math.isfinite, (number for point in points.values() for number in point))):
            by_target.setdefault(row.match_target if is_matched else None, []).append((index, points))
    return [_over_shared_seeds(target, found) for target, found in by_target.items()]


def _over_shared_seeds(target: float | None, found: Sequence[tuple[int, dict[int, tuple[float, float]]]]) -> SeedPoints:
    """Points over the seeds of the first row with the most; a row that lacks one of them is left out."""
    most = max(len(points) for _, points in found)
    seeds = tuple(sorted(next(points for _, points in found if len(points) == most)))
    kept = [(index, points) for index, points in found if set(seeds) <= set(points)]
    return SeedPoints(
        target,
        seeds,
        tuple(index for index, _ in kept),
        tuple(tuple(points[seed][0] for seed in seeds) for _, points in kept),
        tuple(tuple(points[seed][1] for seed in seeds) for _, points in kept),
    )
