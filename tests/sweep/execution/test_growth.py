"""A plan that grows: what is asked for is built once, and nothing is asked in vain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from midef.core import Failure, PreflightError, StoreError
from midef.storage import Store
from midef.sweep.execution.outcome import RunOptions
from midef.sweep.execution.prepare import prepare
from midef.sweep.execution.tune_run import run_plan
from midef.sweep.planning.plan import More, Node, Plan, extend_plan, make_plan

SweepOf = Callable[..., Any]
States = Callable[[Plan], dict[str, str]]


def defense_of(target: Node) -> str:
    return str(target.recipe.params["defense"]["name"])


@dataclass
class Asks:
    """Answers with `asked[what ended]`, once each: a kind, or a kind and a defense."""

    asked: dict[str, More]
    said: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, node: Node, failure: Failure | None) -> More:
        name = node.recipe.kind if node.recipe.kind != "target" else f"target {node.recipe.params['defense']['name']!s}"
        self.said.append((name, "" if failure is None else failure.message))
        return self.asked.pop(name, More())


def plan_of(sweep: Any, store: Store, *labels: str) -> Plan:
    return make_plan(sweep, store, chosen=lambda planned: planned.cell.defense.label in labels)


def test_what_is_asked_for_is_built_and_its_rows_are_written(
    sweep_of: SweepOf, store: Store, tune: Any, states: States
) -> None:
    sweep = sweep_of(defenses=["none", "midre", "nls"])
    none, midre, nls = sweep.cells
    asks = Asks({
        "target none": More(recipes=[midre.recipes.target]),
        "target midre": More(recipes=[nls.recipes.target, none.recipes.target]),
        "target nls": More(cells=[nls]),
    })  # fmt: skip
    plan = plan_of(sweep, store, "none")
    outcome = run_plan(plan, store, RunOptions(), asks)
    assert states(plan) == {"none": "ok", "midre": "missing", "nls": "ok"}
    assert set(tune.built) == set(plan.nodes) and len(tune.built) == len(plan.nodes) == len(asks.said)
    assert (outcome.built, outcome.rows, outcome.failed) == (len(tune.built), 2, {})
    order = [tune.built.index(planned.recipes.target.key) for planned in sweep.cells]
    assert order == sorted(order) and order[-1] < tune.built.index(none.recipes.evaluator.key), "targets go first"


def test_rows_of_stored_scores_are_written_when_they_are_asked_for(
    sweep_of: SweepOf, store: Store, tune: Any, publish_cell: Callable[..., None], extra_defenses: None
) -> None:
    sweep = sweep_of(defenses=["none", "midre", "not_here"])
    none, midre, refused = sweep.cells
    publish_cell(midre)
    outcome = run_plan(
        plan_of(sweep, store, "none"), store, RunOptions(), Asks({"target none": More(cells=[midre, refused])})
    )
    assert store.results.cells() == {none.cell.digest: "ok", midre.cell.digest: "ok", refused.cell.digest: "refused"}
    assert outcome.rows == 2 and midre.recipes.scores.key not in tune.built


def test_damaged_scores_that_are_asked_for_are_built_again(
    sweep_of: SweepOf, store: Store, tune: Any, publish_cell: Callable[..., None], states: States
) -> None:
    sweep = sweep_of(defenses=["none", "midre"])
    _, midre = sweep.cells
    publish_cell(midre)
    (store.artifacts.fetch(midre.recipes.scores.key) / "measurements.json").write_text("[]")
    plan = plan_of(sweep, store, "none")
    run_plan(plan, store, RunOptions(), Asks({"target none": More(cells=[midre])}))
    assert states(plan) == {"none": "ok", "midre": "ok"} and midre.recipes.scores.key in tune.built


def test_what_failed_is_asked_about_and_not_tried_again(
    sweep_of: SweepOf, store: Store, tune: Any, states: States
) -> None:
    tune.fails = {"target midre": "TrainingDiverged: the loss became nan"}
    sweep = sweep_of(defenses=["none", "midre"])
    _, midre = sweep.cells
    failed = More(recipes=[midre.recipes.target], cells=[midre])
    asks = Asks({"target none": More(recipes=[midre.recipes.target]), "target midre": failed, "scores": failed})
    plan = plan_of(sweep, store, "none")
    outcome = run_plan(plan, store, RunOptions(), asks)
    assert ("target midre", "TrainingDiverged: the loss became nan") in asks.said
    assert outcome.failed == {"TrainingDiverged: the loss became nan": 1}
    assert states(plan) == {"none": "ok", "midre": "failed"}, "its rows say why"
    assert len(asks.said) == len(plan.nodes), "a node was asked about twice"


def test_a_cell_of_lost_scores_gets_its_rows(sweep_of: SweepOf, store: Store, tune: Any) -> None:
    """Another cell of the same scores is asked for when these failed already."""
    tune.fails = {"scores": "out of luck"}
    sweep = sweep_of(seeds=[0])
    (planned,) = sweep.cells
    again = replace(planned, cell=replace(planned.cell, seed=1))
    run_plan(plan_of(sweep, store, "none"), store, RunOptions(), Asks({"scores": More(cells=[again])}))
    assert store.results.cells() == {planned.cell.digest: "failed", again.cell.digest: "failed"}


def test_what_the_machine_lost_is_not_asked_about(sweep_of: SweepOf, store: Store, tune: Any) -> None:
    tune.fails = {"target none": "StoreError: the store is full"}
    asks = Asks({})
    with pytest.raises(PreflightError, match="the store is full"):
        run_plan(prepare(sweep_of(), store), store, RunOptions(), asks)
    assert "target none" not in [name for name, _ in asks.said] and all(reason == "" for _, reason in asks.said)


def test_after_a_budget_stop_nothing_is_added(
    sweep_of: SweepOf, store: Store, tune: Any, gpus: None, time_on_a_gpu: Callable[..., None]
) -> None:
    time_on_a_gpu(sweep_of(profile="mini", seeds=[9]), hours=1.0)
    tune.seconds = 3600.0
    sweep = sweep_of(profile="mini", defenses=["none", "midre", "nls"])
    _, midre, nls = sweep.cells
    asks = Asks(
        {"target none": More(recipes=[midre.recipes.target]), "reconstructions": More(recipes=[nls.recipes.target])}
    )
    outcome = run_plan(plan_of(sweep, store, "none"), store, RunOptions(max_gpu_hours=1.6), asks)
    assert outcome.stopped == "budget reached" and outcome.gpu_hours <= 1.6
    assert nls.recipes.target.key not in tune.built and midre.recipes.target.key not in tune.built
    assert {reason for _, reason in asks.said} == {""}


def test_a_mistake_in_growing_is_raised_when_what_ran_has_finished(
    sweep_of: SweepOf, store: Store, tune: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    mistake = ZeroDivisionError("no accuracy")

    def grow(node: Node, failure: Failure | None) -> More:
        if node.recipe.kind == "target":
            raise mistake
        return More()

    plan = prepare(sweep_of(), store)
    with pytest.raises(ZeroDivisionError) as caught:
        run_plan(plan, store, RunOptions(), grow)
    assert caught.value is mistake and "target" in {key.kind for key in tune.built}
    assert len(tune.built) < len(plan.nodes)
    _, first, *_, said, last = capsys.readouterr().err.splitlines()
    assert "ETA at least" in first and "ETA 0 s" in last, "what waits does not begin in this run"
    assert said == "no further node starts, 0 running nodes finish: ZeroDivisionError: no accuracy"


def test_too_little_space_for_what_is_added_ends_the_run(
    sweep_of: SweepOf, store: Store, tune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = sweep_of(defenses=["none", "midre"])
    _, midre = sweep.cells

    def grow(node: Node, failure: Failure | None) -> More:
        monkeypatch.setattr(store.artifacts, "free_bytes", lambda: 10 * 2**20)
        return More(cells=[midre])

    with pytest.raises(StoreError, match="store is too small: the plan needs"):
        run_plan(plan_of(sweep, store, "none"), store, RunOptions(), grow)


def test_an_empty_plan_asks_for_nothing(sweep_of: SweepOf, store: Store, tune: Any) -> None:
    asks = Asks({})
    assert run_plan(plan_of(sweep_of(), store), store, RunOptions(), asks).built == 0 and asks.said == []


def test_what_is_withdrawn_is_not_built(sweep_of: SweepOf, store: Store, tune: Any) -> None:
    sweep = sweep_of(defenses=["none", "midre", "nls"])
    targets = {c.cell.defense.name: c.recipes.target for c in sweep.cells}
    both = [targets["midre"], targets["nls"]]
    plan = make_plan(sweep, store, chosen=lambda planned: False)
    extend_plan(plan, More(recipes=[targets["none"]]), store)
    ended: list[str] = []

    def grow(node: Node, failure: Failure | None) -> More:
        """Two are asked for; when the first of them is there, neither is wanted any more."""
        if node.recipe.kind != "target":
            return More()
        ended.append(defense_of(node))
        return More(recipes=both) if len(ended) == 1 else More(withdrawn=[recipe.key for recipe in both])

    outcome = run_plan(plan, store, RunOptions(), grow)
    assert len(ended) == 2 and ended[0] == "none"
    assert outcome.built == 3 and sum(store.artifacts.has(recipe.key) for recipe in both) == 1
