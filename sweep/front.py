"""The whole front of one defense: accuracy up, attack accuracy down, over its strength.

Every trial is an ordinary cell: a target, attacked and judged. The search looks at the select split alone. Every
strength that was tried gets its rows, so that tables and the dashboard show all of them.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from midef.core.canonical import digest
from midef.core.choice import Choice
from midef.core.errors import SpecError
from midef.core.match import MatchTraining
from midef.core.seeds import derive_seed
from midef.defenses._stack import choose_defense
from midef.storage import Store
from sweep.hunts import Hunts, Request, Wanted
from sweep.match_spec import FrontSpec
from sweep.plan import More, Node
from sweep.spec import Entry, PlannedCell, Sweep
from sweep.strengths import Strength
from sweep.studies import JOURNAL, Studies, ask, quietly

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import BaseSampler

ATTACK_METRIC = "attack_accuracy_at_1"


@dataclass(frozen=True)
class Tried:
    """One strength that was trained and attacked. accuracy: percent on the select split; attack: percent."""

    choice: Choice
    strength: float
    accuracy: float
    attack: float
    on_front: bool = False


class FrontSearch:
    """Searches the front of one defense for every setup of a sweep.

    Raises:
        SpecError: if the defense has no strength, or cannot meet any setup.
    """

    def __init__(self, sweep: Sweep, store: Store) -> None:
        assert sweep.spec.front is not None, "the specification says whose front"
        self.sweep, self.store = sweep, store
        self.spec: FrontSpec = sweep.spec.front
        self.written = choose_defense(self.spec.defense)
        ranges = sweep.spec.match.ranges if sweep.spec.match else None
        strength = Strength.of(self.written, ranges)
        if strength is None:
            raise SpecError(f"front.defense: {self.written.label} has no strength to search")
        self.strength = strength
        refused = {entry.setup.id: entry.refusal(self.written) for entry in sweep.entries}
        self.entries = [entry for entry in sweep.entries if not refused[entry.setup.id]]
        if not self.entries:
            raise SpecError([f"front.defense: {self.written.label} on {n}: {why}" for n, why in refused.items()])
        self.studies = Studies(store)
        self.hunts = Hunts(store, self._on_end)
        self.tried: dict[str, list[Tried]] = {}

    def asked_text(self) -> str:
        """What is searched."""
        tuning = self.strength.tuning
        return (
            f"sweep {self.sweep.name}  profile {self.sweep.profile.name}: the front of {self.written.label} over "
            f"{tuning.parameter} {tuning.low:g} to {tuning.high:g} ({tuning.scale}), {self.spec.trials} strengths in "
            f"each of {len(self.entries)} setups, by {self.spec.sampler}, {self.spec.together} at once"
        )

    def begin(self) -> More:
        """What to build first."""
        for entry in self.entries:
            self.hunts.start(entry.setup.id, self._search(entry))
        return self.hunts.more()

    def grow(self, node: Node, lost: str) -> More:
        """Go on with every search that waited for this node; what is to be built next."""
        self.hunts.on_node(node, lost)
        self.studies.save()
        return self.hunts.more()

    def _search(self, entry: Entry) -> Generator[Request, list[MatchTraining], list[Tried]]:
        seed = self.sweep.spec.seeds[0]
        name, distributions = (
            self.strength.tuning.parameter,
            {self.strength.tuning.parameter: self.strength.distribution()},
        )
        study = self.studies.open(
            f"front of {self.written.label} in {entry.setup.id} [{self._digest(entry)}]",
            directions=["maximize", "minimize"],
            sampler=self._sampler(seed),
            about={"metrics": ["select accuracy", ATTACK_METRIC]},
        )
        study.set_metric_names(["select_accuracy", ATTACK_METRIC])
        while len(done := _complete(study)) < self.spec.trials:
            # From what is known alone: a search that was killed proposes the same again.
            study.sampler = self._sampler(derive_seed("front", seed, len(done)) % 2**32)
            count = min(self.spec.together, self.spec.trials - len(done))
            trials = [ask(study, distributions) for _ in range(count)]
            values = [self.strength.rounded(trial.params[name]) for trial in trials]
            wanted = [self._wanted(entry, value, seed) for value in values]
            answers = yield Request(wanted)
            for trial, value, one, answer in zip(trials, values, wanted, answers, strict=True):
                trial.set_user_attr("strength", value)
                if answer.accuracy is None:
                    study.tell(trial, [0.0, 100.0])  # it diverged: worst of all
                    continue
                assert one.cell is not None
                attack = self._attack_accuracy(one.cell)
                study.tell(trial, [answer.accuracy, attack])
        best = {trial.number for trial in study.best_trials}
        found = []
        for trial in _complete(study):
            value, (accuracy, attack) = trial.user_attrs["strength"], trial.values
            found.append(Tried(self.strength.at(value), value, accuracy, attack, trial.number in best))
        return found

    def _wanted(self, entry: Entry, value: float, seed: int) -> Wanted:
        cell = entry.cell(self.strength.at(value), seed)
        return Wanted(cell.recipes.target, value, seed, "search", cell)

    def _attack_accuracy(self, planned: PlannedCell) -> float:
        folder = self.store.artifacts.fetch(planned.recipes.scores.key)
        entries = json.loads((folder / "measurements.json").read_text(encoding="utf-8"))
        value = next(e["value"] for e in entries if e["metric"] == ATTACK_METRIC)
        return 100.0 if value is None else float(value)

    def _sampler(self, seed: int) -> BaseSampler:
        from optuna.samplers import NSGAIISampler, TPESampler

        with quietly():
            if self.spec.sampler == "nsga2":
                return NSGAIISampler(population_size=max(2, self.spec.together), seed=seed)
            return TPESampler(seed=seed, n_startup_trials=min(5, self.spec.trials), constant_liar=True)

    def _digest(self, entry: Entry) -> str:
        """Of the cell as written and the range: what makes it another search."""
        cell = entry.cell(self.written, self.sweep.spec.seeds[0])
        return digest({"cell": cell.cell.digest, "tuning": self.strength.tuning, "sampler": self.spec.sampler})[:10]

    def _on_end(self, name: str, found: Any) -> None:
        if isinstance(found, Exception):
            raise found
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


def front_text(front: FrontSearch) -> str:
    """Every strength that was tried, in order, those on the front marked."""
    lines = []
    for setup, tried in front.tried.items():
        lines.append(f"{setup}: {sum(t.on_front for t in tried)} of {len(tried)} strengths on the front")
        for t in sorted(tried, key=lambda t: t.strength):
            mark = "●" if t.on_front else " "
            lines.append(f"  {mark} {t.choice.label:<40} select acc {t.accuracy:6.2f}   att@1 {t.attack:6.2f}")
    lines.append(f"studies: optuna-dashboard {front.store.location.shown}/{JOURNAL}")
    return "\n".join(lines)
