"""No node is started beyond the budget in GPU-hours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from midef.storage import Store
from midef.sweep.execution.outcome import RunOptions
from midef.sweep.execution.prepare import prepare
from midef.sweep.execution.tune_run import run_plan
from midef.sweep.planning.plan import Plan

SweepOf = Callable[..., Any]
States = Callable[[Plan], dict[str, str]]


def test_what_does_not_fit_into_the_budget_is_left_for_another_run(
    sweep_of: SweepOf, store: Store, tune: Any, gpus: None, time_on_a_gpu: Callable[..., None]
) -> None:
    """Each target holds a GPU for the hour it is expected to take; its attack half of one, its scores a quarter."""
    time_on_a_gpu(sweep_of(profile="mini", seeds=[9]), hours=1.0)
    tune.seconds = 3600.0
    plan = prepare(sweep_of(profile="mini", seeds=[0, 1, 2]), store)
    assert sum(n.recipe.kind == "target" for n in plan.nodes.values()) == 3
    outcome = run_plan(plan, store, RunOptions(max_gpu_hours=1.2))
    assert outcome.stopped == "budget reached" and outcome.failed == {} and outcome.blocked == 0
    assert 0 < outcome.gpu_hours <= 1.2
    again = prepare(plan.sweep, store)
    assert again.nodes and again.nodes.keys() < plan.nodes.keys()
    whole = run_plan(again, store, RunOptions())
    assert whole.stopped == "" and prepare(plan.sweep, store).is_empty


def test_a_budget_counts_what_was_handed_out_and_has_not_begun(
    sweep_of: SweepOf, store: Store, tune: Any, gpus: None, monkeypatch: Any, time_on_a_gpu: Callable[..., None]
) -> None:
    """Tune asks for many nodes before the first one runs."""
    time_on_a_gpu(sweep_of(profile="mini", seeds=[9]), hours=1.0)
    plan = prepare(sweep_of(profile="mini", seeds=[0, 1, 2]), store)
    handed_out: list[str] = []

    def ask_for_all(searcher: Any) -> None:
        while isinstance(config := searcher.suggest(f"t{len(handed_out)}"), dict):
            handed_out.append(config["kind"])

    monkeypatch.setattr(tune, "fit", ask_for_all)
    run_plan(plan, store, RunOptions(max_gpu_hours=1.2))
    promised = sum(plan.sweep.profile.gpus.get(kind, 0.0) for kind in handed_out)
    assert 0 < promised <= 1.2, handed_out


def test_a_cpu_s_timing_is_no_cost_of_a_gpu(
    sweep_of: SweepOf, store: Store, tune: Any, publish: Callable[..., None], gpus: None
) -> None:
    for recipe in sweep_of(profile="mini", seeds=[9]).cells[0].recipes.scores.walk():
        publish(recipe, wall_s=3600.0)
    outcome = run_plan(prepare(sweep_of(profile="mini"), store), store, RunOptions(max_gpu_hours=0.5))
    assert outcome.stopped == "" and outcome.rows == 1
