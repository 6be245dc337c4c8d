"""State of a bracketing search and the strength to try next, as a pure function of what was evaluated."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, TypeAlias

import numpy as np
from optuna.distributions import BaseDistribution, IntDistribution

from midef.sweep.matching.bracketing.regression import Posterior, is_monotone, regress
from midef.sweep.matching.bracketing.scale import Floats, Scale, numeric

CERTAIN = 0.99
"""Posterior probability of a sign from which an evaluation may be the end of a bracket."""
CLIP, ROUGH_SD = 60.0, 30.0
"""Larger gaps (a diverged training, a model that only guesses) count as this much, give or take."""
LEAST_SD = 0.03
"""Percentage points by which the regression may miss an evaluation without noise; conditions its matrix."""
NEAR_END = 0.05
"""A root expected this close to an end of the range (as a share of the range) is looked for at the end itself."""
FIRST_STEP, FACTOR, STEPS = 0.35, 2.0, 3
"""How far beyond all evaluations a step may lead, as a share of the range: the larger of the first and a multiple of
their span."""

State: TypeAlias = Literal["open", "bracketed", "one sided", "too coarse", "not monotone"]
How: TypeAlias = Literal["start", "step", "secant", "bisection", "end", ""]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All trainings at one strength.

    Args:
        at: place of the strength in its range, 0 to 1, in the scale of the range (log or linear).
        strength: as it was asked for.
        gap: mean of accuracy - target over the trainings, percentage points.
        count: trainings, >= 1.
        latest: number of the newest of their trials; orders evaluations in time.
    """

    at: float
    strength: float
    gap: float
    count: int = 1
    latest: int = 0


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """State of the search and the strength to try next.

    Args:
        state: "open": no sign change yet. "bracketed": a strength that matches lies between two others. "one sided":
            both ends miss the target to the same side and nothing speaks against a monotone curve, so no strength
            reaches it. "too coarse": neighbours of a stepped range lie to both sides of the target, neither within the
            tolerance. "not monotone": the gaps have one sign, and no monotone curve explains them.
        bracket: strengths, in ascending order, between which the sign changes, each certain beyond noise; None without.
        next: the strength to try next, an int in a range of ints; None where only another kind of search could go on.
            When "one sided", the place where a match is least unlikely, for a caller that searches on nevertheless.
        how: what chose it.
    """

    state: State
    bracket: tuple[float, float] | None
    next: float | None
    how: How


def assess(
    evaluations: Sequence[Evaluation],
    distribution: BaseDistribution,
    *,
    tolerance: float,
    noise: float,
    falls: bool = True,
    start: float | None = None,
) -> Assessment:
    """Assess the evaluations; a pure function of its arguments.

    Args:
        evaluations: in ascending order of strength.
        distribution: of the strength; the rest as for `BracketingSampler`.
        start: strength of the first trial; None is the middle of the range.
    """
    scale = Scale(numeric("the strength", distribution))
    if not evaluations:
        if start is None:
            first = scale.new_near(0.5, 0.0, 1.0, ())
        else:
            first = min(max(start, scale.low), scale.high)
            first = first if scale.step is None else scale.exactly(scale.at(first))
        assessment = Assessment(state="open", bracket=None, next=first, how="start")
    else:
        assessment = _Search(evaluations, scale, tolerance=tolerance, noise=noise, falls=falls).assess()
    if assessment.next is None:
        return assessment
    is_whole = isinstance(distribution, IntDistribution)
    return replace(assessment, next=int(assessment.next) if is_whole else float(assessment.next))


class _Search:
    """One assessment of at least one evaluation; arguments as for `assess`."""

    def __init__(
        self, evaluations: Sequence[Evaluation], scale: Scale, *, tolerance: float, noise: float, falls: bool
    ) -> None:
        self.evaluations, self.scale = evaluations, scale
        self.tolerance, self.noise, self.falls = tolerance, noise, falls
        self.taken = [e.strength for e in evaluations]
        self.at = np.array([e.at for e in evaluations])
        self.gaps = np.clip([e.gap for e in evaluations], -CLIP, CLIP)
        # A gap at the limit says for sure on which side of the target the curve is, but hardly where.
        is_far = np.abs(self.gaps) >= CLIP
        counts = np.array([e.count for e in evaluations])
        self.variances = noise**2 / counts + np.where(is_far, ROUGH_SD, LEAST_SD) ** 2
        below = self.predict(self.at).below(0.0)
        self.signs = np.where(is_far, np.sign(self.gaps), 1.0 * (below < 1 - CERTAIN) - (below > CERTAIN))

    def predict(self, places: Floats) -> Posterior:
        return regress(self.at, self.gaps, self.variances, places, falls=self.falls)

    def assess(self) -> Assessment:
        brackets = self._brackets(range(len(self.at)))
        if brackets:
            return self._inside(brackets)
        if not is_monotone(self.gaps.tolist(), self.variances.tolist()):
            return Assessment(state="not monotone", bracket=None, next=None, how="")
        if (self.gaps > 0).any() and (self.gaps < 0).any():  # a sign change, but it may be noise
            return Assessment(state="open", bracket=None, next=self._anywhere(), how="secant")
        missing = [end for end in (self.scale.low, self.scale.high) if end not in self.taken]
        if not missing:
            return Assessment(state="one sided", bracket=None, next=self._anywhere(), how="secant")
        return self._beyond(missing)

    # --- with a bracket -----------------------------------------------------------------------------------------------

    def _brackets(self, chosen: Iterable[int]) -> list[tuple[int, int]]:
        """Index pairs of neighbours of different, certain sign; signs between them are uncertain."""
        certain = [i for i in chosen if self.signs[i]]
        return [(i, j) for i, j in pairwise(certain) if self.signs[i] != self.signs[j]]

    def _inside(self, brackets: list[tuple[int, int]]) -> Assessment:
        options = [(*self._most_probable(self.at[i], self.at[j]), (i, j)) for i, j in brackets]
        open_options = [option for option in options if option[0] is not None]
        if not open_options:
            return self._used_up(brackets)
        strength, _, (i, j) = max(open_options, key=lambda option: option[1])
        how: How = "secant"
        if self._is_slow(i, j):
            middle = self.scale.new_near((self.at[i] + self.at[j]) / 2, self.at[i], self.at[j], self.taken)
            if middle is not None:
                strength, how = middle, "bisection"
        return Assessment(state="bracketed", bracket=(self.taken[i], self.taken[j]), next=strength, how=how)

    def _is_slow(self, i: int, j: int) -> bool:
        """True if the last two evaluations, both of certain sign, left more than half of their bracket."""
        newest = sorted(range(len(self.at)), key=lambda k: self.evaluations[k].latest)[-2:]
        if not all(self.signs[k] for k in newest):
            return False  # they came close to the root: noise is what hinders, and the regression averages it
        before = [
            (a, b)
            for a, b in self._brackets(k for k in range(len(self.at)) if k not in newest)
            if a <= i and j <= b and all(a < k < b for k in newest)
        ]
        return any(self.at[j] - self.at[i] > 0.5 * (self.at[b] - self.at[a]) for a, b in before)

    def _used_up(self, brackets: list[tuple[int, int]]) -> Assessment:
        """Assess brackets that hold no further strength: the range has steps."""
        i, j = min(brackets, key=lambda ends: ends[1] - ends[0])
        bracket = (self.taken[i], self.taken[j])
        # What lies between is of uncertain sign: another seed may show that it matches.
        nearest = min(range(i + 1, j) or (i, j), key=lambda k: abs(self.gaps[k]))
        if j - i > 1 or abs(self.gaps[nearest]) <= self.tolerance:
            return Assessment(state="bracketed", bracket=bracket, next=self.taken[nearest], how="secant")
        return Assessment(state="too coarse", bracket=bracket, next=None, how="")

    # --- without a bracket --------------------------------------------------------------------------------------------

    def _beyond(self, missing: list[float]) -> Assessment:
        """Step towards the expected root, in growing steps: all gaps have one sign, and an end is missing."""
        if len(missing) == 1 and self._is_nearest(self.scale.high if missing[0] == self.scale.low else self.scale.low):
            return Assessment(state="open", bracket=None, next=missing[0], how="end")
        expected, _ = self._most_probable(0.0, 1.0)
        if expected is None or len(self.at) > STEPS:
            below = self.predict(np.array([self.scale.at(end) for end in missing])).below(0.0)
            end = missing[int((below if self.gaps[0] > 0 else -below).argmax())]  # where the sign most likely changes
            return Assessment(state="open", bracket=None, next=end, how="end")
        at, first, last = self.scale.at(expected), float(self.at[0]), float(self.at[-1])
        for end in missing:
            if abs(at - self.scale.at(end)) <= NEAR_END:
                return Assessment(state="open", bracket=None, next=end, how="end")
        reach = max(FIRST_STEP, FACTOR * (last - first))
        strength = self.scale.new_near(min(max(at, first - reach), last + reach), 0.0, 1.0, self.taken)
        return Assessment(state="open", bracket=None, next=strength, how="step")

    def _is_nearest(self, end: float) -> bool:
        """True if no other evaluation is nearer to the target than this end, beyond noise."""
        return bool(abs(self.gaps[self.taken.index(end)]) <= np.abs(self.gaps).min() + 2 * self.noise)

    def _anywhere(self) -> float:
        """The most probable new strength; where steps leave none, the nearest of the old, for another seed."""
        strength, _ = self._most_probable(0.0, 1.0)
        return self.taken[int(np.abs(self.gaps).argmin())] if strength is None else strength

    def _most_probable(self, low: float, high: float) -> tuple[float | None, float]:
        """The new strength between two places that most probably matches, and with which probability."""
        places = self.scale.places(low, high)
        chances = self.predict(places).within(self.tolerance, noise=self.noise)
        if self.scale.step is not None:
            chances = np.where(np.isin(places, self.at), -1.0, chances)
        for best in np.argsort(-chances, kind="stable"):
            strength = self.scale.new_near(float(places[best]), low, high, self.taken)
            if strength is not None:
                return strength, float(chances[best])
        return None, 0.0


@dataclass(frozen=True)
class Curve:
    """Regression through the evaluations of one strength parameter.

    Args:
        scale: of the parameter.
        predict: posterior at places of the scale.
    """

    scale: Scale
    predict: Callable[[Floats], Posterior]

    def at(self, strength: float) -> tuple[Floats, Floats, Floats]:
        """Means and standard deviations of the noiseless gap at a strength, and the weight of each pair [H]."""
        posterior = self.predict(np.array([self.scale.at(strength)]))
        return posterior.means[:, 0], posterior.sds[:, 0], posterior.weights

    def best_chance(self, tolerance: float, noise: float) -> float:
        """Largest probability of a match over the range, for an accuracy with this noise."""
        return float(self.predict(self.scale.places(0.0, 1.0)).within(tolerance, noise=noise).max())


def as_curve(
    evaluations: Sequence[Evaluation], distribution: BaseDistribution, *, noise: float, falls: bool = True
) -> Curve:
    """Regression through at least one evaluation; arguments as for `assess`."""
    scale = Scale(numeric("the strength", distribution))
    search = _Search(evaluations, scale, tolerance=math.inf, noise=noise, falls=falls)
    return Curve(scale, search.predict)
