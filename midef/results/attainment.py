"""Fronts over seeds: what trade-offs were reached in how many of them.

A front is a set, so its mean ± sd means nothing. A trade-off is attained in a seed if some defense is at least as
useful there and leaks no more; the empirical attainment function counts the seeds. With n seeds its levels are 1/n,
2/n ... 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from midef.results.estimates import SEEDS_FOR_T
from midef.results.seed_points import SeedPoints

Point = tuple[float, float]
MIDDLE, LOW, HIGH = 0.5, 0.2, 0.8
"""Shares of the seeds: of the line, and of both sides of the band."""
ROUNDING = 1e-9


@dataclass(frozen=True)
class Attainment:
    """Trade-offs by the number of seeds that attain them. Corners are (utility, attack accuracy), utility ascending.

    Args:
        target: accuracy that its defenses were matched to; None where nothing was matched.
        seeds: number of seeds.
        median: corners of what at least half of the seeds attain.
        best: corners of what at least 20 % attain.
        worst: corners of what at least 80 % attain.
        counts: seeds that attain `best`, `median` and `worst`.
    """

    target: float | None
    seeds: int
    median: tuple[Point, ...]
    best: tuple[Point, ...]
    worst: tuple[Point, ...]
    counts: tuple[int, int, int]

    @property
    def words(self) -> str:
        """`line: attained in 2 of 3 seeds; band: from 1 to 3 of 3`."""
        best, median, worst = self.counts
        return f"line: attained in at least {median} of {self.seeds} seeds; band: in {best} to {worst} of {self.seeds}"


def attainment(points: SeedPoints) -> Attainment | None:
    """Attainment of the defenses of a setup; None of fewer than three seeds."""
    n = len(points.seeds)
    if n < SEEDS_FOR_T or not points.indices:
        return None
    sets = [points.of_seed(number) for number in range(n)]
    best, median, worst = (seeds_of(share, n) for share in (LOW, MIDDLE, HIGH))
    return Attainment(
        points.target,
        n,
        median=attained(sets, median),
        best=attained(sets, best),
        worst=attained(sets, worst),
        counts=(best, median, worst),
    )


def seeds_of(share: float, n: int) -> int:
    """Least number of n seeds that is this share of them, at least 1.

    >>> [seeds_of(share, 5) for share in (0.2, 0.5, 0.8)], [seeds_of(share, 3) for share in (0.2, 0.5, 0.8)]
    ([1, 3, 4], [1, 2, 3])
    """
    return max(1, math.ceil(share * n - ROUNDING))


def attained(sets: Sequence[Sequence[Point]], count: int) -> tuple[Point, ...]:
    """Corners of the region that at least `count` of the sets attain, utility ascending; none of them beats another.

    Args:
        sets: (utility, attack accuracy) of every defense, by seed; a point with a nan attains nothing.
        count: 1 to the number of sets.

    Source: C. M. Fonseca, V. Grunert da Fonseca, L. Paquete, "Exploring the performance of stochastic multiobjective
    optimisers with the second-order attainment function", EMO 2005, for the function; the sweep is our own.
    """
    if not 1 <= count <= len(sets):
        raise ValueError(f"count must be 1 to {len(sets)}, the number of sets, got {count}")
    known = [(x, y, number) for number, one in enumerate(sets) for x, y in one if not math.isnan(x + y)]
    least = [math.inf] * len(sets)  # attack accuracy that each set reaches at this utility or more
    corners: list[Point] = []
    known.sort(key=lambda point: -point[0])
    for position, (x, y, number) in enumerate(known):
        least[number] = min(least[number], y)
        if position + 1 < len(known) and known[position + 1][0] == x:
            continue
        reached = sorted(least)[count - 1]
        if math.isfinite(reached) and (not corners or reached < corners[-1][1]):
            corners.append((x, reached))
    return tuple(reversed(corners))
