"""Places of strengths in their range, and which strengths may be proposed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

Floats: TypeAlias = npt.NDArray[np.float64]
Numeric: TypeAlias = FloatDistribution | IntDistribution

DIGITS, PLACES = 4, 401
"""Significant digits of a proposed strength; places at which a range without steps is evaluated."""


def numeric(name: str, distribution: BaseDistribution) -> Numeric:
    """The distribution of a parameter as a range of numbers.

    Raises:
        ValueError: the parameter is categorical.
    """
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        raise ValueError(f"BracketingSampler needs a float or int parameter; {name!r} is {distribution}")
    return distribution


class Scale:
    """Maps strengths to their place in the range, 0 to 1 (log or linear), and rounds new ones.

    Args:
        distribution: of the strength.
    """

    def __init__(self, distribution: Numeric) -> None:
        self.low, self.high = float(distribution.low), float(distribution.high)
        self.step: float | None = distribution.step
        self.is_log: bool = distribution.log
        self._a, self._b = self._forward(self.low), self._forward(self.high)

    def _forward(self, strength: float) -> float:
        return math.log(strength) if self.is_log else strength

    def at(self, strength: float) -> float:
        """Place of a strength, 0 to 1."""
        return (self._forward(strength) - self._a) / (self._b - self._a) if self._b > self._a else 0.0

    def exactly(self, at: float) -> float:
        """Strength at a place, on the steps of the range, not rounded."""
        value = self._a + at * (self._b - self._a)
        value = min(max(math.exp(value) if self.is_log else value, self.low), self.high)
        if at <= 0 or at >= 1:
            return self.low if at <= 0 else self.high
        return value if self.step is None else self._stepped(round((value - self.low) / self.step))

    def _stepped(self, index: int) -> float:
        return min(self.low + index * (self.step or 0.0), self.high)

    def places(self, low: float, high: float) -> Floats:
        """Candidate places between two places, ends included: all steps of a range, at most `PLACES`."""
        even = np.linspace(low, high, PLACES)
        if self.step is None:
            return even
        if round((self.exactly(high) - self.exactly(low)) / self.step) < PLACES:
            first, last = (round((self.exactly(at) - self.low) / self.step) for at in (low, high))
            return np.array([self.at(self._stepped(index)) for index in range(first, last + 1)])
        return np.unique([self.at(self.exactly(at)) for at in even])

    def new_near(self, at: float, low: float, high: float, taken: Sequence[float]) -> float | None:
        """A readable strength near a place, not taken, strictly between low and high or an end of the range.

        Four significant digits, more only where four would name a strength that is taken or lies outside.

        Args:
            at: the place, 0 to 1.
            low: place of the lower limit.
            high: place of the upper limit.
            taken: strengths that are not proposed again.

        Returns:
            None if no strength is left: all steps are taken, or floats end.
        """
        strength = self.exactly(at)
        if self.step is not None:
            return self._nearest_free_step(strength, low, high, taken)
        if strength in (self.low, self.high) and self._is_free(strength, low, high, taken):
            return strength
        rounded = (float(f"{strength:.{digits}g}") for digits in range(DIGITS, 18))
        return next((value for value in rounded if self._is_free(value, low, high, taken)), None)

    def _nearest_free_step(self, strength: float, low: float, high: float, taken: Sequence[float]) -> float | None:
        step = self.step or 0.0
        index, last = round((strength - self.low) / step), round((self.high - self.low) / step)
        for away in range(len(taken) + 3):  # so many neighbours on each side cannot all be taken
            for sign in (1, -1):
                near = self._stepped(index + sign * away)
                if 0 <= index + sign * away <= last and self._is_free(near, low, high, taken):
                    return near
        return None

    def _is_free(self, strength: float, low: float, high: float, taken: Sequence[float]) -> bool:
        lowest, highest = self.exactly(low), self.exactly(high)
        inside = lowest < strength < highest or strength in (self.low, self.high)
        return inside and lowest <= strength <= highest and strength not in taken
