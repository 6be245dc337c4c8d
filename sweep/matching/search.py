"""Searches the strength at which one defense has a given accuracy on the select split.

A training is an ordinary target artifact, so one that is stored already costs nothing. Trainings are kept as trials of
an Optuna study. The report split is not looked at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING, Any

from midef.core.match import MatchTraining, Phase, State
from midef.defenses.stack import remake_defense
from midef.sweep.matching.case import Case, StrengthResult, StrengthSearch
from midef.sweep.matching.concurrent import Search
from midef.sweep.matching.seed_policy import SeedGroup, seed_groups, seed_noise, worth_more_seeds
from midef.sweep.matching.strengths import Strength, why_untuned
from midef.sweep.matching.studies import Studies, ask, quietly
from midef.sweep.matching.trials import add, complete_trials, gap_of, tell, training_of
from midef.sweep.matching.two_strengths import search_two_strengths
from midef.sweep.spec.checks import facts_of

if TYPE_CHECKING:
    from optuna import Study

    from midef.sweep.matching.bracketing.assess import Assessment, Evaluation
    from midef.sweep.matching.bracketing.sampler import BracketingSampler


def search(case: Case, target: float, studies: Studies, known: Sequence[Sequence[float]]) -> StrengthSearch:
    """Find the strength whose accuracy, as a mean over the seeds, is within the tolerance of the target.

    New strengths are trained with the first seed. Whenever the further seeds of a strength promise more matches per
    training than a new strength does, they are trained instead; the mean decides. Where seeds differ by much less than
    the tolerance, that is as soon as one training is within it; where they differ by more, earlier.

    Args:
        case: the defense.
        target: accuracy to reach, percent.
        studies: where trainings are kept.
        known: accuracies that differ in the seed alone, of other defenses on this network: how much seeds differ.
    """
    assert case.strength is not None
    goal, study = case.goal(target), _open_study(case, target, studies)
    while True:
        turn = _Turn(case, target, study, known)
        match = next((group for group in turn.groups if group.is_match(goal)), None)
        if match is not None:
            return turn.result("matched", group=match)
        group, chance = turn.worth_more_seeds()
        if group is None and turn.assessment.state in ("one sided", "too coarse"):
            return (yield from _unreachable(turn, studies))
        if group is None:  # a range with steps may leave nothing but another seed of an old strength
            group = next((g for g in turn.groups if g.strength == turn.assessment.next), None)
            if group is not None and not group.is_open(goal):
                reason = f"every value of {turn.parameter} near the target was trained with every seed"
                return turn.result("unreachable", reason, group=group)
        seeds = [] if group is None else group.missing(case.seeds)[: None if chance >= 0.5 else 1]
        if max(1, len(seeds)) > turn.left:
            return turn.result("undecided", turn.spent_text(), group=turn.nearest)
        if group is None:
            yield from _train_new_strength(turn)
        else:
            yield from _train_more_seeds(turn, group, seeds)


def partial_result(case: Case, target: float, studies: Studies) -> StrengthResult:
    """Result of a search that has not ended."""
    study = studies.look(case.study_name(target))
    trainings = () if study is None else tuple(map(training_of, complete_trials(study)))
    name = "" if study is None else study.study_name
    return case.result(target, "undecided", "it is still being searched", trainings=trainings, study=name)


def evaluate_as_written(case: Case, target: float | None) -> StrengthSearch:
    """Accuracy over the seeds of a defense as it is written: it has no strength, or it sets the target."""
    phase: Phase = "reference" if target is None else "confirm"
    trainings = yield case.request(case.written, None, case.seeds, phase)
    accuracies = [training.accuracy for training in trainings if training.accuracy is not None]
    if len(accuracies) < len(trainings):
        reason = next(training.reason for training in trainings if training.accuracy is None)
        return case.result(target, "failed", reason, trainings=tuple(trainings))
    accuracy = fmean(accuracies)
    fields: dict[str, Any] = {"trainings": tuple(trainings), "accuracy": accuracy, "seeds": case.seeds}
    if target is None or case.goal(target).is_near(accuracy):
        return case.result(target, "matched", choice=case.written, **fields)
    what = "it is taken as it is"
    if case.strength is None:
        networks = [facts_of(entry.setup) for entry in case.entries]
        what = f"it has no strength to search ({why_untuned(remake_defense(case.written), networks)})"
    reason = f"{what} and is {abs(accuracy - target):.2f} points {_side_text(accuracy, target)}"
    return case.result(target, "fixed", reason, choice=case.written, **fields)


class _Turn:
    """State of a search between two requests, read from its study; arguments as for `search`."""

    def __init__(self, case: Case, target: float, study: Study, known: Sequence[Sequence[float]]) -> None:
        assert case.strength is not None
        self.case, self.target, self.study = case, target, study
        self.goal = case.goal(target)
        self.strength: Strength = case.strength
        self.parameter, self.distribution = self.strength.tuning.parameter, self.strength.distribution()
        self.trials = complete_trials(study)
        self.trainings = tuple(map(training_of, self.trials))
        self.groups = seed_groups(self.trainings)
        self.left = case.spec.trainings - len(self.trainings)
        self.noise = seed_noise([*known, *(group.accuracies for group in self.groups if not group.diverged)])

    @cached_property
    def evaluations(self) -> list[Evaluation]:
        from midef.sweep.matching.bracketing.sampler import evaluations

        return evaluations(self.trials, self.parameter, self.distribution)

    @cached_property
    def assessment(self) -> Assessment:
        from midef.sweep.matching.bracketing.assess import assess

        return assess(self.evaluations, self.distribution, **self._options)

    @property
    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"tolerance": self.case.spec.tolerance, "noise": self.noise}
        return options | {"start": self.strength.start, "falls": self.strength.falls}

    def sampler(self) -> BracketingSampler:
        from midef.sweep.matching.bracketing.sampler import BracketingSampler

        with quietly():
            return BracketingSampler(**self._options, seed=self.case.seeds[0])

    @property
    def nearest(self) -> SeedGroup | None:
        """The strength nearest to the target, of those that did not diverge."""
        groups = [group for group in self.groups if not group.diverged]
        return min(groups, key=lambda group: abs(group.accuracy - self.target), default=None)

    def worth_more_seeds(self) -> tuple[SeedGroup | None, float]:
        """The strength to train with further seeds instead of a new strength, and its chance of a match."""
        from midef.sweep.matching.bracketing.assess import as_curve

        groups = [group for group in self.groups if group.is_open(self.goal)]
        if not groups:
            return None, 0.0
        curve = as_curve(self.evaluations, self.distribution, noise=self.noise, falls=self.strength.falls)
        return worth_more_seeds(groups, curve, self.goal, self.noise)

    def fields(self) -> dict[str, Any]:
        """Fields of the outcome that do not depend on the state."""
        tuning = self.strength.tuning
        ends = [t for end in (tuning.low, tuning.high) for t in self.trainings if t.strength == end]
        return {
            "study": self.study.study_name,
            "trainings": self.trainings,
            "ends": tuple(ends),
            "noise": self.noise,
        }

    def result(self, state: State, reason: str = "", *, group: SeedGroup | None = None, **more: Any) -> StrengthResult:
        return self.case.result(self.target, state, reason, group=group, **{**self.fields(), **more})

    def spent_text(self) -> str:
        """Why the trainings that are left decide nothing."""
        spec, seeds = self.case.spec, len(self.case.seeds)
        reason = f"the {spec.trainings} trainings allowed are spent"
        if self.left > 0:
            reason = f"of the {spec.trainings} trainings allowed {self.left} are left, too few to confirm a strength"
        if self.assessment.state == "not monotone":
            reason += "; accuracy is not monotone in the strength"
        if self.noise > spec.tolerance * math.sqrt(seeds):
            reason += (
                f"; seeds differ by {self.noise:.1f} points (standard deviation), so that a mean of {seeds} is seldom "
                f"within {spec.tolerance:g} of anything: allow more, or confirm with more seeds"
            )
        return reason

    def one_sided_text(self) -> str:
        """Accuracy at both ends, which lie on one side of the target."""
        tuning = self.strength.tuning
        accuracies = {group.strength: group.accuracy for group in self.groups}
        ends = [f"{accuracies[end]:.2f} % at {end:g}" for end in (tuning.low, tuning.high) if end in accuracies]
        if all(group.diverged for group in self.groups):
            strengths = ", ".join(f"{group.strength:g}" for group in self.groups)
            return f"every training diverged, at {tuning.parameter} {strengths}"
        side = _side_text(self.groups[0].accuracy, self.target)
        return f"both ends of {tuning.parameter} lie {side}: {', '.join(ends)}"


def _open_study(case: Case, target: float, studies: Studies) -> Study:
    from midef.sweep.matching.bracketing.sampler import BracketingSampler

    spec = case.spec
    about = {"defense": case.written.label, "target": target, "tolerance": spec.tolerance, "asked": spec.target_text}
    with quietly():
        sampler = BracketingSampler(seed=case.seeds[0])
    return studies.open(case.study_name(target), directions=["minimize"], sampler=sampler, about=about)


def _unreachable(turn: _Turn, studies: Studies) -> StrengthSearch:
    """Result where no strength reaches the target; where both ends miss it, search a second strength as well."""
    tuning, more = turn.strength.tuning, dict[str, Any]()
    if turn.assessment.state == "too coarse":
        reason = f"neighbouring values of {turn.parameter} lie on both sides of the target, none within the tolerance"
    else:
        reason = turn.one_sided_text()
        if tuning.beside and tuning.tied and turn.left > 0:
            both = yield from search_two_strengths(turn.case, turn.target, studies, turn.left)
            more = {"trainings": (*turn.trainings, *both.outcome.trainings)}
            if both.outcome.state == "matched":
                return replace(both, outcome=replace(both.outcome, **{**turn.fields(), **more}))
            reason += f"; {both.outcome.reason}"
    return turn.result("unreachable", reason, group=turn.nearest, **more)


def _train_new_strength(turn: _Turn) -> Search[None]:
    case, study = turn.case, turn.study
    study.sampler = turn.sampler()
    trial = ask(study, {turn.parameter: turn.distribution})
    value = float(trial.params[turn.parameter])
    (training,) = yield case.request(turn.strength.at(value), value, case.seeds[:1], "search")
    tell(study, trial, training, turn.target, [_distance(training, turn.target)])


def _train_more_seeds(turn: _Turn, group: SeedGroup, seeds: Sequence[int]) -> Search[None]:
    request = turn.case.request(turn.strength.at(group.strength), group.strength, seeds, "confirm")
    trainings = yield replace(request, is_futile=lambda accuracies: group.is_futile(turn.goal, accuracies))
    params = {turn.parameter: int(group.strength) if turn.strength.is_whole else group.strength}
    distributions = {turn.parameter: turn.distribution}
    for training in trainings:
        values = [_distance(training, turn.target)]
        add(turn.study, training, turn.target, values, params=params, distributions=distributions)


def _distance(training: MatchTraining, target: float) -> float:
    return abs(gap_of(training, target))


def _side_text(accuracy: float, target: float) -> str:
    return "above the target" if accuracy > target else "below the target"
