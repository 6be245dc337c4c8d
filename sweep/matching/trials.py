"""Trainings as trials of an Optuna study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from midef.core.match import MatchTraining

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

_FIELDS = ("strength", "seed", "accuracy", "phase", "target_key", "reason", "failure")


def complete_trials(study: Study) -> list[FrozenTrial]:
    """Told trials in order; a training that two drivers told counts once."""
    import optuna

    trials: dict[str | int, FrozenTrial] = {}
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)):
        trials.setdefault(trial.user_attrs.get("target_key", trial.number), trial)
    return list(trials.values())


def training_of(trial: FrozenTrial) -> MatchTraining:
    """The training that a trial was told of."""
    return MatchTraining(**{name: trial.user_attrs[name] for name in _FIELDS if name in trial.user_attrs})


def gap_of(training: MatchTraining, target: float) -> float:
    """Accuracy minus target, points; a training that diverged counts as 0 %."""
    return (training.accuracy or 0.0) - target


def tell(study: Study, trial: Trial, training: MatchTraining, target: float, values: Sequence[float]) -> None:
    """Tell a trial its training.

    A training that another driver told meanwhile is not told again. A trial that another driver took for dead, and told
    as failed, is added anew.

    Args:
        study: of the trial.
        trial: asked for by this driver.
        training: what came of it.
        target: accuracy that is searched for, percent.
        values: of the objectives.
    """
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    if _is_told(study, training):
        study.tell(trial, state=TrialState.FAIL)
        return
    try:
        for key, value in _attributes(training, target).items():
            trial.set_user_attr(key, value)
        study.tell(trial, list(values))
    except UpdateFinishedTrialError:
        add(study, training, target, values, params=trial.params, distributions=trial.distributions)


def add(
    study: Study,
    training: MatchTraining,
    target: float,
    values: Sequence[float],
    *,
    params: Mapping[str, Any],
    distributions: Mapping[str, BaseDistribution],
    more: Mapping[str, Any] | None = None,
) -> None:
    """Add a training that no trial was asked for, unless it was told already.

    Args:
        study: to add it to.
        training: what is added.
        target: accuracy that is searched for, percent.
        values: of the objectives.
        params: strengths, by the name of the parameter.
        distributions: of the strengths.
        more: further user attributes.
    """
    from optuna.trial import create_trial

    if _is_told(study, training):
        return
    study.add_trial(
        create_trial(
            params=dict(params),
            distributions=dict(distributions),
            values=list(values),
            user_attrs={**_attributes(training, target), **(more or {})},
        )
    )


def _is_told(study: Study, training: MatchTraining) -> bool:
    return any(trial.user_attrs["target_key"] == training.target_key for trial in complete_trials(study))


def _attributes(training: MatchTraining, target: float) -> dict[str, Any]:
    from midef.sweep.matching.bracketing.sampler import GAP

    return {GAP: gap_of(training, target), **{name: getattr(training, name) for name in _FIELDS}}
