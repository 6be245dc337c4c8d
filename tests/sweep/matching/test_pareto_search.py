"""The front of a defense: on artifacts that only say how accurate, and how well attacked, they would be."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from midef.core import ArtifactKey, Failure, Recipe
from midef.core.choice import Choice
from midef.core.errors import SpecError
from midef.defenses.stack import remake_defense
from midef.storage import Store
from midef.sweep.matching.pareto_points import ATTACK_METRIC, ParetoPoint, mark_front
from midef.sweep.matching.pareto_search import ParetoSearch, ParetoTask, pareto_text
from midef.sweep.matching.studies import JOURNAL
from midef.sweep.planning.plan import More, Node
from midef.sweep.spec.load import parse_spec
from midef.sweep.spec.planned_cell import PlannedCell
from midef.sweep.spec.resolve import Sweep, resolve

DIVERGED = "target:1234 failed: TrainingDiverged: the loss is nan in epoch 3"


def sweep_of(front: dict[str, Any] | None = None, **more: Any) -> Sweep:
    asked = {"defense": "midre", "trials": 10, "together": 3, **(front or {})}
    setups = [{"id": "faces", "attack": "gmi"}]
    return resolve(parse_spec({"name": "curve", "setups": setups, "defenses": ["none"], "front": asked, **more}))


def accuracy_of(defense: Any) -> float | None:
    """Falls with the strength, in steps: so equal accuracies happen."""
    return 90.0 - 5.0 * round(10 * getattr(defense, "area_high", 0.0))


def attack_of(defense: Any) -> float | None:
    """Falls, but not everywhere: a part of the strengths is beaten by weaker ones."""
    strength = getattr(defense, "area_high", 0.0)
    return 80.0 - 100.0 * strength + (60.0 if 0.3 < strength < 0.5 else 0.0)


def failure_of(reason: str) -> Failure | None:
    """The failure that a made-up reason stands for."""
    return Failure("diverged" if "Diverged" in reason else "died", reason) if reason else None


@dataclass
class Trainer:
    """Builds what a front asks for, one cell after the other, without training or attacking anything.

    accuracy: percent on the select split, None diverges; attack: percent, None could not be measured; broken: why a
    recipe cannot be built, "" if it can; evaluator: its percent on the report split, with the ends of its interval
    where they are kept; attack_low: lower end of the interval of an attack; report_images: of the report split.
    """

    store: Store
    accuracy: Callable[[Any], float | None] = accuracy_of
    attack: Callable[[Any], float | None] = attack_of
    broken: Callable[[Recipe], str] = lambda recipe: ""
    evaluator: tuple[float, ...] = (99.0,)
    attack_low: float | None = None
    report_images: int | None = None
    built: list[ArtifactKey] = field(default_factory=list)
    lost: dict[ArtifactKey, str] = field(default_factory=dict)

    def run(self, front: ParetoSearch, *, at_most: int = 10_000) -> None:
        """Build everything that is asked for; stop after so many artifacts, as a kill would."""
        waiting = list(front.begin().cells)
        while waiting:
            planned = waiting.pop(0)
            for recipe in planned.recipes.scores.walk():
                if self.store.artifacts.has(recipe.key):
                    continue
                if at_most <= 0:
                    return
                at_most -= 1
                self.build(recipe, planned)
                more = front.grow(Node(recipe, frozenset()), failure_of(self.lost.get(recipe.key, "")))
                assert not more.recipes and isinstance(more, More)
                waiting += more.cells

    def build(self, recipe: Recipe, planned: PlannedCell) -> None:
        """Publish one artifact whose inputs were built, or lose it with them."""
        why = next((self.lost[i.key] for i in recipe.inputs.values() if i.key in self.lost), "") or self.broken(recipe)
        facts: dict[str, Any] = {}
        if recipe.kind == "target" and not why:
            accuracy = self.accuracy(remake_defense(Choice.from_plain(recipe.params["defense"])))
            why = DIVERGED if accuracy is None else ""
            facts = {"select_accuracy": accuracy, "report_accuracy": 1.0}  # whoever reads the latter finds nonsense
        if why:
            self.lost[recipe.key] = why
            return
        entries: list[dict[str, Any]] = []
        if recipe.kind == "scores":
            names = ("evaluator_accuracy", "evaluator_low", "evaluator_high")
            facts = dict(zip(names, self.evaluator, strict=False))
            value = self.attack(remake_defense(planned.cell.defense))
            reason = "" if value is not None else "too few"
            entries = [{"metric": "natural_accuracy", "value": 1.0, "reason": "", "n": self.report_images}]
            entries += [{"metric": ATTACK_METRIC, "value": value, "reason": reason, "low": self.attack_low}]
        with self.store.artifacts.workspace() as folder:
            (folder / "measurements.json").write_text(json.dumps(entries))
            self.store.artifacts.publish(recipe, folder, wall_s=1.0, facts=facts, packages={})
        self.built.append(recipe.key)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def searched(store: Store, sweep: Sweep | None = None, **trainer: Any) -> ParetoSearch:
    front = ParetoSearch(sweep or sweep_of(), store)
    Trainer(store, **trainer).run(front)
    return front


def is_dominated(one: ParetoPoint, tried: list[ParetoPoint]) -> bool:
    """Slow and obvious: somebody is no worse in both and better in one."""
    for other in tried:
        no_worse = other.accuracy >= one.accuracy and other.attack <= one.attack
        better = other.accuracy > one.accuracy or other.attack < one.attack
        if no_worse and better:
            return True
    return False


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_front_to_its_end(store: Store, sampler: str) -> None:
    front = searched(store, sweep_of({"sampler": sampler, "trials": 14}))
    tried = front.points["faces"]
    assert len(tried) == 14 and front.failed == {}
    for one in tried:
        defense = remake_defense(one.choice)
        assert one.strength == defense.area_high  # type: ignore[attr-defined]
        assert (one.accuracy, one.attack, one.remark) == (accuracy_of(defense), attack_of(defense), "")
        assert one.on_front is not is_dominated(one, tried), one
    assert 0 < sum(one.on_front for one in tried) < len(tried)
    text = pareto_text(front)
    assert text.count("●") == sum(one.on_front for one in tried)
    assert f"faces: {text.count('●')} of 14 strengths on the front" in text and text.endswith(JOURNAL)


def test_every_strength_is_handed_on_once_beside_the_other_defenses(store: Store) -> None:
    front = searched(store, sweep_of(defenses=["none", "nls", "midre"], seeds=[4, 7]))
    seeds: dict[Choice, list[int]] = {}
    for planned in front.tried_sweep().cells:
        seeds.setdefault(planned.cell.defense, []).append(planned.cell.seed)
    tried = {one.choice for one in front.points["faces"]}
    listed = {planned.cell.defense for planned in front.sweep.cells}
    assert len(tried) == 10 and len(listed) == 3 and set(seeds) == tried | listed
    assert all(found == ([4, 7] if choice in listed else [4]) for choice, found in seeds.items())
    for planned in front.tried_sweep().cells:
        if planned.cell.defense in tried:
            assert store.artifacts.has(planned.recipes.scores.key)


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_kill_after_every_step_changes_nothing(store: Store, tmp_path: Path, sampler: str) -> None:
    sweep = sweep_of({"sampler": sampler, "trials": 5, "together": 2})
    straight = searched(Store.open(tmp_path / "other"), sweep)
    built: list[ArtifactKey] = []
    for _ in range(100):
        trainer, front = Trainer(store), ParetoSearch(sweep, store)
        trainer.run(front, at_most=1)
        built += trainer.built
        if front.points:
            break
    assert max(Counter(built).values()) == 1
    assert front.points == straight.points


def test_a_killed_front_with_unsaved_answers_tries_the_same_again(store: Store) -> None:
    """The journal is lost, what was built is not."""
    front = searched(store)
    (Path(store.uri.removeprefix("file://")) / JOURNAL).unlink()
    again, trainer = ParetoSearch(sweep_of(), store), Trainer(store)
    trainer.run(again)
    assert trainer.built == [] and again.points == front.points


def test_more_trials_go_on_from_those_there_are(store: Store) -> None:
    first = searched(store, sweep_of({"trials": 6})).points["faces"]
    more = searched(store, sweep_of({"trials": 9})).points["faces"]
    assert [one.strength for one in more[:6]] == [one.strength for one in first] and len(more) == 9


def test_generations_come_from_their_parents(store: Store) -> None:
    """By chance a tenth of the strengths would lie where the whole front is."""
    front = searched(
        store,
        sweep_of({"sampler": "nsga2", "trials": 40, "together": 10}),
        accuracy=lambda d: 90.0 - 50.0 * max(0.0, abs(d.area_high - 0.5) - 0.035) - 10 * d.area_high,
        attack=lambda d: 50.0 + 50.0 * max(0.0, abs(d.area_high - 0.5) - 0.035) - 10 * d.area_high,
    )
    later = [one.strength for one in front.points["faces"][20:]]
    assert sum(0.45 < value < 0.55 for value in later) > 0.4 * len(later)


def test_a_diverged_training_is_the_worst_and_ends_nothing(store: Store) -> None:
    front = searched(store, accuracy=lambda d: None if d.area_high > 0.5 else accuracy_of(d))
    tried = front.points["faces"]
    diverged = [one for one in tried if one.strength > 0.5]
    assert len(tried) == 10 and diverged and len(diverged) < 10 and front.failed == {}
    assert {(one.accuracy, one.attack, one.on_front, one.remark) for one in diverged} == {(0.0, 100.0, False, DIVERGED)}
    assert pareto_text(front).count("TrainingDiverged") == len(diverged)


def test_where_everything_diverges_there_is_no_front(store: Store) -> None:
    front = searched(store, accuracy=lambda d: None)
    assert [one.on_front for one in front.points["faces"]] == [False] * 10
    assert "faces: 0 of 10 strengths on the front" in pareto_text(front)


def test_an_attack_that_could_not_be_measured_counts_as_100_and_is_said(store: Store) -> None:
    front = searched(store, attack=lambda d: None if d.area_high < 0.4 else attack_of(d))
    unknown = [one for one in front.points["faces"] if one.strength < 0.4]
    assert unknown
    for one in unknown:
        assert (one.accuracy, one.attack) == (accuracy_of(remake_defense(one.choice)), 100.0)
        assert one.remark == "attack_accuracy_at_1: too few" and not one.on_front
    assert pareto_text(front).count("attack_accuracy_at_1: too few") == len(unknown)
    known = [one for one in front.points["faces"] if not one.remark]
    assert all(one.on_front is not is_dominated(one, known) for one in known)


TWO = [
    {"id": "faces", "attack": "gmi"},
    {"id": "small", "attack": "gmi", "architecture": "resnet18_tiny", "evaluator": "vgg16_tiny"},
]


def test_a_training_lost_for_another_reason_ends_the_search_of_its_setup_alone(store: Store) -> None:
    sweep = sweep_of(setups=TWO)
    small = {c.recipes.target.params["architecture"]["name"] for c in sweep.cells if c.cell.setup.id == "small"}
    assert small == {"resnet18_tiny"}
    asked: list[ArtifactKey] = []

    def broken(recipe: Recipe) -> str:
        if recipe.kind == "target" and recipe.params["architecture"]["name"] in small:
            asked.append(recipe.key)
            return "the process died: it was killed, or its machine was lost" if len(asked) == 5 else ""
        return ""

    front = searched(store, sweep, broken=broken)
    assert front.failed == {"small": "the process died: it was killed, or its machine was lost"}
    assert len(front.points["faces"]) == 10 and len(front.points["small"]) == 3  # the batch before
    text = pareto_text(front)
    assert "small: " in text and "  ended early: the process died" in text and text.count("ended early") == 1
    assert {c.cell.setup.id for c in front.tried_sweep().cells} == {"faces", "small"}
    trainer, again = Trainer(store), ParetoSearch(sweep, store)
    trainer.run(again)
    assert again.failed == {} and len(again.points["small"]) == 10
    assert again.points["small"][:3] == [
        ParetoPoint(**{**vars(one), "on_front": now.on_front})
        for one, now in zip(front.points["small"], again.points["small"][:3], strict=True)
    ]
    assert asked[4] in trainer.built, "the same strengths were to be tried again"


def test_an_evaluator_that_diverged_says_nothing_about_a_strength(store: Store) -> None:
    why = "evaluator:99 failed: TrainingDiverged: the loss is nan in epoch 1"
    front = searched(store, broken=lambda recipe: why if recipe.kind == "evaluator" else "")
    assert front.failed == {"faces": why} and front.points["faces"] == []


def test_what_is_still_searched_is_said(store: Store) -> None:
    front = ParetoSearch(sweep_of(), store)
    Trainer(store).run(front, at_most=7)
    assert "faces: still being searched" in pareto_text(front)
    assert [c.cell.defense.name for c in front.tried_sweep().cells] == ["none"]


def test_ranks_that_are_tried_twice_are_shown_once(store: Store) -> None:
    ranges = {"ranges": {"loft": {"low": 5, "high": 8}}}
    sweep = sweep_of({"defense": "loft", "trials": 12}, match=ranges)
    front = searched(store, sweep, accuracy=lambda d: 60.0 + getattr(d, "rank", 9), attack=lambda d: 30.0 + d.rank)
    ranks = [one.choice.params["rank"] for one in front.points["faces"]]
    assert len(ranks) == len(set(ranks)) and set(ranks) <= {5, 6, 7, 8}
    assert all(one.on_front for one in front.points["faces"])


def test_mark_front_keeps_the_order_and_equals() -> None:
    points = [(80.0, 40.0), (70.0, 50.0), (80.0, 40.0), (90.0, 45.0), (90.0, 44.0), (60.0, 40.0)]
    tried = [ParetoPoint(Choice("midre", {"area_high": i}), i, *point) for i, point in enumerate(points)]
    assert [one.on_front for one in mark_front(tried)] == [True, False, True, False, True, False]
    assert [one.strength for one in mark_front(tried)] == list(range(6))
    assert mark_front([]) == []


def test_what_could_not_be_had_beats_nothing() -> None:
    known = ParetoPoint(Choice("midre", {"area_high": 0.2}), 0.2, 90.0, 100.0)
    unknown = ParetoPoint(Choice("midre", {"area_high": 0.1}), 0.1, 95.0, 100.0, "attack_accuracy_at_1: too few")
    assert [one.on_front for one in mark_front([unknown, known])] == [False, True]


@pytest.mark.parametrize(
    ("evaluator", "accuracy", "why"),
    [
        (0.5, 90.0, "the evaluator has 0.5 % where chance is 0.83 %: it cannot judge"),
        (40.0, 90.0, "the evaluator has 40.0 %, less than half way from chance (0.83 %) to 100 %: it cannot judge"),
        (99.0, 0.5, "the target network has 0.5 % where chance is 0.83 %"),
    ],
)
def test_what_says_nothing_is_on_no_front(store: Store, evaluator: float, accuracy: float, why: str) -> None:
    front = searched(store, sweep_of({"trials": 3}), evaluator=(evaluator,), accuracy=lambda d: accuracy)
    assert [(one.on_front, one.remark.startswith(why)) for one in front.points["faces"]] == [(False, True)] * 3
    assert "0 of 3 strengths on the front" in pareto_text(front) and "●" not in pareto_text(front)


@pytest.mark.parametrize(
    ("evaluator", "report_images", "accuracy"),
    [
        ((12.0, 0.5, 31.0), 1000, "12.0 % [0.5, 31.0]"),
        ((10.0,), 10, "10.0 %"),  # one of ten: Wilson's interval is 1.8 to 40.4, above chance
        ((2.0,), 50, "2.0 % [0.4, 10.5]"),
    ],
)
def test_the_interval_of_the_evaluator_is_told_as_in_a_table(
    store: Store, evaluator: tuple[float, ...], report_images: int, accuracy: str
) -> None:
    front = searched(store, sweep_of({"trials": 2}), evaluator=evaluator, report_images=report_images)
    said = " where chance is 0.83 %: it cannot judge" if "[" in accuracy else ", less than half way from chance"
    for one in front.points["faces"]:
        assert one.remark.startswith(f"the evaluator has {accuracy}{said}")


@pytest.mark.parametrize(("attack", "low"), [(0.8, None), (0.0, 0.0), (4.0, 0.7)])
def test_where_the_attack_finds_nothing_no_strength_is_on_the_front(
    store: Store, attack: float, low: float | None
) -> None:
    """Not the strength that leaks least by chance, nor after the search was read again from its journal."""
    first = searched(store, sweep_of({"trials": 3}), attack=lambda d: attack, attack_low=low)
    again = searched(store, sweep_of({"trials": 3}))
    for front in (first, again):
        assert [one.on_front for one in front.points["faces"]] == [False] * 3
        why = "the attack is at chance (0.83 %) for every defense here, and no undefended model shows that it works"
        assert f"faces: 0 of 3 strengths on the front: {why}" in pareto_text(front) and "●" not in pareto_text(front)


def test_one_strength_above_chance_is_enough_for_a_front(store: Store) -> None:
    front = searched(store, attack=lambda d: 50.0 if d.area_high < 0.3 else 0.0)
    assert any(one.on_front for one in front.points["faces"]) and "at chance" not in pareto_text(front)


@pytest.mark.parametrize(("attack", "is_front"), [(60.0, True), (0.5, False)])
def test_the_stored_undefended_model_tells_whether_the_attack_works(
    store: Store, attack: float, is_front: bool
) -> None:
    sweep, trainer = sweep_of({"trials": 3}), Trainer(store, attack=lambda d: attack)
    (undefended,) = sweep.cells
    for recipe in undefended.recipes.scores.walk():
        trainer.build(recipe, undefended)
    front = searched(store, sweep, attack=lambda d: 0.0)
    assert any(one.on_front for one in front.points["faces"]) is is_front
    assert ("for every defense here, the undefended model included" in pareto_text(front)) is not is_front


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_defense_without_a_strength_is_refused() -> None:
    with pytest.raises(SpecError, match=r"^front\.defense: none has no strength to search: it changes nothing$"):
        ParetoTask.of(sweep_of({"defense": "none"}))


def test_an_unknown_defense_gets_the_nearest_name() -> None:
    with pytest.raises(SpecError, match=r"^front\.defense: unknown defense 'midree'; did you mean 'midre'\?"):
        ParetoTask.of(sweep_of({"defense": "midree"}))


def test_refused_on_every_setup_is_an_error_with_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    from midef.sweep.spec.resolve import Entry

    monkeypatch.setattr(Entry, "refusal", lambda entry, defense: f"not on {entry.setup.architecture.name}")
    with pytest.raises(SpecError) as caught:
        ParetoTask.of(sweep_of(setups=TWO))
    assert caught.value.problems == [
        "front.defense: midre on faces: not on vgg16_tiny",
        "front.defense: midre on small: not on resnet18_tiny",
    ]


def test_refused_on_one_setup_it_is_searched_on_the_others_and_said(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from midef.sweep.spec.resolve import Entry

    monkeypatch.setattr(Entry, "refusal", lambda entry, d: "not here" if entry.setup.id == "small" else "")
    front = searched(store, sweep_of({"trials": 3}, setups=TWO))
    assert list(front.points) == ["faces"]
    assert " in 1 setup, by" in front.task.text and "  small: refused: not here" in front.task.text
    assert "small: refused: not here" in pareto_text(front)


def test_what_is_asked_is_said_without_a_store() -> None:
    text = ParetoTask.of(sweep_of(match={"ranges": {"midre": {"high": 0.6}}})).text
    assert text.startswith(
        "sweep curve  profile smoke: the front of midre over area_high 0.1 to 0.6 (linear), 10 stren"
    )
    assert "by tpe, 3 at once" in text
