"""The strength of a defense that accuracy matching searches, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """Strength of a defense that accuracy matching may search.

    Args:
        parameter: its field.
        low, high: both ends of the range.
        larger_hides: True if the larger end protects more.
        scale: how steps of equal effect are spaced.
        tied: other fields, as multiples of the parameter (a ray).
        beside: fields with ranges of their own, on the same scale, searched together with the parameter where the
            ray does not reach; their larger end keeps more accuracy where larger_hides.
    """

    parameter: str
    low: float
    high: float
    larger_hides: bool = True
    scale: Literal["linear", "log"] = "linear"
    tied: Mapping[str, float] = field(default_factory=dict)
    beside: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.scale == "log" and self.low <= 0):
            raise ValueError(f"needs low < high, above 0 on a log scale; got {self.low}, {self.high}")

    def params(self, strength: float) -> dict[str, float]:
        """The fields to set for a strength."""
        return {self.parameter: strength, **{name: times * strength for name, times in self.tied.items()}}


@dataclass(frozen=True)
class NotTuned:
    """A defense that accuracy matching cannot tune.

    Args:
        reason: why, as `midef list` and the matching say it.
    """

    reason: str
