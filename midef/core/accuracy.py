"""A measured accuracy beside what guessing reaches, and how percentages are written."""

from __future__ import annotations

import math
from dataclasses import dataclass

from midef.core.statistics import wilson_interval


@dataclass(frozen=True)
class Accuracy:
    """A measured accuracy beside what guessing reaches, in percent.

    Args:
        value: as measured.
        low: lower end of its 95 % interval.
        high: upper end.
        chance: of a blind guess.
    """

    value: float
    low: float
    high: float
    chance: float

    @property
    def is_at_chance(self) -> bool:
        """True if guessing explains it."""
        return self.low <= self.chance

    @property
    def text(self) -> str:
        """`25.0 %`, with the interval where only that reaches down to chance."""
        span = f" [{self.low:.1f}, {self.high:.1f}]" if self.is_at_chance and self.value > self.chance else ""
        return f"{self.value:.1f} %{span}"


def accuracy_of(
    value: float, chance: float, *, low: float | None = None, high: float | None = None, n: int | None = None
) -> Accuracy:
    """An accuracy with its interval; without one that of Wilson over n images, without n the value alone.

    Args:
        value: percent.
        chance: percent.
        low: lower end of the interval, percent; not a number counts as none.
        high: upper end.
        n: images it was measured on.
    """
    if low is not None and not math.isnan(low):
        return Accuracy(value, low, value if high is None else high, chance)
    if not n or not 0 <= value <= 100:
        return Accuracy(value, value, value, chance)
    low, high = (100 * end for end in wilson_interval(value / 100 * n, n))
    return Accuracy(value, low, high, chance)


def percent(value: float) -> str:
    """`25.0 %`; two digits of what is below 1 %."""
    return f"{value:.1f} %" if value >= 1 or value == 0 else f"{value:.2g} %"


def percent_beside(value: float, limit: float) -> str:
    """`79.8 %`; with as many digits as tell it from the limit (`79.96 %` beside 80)."""
    digits = next((d for d in range(1, 10) if round(value, d) != round(limit, d)), 1)
    return f"{value:.{digits}f} %"
