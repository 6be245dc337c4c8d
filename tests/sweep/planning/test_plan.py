"""Cells become a graph in which equal work stands once, in an order that works, without what is stored."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from midef.core import ArtifactKey, Failure
from midef.storage import Store
from midef.sweep.execution.result_rows import lost_rows, measured_rows
from midef.sweep.planning.plan import More, Node, Plan, Timing, extend_plan, make_plan, plan_text
from midef.sweep.spec.resolve import PlannedCell, Sweep

ROOT = Path(__file__).resolve().parents[3]
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
        "split": 2, "target": 1, "evaluator": 1, "prior": 1, "inverter": 1, "reconstructions": 3, "scores": 3,
    }  # fmt: skip


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
    assert kinds(plan) == {"split": 1, "evaluator": 1, "scores": 1}, (
        "the prior and the public split were only needed before"
    )
    assert only(plan, "scores").needs == {recipes.evaluator.key, recipes.private.key}
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
    assert "1 cells failed before; run again with --retry-failed to try them again" in plan_text(plan)
    again = make_plan(sweep, store, retry_failed=True)
    assert again.failed_before == [] and kinds(again)["target"] == 2


def test_refused_cells_are_never_built(sweep_of: SweepOf, store: Store, extra_defenses: None) -> None:
    sweep = sweep_of({"architecture": "vgg16_tiny"}, defenses=["none", "not_here", "midre+not_here"])
    plan = make_plan(sweep, store, retry_failed=True)
    assert [c.cell.defense.label for c in plan.refused] == ["not_here", "midre+not_here"]
    assert plan.refused[0].refused == "needs a residual block; choose resnet18_tiny"
    assert kinds(plan)["target"] == 1 and plan.shared["target"] == 1 and plan.unshared["scores"] == 1
    text = plan_text(plan)
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


def test_timings_of_stored_work_are_used(sweep_of: SweepOf, store: Store, publish: Callable[..., None]) -> None:
    for seed, wall_s in enumerate([10.0, 30.0, 500.0]):
        publish(sweep_of(seeds=[seed]).cells[0].recipes.target, wall_s=wall_s)
    plan = make_plan(sweep_of(seeds=[7]), store)
    assert only(plan, "target").expected_s == 30.0, "the median"
    assert only(plan, "prior").expected_s is None
    cost = plan.cost()
    assert [round(3600 * hours) for hours in cost.hours] == [10, 30, 500]
    assert (cost.unknown, cost.timed, cost.devices) == (len(plan.nodes) - 1, 3, ("cpu test",))
    text = plan_text(plan)
    assert re.search(r"^target .* 0\.003 / 0\.008 / 0\.139 +- +3 stored on cpu test$", text, re.M)
    assert re.search(r"^prior .* unknown +- +no timing yet$", text, re.M)
    assert f"0.003 / 0.008 / 0.139 hours of work + {len(plan.nodes) - 1} pieces without a timing yet" in text


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
    assert whole.gpu_hours == (1.0, 1.0, 1.0) and whole.gpu_unknown == asks - 1
    assert re.search(r"^target .* 1\.0 / 1\.0 / 1\.0 +1 stored on NVIDIA H100$", plan_text(plan), re.M)
    assert re.search(r"^total .* 1\.0 / 1\.0 / 1\.0 \+ unknown", plan_text(plan), re.M)


def test_a_gpu_s_timing_goes_before_a_cpu_s(sweep_of: SweepOf, store: Store, publish: Callable[..., None]) -> None:
    for seed, device in enumerate(["cpu test", "cpu test", "NVIDIA H100"]):
        wall_s = 50.0 if device.startswith("cpu") else 2.0
        publish(sweep_of(seeds=[seed]).cells[0].recipes.target, wall_s=wall_s, device=device)
    found = only(make_plan(sweep_of(seeds=[7]), store), "target").timing
    assert found == Timing(2.0, 2.0, 2.0, 1, "NVIDIA H100")


def test_a_plan_of_chosen_cells_is_about_these(sweep_of: SweepOf) -> None:
    sweep = sweep_of(defenses=["none", "midre"], seeds=[0, 1])
    plan = make_plan(sweep, None, chosen=lambda c: c.cell.defense.name == "midre" and c.cell.seed == 1)
    assert len(plan.cells) == 1 and kinds(plan)["target"] == 1 and plan.unshared["scores"] == 1
    assert "= 1 cells of 4, as chosen: 0 done, 1 to do" in plan_text(plan)


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


# --- the text ---------------------------------------------------------------------------------------------------------


@dataclass
class Table:
    rows: dict[str, tuple[int, int, int, int]]

    @classmethod
    def of(cls, text: str) -> Table:
        found = re.findall(r"^(\w+) +([\d,]+) +([\d,]+) +([\d,]+) +([\d,]+)", text, re.M)
        return cls({kind: tuple(int(n.replace(",", "")) for n in numbers) for kind, *numbers in found})  # type: ignore[misc]


def test_the_text_says_what_the_plan_holds(sweep_of: SweepOf, store: Store, publish_cell: Callable[..., None]) -> None:
    sweep = sweep_of({"attack": SIX}, defenses=EIGHT, seeds=[0, 1])
    publish_cell(sweep.cells[5])
    plan = make_plan(sweep, store)
    text = plan_text(plan)
    table = Table.of(text).rows
    todo = kinds(plan)
    for kind in plan.unshared:
        assert table[kind] == (plan.unshared[kind], plan.shared[kind], plan.cached[kind], todo[kind])
    counters = (plan.unshared, plan.shared, plan.cached, todo)
    assert table["total"] == tuple(sum(c.values()) for c in counters)
    assert text.startswith(
        f"sweep small  profile smoke  ({sweep.digest[:10]})\n6 setups x 8 defenses x 2 seeds = 96 cells"
    )
    assert f"to build {len(plan.nodes)} artifacts" in text


def test_nothing_to_do_is_said(sweep_of: SweepOf, store: Store, publish_cell: Callable[..., None]) -> None:
    sweep = sweep_of()
    publish_cell(sweep.cells[0])
    rows = measured_rows("small", sweep.cells[0], store)
    store.results.write(sweep.cells[0].cell.digest, rows)
    assert plan_text(make_plan(sweep, store)).endswith("\nnothing to do")


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def matrix(spec: Callable[..., dict[str, Any]], write_yaml: Callable[..., Path]) -> Path:
    """8 defenses x 6 attacks x 3 seeds."""
    return write_yaml(spec({"attack": SIX, "id": ""}, name="matrix", defenses=EIGHT, seeds=[0, 1, 2]))


def run(*command: str) -> str:
    found = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""
    return found.stdout


def test_the_command_prints_counts_with_and_without_sharing(matrix: Path, tmp_path: Path) -> None:
    text = run("-m", "midef", "plan", str(matrix), "--store", str(tmp_path / "none"))
    assert "6 setups x 8 defenses x 3 seeds = 144 cells: 0 done, 144 to do, 0 failed before, 0 refused" in text
    assert Table.of(text).rows == {
        "split": (288, 2, 0, 2),
        # 144, and once more for each of 18 LoFt cells; 8 x 3 where shared
        "target": (162, 24, 0, 24),
        "evaluator": (144, 1, 0, 1),
        # five of six attacks draw from a generator; gmi:orig brings the paper's own, the other four share one
        "prior": (120, 2, 0, 2),
        "inverter": (24, 24, 0, 24),
        "reconstructions": (144, 144, 0, 144),
        "scores": (144, 144, 0, 144),
        "total": (1026, 341, 0, 341),
    }
    assert "to build 341 artifacts" in text
    assert not (tmp_path / "none").exists(), "planning made a store"


@pytest.mark.parametrize("verb", ["plan", "--help"])
def test_planning_imports_neither_torch_nor_ray(matrix: Path, tmp_path: Path, verb: str) -> None:
    program = (
        "import contextlib, io, sys\nfrom midef.sweep.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n    main(sys.argv[1:])\n"
        "print(sorted({'torch', 'ray', 'torchvision', 'pandas', 'pyarrow', 'numpy', 'plotly'} & set(sys.modules)))"
    )
    arguments = ["plan", str(matrix), "--store", str(tmp_path / "none")] if verb == "plan" else ["--help"]
    assert run("-c", program, *arguments).strip() == "[]"


def test_planning_with_a_store_imports_neither_torch_nor_ray(matrix: Path, store: Store) -> None:
    program = (
        "import sys\nfrom midef.sweep.cli import main\ncode = main(sys.argv[1:])\n"
        "print(code, sorted({'torch', 'ray', 'torchvision', 'pandas', 'plotly'} & set(sys.modules)))"
    )
    assert run("-c", program, "plan", str(matrix), "--store", store.uri).splitlines()[-1] == "0 []"


def test_the_plan_for_programs(matrix: Path, tmp_path: Path) -> None:
    found = json.loads(run("-m", "midef", "plan", str(matrix), "--store", str(tmp_path / "none"), "--json"))
    assert found["sweep"] == "matrix" and found["cells"] == 144 and found["to_build"] == 341
    assert (
        found["unshared"]["target"] == 162 and found["shared"]["target"] == 24 and set(found["cached"].values()) == {0}
    )


def test_one_line_per_cell(matrix: Path, tmp_path: Path) -> None:
    text = run("-m", "midef", "plan", str(matrix), "--store", str(tmp_path / "none"), "--expand")
    lines = re.findall(r"^[0-9a-f]{10}  to do   (\S+)  (.+)  seed (\d)$", text, re.M)
    assert len(lines) == len(set(lines)) == 144
    assert {defense for _, defense, _ in lines} == set(EIGHT)
