"""Optuna sampler that finds the strength of a defense at which its accuracy meets a target.

One trial is one training. It is told |gap|, and keeps the signed gap (accuracy - target, percentage points) as the user
attribute `GAP`: the sign, which optimisers of |gap| do not see, is what makes the search short.

    study = optuna.create_study(sampler=BracketingSampler(falls=True))
    trial = study.ask({"strength": FloatDistribution(0.01, 10.0, log=True)})
    gap = accuracy(trial.params["strength"]) - target
    trial.set_user_attr(GAP, gap)
    study.tell(trial, abs(gap))

`assess` is the whole method, as a function of the evaluations; the sampler only reads trials and proposes.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import TrialState
from typing_extensions import override

from midef.sweep.matching.bracketing.assess import CLIP, Assessment, Evaluation, assess
from midef.sweep.matching.bracketing.scale import Numeric, Scale, numeric

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

GAP = "gap"
"""User attribute of a trial that holds its signed gap: accuracy - target, percentage points."""


class BracketingSampler(BaseSampler):  # type: ignore[misc]
    """Brackets the strength whose gap is zero, then narrows the bracket by a regression with noise.

    The parameter space is one float or int parameter, linear or log. Trials that are not complete, have no `GAP` or lie
    outside the range are ignored, also those that still run: asking twice without telling gives the same strength.

    Args:
        tolerance: largest |gap| that counts as a match, percentage points, > 0.
        noise: standard deviation of the accuracy between seeds, percentage points, >= 0. Larger trusts a single
            training less.
        start: strength of the first trial; None is the middle of the range in its own scale.
        falls: True if accuracy is expected to fall towards the high end. Two trainings overrule the expectation.
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
        """State of the search over the parameter of this name."""
        trained = evaluations(study.get_trials(deepcopy=False), name, distribution)
        return assess(
            trained, distribution, tolerance=self.tolerance, noise=self.noise, falls=self.falls, start=self.start
        )

    @override
    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Empty: the range is known only when it is asked for, also in the first trial."""
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
        """Propose the next strength.

        Raises:
            ValueError: the parameter is categorical, or not the only one of the study.
        """
        self._raise_error_if_multi_objective(study)
        distribution = numeric(param_name, param_distribution)
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
        scale = Scale(distribution)
        taken = [e.strength for e in evaluations(study.get_trials(deepcopy=False), name, distribution)]
        places = scale.places(0.0, 1.0)
        at = scale.at(float(drawn))
        near = (scale.new_near(place, 0.0, 1.0, taken) for place in (at, *sorted(places, key=lambda p: abs(p - at))))
        return next((strength for strength in near if strength is not None), scale.exactly(at))

    def _default_fallback(self, told: int) -> BaseSampler:
        """A new sampler, seeded by the number of told trials: a search that was killed proposes the same again."""
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


def evaluations(trials: Iterable[FrozenTrial], name: str, distribution: BaseDistribution) -> list[Evaluation]:
    """Completed trials with a gap and a strength in the range, averaged by strength, in ascending order."""
    in_range = numeric(name, distribution)
    gaps: dict[float, list[float]] = defaultdict(list)
    latest: dict[float, int] = {}
    for trial in trials:
        gap, strength = trial.user_attrs.get(GAP), trial.params.get(name)
        if trial.state != TrialState.COMPLETE or gap is None or strength is None or math.isnan(gap):
            continue
        if in_range.low <= strength <= in_range.high:
            gaps[strength].append(min(max(float(gap), -CLIP), CLIP))
            latest[strength] = max(latest.get(strength, 0), trial.number)
    scale = Scale(in_range)
    return [
        Evaluation(
            at=scale.at(strength),
            strength=strength,
            gap=sum(values) / len(values),
            count=len(values),
            latest=latest[strength],
        )
        for strength, values in sorted(gaps.items())
    ]
