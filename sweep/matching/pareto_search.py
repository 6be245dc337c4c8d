"""The whole front of one defense: accuracy up, attack accuracy down, over its strength.

Every trial is an ordinary cell: a target, attacked and judged. Of accuracies the search sees those on the select split
alone. Every strength that was tried gets its rows, so that tables and the dashboard show all of them.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from midef.core.canonical import digest
from midef.core.choice import Choice
from midef.core.errors import SpecError
from midef.core.failure import Failure
from midef.core.match import MatchTraining
from midef.core.seeds import derive_seed
from midef.defenses.stack import choose_defense, remake_defense
from midef.storage import Store
from midef.sweep.matching.concurrent import Hunts, LostTraining, Request, Wanted
from midef.sweep.matching.strengths import Strength, why_untuned
from midef.sweep.matching.studies import JOURNAL, Studies, ask, quietly
from midef.sweep.planning.plan import More, Node
from midef.sweep.spec.matching import FrontSpec
from midef.sweep.spec.resolve import Entry, PlannedCell, Sweep

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import BaseSampler

ATTACK_METRIC = "attack_accuracy_at_1"
_WORST_ACCURACY, _WORST_ATTACK = 0.0, 100.0


@dataclass(frozen=True)
class Tried:
    """One strength that was trained and attacked.

    accuracy: percent on the select split; attack: percent. Where one of them could not be had, it has its worst value,
    remark says why, and the strength is on no front.
    """

    choice: Choice
    strength: float
    accuracy: float
    attack: float
    remark: str = ""
    on_front: bool = False


@dataclass(frozen=True)
class Asked:
    """Whose front is searched, and where. refused: setup -> why the defense cannot meet it."""

    sweep: Sweep
    spec: FrontSpec
    strength: Strength
    entries: Sequence[Entry]
    refused: dict[str, str]

    @classmethod
    def of(cls, sweep: Sweep) -> Asked:
        """Looks at no store.

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
        """What is searched, and where the defense is refused."""
        tuning, written = self.strength.tuning, self.strength.written
        head = (
            f"sweep {self.sweep.name}  profile {self.sweep.profile.name}: the front of {written.label} over "
            f"{tuning.parameter} {tuning.low:g} to {tuning.high:g} ({tuning.scale}), {self.spec.trials} strengths in "
            f"each of {len(self.entries)} setups, by {self.spec.sampler}, {self.spec.together} at once"
        )
        return "\n".join([head, *(f"  {name}: refused: {why}" for name, why in self.refused.items())])


class FrontSearch:
    """Searches the front of one defense for every setup of a sweep.

    tried: what was found, by setup, of the searches that ended. failed: why a search ended early, by setup; what it had
    tried until then is kept, and the next run goes on from there.

    Raises:
        SpecError: what `Asked.of` says.
    """

    def __init__(self, sweep: Sweep, store: Store) -> None:
        self.asked = Asked.of(sweep)
        self.sweep, self.store = sweep, store
        self.spec, self.strength = self.asked.spec, self.asked.strength
        self.studies = Studies(store)
        self.hunts = Hunts(store, self._on_end)
        self.tried: dict[str, list[Tried]] = {}
        self.failed: dict[str, str] = {}

    def asked_text(self) -> str:
        """What is searched."""
        return self.asked.text

    def begin(self) -> More:
        """What to build first."""
        for entry in self.asked.entries:
            self.hunts.start(entry.setup.id, self._search(entry))
        return self.hunts.more()

    def grow(self, node: Node, lost: Failure | None) -> More:
        """Go on with every search that waited for this node; what is to be built next."""
        self.hunts.on_node(node, lost)
        self.studies.save()
        return self.hunts.more()

    def _search(self, entry: Entry) -> Generator[Request, list[MatchTraining], list[Tried]]:
        seed = self.sweep.spec.seeds[0]
        name = self.strength.tuning.parameter
        study = self.studies.open(
            f"front of {self.strength.written.label} in {entry.setup.id} [{self._digest(entry)}]",
            directions=["maximize", "minimize"],
            sampler=self._sampler(seed),
            about={"metrics": ["select accuracy", ATTACK_METRIC]},
        )
        with quietly():
            study.set_metric_names(["select_accuracy", ATTACK_METRIC])
        while len(done := _complete(study)) < self.spec.trials:
            # From what is known alone: a search that was killed proposes the same again.
            study.sampler = self._sampler(derive_seed("front", seed, len(done)) % 2**32)
            count = min(self.spec.together, self.spec.trials - len(done))
            trials = [ask(study, {name: self.strength.distribution()}) for _ in range(count)]
            values = [self.strength.rounded(trial.params[name]) for trial in trials]
            wanted = [self._wanted(entry, value, seed) for value in values]
            try:
                answers = yield Request(wanted)
                tried = [self._tried(one, answer) for one, answer in zip(wanted, answers, strict=True)]
            except LostTraining as error:
                self.failed[entry.setup.id] = str(error)
                break
            for trial, one in zip(trials, tried, strict=True):
                trial.set_user_attr("strength", one.strength)
                trial.set_user_attr("remark", one.remark)
                study.tell(trial, [one.accuracy, one.attack])
        return with_front([self._told(trial) for trial in _complete(study)])

    def _told(self, trial: Any) -> Tried:
        """What a study knows of a strength."""
        (accuracy, attack), value = trial.values, trial.user_attrs["strength"]
        return Tried(self.strength.at(value), value, accuracy, attack, trial.user_attrs.get("remark", ""))

    def _wanted(self, entry: Entry, value: float, seed: int) -> Wanted:
        cell = entry.cell(self.strength.at(value), seed)
        return Wanted(cell.recipes.target, value, seed, "search", cell)

    def _tried(self, wanted: Wanted, answer: MatchTraining) -> Tried:
        """What came of a strength.

        Raises:
            LostTraining: if what diverged was not its target, but the evaluator or a prior: that says nothing about it.
        """
        assert wanted.cell is not None and wanted.strength is not None
        choice = wanted.cell.cell.defense
        if answer.accuracy is None:
            if wanted.target.key not in self.hunts.lost:
                raise LostTraining(answer.reason)
            return Tried(choice, wanted.strength, _WORST_ACCURACY, _WORST_ATTACK, answer.reason)
        folder = self.store.artifacts.fetch(wanted.cell.recipes.scores.key)
        entries = json.loads((folder / "measurements.json").read_text(encoding="utf-8"))
        measured = next((e for e in entries if e["metric"] == ATTACK_METRIC), {"value": None, "reason": "not measured"})
        if measured["value"] is None:
            remark = f"{ATTACK_METRIC}: {measured['reason']}"
            return Tried(choice, wanted.strength, answer.accuracy, _WORST_ATTACK, remark)
        return Tried(choice, wanted.strength, answer.accuracy, float(measured["value"]))

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
        """Of the cell as written and the range: what makes it another search."""
        cell = entry.cell(self.strength.written, self.sweep.spec.seeds[0])
        return digest({"cell": cell.cell.digest, "tuning": self.strength.tuning, "sampler": self.spec.sampler})[:10]

    def _on_end(self, name: str, found: Any) -> None:
        self.tried[name] = found

    def tried_sweep(self) -> Sweep:
        """Every strength that was tried, beside the other defenses of the sweep, for the ordinary plan."""
        cells: list[PlannedCell] = []
        for entry in self.sweep.entries:
            tried = {t.choice: None for t in self.tried.get(entry.setup.id, [])}
            for defense in dict.fromkeys([*entry.defenses, *tried]):
                seeds = self.sweep.spec.seeds if defense in entry.defenses else self.sweep.spec.seeds[:1]
                cells += [entry.cell(defense, seed, refused=entry.refusal(defense)) for seed in seeds]
        return replace(self.sweep, cells=tuple(cells))


def _complete(study: Study) -> list[Any]:
    import optuna

    return study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))  # type: ignore[no-any-return]


def with_front(tried: Sequence[Tried]) -> list[Tried]:
    """Each strength once, in the order they were tried; those that no other one beats in both are on the front."""
    once = list({one.choice: one for one in reversed(tried)}.values())[::-1]
    sure = [(one.accuracy, one.attack) for one in once if not one.remark]

    def is_beaten(one: Tried) -> bool:
        here = (one.accuracy, one.attack)
        return any(acc >= here[0] and att <= here[1] and (acc, att) != here for acc, att in sure)

    return [replace(one, on_front=not one.remark and not is_beaten(one)) for one in once]


def front_text(front: FrontSearch) -> str:
    """Every strength that was tried, in order, those on the front marked; which searches did not come to their end."""
    lines = []
    for entry in front.asked.entries:
        setup = entry.setup.id
        if setup not in front.tried:
            lines.append(f"{setup}: still being searched")
            continue
        tried = front.tried[setup]
        lines.append(f"{setup}: {sum(t.on_front for t in tried)} of {len(tried)} strengths on the front")
        for t in sorted(tried, key=lambda t: t.strength):
            mark = "●" if t.on_front else " "
            remark = f"   {t.remark}" if t.remark else ""
            lines.append(f"  {mark} {t.choice.label:<40} select acc {t.accuracy:6.2f}   att@1 {t.attack:6.2f}{remark}")
        if setup in front.failed:
            lines.append(f"  ended early: {front.failed[setup]}")
    lines += [f"{setup}: refused: {why}" for setup, why in front.asked.refused.items()]
    lines.append(f"studies: optuna-dashboard {front.store.location.shown}/{JOURNAL}")
    return "\n".join(lines)
