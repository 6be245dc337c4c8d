"""What `midef status` reads out of a store: alive, crashed, interrupted, failed."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from midef.core import Failure
from midef.core.match import MatchOutcome, MatchReport, MatchTraining
from midef.storage import Store
from midef.storage.matches import write_match
from midef.sweep.execution.prepare import prepare
from midef.sweep.execution.progress import Progress
from midef.sweep.execution.result_rows import lost_rows, measured_rows
from midef.sweep.execution.run_record import DriverReport, DriverState, RunRecord, drivers, remove_dead
from midef.sweep.execution.status import read_status, status_text
from midef.sweep.planning.plan import make_plan
from midef.sweep.spec.resolve import Sweep


@pytest.fixture
def sweep(sweep_of: Callable[..., Sweep], store: Store) -> Sweep:
    made = sweep_of(defenses=["none", "midre", "bido", "nls"], seeds=[0, 1])
    prepare(made, store)
    return made


def state_of(sweep: Sweep, **changes: Any) -> DriverState:
    now = time.time()
    state = DriverState(
        run="sweep-1", sweep=sweep.name, digest=sweep.digest, profile="smoke", host="head", pid=7,
        since=now - 600, at=now, state="running", counts={"done": 3, "running": 1, "waiting": 4, "failed": 0},
        running=[["target midre seed 0", 95]], eta_s=180.0, last="split synthetic_faces (2 s)",
    )  # fmt: skip
    return replace(state, **changes)


def text_of(store: Store) -> str:
    return status_text(read_status(store))


def test_a_sweep_at_work_says_what_and_how_long(sweep: Sweep, store: Store) -> None:
    RunRecord(store, "sweep-1").write(state_of(sweep))
    text = text_of(store)
    assert "small: 8 missing\n" in text
    assert "  running on head for 10 min  done 3  running 1  waiting 4  failed 0  ETA 3 min\n" in text
    assert "    at work: target midre seed 0 (2 min)\n" in text
    assert "next:" not in text, "there is nothing to do but wait"


def test_status_shows_what_the_driver_shows(sweep: Sweep, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    plan = make_plan(sweep, store)
    progress = Progress(plan, slots=2, stream=io.StringIO())
    target = next(node for node in plan.nodes.values() if node.recipe.kind == "target")
    progress.started(target)
    progress.hear(target, {"fraction": 0.5, "left_s": 240.0})
    DriverReport(RunRecord(store, "sweep-1"), plan, progress, address="").write("running", 0.0)
    text = text_of(store)
    assert f"waiting {len(plan.nodes) - 1}  failed 0  ETA {progress.eta_text()}\n" in text and "ETA about" in text
    assert text.endswith("\n    at work: target none seed 0 50 %, 4 min left (0 s)")


def test_a_driver_that_fell_silent_is_gone(sweep: Sweep, store: Store) -> None:
    RunRecord(store, "sweep-1").write(state_of(sweep, at=time.time() - 7200, since=time.time() - 7800))
    text = text_of(store)
    assert "its driver on head was last heard 2.0 h ago, after 10 min: it is gone; done 3" in text
    assert "ETA" not in text
    assert text.endswith("  next: the command that started it, which goes on from here")


@pytest.mark.parametrize("state", ["interrupted", "budget reached"])
def test_a_run_that_was_stopped_says_so(sweep: Sweep, store: Store, state: str) -> None:
    RunRecord(store, "sweep-1").write(state_of(sweep, state=state, gpu_hours=1.25))
    assert f"  {state} on head after 10 min, 0 s ago; done 3" in text_of(store)
    assert "1.25 GPU-hours" in text_of(store)


def test_an_unknown_time_left_is_unknown(sweep: Sweep, store: Store) -> None:
    RunRecord(store, "sweep-1").write(state_of(sweep, eta_s=None))
    assert "ETA unknown" in text_of(store)


def test_the_time_left_of_a_plan_that_grows_is_the_least(sweep: Sweep, store: Store) -> None:
    RunRecord(store, "sweep-1").write(state_of(sweep, eta_s=180.0, eta_is_about=True, eta_is_least=True))
    assert "ETA at least about 3 min\n" in text_of(store)


def test_a_kind_with_one_cause_is_one_group(sweep: Sweep, store: Store) -> None:
    failures = [
        Failure("oom", "MemoryError at a.py:1: "), Failure("oom", "RuntimeError: DefaultCPUAllocator"),
        Failure("bug", "KeyError: 'a'"), Failure("bug", "ValueError: b"), Failure("hung", "MemoryError"),
    ]  # fmt: skip
    for planned, failure in zip(sweep.cells, failures, strict=False):
        store.results.write(planned.cell.digest, lost_rows("small", planned, failure))
    causes = read_status(store).sweeps[0].causes
    assert [(cause.failure, cause.cells) for cause in causes] == [("oom", 2), ("bug", 1), ("hung", 1), ("bug", 1)]
    assert "  failed: 2 cells (faces), oom: MemoryError at a.py:1" in text_of(store)


@pytest.mark.parametrize("is_new", [True, False], ids=["rows with kinds", "rows of an older midef"])
def test_failures_are_grouped_by_cause(sweep: Sweep, store: Store, is_new: bool) -> None:
    for i, planned in enumerate(sweep.cells[:5]):
        oom = f"target/{i}123456789 failed: OutOfMemoryError at x.py:{i}: tried to allocate {i} GiB"
        failure = Failure("bug", oom) if i < 4 else Failure("diverged", "the loss became nan")
        rows = [replace(row, failure=failure.kind if is_new else "") for row in lost_rows("small", planned, failure)]
        store.results.write(planned.cell.digest, rows)
    (found,) = read_status(store).sweeps
    assert found.cells == {"failed": 5, "missing": 3}
    assert [cause.cells for cause in found.causes] == [4, 1]
    text = text_of(store)
    kind = ", bug" if is_new else ""
    example = f"failed: 4 cells (faces){kind}: target/0123456789 failed: OutOfMemory"
    assert text.count("  failed: ") == 2 and example in text
    retry = f"midef retry small@{found.digest[:10]} --store {store.uri} --failed"
    assert text.endswith(f"{retry} --filter error=diverged" if is_new else retry)


def test_cells_are_counted_by_what_is_stored(sweep: Sweep, store: Store, publish_cell: Callable[..., None]) -> None:
    publish_cell(sweep.cells[0])
    store.results.write(sweep.cells[0].cell.digest, measured_rows("small", sweep.cells[0], store))
    (found,) = read_status(store).sweeps
    assert found.cells == {"ok": 1, "missing": 7} and found.driver is None


def test_it_can_be_read_by_programs(sweep: Sweep, store: Store) -> None:
    RunRecord(store, "sweep-1").write(state_of(sweep))
    plain = json.loads(json.dumps(read_status(store).as_plain()))
    assert plain["sweeps"][0]["driver"]["counts"]["done"] == 3 and plain["sweeps"][0]["cells"] == {"missing": 8}


def test_what_another_version_wrote_is_passed_over(sweep: Sweep, store: Store) -> None:
    store.location.put("runs/sweep-9/driver.json", b'{"run": "sweep-9", "from": "the future"}')
    store.location.put("runs/sweep-8/driver.json", b"half a fi")
    assert drivers(store) == [] and read_status(store).sweeps[0].driver is None


def test_only_dead_runs_of_the_sweep_are_removed(sweep: Sweep, store: Store) -> None:
    old = time.time() - 3600
    for run, changes in {
        "alive": {},
        "dead": {"at": old},
        "stopped": {"state": "interrupted"},
        "other": {"digest": "f" * 64, "at": old},
    }.items():
        record = RunRecord(store, run)
        record.write(state_of(sweep, run=run, **changes))
        record.beat("ab", {"pid": 1})
    assert remove_dead(store, sweep.digest) == 2
    assert sorted(path.split("/")[1] for path in store.location.files("runs") if "driver" in path) == ["alive", "other"]


def test_a_matched_sweep_says_how_far_it_is(sweep: Sweep, store: Store) -> None:
    training = MatchTraining(strength=0.4, seed=0, accuracy=88.0, phase="search", target_key="target/1")
    about: dict[str, Any] = {"architecture": "vgg16_tiny", "private": "synthetic_faces", "setups": ("faces",)}
    about |= {"target": 88.0, "target_text": "88 %", "tolerance": 0.5, "defense_name": "midre"}
    outcomes = (
        MatchOutcome(**about, defense="midre", state="matched", trainings=(training,)),
        MatchOutcome(**about, defense="nls", state="undecided", reason="it is still being searched"),
    )
    write_match(
        store, MatchReport(sweep="m", digest="ab" * 20, profile="smoke", outcomes=outcomes, driver=sweep.digest)
    )
    RunRecord(store, "sweep-1").write(state_of(sweep))
    text = text_of(store)
    assert "m, matched: 1 matched, 1 undecided; 1 training" in text
    assert text.index("m, matched") < text.index("running on head")
    assert read_status(store).as_plain()["matches"][0]["states"] == {"matched": 1, "undecided": 1}
