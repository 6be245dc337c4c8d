"""Accuracy matching from a specification to cells: on artifacts that only say how accurate they would be."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pytest

from midef.core import ArtifactKey, Failure, Recipe
from midef.core.choice import Choice
from midef.core.match import MatchOutcome, MatchReport
from midef.core.seeds import derive_seed
from midef.defenses.stack import choose_defense, remake_defense
from midef.storage import Store
from midef.storage.matches import read_matches
from midef.sweep.execution.result_rows import lost_rows
from midef.sweep.matching.journal_lines import JOURNAL
from midef.sweep.matching.match_accuracy import Matching, seeds_of
from midef.sweep.matching.match_text import match_text
from midef.sweep.planning.plan import Node, start_growing
from midef.sweep.spec.load import parse_spec
from midef.sweep.spec.resolve import Sweep, resolve

UNTUNED = "rolss(legacy_layer3_split=True)"
"""A defense without a strength: its stages are given."""
Curve = Callable[[Any, int], float | None]
"""Accuracy of a defense (its dataclass) with a seed; None diverges."""


def noise(*parts: Any, sd: float) -> float:
    """Reproducible, about normal: the sum of twelve uniform numbers."""
    return sd * (sum(derive_seed("noise", *parts, i) % 10**6 / 10**6 for i in range(12)) - 6.0)


def logistic(value: float, middle: float, steepness: float, top: float = 92.0, bottom: float = 20.0) -> float:
    return top - (top - bottom) / (1 + math.exp(-steepness * (value - middle)))


CURVES: dict[str, Curve] = {
    "none": lambda d, seed: 91.0 + noise("none", seed, sd=0.2),
    "midre": lambda d, seed: logistic(d.area_high, 0.7, 14.0) + noise("midre", d.area_high, seed, sd=0.2),
    "nls": lambda d, seed: 91.0 + 40.0 * d.alpha + noise("nls", d.alpha, seed, sd=0.2),
    "bido": lambda d, seed: logistic(math.log10(d.lambda_x), -1.0, 6.0) + noise("bido", d.lambda_x, seed, sd=0.2),
    "loft": lambda d, seed: 93.0 - 60.0 / d.rank + noise("loft", d.rank, seed, sd=0.1),
    "ls": lambda d, seed: 93.0 + d.alpha,
    "mid": lambda d, seed: None if d.weight > 0.05 else 92.5 - 60.0 * d.weight**0.7,
    "rolss": lambda d, seed: 94.0 - 1.5 * d.count if d.count else 85.0 + noise("tts", seed, sd=0.1),
    "cutmix": lambda d, seed: 88.0 + 8.0 * d.p - 12.0 * d.p**2 + noise("cutmix", d.p, seed, sd=0.1),
}


def spec(**more: Any) -> dict[str, Any]:
    return {
        "name": "matched",
        "setups": [{"id": "faces", "attack": "gmi"}],
        "defenses": ["none", "midre", "nls", "bido", "loft"],
        "match": {"target": "none - 2"},
        **more,
    }


def sweep_of(**more: Any) -> Sweep:
    return resolve(parse_spec(spec(**more)))


@dataclass
class Trainer:
    """Builds what a matching asks for, in the order it asks, without training anything."""

    store: Store
    curves: Mapping[str, Curve] = field(default_factory=lambda: CURVES)
    built: list[ArtifactKey] = field(default_factory=list)
    read: set[str] = field(default_factory=set)

    def build(self, recipe: Recipe) -> str:
        """Publish an artifact, with what it needs; why not, if it cannot be."""
        for needed in recipe.inputs.values():
            if not self.store.artifacts.has(needed.key) and (lost := self.build(needed)):
                return lost
        facts: dict[str, Any] = {}
        if recipe.kind == "target":
            choice = Choice.from_plain(recipe.params["defense"])
            accuracy = self.curves[choice.name](remake_defense(choice), int(recipe.params["seed"]))
            if accuracy is None:
                return "TrainingDiverged: the loss is nan in epoch 3"
            facts = {"select_accuracy": accuracy, "report_accuracy": accuracy - 1.0}
        with self.store.artifacts.workspace() as folder:
            (folder / "nothing.json").write_text("{}")
            self.store.artifacts.publish(recipe, folder, wall_s=1.0, facts=facts, packages={})
        self.built.append(recipe.key)
        return ""

    def run(self, matching: Matching, *, at_most: int = 10_000) -> None:
        """Work through everything that is asked for; stop after so many trainings, as a kill would."""
        more, waiting = matching.begin(), list[Recipe]()
        while True:
            waiting += [r for r in more.recipes if not self.store.artifacts.has(r.key)]
            waiting = [r for r in waiting if r.key not in more.withdrawn]
            if not waiting or at_most <= 0:
                return
            recipe = waiting.pop(0)
            lost = "" if self.store.artifacts.has(recipe.key) else self.build(recipe)
            at_most -= 1
            more = matching.grow(Node(recipe, frozenset()), failure_of(lost))


def failure_of(reason: str) -> Failure | None:
    """The failure that a made-up reason stands for."""
    return Failure("diverged" if "Diverged" in reason else "died", reason) if reason else None


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def by_defense(report: MatchReport) -> dict[str, MatchOutcome]:
    return {o.defense: o for o in report.outcomes}


def matched(store: Store, **more: Any) -> tuple[Matching, Trainer, dict[str, MatchOutcome]]:
    matching, trainer = Matching(sweep_of(**more), store), Trainer(store)
    trainer.run(matching)
    return matching, trainer, by_defense(matching.report())


def test_every_defense_is_brought_within_the_tolerance(store: Store) -> None:
    matching, _, outcomes = matched(store)
    target = sum(CURVES["none"](None, seed) or 0.0 for seed in (0, 1, 2)) / 3 - 2.0
    assert {name: o.state for name, o in outcomes.items()} == {
        "none": "fixed",
        **dict.fromkeys(("midre", "nls", "bido", "loft"), "matched"),
    }
    for name in ("midre", "nls", "bido", "loft"):
        outcome = outcomes[name]
        assert outcome.target == pytest.approx(target)
        assert outcome.gap is not None and abs(outcome.gap) <= 0.5, name
        truth = [CURVES[name](remake_defense(choice_of(outcome)), seed) for seed in outcome.seeds]
        assert outcome.accuracy == pytest.approx(sum(filter(None, truth)) / 3)
        assert len(outcome.trainings) <= 14, name
    assert matching.is_decided


def choice_of(outcome: MatchOutcome) -> Choice:
    return choose_defense(outcome.chosen)


def test_the_mean_over_the_seeds_decides(store: Store) -> None:
    """The first seed is 3 points better than the others: what it alone calls a match is none."""
    curves = {**CURVES, "midre": lambda d, seed: 95.0 - 20 * d.area_high + (3.0 if seed == 0 else 0.0)}
    matching = Matching(sweep_of(defenses=["midre"], match={"target": 85.0}), store)
    Trainer(store, curves).run(matching)
    (outcome,) = matching.report().outcomes
    assert outcome.state == "matched" and outcome.gap is not None and abs(outcome.gap) <= 0.5
    assert outcome.strength == pytest.approx(0.55, abs=0.03)
    assert {t.phase for t in outcome.trainings} == {"search", "confirm"}


def test_the_seeds_of_the_sweep_confirm_it_and_further_ones_where_it_has_one() -> None:
    assert seeds_of(sweep_of(seeds=[3, 4, 7])) == (3, 4, 7)
    assert seeds_of(sweep_of(seeds=[3])) == (3, 4, 5)
    assert seeds_of(sweep_of(seeds=[3], match={"confirm": [9]})) == (3, 9)
    assert seeds_of(sweep_of(seeds=[3, 4], match={"confirm": [9]})) == (3, 4, 9)  # what is attacked is in the mean
    assert seeds_of(sweep_of(seeds=[3], match={"confirm": []})) == (3,)


def test_out_of_reach_is_a_result_with_both_ends(store: Store) -> None:
    _, _, outcomes = matched(store, defenses=["none", "ls"])
    outcome = outcomes["ls"]
    assert outcome.state == "unreachable"
    assert [t.strength for t in outcome.ends][:2] == [0.01, 0.5]
    assert "93.01 % at 0.01" in outcome.reason and "93.50 % at 0.5" in outcome.reason
    assert outcome.chosen == "ls(alpha=0.01)"  # the nearest is what the attacks get


def test_a_training_that_diverges_is_too_strong(store: Store) -> None:
    _, _, outcomes = matched(store, defenses=["mid"], match={"target": 89.0})
    assert outcomes["mid"].state == "matched"
    diverged = [t for t in outcomes["mid"].trainings if t.accuracy is None]
    assert all("TrainingDiverged" in t.reason and t.strength is not None and t.strength > 0.05 for t in diverged)


def test_a_defense_without_a_strength_is_taken_as_it_is(store: Store) -> None:
    setup = {"id": "faces", "attack": "gmi", "architecture": "resnet18_tiny", "evaluator": "vgg16_tiny"}
    _, _, outcomes = matched(store, defenses=["none", UNTUNED], match={"target": "none"}, setups=[setup])
    assert outcomes["none"].state == "matched" and outcomes["none"].gap == 0.0
    assert outcomes[UNTUNED].state == "fixed" and "below the target" in outcomes[UNTUNED].reason
    assert outcomes[UNTUNED].chosen == UNTUNED


def test_the_number_of_skips_is_searched_up_to_the_networks_blocks(store: Store) -> None:
    """94 - 1.5 count on 8 blocks: 89.5 at 3, and 82 is the least; below it no number of blocks reaches."""
    setup = {"id": "faces", "attack": "gmi", "architecture": "resnet18_tiny", "evaluator": "vgg16_tiny"}
    _, _, outcomes = matched(store, defenses=["rolss"], match={"target": 89.5}, setups=[setup])
    found = outcomes["rolss"]
    assert (found.state, found.parameter, found.low, found.high) == ("matched", "count", 1, 8)
    assert found.chosen == "rolss(count=3)" and found.larger_hides
    _, _, outcomes = matched(store, defenses=["rolss"], match={"target": 70.0}, setups=[setup])
    assert outcomes["rolss"].state == "unreachable" and "82.00 % at 8" in outcomes["rolss"].reason


def test_a_kill_costs_only_what_was_running(store: Store) -> None:
    """However often it is killed, no training is done twice and the answer is the same."""
    straight = Store.open(Path(store.uri.removeprefix("file://")) / "other")
    _, once, outcomes = matched(straight)
    built: list[ArtifactKey] = []
    for _ in range(200):
        trainer = Trainer(store)
        matching = Matching(sweep_of(), store)
        trainer.run(matching, at_most=1)
        built += trainer.built
        if matching.is_decided:
            break
    assert matching.is_decided
    assert max(Counter(built).values()) == 1
    assert by_defense(matching.report()) == outcomes
    assert set(built) == set(once.built)


def test_what_is_stored_costs_nothing(store: Store) -> None:
    """The journal is lost, the trainings are not: the search takes the same way again, for free."""
    _, _, outcomes = matched(store)
    journal = Path(store.uri.removeprefix("file://")) / JOURNAL
    journal.unlink()
    matching, again = Matching(sweep_of(), store), Trainer(store)
    again.run(matching)
    assert again.built == [] and by_defense(matching.report()) == outcomes
    assert matching.report().trained == 0


def test_setups_that_differ_in_the_attack_share_the_search(store: Store) -> None:
    matching, _, outcomes = matched(store, setups=[{"id": "faces", "attack": ["gmi", "kedmi"]}])
    assert all(len(o.setups) == 2 for o in outcomes.values())
    cells = matching.matched_sweep().cells
    assert Counter(c.cell.setup.attack.name for c in cells) == {"gmi": 5, "kedmi": 5}
    of = {(c.cell.setup.attack.name, c.cell.defense.name): c.recipes.target.key for c in cells}
    assert of["gmi", "midre"] == of["kedmi", "midre"]


def test_the_cells_that_are_handed_on(store: Store) -> None:
    matching, _, outcomes = matched(store, defenses=["none", "midre", "ls"], seeds=[0, 1])
    cells = {(c.cell.defense.name, c.cell.seed): c for c in matching.matched_sweep().cells}
    assert sorted(cells) == [("ls", 0), ("ls", 1), ("midre", 0), ("midre", 1), ("none", 0), ("none", 1)]
    midre, ls = cells["midre", 0].cell.match, cells["ls", 0].cell.match
    assert midre is not None and midre.is_matched and midre.seeds == 2
    assert midre.accuracy == pytest.approx(outcomes["midre"].accuracy) and midre.target == pytest.approx(
        outcomes["none"].target
    )
    assert ls is not None and not ls.is_matched
    assert cells["midre", 0].cell.defense.label == outcomes["midre"].chosen
    assert store.artifacts.has(cells["midre", 1].recipes.target.key)  # trained while it was confirmed


def test_unmatched_defenses_can_be_left_out(store: Store) -> None:
    matching, _, _ = matched(store, defenses=["none", "ls"], match={"target": "none - 2", "unmatched": "skip"})
    refused = {c.cell.defense.name: c.refused for c in matching.matched_sweep().cells}
    assert refused["none"] == "" and "not matched" in refused["ls"] and "both ends" in refused["ls"]


def test_the_report_split_is_looked_at_for_the_chosen_strength_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[ArtifactKey] = []
    real = type(store.artifacts).meta

    class Facts(dict[str, Any]):
        key: ArtifactKey

        def __getitem__(self, name: str) -> Any:
            if name == "report_accuracy":
                looked.append(self.key)
            return super().__getitem__(name)

    def meta(self: Any, key: ArtifactKey) -> dict[str, Any]:
        content = dict(real(self, key))
        facts = Facts(content["facts"])
        facts.key = key
        return {**content, "facts": facts}

    monkeypatch.setattr(type(store.artifacts), "meta", meta)
    matching, _, outcomes = matched(store)
    chosen = set()
    for name, group in matching.groups.items():
        for i, case in enumerate(group.cases):
            one = matching.results[f"case/{name}/{i}"]
            assert one.choice is not None
            chosen |= {case.target(one.choice, seed).key for seed in one.outcome.seeds}
    assert set(looked) == chosen and looked
    assert outcomes["midre"].report_accuracy == pytest.approx((outcomes["midre"].accuracy or 0) - 1.0)


def test_lost_for_another_reason_is_a_failure_of_that_defense_alone(store: Store) -> None:
    class Flaky(Trainer):
        def build(self, recipe: Recipe) -> str:
            if recipe.kind == "target" and recipe.params["defense"]["name"] == "bido":
                return "the process died: it was killed, or its machine was lost"
            return super().build(recipe)

    matching = Matching(sweep_of(), store)
    Flaky(store).run(matching)
    outcomes = by_defense(matching.report())
    assert outcomes["bido"].state == "failed" and "the process died" in outcomes["bido"].reason
    assert [outcomes[n].state for n in ("midre", "nls", "loft")] == ["matched"] * 3
    refused = {c.cell.defense.name: c.refused for c in matching.matched_sweep().cells}
    assert "the process died" in refused["bido"] and refused["midre"] == ""
    again = Matching(sweep_of(), store)
    Trainer(store).run(again)
    assert by_defense(again.report())["bido"].state == "matched"


def test_no_target_without_its_reference(store: Store) -> None:
    class Flaky(Trainer):
        def build(self, recipe: Recipe) -> str:
            return "out of memory" if recipe.kind == "target" else super().build(recipe)

    matching = Matching(sweep_of(), store)
    Flaky(store).run(matching)
    outcomes = by_defense(matching.report())
    assert {o.state for o in outcomes.values()} == {"failed"}
    assert "none minus 2 points is not known: out of memory" in outcomes["midre"].reason


def test_a_defense_that_only_diverges_has_nothing_to_hand_on(store: Store) -> None:
    curves = {**CURVES, "mid": lambda d, seed: None}
    for _ in range(2):  # the second time everything is in the journal
        matching = Matching(sweep_of(defenses=["none", "midre", "mid"]), store)
        Trainer(store, curves).run(matching)
        outcomes = by_defense(matching.report())
        assert outcomes["mid"].state == "unreachable" and "every training diverged" in outcomes["mid"].reason
        assert outcomes["mid"].chosen == "" and outcomes["midre"].state == "matched"
        refused = {c.cell.defense.name: c.refused for c in matching.matched_sweep().cells}
        assert "diverged" in refused["mid"] and refused["midre"] == ""


def test_what_diverged_is_never_the_nearest(store: Store) -> None:
    """The target is nearer to nothing at all than to what the weakest strengths reach."""
    curves = {**CURVES, "mid": lambda d, seed: None if d.weight > 0.001 else 90.0}
    matching = Matching(sweep_of(defenses=["mid"], match={"target": 30.0, "trainings": 8}), store)
    Trainer(store, curves).run(matching)
    (outcome,) = matching.report().outcomes
    assert outcome.state in ("undecided", "unreachable") and outcome.accuracy == pytest.approx(90.0)


def test_the_defense_that_sets_a_lower_target_is_searched_itself(store: Store) -> None:
    _, _, outcomes = matched(store, defenses=["none", "midre"], match={"target": "midre - 2"})
    assert outcomes["midre"].state == "matched" and outcomes["midre"].chosen != "midre"
    _, _, outcomes = matched(store, defenses=["none", "midre"], match={"target": "midre"})
    assert outcomes["midre"].state == "matched" and outcomes["midre"].chosen == "midre" and outcomes["midre"].gap == 0.0


def test_what_another_driver_stored_meanwhile_counts_as_ended(store: Store) -> None:
    """Between the question whether a training is stored and the plan of what is not, it was stored."""
    sweep = sweep_of(defenses=["none"], match={"target": 91.0, "tolerance": 1.0})
    matching, other = Matching(sweep, store), Trainer(store)
    first = matching.begin()
    for recipe in first.recipes:
        other.build(recipe)
    plan = start_growing(sweep, first, store, matching.grow)
    assert not any(node.recipe.kind == "target" for node in plan.nodes.values())
    assert matching.is_decided


def test_two_drivers_count_one_training_once(store: Store) -> None:
    one, other = Matching(sweep_of(), store), Matching(sweep_of(), store)
    trainers = {id(m): Trainer(store) for m in (one, other)}
    asked = {id(m): list(m.begin().recipes) for m in (one, other)}
    for _ in range(400):
        for m in (one, other):
            waiting = asked[id(m)]
            if waiting:
                recipe = waiting.pop(0)
                lost = "" if store.artifacts.has(recipe.key) else trainers[id(m)].build(recipe)
                waiting += m.grow(Node(recipe, frozenset()), failure_of(lost)).recipes
    assert one.is_decided and other.is_decided
    assert by_defense(one.report()).keys() == by_defense(other.report()).keys()
    for matching in (one, other):
        for outcome in matching.report().outcomes:
            keys = [t.target_key for t in outcome.trainings]
            assert len(keys) == len(set(keys))
    built = trainers[id(one)].built + trainers[id(other)].built
    assert len(built) == len(set(built))


def test_cells_that_failed_before_are_left_alone_unless_asked_for(store: Store) -> None:
    matching, _, _ = matched(store, defenses=["none", "midre"])
    (midre,) = [c for c in matching.matched_sweep().cells if c.cell.defense.name == "midre"]
    store.results.write(midre.cell.digest, lost_rows("matched", midre, Failure("oom", "out of memory")))
    asked = {
        retry: Matching(sweep_of(defenses=["none", "midre"]), store, retry_failed=retry) for retry in (False, True)
    }
    digests = {retry: {c.cell.digest for c in m.begin().cells} for retry, m in asked.items()}
    assert midre.cell.digest in digests[True] and midre.cell.digest not in digests[False]


def test_every_cell_of_a_matched_sweep_is_its_own(store: Store) -> None:
    """Also where nothing was found: the ordinary cell of the same defense keeps its rows."""
    sweep = sweep_of(defenses=["none", "mid"])
    matching = Matching(sweep, store)
    Trainer(store, {**CURVES, "mid": lambda d, seed: None}).run(matching)
    ordinary = {c.cell.digest for c in sweep.cells}
    assert not ordinary & {c.cell.digest for c in matching.matched_sweep().cells}


def test_trainings_allowed_are_a_limit(store: Store) -> None:
    match = {"target": 60.0, "trainings": 4, "tolerance": 0.01}
    matching, trainer = Matching(sweep_of(defenses=["midre"], match=match), store), Trainer(store)
    trainer.run(matching)
    (outcome,) = matching.report().outcomes
    assert outcome.state == "undecided" and "4 trainings allowed" in outcome.reason
    assert len(outcome.trainings) <= 4 and outcome.chosen


def test_a_pair_is_searched_where_the_ray_does_not_reach(store: Store) -> None:
    """Along the ray accuracy stays above the target; with less of the other strength it falls."""
    curves = {**CURVES, "bido": lambda d, seed: 90.0 - 6.0 * math.log10(d.lambda_x / d.lambda_y * 10.0)}
    matching = Matching(sweep_of(defenses=["bido"], match={"target": 86.0, "tolerance": 1.0}), store)
    Trainer(store, curves).run(matching)
    (outcome,) = matching.report().outcomes
    assert outcome.state == "matched", outcome.reason
    defense = remake_defense(choice_of(outcome))
    assert defense.lambda_y != pytest.approx(10 * defense.lambda_x, rel=0.01)  # type: ignore[attr-defined]
    assert outcome.gap is not None and abs(outcome.gap) <= 1.0


def test_the_studies_open_as_optuna_s_own(store: Store) -> None:
    _, _, outcomes = matched(store)
    path = Path(store.uri.removeprefix("file://")) / JOURNAL
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    names = {s.study_name for s in optuna.get_all_study_summaries(storage)}
    assert {outcomes[n].study for n in ("midre", "nls", "bido", "loft")} == names
    study = optuna.load_study(study_name=outcomes["midre"].study, storage=storage)
    assert study.best_value == pytest.approx(min(abs(t.user_attrs["gap"]) for t in study.trials))
    assert len(study.trials) == len(outcomes["midre"].trainings)


def test_the_report_is_kept_while_it_is_searched(store: Store) -> None:
    matching, trainer = Matching(sweep_of(), store), Trainer(store)
    trainer.run(matching, at_most=6)
    matching.write()
    (stored,) = read_matches(store)
    assert {o.state for o in stored.outcomes} >= {"undecided"} and stored == matching.report()
    assert "still being searched" in match_text(stored)
    trainer.run(matching := Matching(sweep_of(), store))
    matching.write()
    assert {o.state for o in read_matches(store)[0].outcomes} == {"matched", "fixed"}
    json.dumps(matching.report().as_plain(), allow_nan=False)


def test_a_report_opens_no_study_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written every few seconds, and each open search has its study at hand."""
    matching, trainer = Matching(sweep_of(), store), Trainer(store)
    trainer.run(matching, at_most=8)
    loaded: list[str] = []
    monkeypatch.setattr(optuna, "load_study", lambda *, study_name, storage: loaded.append(study_name))
    searched = [o for o in matching.report().outcomes if o.state == "undecided" and o.study]
    assert searched and any(o.trainings for o in searched) and loaded == []


def test_hopeless_confirmations_are_withdrawn(store: Store) -> None:
    """Near 100 % a bad second seed leaves the third nothing to mend."""
    curves = {**CURVES, "midre": lambda d, seed: 99.8 - d.area_high * 0.5 - (40.0 if seed == 1 else 0.0)}
    matching = Matching(sweep_of(defenses=["midre"], match={"target": 99.5}), store)
    Trainer(store, curves).run(matching)
    (outcome,) = matching.report().outcomes
    tried = {t.strength for t in outcome.trainings if t.seed == 1}
    assert tried and not any(t.seed == 2 and t.strength in tried for t in outcome.trainings)
