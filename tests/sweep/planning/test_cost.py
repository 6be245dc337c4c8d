"""Costs come from the seconds that stored artifacts of equal work took, and from estimates beside them."""

from __future__ import annotations

import re
from collections.abc import Callable

from midef.storage import Store
from midef.sweep.planning.cost import Timing
from midef.sweep.planning.plan import Node, Plan, make_plan
from midef.sweep.planning.plan_text import plan_text
from midef.sweep.spec.resolve import Sweep

SweepOf = Callable[..., Sweep]


def only(plan: Plan, kind: str) -> Node:
    (node,) = (n for n in plan.nodes.values() if n.recipe.kind == kind)
    return node


def test_a_defense_of_many_passes_says_nothing_about_one_of_few(
    sweep_of: SweepOf, store: Store, publish: Callable[..., None]
) -> None:
    """Trap-MID learns five images where others learn one: its seconds made a plan of hours out of minutes."""
    publish(sweep_of(defenses=["trap_mid"]).cells[0].recipes.target, wall_s=1800.0)
    plan = make_plan(sweep_of(defenses=["none", "midre"], seeds=[1]), store)
    assert {node.expected_s for node in plan.nodes.values() if node.recipe.kind == "target"} == {None}
    publish(sweep_of(defenses=["none"]).cells[0].recipes.target, wall_s=60.0)
    plan = make_plan(sweep_of(defenses=["none", "midre", "trap_mid"], seeds=[1]), store)
    assert {
        node.recipe.params["defense"]["name"]: node.expected_s
        for node in plan.nodes.values()
        if node.recipe.kind == "target"
    } == {"none": 60.0, "midre": 60.0, "trap_mid": 1800.0}


def test_timings_of_stored_work_are_used(sweep_of: SweepOf, store: Store, publish: Callable[..., None]) -> None:
    for seed, wall_s in enumerate([10.0, 30.0, 500.0]):
        publish(sweep_of(seeds=[seed]).cells[0].recipes.target, wall_s=wall_s)
    plan = make_plan(sweep_of(seeds=[7]), store)
    assert only(plan, "target").expected_s == 30.0, "the median"
    assert only(plan, "prior").expected_s is None
    cost = plan.cost()
    assert [round(3600 * hours) for hours in cost.hours] == [10, 30, 500]
    assert (cost.estimated, cost.unknown) == (len(plan.nodes) - 1, 0) and cost.estimated_hours > 0
    assert (cost.timed, cost.devices) == (3, ("cpu test",))
    text = plan_text(plan, None)
    assert re.search(r"^target .* 10 / 30 / 500 s +3 stored on cpu test$", text, re.M)
    assert re.search(r"^prior .* about [\d.]+ (s|min) +estimated$", text, re.M)
    several = len(plan.nodes) - 1
    assert re.search(rf"^total .* 10 / 30 / 500 s \+ about .* 3 stored on cpu test; {several} estimated$", text, re.M)
    assert re.search(
        rf": 10 / 30 / 500 s of work \+ about [\d.]+ (s|min) for {several} that are estimated$", text, re.M
    )
    assert re.search(r"^about \d+ (s|min) from start to end on the \d+ processors here, without a GPU$", text, re.M)


def test_gpu_hours_come_from_timings_on_gpus_alone(
    sweep_of: SweepOf, store: Store, publish: Callable[..., None]
) -> None:
    """mini gives a target a whole GPU and a prior half of one; a CPU's seconds say nothing about a GPU's."""
    made = sweep_of(profile="mini", seeds=[0]).cells[0].recipes
    publish(made.target, wall_s=3600.0, device="NVIDIA H100")
    prior = next(r for r in made.scores.walk() if r.kind == "prior")
    publish(prior, wall_s=100.0)
    plan = make_plan(sweep_of(profile="mini", seeds=[7]), store)
    cost = plan.cost("target")
    assert cost.gpu_hours == (1.0, 1.0, 1.0) and cost.gpu_unknown == 0
    whole = plan.cost()
    asks = sum(n.recipe.kind != "split" for n in plan.nodes.values())
    assert whole.gpu_hours == (1.0, 1.0, 1.0) and (whole.gpu_estimated, whole.gpu_unknown) == (asks - 1, 0)
    assert 0 < whole.gpu_predicted[0] < whole.gpu_predicted[1] < whole.gpu_predicted[2]
    assert re.search(r"^target .* 60 / 60 / 60 min +1 stored on NVIDIA H100$", plan_text(plan, None), re.M)
    assert re.search(r"^total .* 60 / 60 / 60 min \+ about [\d.]+ / ", plan_text(plan, None), re.M)


def test_a_gpu_s_timing_goes_before_a_cpu_s(sweep_of: SweepOf, store: Store, publish: Callable[..., None]) -> None:
    for seed, device in enumerate(["cpu test", "cpu test", "NVIDIA H100"]):
        wall_s = 50.0 if device.startswith("cpu") else 2.0
        publish(sweep_of(seeds=[seed]).cells[0].recipes.target, wall_s=wall_s, device=device)
    node = only(make_plan(sweep_of(seeds=[7]), store), "target")
    assert node.timing == Timing(2.0, 2.0, 2.0, 1, "NVIDIA H100", node.work)


def test_what_was_neither_timed_nor_estimated_is_said(sweep_of: SweepOf) -> None:
    plan = make_plan(sweep_of(), None)
    only(plan, "prior").estimated_s = None
    cost = plan.cost()
    assert (cost.estimated, cost.unknown) == (len(plan.nodes) - 1, 1)
    text = plan_text(plan, None)
    assert re.search(r"^prior .* unknown +1 without$", text, re.M)
    assert re.search(r"^to build .* that are estimated \+ 1 artifact without a timing$", text, re.M)
