"""Ray's start is tried again when the machine is busy; a cluster that is too small is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from midef.core import PreflightError
from midef.storage import Store
from midef.sweep.execution.outcome import RunOptions
from midef.sweep.execution.prepare import prepare
from midef.sweep.execution.ray_start import start_ray
from midef.sweep.execution.tune_run import run_plan
from midef.sweep.planning.plan import Plan

SweepOf = Callable[..., Any]
States = Callable[[Plan], dict[str, str]]


@pytest.mark.parametrize("failures", [0, 2, 9])
def test_a_start_of_ray_that_times_out_is_tried_again(failures: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    calls: list[str] = []

    def init(**given: Any) -> None:
        calls.append("init")
        if calls.count("init") <= failures:
            raise Exception("The current node timed out during startup. This could happen because ...")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: calls.append("shutdown"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if failures < 5:
        start_ray(RunOptions(), with_dashboard=False)
        assert calls == ["init", "shutdown"] * failures + ["init"]
    else:
        with pytest.raises(PreflightError, match="5 tries"):
            start_ray(RunOptions(), with_dashboard=False)


def test_any_other_failure_of_ray_s_start_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def init(**given: Any) -> None:
        raise RuntimeError("no room in /dev/shm")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(RuntimeError, match="no room"):
        start_ray(RunOptions(), with_dashboard=False)


def test_more_processes_than_the_cluster_has_room_for_are_refused(sweep_of: SweepOf, store: Store, tune: Any) -> None:
    with pytest.raises(PreflightError, match="kind evaluator takes 3 processes, the cluster has room for 2"):
        run_plan(prepare(sweep_of(train_workers={"evaluator": 3}), store), store, RunOptions())
    assert tune.built == []
