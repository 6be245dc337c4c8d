"""Finds the strength at which one defense has a given accuracy on the select split.

A training is an ordinary target artifact, so whatever was trained before, by anybody, costs nothing. What was found is
kept as trials of an Optuna study. The report split is not looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtr

from midef.core.canonical import digest
from midef.core.choice import Choice
from midef.core.match import MatchOutcome, MatchTraining, Phase
from midef.core.recipe import Recipe
from midef.core.seeds import derive_seed
from midef.defenses.stack import remake_defense
from midef.stages.recipes import NO_DEFENSE
from midef.sweep.matching.concurrent import Hunt, Request, Wanted
from midef.sweep.matching.strengths import Strength, significant, why_untuned
from midef.sweep.matching.studies import Studies, ask, quietly
from midef.sweep.spec.matching import MatchSpec
from midef.sweep.spec.resolve import Entry

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

    from midef.sweep.matching.bracketing.assess import Evaluation

PRIOR_NOISE = 0.4
"""Points by which seeds are expected to differ, until some were seen; it counts as much as three differences seen."""
LEAST_CHANCE = 0.05
"""Further seeds are not trained for a smaller probability of a match."""
PAIR_TRAININGS = 16
"""At most so many of the trainings allowed go to a search over two strengths."""


@dataclass(frozen=True)
class Case:
    """One defense on one network and data set, with the setups that attack it.

    entries: those setups; all train the same target. seeds: the first is searched with, the mean is over all.
    """

    entries: tuple[Entry, ...]
    written: Choice
    strength: Strength | None
    seeds: tuple[int, ...]
    spec: MatchSpec

    def target(self, choice: Choice, seed: int) -> Recipe:
        """The recipe of the trained network."""
        return self.entries[0].cell(choice, seed).recipes.target

    def request(self, choice: Choice, strength: float | None, seeds: Iterable[int], phase: Phase) -> Request:
        """Trainings of one strength that differ in the seed."""
        return Request([Wanted(self.target(choice, seed), strength, seed, phase) for seed in seeds])

    @cached_property
    def side(self) -> str:
        """Names network, data and training, whatever the defense."""
        return self.entries[0].cell(NO_DEFENSE, self.seeds[0]).recipes.target.key.digest

    def study_name(self, target: float) -> str:
        """Says what is searched; the end tells apart what reads the same."""
        assert self.strength is not None, "a defense without a strength has no study"
        setup = self.entries[0].setup
        content = {"defense": self.written.keyed, "tuning": self.strength.tuning, "side": self.side}
        content |= {"seeds": self.seeds, "target": round(target, 4)}
        where = f"{setup.target}, {setup.private.label}"
        return f"{self.written.label} on {where} to {target:.2f} [{digest(content)[:10]}]"

    def found(self, target: float | None, choice: Choice | None = None, **found: Any) -> Found:
        """What was found, with what it was found for."""
        setup, spec = self.entries[0].setup, self.spec
        about: dict[str, Any] = {
            "defense": self.written.label,
            "defense_name": self.written.name,
            "architecture": setup.target,
            "private": setup.private.label,
            "setups": tuple(entry.setup.id for entry in self.entries),
            "target": target,
            "target_text": spec.target_text,
            "tolerance": spec.tolerance,
        }
        if self.strength is not None:
            tuning = self.strength.tuning
            about |= {"parameter": tuning.parameter, "low": tuning.low, "high": tuning.high, "scale": tuning.scale}
            about |= {"larger_hides": tuning.larger_hides}
        label = "" if choice is None else choice.label
        return Found(MatchOutcome(**about, **found, chosen=label), choice)


@dataclass(frozen=True)
class Found:
    """What a search returns; choice: the defense at the strength that is handed on, None where there is none."""

    outcome: MatchOutcome
    choice: Choice | None


@dataclass
class Group:
    """The trainings at one strength, one per seed."""

    strength: float
    trainings: dict[int, MatchTraining] = field(default_factory=dict)

    @property
    def diverged(self) -> bool:
        return any(t.accuracy is None for t in self.trainings.values())

    @property
    def accuracies(self) -> list[float]:
        return [t.accuracy or 0.0 for t in self.trainings.values()]

    @property
    def accuracy(self) -> float:
        """Mean; a training that diverged counts as 0 %."""
        return fmean(self.accuracies)

    def missing(self, seeds: Sequence[int]) -> list[int]:
        return [seed for seed in seeds if seed not in self.trainings]


def groups_of(trainings: Iterable[MatchTraining]) -> list[Group]:
    """Trainings by strength, in the order in which strengths were first tried."""
    found: dict[float, Group] = {}
    for t in trainings:
        assert t.strength is not None, "only strengths are grouped"
        found.setdefault(t.strength, Group(t.strength)).trainings[t.seed] = t
    return list(found.values())


def seed_noise(groups: Iterable[Sequence[float]]) -> float:
    """Standard deviation between seeds, in points, pooled over groups of accuracies that differ in the seed alone.

    Few differences say little, so `PRIOR_NOISE` counts as three of them.
    """
    squares, freedom = 3 * PRIOR_NOISE**2, 3.0
    for values in groups:
        if len(values) > 1:
            mean = fmean(values)
            squares += math.fsum((v - mean) ** 2 for v in values)
            freedom += len(values) - 1
    return math.sqrt(squares / freedom)


def within_reach(known: Sequence[float], missing: int, target: float, tolerance: float) -> bool:
    """Whether the mean can still come within the tolerance, whatever the missing accuracies turn out to be."""
    count = len(known) + missing
    low = math.fsum(known) / count
    high = low + 100.0 * missing / count
    return low <= target + tolerance and high >= target - tolerance


def is_vain(group: Group, seeds: Sequence[int], target: float, tolerance: float, more: Sequence[float]) -> bool:
    """Whether further trainings cannot bring the mean of a strength within the tolerance any more."""
    known = [*group.accuracies, *more]
    return not within_reach(known, len(seeds) - len(known), target, tolerance)


def _is_open(group: Group, seeds: Sequence[int], target: float, tolerance: float) -> bool:
    """Whether seeds are missing that could still bring the mean within the tolerance."""
    return bool(group.missing(seeds)) and not group.diverged and not is_vain(group, seeds, target, tolerance, [])


def search(case: Case, target: float, studies: Studies, known: Sequence[Sequence[float]]) -> Hunt:
    """Find the strength whose accuracy, as a mean over the seeds, is within the tolerance of the target.

    New strengths are trained with the first seed. Whenever the further seeds of a strength promise more matches per
    training than a new strength does, they are trained instead; the mean decides. Where seeds differ by much less than
    the tolerance, that is as soon as one training is within it; where they differ by more, earlier.

    known: accuracies that differ in the seed alone, of other defenses on this network: how much seeds differ.
    """
    strength, spec = case.strength, case.spec
    assert strength is not None
    from midef.sweep.matching.bracketing.assess import assess
    from midef.sweep.matching.bracketing.sampler import BracketingSampler, evaluations

    name, distribution = strength.tuning.parameter, strength.distribution()
    about = {"defense": case.written.label, "target": target, "tolerance": spec.tolerance, "asked": spec.target_text}
    with quietly():
        sampler = BracketingSampler(seed=case.seeds[0])
    study = studies.open(case.study_name(target), directions=["minimize"], sampler=sampler, about=about)
    found: dict[str, Any] = {"study": study.study_name}
    while True:
        told = complete_trials(study)
        trainings = [_training_of(trial) for trial in told]
        groups = groups_of(trainings)
        left = spec.trainings - len(trainings)
        noise = seed_noise([*known, *(g.accuracies for g in groups if not g.diverged)])
        found |= {"trainings": tuple(trainings), "ends": tuple(_ends(trainings, strength)), "noise": noise}
        hit = _matched(groups, case.seeds, target, spec.tolerance)
        if hit is not None:
            return case.found(target, state="matched", **found, **_chosen(case, hit))
        options: dict[str, Any] = {"tolerance": spec.tolerance, "noise": noise}
        options |= {"start": strength.start, "falls": strength.falls}
        seen = evaluations(told, name, distribution)
        assessment = assess(seen, distribution, **options)
        doubtful, chance = _worth_more_seeds(case, groups, seen, target, noise)
        whole = [g for g in groups if not g.diverged]
        nearest = min(whole, key=lambda g: abs(g.accuracy - target), default=None)
        if doubtful is None and assessment.state in ("one sided", "too coarse"):
            reason = _one_sided(strength, groups, target)
            if assessment.state == "too coarse":
                reason = f"neighbouring values of {name} lie on both sides of the target, none within the tolerance"
            elif strength.tuning.beside and strength.tuning.tied and left > 0:
                both = yield from search_pair(case, target, studies, left)
                found |= {"trainings": (*trainings, *both.outcome.trainings)}
                if both.outcome.state == "matched":
                    return Found(replace(both.outcome, **found), both.choice)
                reason += f"; {both.outcome.reason}"
            return case.found(target, state="unreachable", reason=reason, **found, **_chosen(case, nearest))
        if doubtful is None and assessment.next is not None:
            same = next((g for g in groups if g.strength == assessment.next), None)
            if same is not None and not _is_open(same, case.seeds, target, spec.tolerance):
                reason = f"every value of {name} near the target was trained with every seed"
                return case.found(target, state="unreachable", reason=reason, **found, **_chosen(case, same))
            doubtful = same
        missing = [] if doubtful is None else doubtful.missing(case.seeds)[: None if chance >= 0.5 else 1]
        if max(1, len(missing)) > left:
            reason = _spent(spec, left, noise, len(case.seeds), is_monotone=assessment.state != "not monotone")
            return case.found(target, state="undecided", reason=reason, **found, **_chosen(case, nearest))
        if doubtful is not None:
            request = case.request(strength.at(doubtful.strength), doubtful.strength, missing, "confirm")
            answers = yield replace(request, is_vain=partial(is_vain, doubtful, case.seeds, target, spec.tolerance))
            for answer in answers:
                value = int(doubtful.strength) if strength.is_whole else doubtful.strength
                distance = [abs(_gap(answer, target))]
                _add(study, answer, target, {name: value}, {name: distribution}, distance, {})
        else:
            with quietly():
                study.sampler = BracketingSampler(**options, seed=case.seeds[0])
            trial = ask(study, {name: distribution})
            value = float(trial.params[name])
            (answer,) = yield case.request(strength.at(value), value, case.seeds[:1], "search")
            _tell(study, trial, answer, target)


def _worth_more_seeds(
    case: Case, groups: Sequence[Group], seen: Sequence[Evaluation], target: float, noise: float
) -> tuple[Group | None, float]:
    """The strength whose further seeds promise most, if they promise more matches per training than a new strength
    would, and with which probability its mean then matches.

    Where the first training of a strength is within the tolerance, and seeds differ by less, that is a lot.
    """
    from midef.sweep.matching.bracketing.assess import as_curve

    count, tolerance = len(case.seeds), case.spec.tolerance
    assert case.strength is not None
    open_ones = [g for g in groups if _is_open(g, case.seeds, target, tolerance)]
    if not open_ones:
        return None, 0.0
    curve = as_curve(seen, case.strength.distribution(), noise=noise, falls=case.strength.falls)
    best, promise, chance = None, 0.0, 0.0
    for group in open_ones:
        gaps, missing = [a - target for a in group.accuracies], len(group.missing(case.seeds))
        means, sds, weights = curve.at(group.strength)
        spread = np.sqrt((missing * sds) ** 2 + missing * noise**2) / count
        middle = (math.fsum(gaps) + missing * means) / count
        p = float(weights @ (ndtr((tolerance - middle) / spread) - ndtr((-tolerance - middle) / spread)))
        if p / missing > promise:
            best, promise, chance = group, p / missing, p
    if chance < LEAST_CHANCE or promise < curve.best_chance(tolerance, noise / math.sqrt(count)) / count:
        return None, 0.0
    return best, chance


def search_pair(case: Case, target: float, studies: Studies, left: int) -> Hunt:
    """Where the declared ray does not reach the target: both strengths at once, nearest to the target and hiding most.

    Two objectives, |accuracy - target| down and hiding up, by Optuna's Gaussian processes; of what came within the
    tolerance the one that hides most is confirmed, then the next.
    """
    from optuna.samplers import GPSampler

    strength, spec = case.strength, case.spec
    assert strength is not None
    name, distributions = strength.tuning.parameter, strength.distributions_beside()

    def sampler_at(told: int) -> GPSampler:
        """From what is known alone: a search that was killed proposes the same again."""
        with quietly():
            seed = derive_seed("both strengths", case.seeds[0], told) % 2**32
            return GPSampler(seed=seed, n_startup_trials=5, warn_independent_sampling=False)

    study = studies.open(
        f"{case.study_name(target)} (both strengths)", directions=["minimize", "maximize"], sampler=sampler_at(0)
    )
    allowed = min(PAIR_TRAININGS, left)

    def choice_of(trial: FrozenTrial) -> Choice:
        beside = {other: significant(trial.params[other]) for other in strength.tuning.beside}
        return strength.at(strength.rounded(trial.params[name]), **beside)

    while True:
        done = complete_trials(study)
        trainings = [_training_of(t) for t in done]
        found: dict[str, Any] = {"study": study.study_name, "trainings": tuple(trainings)}
        by_number = {t.number: t for t in done}
        seen: dict[int, Group] = {}
        for t in done:
            first = int(t.user_attrs.get("of", t.number))
            group = seen.setdefault(first, Group(float(by_number[first].user_attrs["strength"])))
            group.trainings[int(t.user_attrs["seed"])] = _training_of(t)
        near = [
            (number, group)
            for number, group in seen.items()
            if not group.diverged and abs(group.accuracy - target) <= spec.tolerance
        ]
        near.sort(key=lambda pair: -strength.hiding(pair[1].strength))
        whole = [(number, group) for number, group in near if not group.missing(case.seeds)]
        if whole:
            number, group = whole[0]
            chosen = _chosen(case, group, choice_of(by_number[number]))
            return case.found(target, state="matched", **found, **chosen)
        missing = near[0][1].missing(case.seeds) if near and len(seen) >= min(8, allowed) else []
        if missing and len(done) + len(missing) <= allowed:
            number, group = near[0]
            choice = choice_of(by_number[number])
            answers = yield case.request(choice, group.strength, missing, "confirm")
            for answer in answers:
                values = _values(answer, target, strength)
                params = by_number[number].params
                _add(study, answer, target, params, distributions, values, {"of": number})
        elif len(done) >= allowed:
            reason = f"neither along the ray nor with both strengths ({len(done)} trainings)"
            return case.found(target, state="undecided", reason=reason, **found)
        else:
            study.sampler = sampler_at(len(done))
            trial = ask(study, distributions)
            value = strength.rounded(trial.params[name])
            (answer,) = yield case.request(choice_of(trial), value, case.seeds[:1], "search")
            _tell(study, trial, answer, target, _values(answer, target, strength)[1:])


def so_far(case: Case, target: float, studies: Studies) -> Found:
    """What a search that has not ended knows."""
    study = studies.look(case.study_name(target))
    trainings = tuple(trainings_of(study)) if study is not None else ()
    name = "" if study is None else study.study_name
    reason = "it is still being searched"
    return case.found(target, state="undecided", reason=reason, trainings=trainings, study=name)


def as_written(case: Case, target: float | None) -> Hunt:
    """A defense without a strength, or the one that sets the target: its accuracy as it is, over the seeds."""
    phase: Phase = "reference" if target is None else "confirm"
    answers = yield case.request(case.written, None, case.seeds, phase)
    known = [a.accuracy for a in answers if a.accuracy is not None]
    found: dict[str, Any] = {"trainings": tuple(answers)}
    if len(known) < len(answers):
        reason = next(a.reason for a in answers if a.accuracy is None)
        return case.found(target, state="failed", reason=reason, **found)
    accuracy = fmean(known)
    found |= {"choice": case.written, "accuracy": accuracy, "seeds": case.seeds}
    if target is None or abs(accuracy - target) <= case.spec.tolerance:
        return case.found(target, state="matched", **found)
    what = "it is taken as it is"
    if case.strength is None:
        what = f"it has no strength to search ({why_untuned(remake_defense(case.written))})"
    reason = f"{what} and is {abs(accuracy - target):.2f} points {_side(accuracy, target)}"
    return case.found(target, state="fixed", reason=reason, **found)


def _side(accuracy: float, target: float) -> str:
    return "above the target" if accuracy > target else "below the target"


def _matched(groups: Sequence[Group], seeds: Sequence[int], target: float, tolerance: float) -> Group | None:
    """The first strength that all seeds confirm."""
    return next(
        (g for g in groups if not g.missing(seeds) and not g.diverged and abs(g.accuracy - target) <= tolerance),
        None,
    )


def _spent(spec: MatchSpec, left: int, noise: float, seeds: int, *, is_monotone: bool) -> str:
    reason = f"the {spec.trainings} trainings allowed are spent"
    if left > 0:
        reason = f"of the {spec.trainings} trainings allowed {left} are left, too few to confirm a strength"
    if not is_monotone:
        reason += "; accuracy is not monotone in the strength"
    if noise > spec.tolerance * math.sqrt(seeds):
        reason += (
            f"; seeds differ by {noise:.1f} points (standard deviation), so that a mean of {seeds} is seldom within "
            f"{spec.tolerance:g} of anything: allow more, or confirm with more seeds"
        )
    return reason


def _chosen(case: Case, group: Group | None, choice: Choice | None = None) -> dict[str, Any]:
    """What is handed on: a strength whose trainings all came to an end; nothing where there is none."""
    if group is None:
        return {}
    assert case.strength is not None
    choice = choice or case.strength.at(group.strength)
    seeds = tuple(sorted(group.trainings))
    return {"choice": choice, "strength": group.strength, "accuracy": group.accuracy, "seeds": seeds}


def _ends(trainings: Sequence[MatchTraining], strength: Strength) -> list[MatchTraining]:
    """What was trained at both ends of the range."""
    return [t for end in (strength.tuning.low, strength.tuning.high) for t in trainings if t.strength == end]


def _one_sided(strength: Strength, groups: Sequence[Group], target: float) -> str:
    tuning = strength.tuning
    at = {g.strength: g.accuracy for g in groups}
    said = [f"{at[end]:.2f} % at {end:g}" for end in (tuning.low, tuning.high) if end in at]
    if all(g.diverged for g in groups):
        return f"every training diverged, at {tuning.parameter} {', '.join(f'{g.strength:g}' for g in groups)}"
    return f"both ends of {tuning.parameter} lie {_side(groups[0].accuracy, target)}: {', '.join(said)}"


# --- trials -----------------------------------------------------------------------------------------------------------


def complete_trials(study: Study) -> list[FrozenTrial]:
    """The trials that were told, in order. Two drivers at once ask for the same and tell it twice: it counts once."""
    import optuna

    found: dict[str, FrozenTrial] = {}
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)):
        found.setdefault(trial.user_attrs["target_key"], trial)
    return list(found.values())


def _is_told(study: Study, answer: MatchTraining) -> bool:
    return any(t.user_attrs["target_key"] == answer.target_key for t in complete_trials(study))


def trainings_of(study: Study) -> list[MatchTraining]:
    """What a study knows, in the order of its trials."""
    return [_training_of(trial) for trial in complete_trials(study)]


def _training_of(trial: FrozenTrial) -> MatchTraining:
    said = trial.user_attrs
    return MatchTraining(
        strength=said["strength"],
        seed=said["seed"],
        accuracy=said["accuracy"],
        phase=said["phase"],
        target_key=said["target_key"],
        reason=said["reason"],
        failure=said.get("failure", ""),
    )


def _gap(answer: MatchTraining, target: float) -> float:
    """Accuracy minus target; a training that diverged is as good as none."""
    return (answer.accuracy or 0.0) - target


def _attributes(answer: MatchTraining, target: float) -> dict[str, Any]:
    from midef.sweep.matching.bracketing.sampler import GAP

    return {
        GAP: _gap(answer, target),
        "strength": answer.strength,
        "seed": answer.seed,
        "accuracy": answer.accuracy,
        "phase": answer.phase,
        "target_key": answer.target_key,
        "reason": answer.reason,
        "failure": answer.failure,
    }


def _tell(study: Study, trial: Any, answer: MatchTraining, target: float, more: Sequence[float] = ()) -> None:
    """Tell a trial. What another driver told meanwhile is not told again, and where it took this one for dead and told
    its trial as failed, what came of it is added."""
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    values = [abs(_gap(answer, target)), *more]
    if _is_told(study, answer):
        study.tell(trial, state=TrialState.FAIL)
        return
    try:
        for key, value in _attributes(answer, target).items():
            trial.set_user_attr(key, value)
        study.tell(trial, values)
    except UpdateFinishedTrialError:
        _add(study, answer, target, trial.params, trial.distributions, values, {})


def _add(
    study: Study,
    answer: MatchTraining,
    target: float,
    params: Mapping[str, Any],
    distributions: Mapping[str, Any],
    values: Sequence[float],
    more: Mapping[str, Any],
) -> None:
    import optuna

    if _is_told(study, answer):
        return
    study.add_trial(
        optuna.trial.create_trial(
            params=dict(params),
            distributions=dict(distributions),
            values=list(values),
            user_attrs={**_attributes(answer, target), **more},
        )
    )


def _values(answer: MatchTraining, target: float, strength: Strength) -> list[float]:
    assert answer.strength is not None
    return [abs(_gap(answer, target)), strength.hiding(answer.strength)]
