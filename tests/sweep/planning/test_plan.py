"""Cells become a graph in which equal work stands once, in an order that works, without what is stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from midef.core import ArtifactKey, Failure
from midef.storage import Store
from midef.sweep.execution.result_rows import lost_rows, measured_rows
from midef.sweep.planning.plan import More, Node, Plan, extend_plan, make_plan
from midef.sweep.planning.plan_text import plan_text
from midef.sweep.spec.planned_cell import PlannedCell
from midef.sweep.spec.resolve import Sweep

EIGHT = ["none", "midre", "nls", "bido", "loft", "rounding", "midre+nls", "midre+bido"]
# Budgets no profile has, so that nothing is shared by accident.
SIX = ["gmi", "gmi:orig", "gmi(iterations=77)", "brep_mi", "brep_mi(patience=7)", "inversion_model"]

SweepOf = Callable[..., Sweep]


def kinds(plan: Plan) -> Counter[str]:
    return Counter(node.recipe.kind for node in plan.nodes.values())


def only(plan: Plan, kind: str) -> Node:
    (node,) = (n for n in plan.nodes.values() if n.recipe.kind == kind)
    return node


def by_defense(sweep: Sweep, label: str) -> PlannedCell:
    (planned,) = (c for c in sweep.cells if c.cell.defense.label == label)
    return planned


def assert_order(plan: Plan) -> None:
    seen: set[ArtifactKey] = set()
    for key, node in plan.nodes.items():
        assert node.key == key
        assert node.needs <= seen, f"{key.short} stands before something it needs"
        seen.add(key)


# --- sharing ----------------------------------------------------------------------------------------------------------


def test_a_target_attacked_three_times_is_trained_once(sweep_of: SweepOf) -> None:
    plan = make_plan(sweep_of({"attack": ["gmi", "brep_mi", "inversion_model"]}), None)
    assert kinds(plan) == {
        **{"split": 2, "target": 1, "evaluator": 1, "prior": 1, "inverter": 1, "regressor": 1},
        **{"reconstructions": 3, "scores": 3},
    }


def test_two_attacks_on_one_generator_share_it(sweep_of: SweepOf) -> None:
    gmi, brep_mi = make_plan(sweep_of({"attack": ["gmi", "brep_mi"]}), None).sweep.cells
    assert gmi.recipes.reconstructions.inputs["prior"].key == brep_mi.recipes.reconstructions.inputs["prior"].key


def test_the_first_phase_of_loft_is_the_undefended_target(sweep_of: SweepOf) -> None:
    sweep = sweep_of(defenses=["none", "loft"])
    plain, loft = by_defense(sweep, "none").recipes.target, by_defense(sweep, "loft").recipes.target
    plan = make_plan(sweep, None)
    assert kinds(plan)["target"] == 2
    assert plain.key in plan.nodes[loft.key].needs


def test_the_first_phase_of_loft_is_trained_even_where_nobody_asks_for_it(sweep_of: SweepOf) -> None:
    plan = make_plan(sweep_of(defenses=["loft"]), None)
    assert kinds(plan)["target"] == 2 and kinds(plan)["scores"] == 1


def test_one_judge_for_all_targets_defenses_and_seeds(sweep_of: SweepOf) -> None:
    plan = make_plan(sweep_of({"attack": ["gmi", "brep_mi"]}, defenses=["none", "midre"], seeds=[0, 1, 2]), None)
    assert kinds(plan)["evaluator"] == 1 and kinds(plan)["prior"] == 1
    assert kinds(plan)["target"] == 6 and kinds(plan)["scores"] == 12


def test_cells_of_equal_scores_are_written_by_one_node(sweep_of: SweepOf, spec: Callable[..., dict[str, Any]]) -> None:
    data = spec()
    sweep = sweep_of(setups=[*data["setups"], {**data["setups"][0], "id": "again"}])
    plan = make_plan(sweep, None)
    assert len(sweep.cells) == 2
    assert {c.cell.setup.id for c in only(plan, "scores").cells} == {"faces", "again"}


def test_inputs_stand_before_what_needs_them(sweep_of: SweepOf) -> None:
    plan = make_plan(sweep_of({"attack": SIX}, defenses=EIGHT), None)
    assert_order(plan)
    for node in plan.nodes.values():
        assert node.needs == {recipe.key for recipe in node.recipe.inputs.values()}


# --- what is stored ---------------------------------------------------------------------------------------------------


def test_what_is_stored_is_a_leaf(sweep_of: SweepOf, store: Store, publish: Callable[..., None]) -> None:
    sweep = sweep_of()
    recipes = sweep.cells[0].recipes
    publish(recipes.reconstructions)
    publish(recipes.target)
    plan = make_plan(sweep, store)
    assert kinds(plan) == {"split": 1, "evaluator": 1, "regressor": 1, "scores": 1}, (
        "the prior and the public split were only needed before"
    )
    assert only(plan, "scores").needs == {
        *(recipes.evaluator.key, recipes.private.key, recipes.scores.inputs["regressor"].key)
    }
    assert +plan.cached == {"reconstructions": 1, "target": 1}
    assert_order(plan)


def test_stored_scores_without_rows_need_no_work(
    sweep_of: SweepOf, store: Store, publish_cell: Callable[..., None]
) -> None:
    sweep = sweep_of()
    publish_cell(sweep.cells[0])
    plan = make_plan(sweep, store)
    assert plan.rows_only == list(sweep.cells) and not plan.nodes and not plan.is_empty


def test_done_cells_drop_out(sweep_of: SweepOf, store: Store, publish_cell: Callable[..., None]) -> None:
    sweep = sweep_of(defenses=["none", "midre"])
    done = by_defense(sweep, "midre")
    publish_cell(done)
    rows = measured_rows("small", done, store)
    store.results.write(done.cell.digest, rows)
    plan = make_plan(sweep, store)
    assert plan.done == [done]
    assert kinds(plan) == {"target": 1, "reconstructions": 1, "scores": 1}, "splits, prior and judge are stored"


def test_a_done_cell_stays_done_without_its_artifacts(
    sweep_of: SweepOf, store: Store, publish_cell: Callable[..., None], tmp_path: Path
) -> None:
    import shutil

    sweep = sweep_of()
    publish_cell(sweep.cells[0])
    rows = measured_rows("small", sweep.cells[0], store)
    store.results.write(sweep.cells[0].cell.digest, rows)
    shutil.rmtree(tmp_path / "store" / "artifacts")
    plan = make_plan(sweep, store)
    assert plan.is_empty and plan.done == list(sweep.cells)


def test_failed_cells_stay_out_unless_they_are_to_be_tried_again(sweep_of: SweepOf, store: Store) -> None:
    sweep = sweep_of(defenses=["none", "midre"])
    failed = by_defense(sweep, "midre")
    store.results.write(failed.cell.digest, lost_rows("small", failed, Failure("bug", "broke")))
    plan = make_plan(sweep, store)
    assert plan.failed_before == [failed] and kinds(plan)["target"] == 1
    assert "1 cell failed before; run again with --retry-failed to include them" in plan_text(plan, None)
    again = make_plan(sweep, store, retry_failed=True)
    assert again.failed_before == [] and kinds(again)["target"] == 2


def test_refused_cells_are_never_built(sweep_of: SweepOf, store: Store, extra_defenses: None) -> None:
    sweep = sweep_of({"architecture": "vgg16_tiny"}, defenses=["none", "not_here", "midre+not_here"])
    plan = make_plan(sweep, store, retry_failed=True)
    assert [c.cell.defense.label for c in plan.refused] == ["not_here", "midre+not_here"]
    assert plan.refused[0].refused == "needs a residual block; choose resnet18_tiny"
    assert kinds(plan)["target"] == 1 and plan.shared["target"] == 1 and plan.unshared["scores"] == 1
    text = plan_text(plan, None)
    both = "not_here on vgg16_tiny, midre+not_here on vgg16_tiny"
    assert f"refused: {both}: needs a residual block; choose resnet18_tiny" in text
    assert "3 cells: 0 done, 1 to do, 0 failed before, 2 refused" in text


def test_a_defense_refused_on_one_architecture_is_planned_on_another(
    sweep_of: SweepOf, extra_defenses: None, spec: Callable[..., dict[str, Any]]
) -> None:
    one = spec()["setups"][0]
    other = {**one, "id": "res", "architecture": "resnet18_tiny", "evaluator": "vgg16_tiny"}
    plan = make_plan(sweep_of(setups=[one, other], defenses=["not_here"]), None)
    assert len(plan.refused) == 1 and kinds(plan)["scores"] == 1


# --- order of work ----------------------------------------------------------------------------------------------------


def test_the_longest_path_comes_first(sweep_of: SweepOf) -> None:
    plan = make_plan(sweep_of(defenses=["none", "loft"]), None)
    for node in plan.nodes.values():
        dependants = [n for n in plan.nodes.values() if node.key in n.needs]
        assert all(node.remaining_s > n.remaining_s for n in dependants)
    plain, loft = (by_defense(plan.sweep, label).recipes.target.key for label in ("none", "loft"))
    evaluator = only(plan, "evaluator").key
    assert plan.nodes[plain].remaining_s > plan.nodes[loft].remaining_s > plan.nodes[evaluator].remaining_s


def test_a_plan_of_chosen_cells_is_about_these(sweep_of: SweepOf) -> None:
    sweep = sweep_of(defenses=["none", "midre"], seeds=[0, 1])
    plan = make_plan(sweep, None, chosen=lambda c: c.cell.defense.name == "midre" and c.cell.seed == 1)
    assert len(plan.cells) == 1 and kinds(plan)["target"] == 1 and plan.unshared["scores"] == 1
    assert "= 1 cell of 4, as chosen: 0 done, 1 to do" in plan_text(plan, None)


# --- a plan that grows ------------------------------------------------------------------------------------------------


def of_kind(added: list[Node]) -> Counter[str]:
    return Counter(node.recipe.kind for node in added)


def test_an_added_recipe_brings_what_it_lacks_inputs_first(sweep_of: SweepOf, store: Store) -> None:
    sweep = sweep_of(defenses=["none", "loft"])
    plan = make_plan(sweep, store, chosen=lambda planned: False)
    added = extend_plan(plan, More(recipes=[by_defense(sweep, "loft").recipes.target]), store)
    assert [node.recipe.kind for node in added] == ["split", "target", "target"], "LoFt starts from an undefended one"
    assert list(plan.nodes.values()) == added
    assert_order(plan)


def test_what_is_planned_is_shared_and_waited_for(sweep_of: SweepOf, store: Store) -> None:
    sweep = sweep_of(defenses=["none", "midre"])
    plan = make_plan(sweep, store, chosen=lambda planned: planned.cell.defense.name == "none")
    target = by_defense(sweep, "midre").recipes.target
    (added,) = extend_plan(plan, More(recipes=[target, target]), store)
    assert added.key == target.key and added.needs == {recipe.key for recipe in target.inputs.values()}
    assert extend_plan(plan, More(recipes=[target]), store) == []
    assert_order(plan)


def test_what_is_stored_is_neither_added_nor_waited_for(
    sweep_of: SweepOf, store: Store, publish: Callable[..., None]
) -> None:
    """As after a node of the plan was built: it is still in the plan, and it is stored."""
    sweep = sweep_of(defenses=["none", "midre"])
    none, midre = (by_defense(sweep, label).recipes for label in ("none", "midre"))
    plan = make_plan(sweep, store, chosen=lambda planned: planned.cell.defense.name == "none")
    publish(none.private)
    publish(none.target)
    (added,) = extend_plan(plan, More(recipes=[none.target, midre.target]), store)
    assert added.key == midre.target.key and added.needs == frozenset()
    publish(midre.target)
    assert extend_plan(make_plan(sweep, None, chosen=lambda planned: False), More(recipes=[midre.target]), store) == []


def test_an_added_cell_is_completed_by_its_scores(sweep_of: SweepOf, store: Store) -> None:
    sweep = sweep_of({"attack": ["gmi", "brep_mi"]}, defenses=["none", "midre"])
    whole = make_plan(sweep, store)
    plan = make_plan(sweep, store, chosen=lambda planned: planned == sweep.cells[0])
    added = extend_plan(plan, More(cells=sweep.cells), store)
    assert plan.nodes.keys() == whole.nodes.keys()
    for key, node in plan.nodes.items():
        assert (node.needs, node.cells) == (whole.nodes[key].needs, whole.nodes[key].cells)
        assert node.remaining_s == whole.nodes[key].remaining_s, "as if it had been planned at once"
    assert not any(node.urgent for node in added)
    assert extend_plan(plan, More(cells=sweep.cells), store) == []
    assert [len(n.cells) for n in plan.nodes.values() if n.recipe.kind == "scores"] == [1] * 4
    assert_order(plan)


def test_a_cell_of_stored_scores_and_a_refused_one_add_nothing(
    sweep_of: SweepOf, store: Store, publish_cell: Callable[..., None], extra_defenses: None
) -> None:
    sweep = sweep_of(defenses=["none", "not_here"])
    publish_cell(by_defense(sweep, "none"))
    plan = make_plan(sweep, None, chosen=lambda planned: False)
    assert by_defense(sweep, "not_here").refused
    assert extend_plan(plan, More(cells=sweep.cells), store) == [] and not plan.nodes


def test_what_is_asked_for_is_urgent_with_what_it_waits_for(sweep_of: SweepOf, store: Store) -> None:
    sweep = sweep_of(defenses=["none", "midre"])
    none, midre = (by_defense(sweep, label).recipes for label in ("none", "midre"))
    plan = make_plan(sweep, store, chosen=lambda planned: planned.cell.defense.name == "none")
    extend_plan(plan, More(recipes=[midre.target]), store)
    assert {key for key, node in plan.nodes.items() if node.urgent} == {midre.target.key, none.private.key}
    extend_plan(plan, More(recipes=[none.target]), store)
    assert plan.nodes[none.target.key].urgent, "planned already, but now somebody waits for it"


@pytest.mark.parametrize("planned_before", [True, False], ids=["like_the_plan", "like_the_store"])
def test_added_nodes_are_timed_like_equal_work(
    sweep_of: SweepOf, store: Store, publish: Callable[..., None], planned_before: bool
) -> None:
    publish(sweep_of(seeds=[9]).cells[0].recipes.target, wall_s=123.0)
    plan = make_plan(sweep_of(), store, chosen=lambda planned: planned_before)
    target = sweep_of(seeds=[5]).cells[0].recipes.target
    added = extend_plan(plan, More(recipes=[target]), store)
    assert added[-1].key == target.key and added[-1].expected_s == added[-1].remaining_s == 123.0


def test_a_plan_without_a_store_can_be_extended(sweep_of: SweepOf) -> None:
    sweep = sweep_of()
    plan = make_plan(sweep, None, chosen=lambda planned: False)
    assert of_kind(extend_plan(plan, More(cells=sweep.cells), None)) == kinds(make_plan(sweep, None))
