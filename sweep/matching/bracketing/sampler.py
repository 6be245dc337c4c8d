"""Accuracy matching: an Optuna sampler that finds the strength of a defense whose accuracy meets a target.

One trial is one training. It is told |gap|, and keeps the signed gap (accuracy - target, percentage points) as the user
attribute `GAP`: the sign, which optimisers of |gap| do not see, is what makes the search short.

    study = optuna.create_study(sampler=BracketingSampler(falls=True))
    trial = study.ask({"strength": FloatDistribution(0.01, 10.0, log=True)})
    gap = accuracy(trial.params["strength"]) - target
    trial.set_user_attr(GAP, gap)
    study.tell(trial, abs(gap))

`assess` is the whole method, as a function of what was evaluated; the sampler only reads trials and answers.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import TrialState
from scipy.special import chdtrc, ndtr
from typing_extensions import override

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

GAP = "gap"
"""The user attribute of a trial that holds its signed gap: accuracy - target, percentage points."""

CERTAIN = 0.99
"""Posterior probability of a sign from which an evaluation may be the end of a bracket."""
CLIP, ROUGH_SD = 60.0, 30.0
"""Larger gaps (a diverged training, a model that only guesses) count as this much, give or take."""
LEAST_SD = 0.03
"""Percentage points by which the regression may miss an evaluation without noise; conditions its matrix."""
NOT_MONOTONE_P = 0.001
NEAR_END = 0.05
"""A root expected this close to an end of the range (as a share of the range) is looked for at the end itself."""
FIRST_STEP, FACTOR, STEPS = 0.35, 2.0, 3
"""How far beyond all evaluations a step may lead, as a share of the range: the larger of the first and a multiple of
their span."""
DIGITS, PLACES = 4, 401

Floats: TypeAlias = npt.NDArray[np.float64]
Numeric: TypeAlias = FloatDistribution | IntDistribution
State: TypeAlias = Literal["open", "bracketed", "one sided", "too coarse", "not monotone"]
How: TypeAlias = Literal["start", "step", "secant", "bisection", "end", ""]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All trainings at one strength.

    at: where the strength lies in its range, 0 to 1, in the scale of the range (log or linear).
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
    """What the evaluations say, and what to try next.

    state: "open": no sign change yet. "bracketed": a strength that matches lies between two others. "one sided": both
        ends miss the target to the same side and nothing speaks against a monotone curve, so no strength reaches it.
        "too coarse": neighbours of a stepped range lie to both sides of the target, neither within the tolerance.
        "not monotone": the target was seen from one side only, and no monotone curve explains what was seen.
    bracket: strengths, in ascending order, between which the sign changes, each certain beyond noise; None without.
    next: the strength to try next, an int in a range of ints; None where only another kind of search could go on. When
        "one sided", the place where a match would be least unlikely, for a caller that does not believe it.
    how: what chose it.
    """

    state: State
    bracket: tuple[float, float] | None
    next: float | None
    how: How


class BracketingSampler(BaseSampler):  # type: ignore[misc]
    """Brackets the strength whose gap is zero, and closes in on it with a regression that knows the noise.

    The parameter space is one float or int parameter, linear or log. Trials that are not complete, have no `GAP` or lie
    outside the range are ignored, also those that still run: asking twice without telling gives the same strength.

    tolerance: largest |gap| that counts as a match, percentage points, > 0.
    noise: standard deviation of the accuracy between seeds, percentage points, >= 0. Larger trusts a single training
        less.
    start: strength of the first trial; None is the middle of the range in its own scale.
    falls: whether accuracy is expected to fall towards the high end. A mild expectation: two trainings overrule it.
    fallback: searches the whole range where bracketing cannot; None is Optuna's GPSampler.
    seed: of the default fallback; nothing else is random.
    """

    def __init__(
        self,
        *,
        tolerance: float = 0.5,
        noise: float = 0.3,
        start: float | None = None,
        falls: bool = True,
        fallback: BaseSampler | None = None,
        seed: int | None = None,
    ) -> None:
        if not tolerance > 0:
            raise ValueError(f"tolerance is in percentage points and must be > 0, not {tolerance}")
        if not noise >= 0:
            raise ValueError(f"noise is a standard deviation in percentage points and must be >= 0, not {noise}")
        self.tolerance, self.noise, self.start, self.falls = tolerance, noise, start, falls
        self.fallback, self.seed = fallback, seed

    def assess(self, study: Study, name: str, distribution: BaseDistribution) -> Assessment:
        """What the study's trials say about the parameter of this name."""
        numeric = _numeric(name, distribution)
        found = evaluations(study.get_trials(deepcopy=False), name, numeric)
        return assess(found, numeric, tolerance=self.tolerance, noise=self.noise, falls=self.falls, start=self.start)

    @override
    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Empty: the range is known only when it is asked for, and a first trial has it as well as any other."""
        return {}

    @override
    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    @override
    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The next strength.

        Raises:
            ValueError: the parameter is categorical, or not the only one of the study.
        """
        self._raise_error_if_multi_objective(study)
        distribution = _numeric(param_name, param_distribution)
        others = {name for other in (trial, *study.get_trials(deepcopy=False)) for name in other.params} - {param_name}
        if others:
            raise ValueError(
                f"BracketingSampler matches one parameter, {param_name!r}, but the study also has "
                f"{', '.join(sorted(map(repr, others)))}; use one study per parameter"
            )
        strength = self.assess(study, param_name, distribution).next
        if strength is None:
            strength = self._fall_back(study, trial, param_name, distribution)
        return int(strength) if isinstance(distribution, IntDistribution) else float(strength)

    def _fall_back(self, study: Study, trial: FrozenTrial, name: str, distribution: Numeric) -> float:
        told = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
        sampler = self.fallback or self._default_fallback(told)
        space = {key: value for key, value in sampler.infer_relative_search_space(study, trial).items() if key == name}
        drawn = sampler.sample_relative(study, trial, space).get(name) if space else None
        if drawn is None:
            drawn = sampler.sample_independent(study, trial, name, distribution)
        scale = _Scale(distribution)
        taken = [e.strength for e in evaluations(study.get_trials(deepcopy=False), name, distribution)]
        places = scale.places(0.0, 1.0)
        at = scale.at(float(drawn))
        near = (scale.new_near(place, 0.0, 1.0, taken) for place in (at, *sorted(places, key=lambda p: abs(p - at))))
        return next((strength for strength in near if strength is not None), scale.exactly(at))

    def _default_fallback(self, told: int) -> BaseSampler:
        """A new one for each trial, from what is known alone: a search that was killed proposes the same again."""
        from optuna.samplers import GPSampler  # imports torch

        return GPSampler(seed=None if self.seed is None else self.seed + told, n_startup_trials=0)

    @override
    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        if self.fallback is not None:
            self.fallback.before_trial(study, trial)

    @override
    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        if self.fallback is not None:
            self.fallback.after_trial(study, trial, state, values)

    @override
    def reseed_rng(self) -> None:
        if self.fallback is not None:
            self.fallback.reseed_rng()


# --- what was evaluated -----------------------------------------------------------------------------------------------


def evaluations(trials: Iterable[FrozenTrial], name: str, distribution: BaseDistribution) -> list[Evaluation]:
    """Completed trials with a gap and a strength in the range, those of equal strength averaged, in ascending order."""
    numeric = _numeric(name, distribution)
    gaps: dict[float, list[float]] = defaultdict(list)
    latest: dict[float, int] = {}
    for trial in trials:
        gap, strength = trial.user_attrs.get(GAP), trial.params.get(name)
        if trial.state != TrialState.COMPLETE or gap is None or strength is None or math.isnan(gap):
            continue
        if numeric.low <= strength <= numeric.high:
            gaps[strength].append(min(max(float(gap), -CLIP), CLIP))
            latest[strength] = max(latest.get(strength, 0), trial.number)
    scale = _Scale(numeric)
    return [
        Evaluation(
            at=scale.at(strength),
            strength=strength,
            gap=sum(found) / len(found),
            count=len(found),
            latest=latest[strength],
        )
        for strength, found in sorted(gaps.items())
    ]


def _numeric(name: str, distribution: BaseDistribution) -> Numeric:
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        raise ValueError(f"BracketingSampler needs a float or int parameter; {name!r} is {distribution}")
    return distribution


class _Scale:
    """Where strengths lie in their range, and which ones may be proposed."""

    def __init__(self, distribution: Numeric) -> None:
        self.low, self.high = float(distribution.low), float(distribution.high)
        self.step: float | None = distribution.step
        self.is_log: bool = distribution.log
        self._a, self._b = self._forward(self.low), self._forward(self.high)

    def _forward(self, strength: float) -> float:
        return math.log(strength) if self.is_log else strength

    def at(self, strength: float) -> float:
        """0 to 1."""
        return (self._forward(strength) - self._a) / (self._b - self._a) if self._b > self._a else 0.0

    def exactly(self, at: float) -> float:
        """The strength there, on the steps of the range, not rounded."""
        value = self._a + at * (self._b - self._a)
        value = min(max(math.exp(value) if self.is_log else value, self.low), self.high)
        if at <= 0 or at >= 1:
            return self.low if at <= 0 else self.high
        return value if self.step is None else self._stepped(round((value - self.low) / self.step))

    def _stepped(self, index: int) -> float:
        return min(self.low + index * (self.step or 0.0), self.high)

    def places(self, low: float, high: float) -> Floats:
        """Where to look between two places, ends included: all steps of a range, but never more than a few hundred."""
        even = np.linspace(low, high, PLACES)
        if self.step is None:
            return even
        if round((self.exactly(high) - self.exactly(low)) / self.step) < PLACES:
            first, last = (round((self.exactly(at) - self.low) / self.step) for at in (low, high))
            return np.array([self.at(self._stepped(index)) for index in range(first, last + 1)])
        return np.unique([self.at(self.exactly(at)) for at in even])

    def new_near(self, at: float, low: float, high: float, taken: Sequence[float]) -> float | None:
        """A strength near `at` that was not taken, readable, strictly between low and high or an end of the range.

        Four significant digits, more only where four would name a strength that is taken or lies outside. None if no
        strength is left (always in stepped ranges; elsewhere once floats end).
        """
        lowest, highest = self.exactly(low), self.exactly(high)

        def is_free(strength: float) -> bool:
            inside = lowest < strength < highest or strength in (self.low, self.high)
            return inside and lowest <= strength <= highest and strength not in taken

        strength = self.exactly(at)
        if self.step is not None:
            index, last = round((strength - self.low) / self.step), round((self.high - self.low) / self.step)
            for away in range(len(taken) + 3):  # so many neighbours on each side cannot all be taken
                for sign in (1, -1):
                    near = self._stepped(index + sign * away)
                    if 0 <= index + sign * away <= last and is_free(near):
                        return near
            return None
        if is_free(strength) and strength in (self.low, self.high):
            return strength
        for digits in range(DIGITS, 18):
            rounded = float(f"{strength:.{digits}g}")
            if is_free(rounded):
                return rounded
        return None


# --- the regression ---------------------------------------------------------------------------------------------------

LENGTHS = (0.05, 0.1, 0.2, 0.4, 0.8)
AMPLITUDES = (3.0, 8.0, 20.0)
LEVEL_SD, SLOPE, SLOPE_SD = 30.0, 25.0, 25.0
"""Of the linear mean: percentage points, and percentage points over the whole range."""


@dataclass(frozen=True, kw_only=True)
class Posterior:
    """What is believed of the noiseless gap at some places: one normal distribution for each choice of kernel.

    weights: of the choices, they sum to 1 [H].
    means, sds: percentage points [H, G].
    """

    weights: Floats
    means: Floats
    sds: Floats

    def below(self, gap: float, *, noise: float = 0.0) -> Floats:
        """Probability that the gap there (of one training, if there is noise) is below this one [G]."""
        spread = np.sqrt(self.sds**2 + noise**2)
        result: Floats = self.weights @ ndtr((gap - self.means) / spread)
        return result

    def within(self, tolerance: float, *, noise: float) -> Floats:
        """Probability of a match there [G]."""
        return self.below(tolerance, noise=noise) - self.below(-tolerance, noise=noise)


def regress(at: Floats, gaps: Floats, variances: Floats, places: Floats, *, falls: bool) -> Posterior:
    """Gaussian process regression of the gap, with a linear mean.

    Level and slope of the mean have normal priors of their own, so two far points give their secant. Lengths and
    amplitudes of the squared-exponential rest are weighted by how well they explain the gaps, not chosen: with few
    evaluations one choice would be too sure of itself.

    Args:
        at: [N], 0 to 1.
        gaps: [N], percentage points.
        variances: of each gap around the curve, > 0 [N].
        places: where to predict [G].
        falls: sign of the expected slope.
    """
    slope = -SLOPE if falls else SLOPE
    lengths, amplitudes = (choice.reshape(-1, 1, 1) for choice in np.meshgrid(LENGTHS, AMPLITUDES))  # [H, 1, 1] each

    def kernel(p: Floats, q: Floats) -> Floats:
        bend = amplitudes**2 * np.exp(-0.5 * ((p[:, None] - q) / lengths) ** 2)
        result: Floats = bend + LEVEL_SD**2 + SLOPE_SD**2 * (p[:, None] - 0.5) * (q - 0.5)
        return result  # [H, P, Q]

    residuals = gaps - slope * (at - 0.5)
    root = np.linalg.cholesky(kernel(at, at) + np.diag(variances))
    white = np.linalg.solve(root, np.broadcast_to(residuals[:, None], (len(root), len(at), 1)))  # [H, N, 1]
    explained = np.linalg.solve(root, kernel(at, places))  # [H, N, G]
    prior = amplitudes[:, 0] ** 2 + LEVEL_SD**2 + SLOPE_SD**2 * (places - 0.5) ** 2  # [H, G]
    likelihood = -0.5 * (white**2).sum((1, 2)) - np.log(np.diagonal(root, axis1=1, axis2=2)).sum(1)
    scores = likelihood - 0.5 * (np.log(lengths.ravel() / 0.3) / 0.7) ** 2
    weights = np.exp(scores - scores.max())
    return Posterior(
        weights=weights / weights.sum(),
        means=slope * (places - 0.5) + (explained * white).sum(1),
        sds=np.sqrt(np.maximum(prior - (explained**2).sum(1), 1e-9)),
    )


def monotone_fit(values: Sequence[float], weights: Sequence[float]) -> tuple[list[float], int]:
    """Weighted least squares under the condition that no value is smaller than the one before, and its levels.

    Pools neighbours that are in the wrong order until none are.
    """
    blocks: list[tuple[float, float, int]] = []  # mean, weight, size
    for value, weight in zip(values, weights, strict=True):
        blocks.append((value, weight, 1))
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (m, v, k), (n, w, j) = blocks[-2:]
            blocks[-2:] = [((m * v + n * w) / (v + w), v + w, k + j)]
    return [mean for mean, _, size in blocks for _ in range(size)], len(blocks)


def is_monotone(gaps: Sequence[float], variances: Sequence[float]) -> bool:
    """Whether noise can explain why the gaps neither fall nor rise throughout.

    Given its number of levels, the weighted residual of a monotone fit to a flat curve follows chi-square with as many
    degrees of freedom as values were pooled away; other monotone curves leave less.
    """
    weights = [1 / v for v in variances]
    for sign in (1, -1):
        values = [sign * gap for gap in gaps]
        fit, levels = monotone_fit(values, weights)
        residual = sum(w * (v - f) ** 2 for v, f, w in zip(values, fit, weights, strict=True))
        if levels == len(values) or chdtrc(len(values) - levels, residual) >= NOT_MONOTONE_P:
            return True
    return False


@dataclass(frozen=True)
class Curve:
    """The regression of some evaluations, to be asked about single strengths."""

    scale: _Scale
    predict: Callable[[Floats], Posterior]

    def at(self, strength: float) -> tuple[Floats, Floats, Floats]:
        """Means and standard deviations of the noiseless gap there, and the weight of each pair [H]."""
        found = self.predict(np.array([self.scale.at(strength)]))
        return found.means[:, 0], found.sds[:, 0], found.weights

    def best_chance(self, tolerance: float, noise: float) -> float:
        """The largest probability, over the range, that an accuracy of this noise matches."""
        return float(self.predict(self.scale.places(0.0, 1.0)).within(tolerance, noise=noise).max())


def as_curve(
    evaluations: Sequence[Evaluation], distribution: BaseDistribution, *, noise: float, falls: bool = True
) -> Curve:
    """The regression through at least one evaluation; arguments as for `assess`."""
    scale = _Scale(_numeric("the strength", distribution))
    search = _Search(evaluations, scale, tolerance=math.inf, noise=noise, falls=falls)
    return Curve(scale, search.predict)


# --- the next strength ------------------------------------------------------------------------------------------------


def assess(
    evaluations: Sequence[Evaluation],
    distribution: BaseDistribution,
    *,
    tolerance: float,
    noise: float,
    falls: bool = True,
    start: float | None = None,
) -> Assessment:
    """State of the search and the next strength; a pure function of its arguments.

    Args:
        evaluations: in ascending order of strength.
        distribution: of the strength; the rest as for `BracketingSampler`.
    """
    scale = _Scale(_numeric("the strength", distribution))
    if not evaluations:
        if start is None:
            first = scale.new_near(0.5, 0.0, 1.0, ())
        else:
            first = min(max(start, scale.low), scale.high)
            first = first if scale.step is None else scale.exactly(scale.at(first))
        found = Assessment(state="open", bracket=None, next=first, how="start")
    else:
        found = _Search(evaluations, scale, tolerance=tolerance, noise=noise, falls=falls).assess()
    if found.next is None:
        return found
    return replace(found, next=int(found.next) if isinstance(distribution, IntDistribution) else float(found.next))


class _Search:
    """One assessment of at least one evaluation."""

    def __init__(
        self, evaluations: Sequence[Evaluation], scale: _Scale, *, tolerance: float, noise: float, falls: bool
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
        """Neighbours of different, certain sign; what lies between them is uncertain."""
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
        """Whether the last two evaluations, both of certain sign, left more than half of the bracket they fell into."""
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
        """All strengths between are evaluated: the range has steps."""
        i, j = min(brackets, key=lambda ends: ends[1] - ends[0])
        bracket = (self.taken[i], self.taken[j])
        # What lies between is of uncertain sign: another seed may show that it matches.
        nearest = min(range(i + 1, j) or (i, j), key=lambda k: abs(self.gaps[k]))
        if j - i > 1 or abs(self.gaps[nearest]) <= self.tolerance:
            return Assessment(state="bracketed", bracket=bracket, next=self.taken[nearest], how="secant")
        return Assessment(state="too coarse", bracket=bracket, next=None, how="")

    # --- without ------------------------------------------------------------------------------------------------------

    def _beyond(self, missing: list[float]) -> Assessment:
        """All gaps have one sign, and an end is missing: on towards the expected root, in steps that grow."""
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
        """Whether no other evaluation is nearer to the target than this end, as far as noise lets one see."""
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
