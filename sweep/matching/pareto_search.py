"""Searches the Pareto front of one defense: accuracy up, attack accuracy down, over its strength.

Every trial is an ordinary cell: a target, attacked and evaluated. The search sees accuracies on the select split alone.
Every strength that was tried gets its rows, so that tables and the dashboard show all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from midef.core.accuracy import Accuracy
from midef.core.canonical import digest
from midef.core.choice import Choice
from midef.core.errors import DamagedArtifact, SpecError
from midef.core.failure import Failure
from midef.core.gates import attack_gate
from midef.core.match import MatchTraining
from midef.core.seeds import derive_seed
from midef.core.text import counted
from midef.defenses.stack import choose_defense, remake_defense
from midef.stages.recipes import NO_DEFENSE
from midef.storage import Store
from midef.sweep.matching.at_chance import select_images
from midef.sweep.matching.concurrent import (
    ConcurrentSearches,
    RequestedTraining,
    Search,
    TrainingFailed,
    TrainingRequest,
)
from midef.sweep.matching.journal_lines import JOURNAL
from midef.sweep.matching.pareto_points import (
    ATTACK_METRIC,
    WORST_ACCURACY,
    WORST_ATTACK,
    AttackScore,
    ParetoPoint,
    mark_front,
    read_attack,
)
from midef.sweep.matching.strengths import Strength, why_untuned
from midef.sweep.matching.studies import Studies, ask, quietly
from midef.sweep.matching.trials import complete_trials
from midef.sweep.planning.plan import More, Node
from midef.sweep.spec.checks import facts_of
from midef.sweep.spec.matching import FrontSpec
from midef.sweep.spec.planned_cell import PlannedCell
from midef.sweep.spec.resolve import Entry, Sweep

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class ParetoTask:
    """Defense whose front is searched, and the setups it is searched in.

    Args:
        sweep: the sweep.
        spec: its section `front`.
        strength: of the defense.
        entries: setups to search in.
        refused: why the defense is refused, by setup.
    """

    sweep: Sweep
    spec: FrontSpec
    strength: Strength
    entries: Sequence[Entry]
    refused: dict[str, str]

    @classmethod
    def of(cls, sweep: Sweep) -> ParetoTask:
        """The task of a sweep with a section `front`; looks at no store.

        Raises:
            SpecError: if the defense is unknown, has no strength, or cannot meet any setup.
        """
        assert sweep.spec.front is not None, "the specification says whose front"
        try:
            written = choose_defense(sweep.spec.front.defense)
        except SpecError as error:
            raise SpecError([f"front.defense: {problem}" for problem in error.problems]) from None
        refused = {entry.setup.id: why for entry in sweep.entries if (why := entry.refusal(written))}
        entries = [entry for entry in sweep.entries if entry.setup.id not in refused]
        networks = [facts_of(entry.setup) for entry in entries]
        strength = Strength.of(written, sweep.spec.match.ranges if sweep.spec.match else None, networks)
        if strength is None:
            reason = why_untuned(remake_defense(written), networks)
            raise SpecError(f"front.defense: {written.label} has no strength to search: {reason}")
        if not entries:
            raise SpecError([f"front.defense: {written.label} on {name}: {why}" for name, why in refused.items()])
        return cls(sweep, sweep.spec.front, strength, entries, refused)

    @property
    def text(self) -> str:
        """The search before it starts, and where the defense is refused."""
        tuning, written = self.strength.tuning, self.strength.written
        where = "1 setup" if len(self.entries) == 1 else f"each of {len(self.entries)} setups"
        head = (
            f"sweep {self.sweep.name}  profile {self.sweep.profile.name}: the front of {written.label} over "
            f"{tuning.parameter} {tuning.low:g} to {tuning.high:g} ({tuning.scale}), "
            f"{counted(self.spec.trials, 'strength')} in {where}, by {self.spec.sampler}, {self.spec.together} at once"
        )
        return "\n".join([head, *(f"  {name}: refused: {why}" for name, why in self.refused.items())])


class ParetoSearch:
    """Searches the Pareto front of one defense for every setup of a sweep.

    Args:
        sweep: with a section `front`.
        store: where trainings and results are kept.

    Raises:
        SpecError: as `ParetoTask.of`.
    """

    def __init__(self, sweep: Sweep, store: Store) -> None:
        self.task = ParetoTask.of(sweep)
        self.sweep, self.store = sweep, store
        self.spec, self.strength = self.task.spec, self.task.strength
        self.studies = Studies(store)
        self.searches: ConcurrentSearches[list[ParetoPoint]] = ConcurrentSearches(store, self._on_end)
        self.points: dict[str, list[ParetoPoint]] = {}
        """By setup, of the searches that ended."""
        self.failed: dict[str, str] = {}
        """Why a search ended early, by setup; its points are kept, and the next run goes on from there."""
        self.no_result: dict[str, str] = {}
        """Why a setup has no front though its points were measured."""

    def begin(self) -> More:
        """First work to build."""
        for entry in self.task.entries:
            self.searches.start(entry.setup.id, self._search(entry))
        return self.searches.more()

    def grow(self, node: Node, failure: Failure | None) -> More:
        """Continue every search that waited for a node that ended; returns the work to build next."""
        self.searches.on_node(node, failure)
        self.studies.save()
        return self.searches.more()

    def _search(self, entry: Entry) -> Search[list[ParetoPoint]]:
        seed = self.sweep.spec.seeds[0]
        name = self.strength.tuning.parameter
        study = self._open_study(entry, seed)
        while len(done := complete_trials(study)) < self.spec.trials:
            # Seeded by the number of told trials: a search that was killed proposes the same again.
            study.sampler = self._sampler(derive_seed("front", seed, len(done)) % 2**32)
            count = min(self.spec.together, self.spec.trials - len(done))
            trials = [ask(study, {name: self.strength.distribution()}) for _ in range(count)]
            values = [self.strength.rounded(trial.params[name]) for trial in trials]
            requested = [self._requested(entry, value, seed) for value in values]
            try:
                trainings = yield TrainingRequest(requested)
                points = [self._point(one, training, entry) for one, training in zip(requested, trainings, strict=True)]
            except TrainingFailed as error:
                self.failed[entry.setup.id] = str(error)
                break
            for trial, point in zip(trials, points, strict=True):
                trial.set_user_attr("strength", point.strength)
                trial.set_user_attr("remark", point.remark)
                trial.set_user_attr("attack_low", point.attack_low)
                study.tell(trial, [point.accuracy, point.attack])
        points = [self._told(trial) for trial in complete_trials(study)]
        self.no_result[entry.setup.id] = reason = self._why_no_front(entry, points, seed)
        return mark_front(points, has_result=not reason)

    def _open_study(self, entry: Entry, seed: int) -> Study:
        study = self.studies.open(
            f"front of {self.strength.written.label} in {entry.setup.id} [{self._digest(entry)}]",
            directions=["maximize", "minimize"],
            sampler=self._sampler(seed),
            about={"metrics": ["select accuracy", ATTACK_METRIC]},
        )
        with quietly():
            study.set_metric_names(["select_accuracy", ATTACK_METRIC])
        return study

    def _told(self, trial: FrozenTrial) -> ParetoPoint:
        """The point that a trial was told."""
        (accuracy, attack), value = trial.values, trial.user_attrs["strength"]
        remark, low = trial.user_attrs.get("remark", ""), trial.user_attrs.get("attack_low")
        return ParetoPoint(self.strength.at(value), value, accuracy, attack, remark, attack_low=low)

    def _requested(self, entry: Entry, value: float, seed: int) -> RequestedTraining:
        cell = entry.cell(self.strength.at(value), seed)
        return RequestedTraining(cell.recipes.target, value, seed, "search", cell)

    def _point(self, requested: RequestedTraining, training: MatchTraining, entry: Entry) -> ParetoPoint:
        """The point of a training in a setup.

        Raises:
            TrainingFailed: if the evaluator or a prior diverged, not the target: that says nothing about a strength.
        """
        assert requested.cell is not None and requested.strength is not None
        choice, strength = requested.cell.cell.defense, requested.strength
        if training.accuracy is None:
            if requested.target.key not in self.searches.failures:
                raise TrainingFailed(training.reason)
            return ParetoPoint(choice, strength, WORST_ACCURACY, WORST_ATTACK, training.reason)
        score = self._score(requested.cell, training.accuracy, entry)
        if score.attack is None:
            return ParetoPoint(choice, strength, training.accuracy, WORST_ATTACK, score.remark)
        return ParetoPoint(choice, strength, training.accuracy, score.attack, score.remark, attack_low=score.low)

    def _score(self, planned: PlannedCell, accuracy: float, entry: Entry) -> AttackScore:
        """What the stored scores of a cell say.

        Args:
            planned: the cell.
            accuracy: of its target on the select split, percent.
            entry: its setup.

        Raises:
            TrainingFailed: if they are damaged: the next run measures them again.
        """
        key = planned.recipes.scores.key
        try:
            folder = self.store.artifacts.fetch(key)
        except DamagedArtifact as error:
            self.store.artifacts.set_aside(key, str(error))
            raise TrainingFailed(f"{error}; it is set aside, the same command goes on") from error
        facts = self.store.artifacts.meta(key)["facts"]
        images = select_images(planned.recipes.private, self.store)
        return read_attack(folder, facts, accuracy, select_images=images, chance=entry.chance)

    def _why_no_front(self, entry: Entry, points: Sequence[ParetoPoint], seed: int) -> str:
        """Why no strength of a setup is on a front: its attack is at chance everywhere; "" if one may be.

        Args:
            entry: the setup.
            points: strengths that were tried.
            seed: of the search.
        """
        if (chance := entry.chance) is None:
            return ""
        others = dict(self._other_attacks(entry, seed, chance))
        tried = [p.attack_accuracy(chance) for p in points if not p.remark]
        gate = attack_gate([*tried, *others.values()], has_undefended=NO_DEFENSE in others) if tried else None
        return "" if gate is None else gate.reason

    def _other_attacks(self, entry: Entry, seed: int, chance: float) -> Iterator[tuple[Choice, Accuracy]]:
        """Stored attacks on the other defenses of the setup that are results: its table shows them too."""
        for defense in entry.defenses:
            if entry.refusal(defense):
                continue
            planned = entry.cell(defense, seed)
            target, scores = planned.recipes.target.key, planned.recipes.scores.key
            if not (self.store.artifacts.has(target) and self.store.artifacts.has(scores)):
                continue
            accuracy = self.store.artifacts.meta(target)["facts"].get("select_accuracy")
            with suppress(TrainingFailed):  # damaged scores are measured again with the rest of the sweep
                score = None if accuracy is None else self._score(planned, accuracy, entry)
                if score is not None and score.attack is not None and not score.remark:
                    yield defense, Accuracy(score.attack, score.low, score.attack, chance)

    def _sampler(self, seed: int) -> BaseSampler:
        from optuna.samplers import NSGAIISampler, TPESampler
        from optuna.samplers.nsgaii import BLXAlphaCrossover

        with quietly():
            if self.spec.sampler == "nsga2":
                # Of one parameter, Optuna's own choices draw every child at random: they mutate one parameter of each.
                return NSGAIISampler(
                    population_size=max(2, self.spec.together),
                    crossover=BLXAlphaCrossover(),
                    crossover_prob=1.0,
                    mutation_prob=0.1,
                    seed=seed,
                )
            return TPESampler(seed=seed, n_startup_trials=min(5, self.spec.trials), constant_liar=True)

    def _digest(self, entry: Entry) -> str:
        """Digest of the cell as written, the range and the sampler: what makes it another search."""
        cell = entry.cell(self.strength.written, self.sweep.spec.seeds[0])
        return digest({"cell": cell.cell.digest, "tuning": self.strength.tuning, "sampler": self.spec.sampler})[:10]

    def _on_end(self, name: str, result: list[ParetoPoint] | TrainingFailed) -> None:
        assert not isinstance(result, TrainingFailed), "a search catches it"
        self.points[name] = result

    def tried_sweep(self) -> Sweep:
        """Every strength that was tried, beside the other defenses of the sweep, for the ordinary plan."""
        cells: list[PlannedCell] = []
        for entry in self.sweep.entries:
            tried = {point.choice: None for point in self.points.get(entry.setup.id, [])}
            for defense in dict.fromkeys([*entry.defenses, *tried]):
                seeds = self.sweep.spec.seeds if defense in entry.defenses else self.sweep.spec.seeds[:1]
                cells += [entry.cell(defense, seed, refused=entry.refusal(defense)) for seed in seeds]
        return replace(self.sweep, cells=tuple(cells))


def pareto_text(search: ParetoSearch) -> str:
    """Every strength that was tried, in order, those on the front marked; which searches ended early."""
    lines = []
    for entry in search.task.entries:
        setup = entry.setup.id
        if setup not in search.points:
            lines.append(f"{setup}: still being searched")
            continue
        points = search.points[setup]
        why = f": {reason}" if (reason := search.no_result.get(setup)) else ""
        lines.append(
            f"{setup}: {sum(p.on_front for p in points)} of {counted(len(points), 'strength')} on the front{why}"
        )
        for p in sorted(points, key=lambda p: p.strength):
            mark = "●" if p.on_front else " "
            remark = f"   {p.remark}" if p.remark else ""
            lines.append(f"  {mark} {p.choice.label:<40} select acc {p.accuracy:6.2f}   att@1 {p.attack:6.2f}{remark}")
        if setup in search.failed:
            lines.append(f"  ended early: {search.failed[setup]}")
    lines += [f"{setup}: refused: {why}" for setup, why in search.task.refused.items()]
    lines.append(f"studies: optuna-dashboard {search.store.location.shown}/{JOURNAL}")
    return "\n".join(lines)
