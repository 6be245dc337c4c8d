"""Searches both strengths of a defense, where the first alone, with the second tied to it, misses the target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from midef.core.choice import Choice
from midef.core.match import MatchTraining
from midef.core.seeds import derive_seed
from midef.core.text import counted
from midef.sweep.matching.case import Case, StrengthSearch
from midef.sweep.matching.seed_policy import SeedGroup
from midef.sweep.matching.strengths import Strength, significant
from midef.sweep.matching.studies import Studies, ask, quietly
from midef.sweep.matching.trials import add, complete_trials, gap_of, tell, training_of

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.samplers import GPSampler
    from optuna.trial import FrozenTrial

TRAININGS = 16
"""At most so many of the trainings allowed go to a search over two strengths."""
LEAST_PAIRS = 8
"""So many pairs are trained before one of them is confirmed with further seeds."""


def search_two_strengths(case: Case, target: float, studies: Studies, left: int) -> StrengthSearch:
    """Find the pair of strengths within the tolerance of the target that hides most.

    Two objectives, |accuracy - target| down and hiding up, by Optuna's Gaussian processes; of the pairs within the
    tolerance the one that hides most is confirmed, then the next.

    Args:
        case: the defense.
        target: accuracy to reach, percent.
        studies: where trainings are kept.
        left: trainings still allowed.
    """
    strength, goal = case.strength, case.goal(target)
    assert strength is not None
    name, distributions = strength.tuning.parameter, strength.distributions_beside()
    study = studies.open(
        f"{case.study_name(target)} (both strengths)", directions=["minimize", "maximize"], sampler=_sampler(case, 0)
    )
    allowed = min(TRAININGS, left)
    while True:
        trials = {trial.number: trial for trial in complete_trials(study)}
        trainings = tuple(map(training_of, trials.values()))
        groups = _groups(trials)
        near = [(number, group) for number, group in groups.items() if group.is_near(goal)]
        near.sort(key=lambda pair: -strength.hiding(pair[1].strength))
        for number, group in near:
            if group.is_match(goal):
                choice = _choice(strength, trials[number])
                return case.result(
                    target, "matched", group=group, choice=choice, study=study.study_name, trainings=trainings
                )
        seeds = near[0][1].missing(case.seeds) if near and len(groups) >= min(LEAST_PAIRS, allowed) else []
        if seeds and len(trials) + len(seeds) <= allowed:
            number, group = near[0]
            answers = yield case.request(_choice(strength, trials[number]), group.strength, seeds, "confirm")
            for training in answers:
                values, params = _values(training, target, strength), trials[number].params
                more = {"of": number}
                add(study, training, target, values, params=params, distributions=distributions, more=more)
        elif len(trials) >= allowed:
            reason = f"neither along the ray nor with both strengths ({counted(len(trials), 'training')})"
            return case.result(target, "undecided", reason, study=study.study_name, trainings=trainings)
        else:
            study.sampler = _sampler(case, len(trials))
            trial = ask(study, distributions)
            value = strength.rounded(trial.params[name])
            (training,) = yield case.request(_choice(strength, trial), value, case.seeds[:1], "search")
            tell(study, trial, training, target, _values(training, target, strength))


def _sampler(case: Case, told: int) -> GPSampler:
    """A sampler seeded by the number of told trials: a search that was killed proposes the same again."""
    from optuna.samplers import GPSampler

    with quietly():
        seed = derive_seed("both strengths", case.seeds[0], told) % 2**32
        return GPSampler(seed=seed, n_startup_trials=5, warn_independent_sampling=False)


def _groups(trials: dict[int, FrozenTrial]) -> dict[int, SeedGroup]:
    """Trainings by pair of strengths, which the number of its first trial stands for."""
    groups: dict[int, SeedGroup] = {}
    for trial in trials.values():
        first = int(trial.user_attrs.get("of", trial.number))
        group = groups.setdefault(first, SeedGroup(float(trials[first].user_attrs["strength"])))
        group.trainings[int(trial.user_attrs["seed"])] = training_of(trial)
    return groups


def _choice(strength: Strength, trial: FrozenTrial | Trial) -> Choice:
    """The defense at both strengths of a trial."""
    beside = {other: significant(trial.params[other]) for other in strength.tuning.beside}
    return strength.at(strength.rounded(trial.params[strength.tuning.parameter]), **beside)


def _values(training: MatchTraining, target: float, strength: Strength) -> Sequence[float]:
    assert training.strength is not None
    return [abs(gap_of(training, target)), strength.hiding(training.strength)]
