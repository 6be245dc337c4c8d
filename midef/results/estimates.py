"""One metric of one defense over seeds: mean, values by seed, and both kinds of interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from midef.core.rows import ResultRow
from midef.core.statistics import t_interval, two_level_interval

# Student's t with one degree of freedom is 12.7: two seeds say nothing about each other, so the within-run interval is
# shown.
SEEDS_FOR_T = 3

IntervalChoice = Literal["over_seeds", "within_run"]


@dataclass(frozen=True)
class Interval:
    """Interval around a number, in the number's unit.

    Args:
        low: lower end.
        high: upper end, >= low.
        kind: what the interval is, in words.
    """

    low: float
    high: float
    kind: str

    @property
    def ends(self) -> str:
        """`[3.1, 8.9]`."""
        return f"[{self.low:.1f}, {self.high:.1f}]"


@dataclass(frozen=True)
class Estimate:
    """One metric of one defense in one setup, over seeds. Intervals of percentages stay in 0 to 100.

    Args:
        by_seed: (seed, value), sorted.
        over_seeds: over seeds and identities, where every run reports its own interval; else the t interval over seeds.
            Needs two seeds; None where the runs report none and all seeds are equal.
        within_run: ends of the interval that each run reports, averaged over seeds.
        ceiling: what true private images reach, mean over the runs that say it.
        is_estimate: a run rests on what a network reads from images.
    """

    by_seed: tuple[tuple[int, float], ...] = ()
    over_seeds: Interval | None = None
    within_run: Interval | None = None
    ceiling: float | None = None
    is_estimate: bool = False

    @property
    def mean(self) -> float | None:
        return mean_of(value for _, value in self.by_seed)

    @property
    def seeds(self) -> int:
        return len(self.by_seed)

    def interval(self, choice: IntervalChoice) -> Interval | None:
        """The interval to print in a setup of this choice; of fewer than three seeds none is over seeds."""
        if choice == "within_run":
            return self.within_run
        return self.over_seeds if self.seeds >= SEEDS_FOR_T else None


def mean_of(values: Iterable[float]) -> float | None:
    """Mean with an exact sum; None for no values."""
    numbers = list(values)
    return math.fsum(numbers) / len(numbers) if numbers else None


def seeds_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Student's interval over seeds; None for one seed, and for equal ones: those do not show that others are equal."""
    span = t_interval(values)
    return None if span is None or math.isclose(*span, rel_tol=0.0, abs_tol=1e-9) else span


def estimate(rows: Sequence[tuple[int, ResultRow]], *, is_percent: bool) -> Estimate:
    """Estimate from the rows of one metric, given with their seeds; rows without a finite value do not count."""
    measured = ((seed, row) for seed, row in rows if row.status == "ok")
    good = {seed: (row, row.value) for seed, row in measured if row.value is not None and math.isfinite(row.value)}
    values = [value for _, value in good.values()]

    def bounded(low: float, high: float, kind: str) -> Interval:
        return Interval(max(low, 0.0), min(high, 100.0), kind) if is_percent else Interval(low, high, kind)

    lows = [row.low for row, _ in good.values() if row.low is not None]
    highs = [row.high for row, _ in good.values() if row.high is not None]
    within, over_seeds = None, None
    if good and len(lows) == len(highs) == len(good):
        kinds = " or ".join(sorted({row.interval for row, _ in good.values() if row.interval})) or "interval"
        runs = f", mean of {len(good)} runs" if len(good) > 1 else ""
        ends = math.fsum(lows) / len(lows), math.fsum(highs) / len(highs)
        within = bounded(*ends, kinds + runs)
        if len(values) > 1:
            both = two_level_interval(ends, values)
            over_seeds = bounded(*both, f"95 % interval over seeds and identities, {len(values)} seeds")
    elif (seeds_alone := seeds_interval(values)) is not None:
        over_seeds = bounded(*seeds_alone, f"95 % t interval, {len(values)} seeds")
    return Estimate(
        by_seed=tuple(zip(good, values, strict=True)),
        over_seeds=over_seeds,
        within_run=within,
        ceiling=mean_of(row.ceiling for row, _ in good.values() if row.ceiling is not None),
        is_estimate=any(row.is_estimate for row, _ in good.values()),
    )
