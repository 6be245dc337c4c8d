"""What a run records of its cells."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from midef.core import Failure, PreflightError, StoreError
from midef.storage import Store
from midef.sweep.execution import tune_run
from midef.sweep.execution.outcome import RunOptions, failure_text
from midef.sweep.execution.prepare import prepare
from midef.sweep.execution.tune_run import run_plan
from midef.sweep.planning.plan import More, Node, Plan
from midef.sweep.planning.resources import DRIVER_MEMORY

SweepOf = Callable[..., Any]
States = Callable[[Plan], dict[str, str]]


def test_what_tune_unpickles_for_every_node_is_small(sweep_of: SweepOf, store: Store, tune: Any) -> None:
    from ray import cloudpickle
    from ray.tune.trainable import wrap_function

    plan = prepare(sweep_of(defenses=["none", "midre", "nls"], seeds=list(range(20))), store)
    run_plan(plan, store, RunOptions())
    trainable = wrap_function(tune.trainable)
    assert len(plan.nodes) > 150 and len(cloudpickle.dumps(trainable)) < 6_000

    def needs(kind: str, train_workers: int) -> Any:
        return trainable.default_resource_request({"kind": kind, "train_workers": train_workers, "gpu": 0.0}).bundles

    assert needs("split", 0) == needs("target", 0) == [{"CPU": 1.0}]
    assert needs("target", 1) == needs("target", 4) == [{"memory": float(DRIVER_MEMORY)}]


def test_what_tune_pickles_at_its_start_holds_nothing_of_the_run(
    sweep_of: SweepOf, store: Store, tune: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """What asks for more may hold a lock, and the stream of a notebook is no file."""
    from ray import cloudpickle

    lock = threading.Lock()

    def grow(node: Node, failure: Failure | None) -> More:
        assert not lock.locked()
        return More()

    plan = prepare(sweep_of(seeds=list(range(20))), store)
    run_plan(plan, store, RunOptions(), grow)
    assert len(cloudpickle.dumps(tune.pickled)) < 10_000


def test_every_cell_gets_its_rows(sweep_of: SweepOf, store: Store, tune: Any, states: States) -> None:
    plan = prepare(sweep_of(defenses=["none", "midre", "loft"]), store)
    outcome = run_plan(plan, store, RunOptions())
    assert (outcome.built, outcome.rows, outcome.failed) == (len(plan.nodes), 3, {})
    assert states(plan) == {"none": "ok", "midre": "ok", "loft": "ok"}
    assert prepare(plan.sweep, store).is_empty


def test_a_failed_target_costs_its_own_cells_only(sweep_of: SweepOf, store: Store, tune: Any, states: States) -> None:
    tune.fails = {"target midre": "TrainingDiverged: the loss became nan"}
    plan = prepare(sweep_of({"attack": ["gmi", "brep_mi"]}, defenses=["none", "midre"]), store)
    outcome = run_plan(plan, store, RunOptions())
    assert states(plan) == {"none": "ok", "midre": "failed"}
    assert outcome.failed == {"TrainingDiverged: the loss became nan": 1}
    assert outcome.blocked == 4, "two attacks and what judges them"
    assert failure_text(outcome) == ("  1 x TrainingDiverged: the loss became nan\n  4 nodes were blocked by these")
    reasons = {(row.reason, row.failure) for row in store.results.read() if row.status == "failed"}
    ((reason, failure),) = reasons
    assert reason.startswith("target/") and failure == "diverged"
    assert [c.cell.defense.label for c in prepare(plan.sweep, store).failed_before] == ["midre", "midre"]


def test_failed_cells_are_tried_again_when_asked(sweep_of: SweepOf, store: Store, tune: Any, states: States) -> None:
    tune.fails = {"reconstructions": "out of luck"}
    sweep = sweep_of()
    run_plan(prepare(sweep, store), store, RunOptions())
    tune.fails = {}
    assert not prepare(sweep, store).nodes
    plan = prepare(sweep, store, retry_failed=True)
    assert sorted(n.recipe.kind for n in plan.nodes.values()) == ["reconstructions", "scores"]
    run_plan(plan, store, RunOptions())
    assert states(plan) == {"none": "ok"}
    assert {row.status for row in store.results.read()} == {"ok"}, "the failed rows are replaced"


def test_a_full_disk_is_no_cell_s_fault(sweep_of: SweepOf, store: Store, tune: Any, states: States) -> None:
    tune.fails = {"target midre": "StoreError: the store is full; free space or choose another --store"}
    plan = prepare(sweep_of(defenses=["none", "midre"]), store)
    with pytest.raises(PreflightError, match="the store is full; free space") as caught:
        run_plan(plan, store, RunOptions())
    assert caught.value.exit_code == 3
    assert states(plan)["midre"] == "missing", "nothing is recorded against a cell the machine failed"
    tune.fails = {}
    again = prepare(plan.sweep, store)
    assert again.nodes.keys().isdisjoint(tune.built), "what was built is kept"
    run_plan(again, store, RunOptions())
    assert states(plan) == {"none": "ok", "midre": "ok"}


def test_rows_that_cannot_be_written_stop_the_run_with_the_reason(
    sweep_of: SweepOf, store: Store, tune: Any, monkeypatch: pytest.MonkeyPatch, states: States
) -> None:
    plan = prepare(sweep_of(), store)

    def full(*args: Any) -> None:
        raise StoreError("no space left in the store")

    with monkeypatch.context() as patch:
        patch.setattr(store.results, "write", full)
        with pytest.raises(PreflightError, match="no space left in the store"):
            run_plan(plan, store, RunOptions())
    again = prepare(plan.sweep, store)
    assert not again.nodes and states(plan) == {"none": "ok"}, "the rows are written from the stored scores"


def test_too_little_space_is_said_before_ray_starts(
    sweep_of: SweepOf, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*args: Any, **given: Any) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(tune_run, "start_ray", start)
    monkeypatch.setattr(store.artifacts, "free_bytes", lambda: 10 * 2**20)
    with pytest.raises(StoreError, match=r"store is too small: the plan needs .* free; free space or choose") as caught:
        run_plan(prepare(sweep_of(), store), store, RunOptions())
    assert caught.value.exit_code == 3


def test_an_interrupted_run_keeps_what_is_finished(sweep_of: SweepOf, store: Store, tune: Any) -> None:
    tune.interrupt_after = 3
    plan = prepare(sweep_of(), store)
    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, store, RunOptions())
    assert store.artifacts.keys() == set(tune.built) and len(tune.built) == 3
    assert len(prepare(plan.sweep, store).nodes) == len(plan.nodes) - 3


def test_a_result_another_driver_stored_is_not_overwritten_by_a_failure(
    sweep_of: SweepOf, store: Store, tune: Any, publish_cell: Callable[..., None], states: States
) -> None:
    plan = prepare(sweep_of(), store)
    publish_cell(plan.sweep.cells[0])  # by another driver, meanwhile
    tune.fails = {"scores": "worker died"}
    run_plan(plan, store, RunOptions())
    assert states(plan) == {"none": "ok"}
