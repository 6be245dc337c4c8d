"""Searches the Pareto front of one defense: accuracy up, attack accuracy down, over its strength.

Every trial is an ordinary cell: a target, attacked and evaluated. The search sees accuracies on the select split alone.
Every strength that was tried gets its rows, so that tables and the dashboard show all of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midef.core.canonical import digest
from midef.core.choice import Choice
from midef.core.errors import DamagedArtifact, SpecError
from midef.core.failure import Failure
from midef.core.gates import accuracy_of, evaluator_gate, excluded_because, target_gate
from midef.core.match import MatchTraining
from midef.core.seeds import derive_seed
from midef.defenses.stack import choose_defense, remake_defense
from midef.storage import Store
from midef.sweep.matching.at_chance import select_images
from midef.sweep.matching.concurrent import (
    ConcurrentSearches,
    RequestedTraining,
    Search,
    TrainingFailed,
    TrainingRequest,
)
from midef.sweep.matching.strengths import Strength, why_untuned
from midef.sweep.matching.studies import JOURNAL, Studies, ask, quietly
from midef.sweep.matching.trials import complete_trials
from midef.sweep.planning.plan import More, Node
from midef.sweep.spec.matching import FrontSpec
from midef.sweep.spec.resolve import Entry, PlannedCell, Sweep

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

ATTACK_METRIC = "attack_accuracy_at_1"
_WORST_ACCURACY, _WORST_ATTACK = 0.0, 100.0


@dataclass(frozen=True)
class ParetoPoint:
    """One strength that was trained and attacked.

    Args:
        choice: the defense at the strength.
        strength: value of the parameter.
        accuracy: percent on the select split; 0 if the training diverged.
        attack: attack accuracy, percent; 100 if it was not measured.
        remark: why one of them is missing or says nothing; the strength is then not on the front.
        on_front: no other point is at least as good in both and better in one.
    """

    choice: Choice
    strength: float
    accuracy: float
    attack: float
    remark: str = ""
    on_front: bool = False


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
        strength = Strength.of(written, sweep.spec.match.ranges if sweep.spec.match else None)
        if strength is None:
            raise SpecError(
                f"front.defense: {written.label} has no strength to search: {why_untuned(remake_defense(written))}"
            )
        refused = {entry.setup.id: why for entry in sweep.entries if (why := entry.refusal(written))}
        entries = [entry for entry in sweep.entries if entry.setup.id not in refused]
        if not entries:
            raise SpecError([f"front.defense: {written.label} on {name}: {why}" for name, why in refused.items()])
        return cls(sweep, sweep.spec.front, strength, entries, refused)

    @property
    def text(self) -> str:
        """The search before it starts, and where the defense is refused."""
        tuning, written = self.strength.tuning, self.strength.written
        head = (
            f"sweep {self.sweep.name}  profile {self.sweep.profile.name}: the front of {written.label} over "
            f"{tuning.parameter} {tuning.low:g} to {tuning.high:g} ({tuning.scale}), {self.spec.trials} strengths in "
            f"each of {len(self.entries)} setups, by {self.spec.sampler}, {self.spec.together} at once"
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
                study.tell(trial, [point.accuracy, point.attack])
        return mark_front([self._told(trial) for trial in complete_trials(study)])

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
        return ParetoPoint(self.strength.at(value), value, accuracy, attack, trial.user_attrs.get("remark", ""))

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
            return ParetoPoint(choice, strength, _WORST_ACCURACY, _WORST_ATTACK, training.reason)
        folder = self._scores(requested.cell)
        entries = json.loads((folder / "measurements.json").read_text(encoding="utf-8"))
        measured = next((e for e in entries if e["metric"] == ATTACK_METRIC), {"value": None, "reason": "not measured"})
        if measured["value"] is None:
            remark = f"{ATTACK_METRIC}: {measured['reason']}"
            return ParetoPoint(choice, strength, training.accuracy, _WORST_ATTACK, remark)
        judged = self.store.artifacts.meta(requested.cell.recipes.scores.key)["facts"]
        images = select_images(requested.cell.recipes.private, self.store)
        remark = _no_result(training.accuracy, images, judged, entry.identities)
        return ParetoPoint(choice, strength, training.accuracy, float(measured["value"]), remark)

    def _scores(self, planned: PlannedCell) -> Path:
        """Folder of the scores of a cell.

        Raises:
            TrainingFailed: if they are damaged: the next run measures them again.
        """
        key = planned.recipes.scores.key
        try:
            return self.store.artifacts.fetch(key)
        except DamagedArtifact as error:
            self.store.artifacts.set_aside(key, str(error))
            raise TrainingFailed(f"{error}; it is set aside, the same command goes on") from error

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


def _no_result(accuracy: float, images: int | None, judged: Mapping[str, Any], identities: int | None) -> str:
    """Why a network of this accuracy, or its evaluator, says nothing; "" if both do.

    Args:
        accuracy: on the select split, percent.
        images: of the select split.
        judged: facts of the scores.
        identities: that both tell apart.
    """
    evaluator, chance = judged.get("evaluator_accuracy"), 100 / identities if identities else None
    if chance is None:
        return ""
    gates = [target_gate(accuracy_of(accuracy, chance, n=images))]
    if evaluator is not None:
        gates.append(evaluator_gate(accuracy_of(evaluator, chance, low=judged.get("evaluator_low"))))
    return excluded_because(gate for gate in gates if gate is not None)


def mark_front(points: Sequence[ParetoPoint]) -> list[ParetoPoint]:
    """Each strength once, in the order they were tried, those that no other one dominates marked."""
    once = list({point.choice: point for point in reversed(points)}.values())[::-1]
    complete = [(point.accuracy, point.attack) for point in once if not point.remark]

    def is_dominated(point: ParetoPoint) -> bool:
        here = (point.accuracy, point.attack)
        return any(acc >= here[0] and att <= here[1] and (acc, att) != here for acc, att in complete)

    return [replace(point, on_front=not point.remark and not is_dominated(point)) for point in once]


def pareto_text(search: ParetoSearch) -> str:
    """Every strength that was tried, in order, those on the front marked; which searches ended early."""
    lines = []
    for entry in search.task.entries:
        setup = entry.setup.id
        if setup not in search.points:
            lines.append(f"{setup}: still being searched")
            continue
        points = search.points[setup]
        lines.append(f"{setup}: {sum(p.on_front for p in points)} of {len(points)} strengths on the front")
        for p in sorted(points, key=lambda p: p.strength):
            mark = "●" if p.on_front else " "
            remark = f"   {p.remark}" if p.remark else ""
            lines.append(f"  {mark} {p.choice.label:<40} select acc {p.accuracy:6.2f}   att@1 {p.attack:6.2f}{remark}")
        if setup in search.failed:
            lines.append(f"  ended early: {search.failed[setup]}")
    lines += [f"{setup}: refused: {why}" for setup, why in search.task.refused.items()]
    lines.append(f"studies: optuna-dashboard {search.store.location.shown}/{JOURNAL}")
    return "\n".join(lines)
