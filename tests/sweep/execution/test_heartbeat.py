"""Heartbeats: written while something is done, missed when nothing is."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from midef.core.position import steps
from midef.storage import Store
from midef.sweep.execution.heartbeat import BEAT_S, IDLE_CPU_SHARE, NEAR_BEAT_S, Heartbeat, beat_s, process_start
from midef.sweep.execution.run_record import RunRecord

RUN, NODE = "sweep-1", "ab12"


def beats(store: Store) -> int:
    return int(RunRecord(store, RUN).beats().get(NODE, {}).get("beats", 0))


def wait_for(condition: Callable[[], bool], seconds: float = 120.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def test_the_first_beat_says_where_the_process_is(store: Store) -> None:
    with Heartbeat(store, RUN, NODE, on_gpu=False, every_s=60):
        assert wait_for(lambda: beats(store) == 1)
        said = RunRecord(store, RUN).beats()[NODE]
        assert said["pid"] == os.getpid() and said["started"] == process_start(os.getpid()) > 0
    assert RunRecord(store, RUN).beats() == {}, "a node that ended leaves nothing behind"


def step() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    weight.sum().backward()
    optimizer.step()


@pytest.mark.parametrize("work", [step, lambda: torch.nn.Linear(2, 2)(torch.ones(1, 2))], ids=["step", "pass"])
def test_work_is_a_beat_on_a_gpu(store: Store, work: Callable[[], Any]) -> None:
    with Heartbeat(store, RUN, NODE, on_gpu=True, every_s=0.05):
        assert wait_for(lambda: beats(store) == 1)
        work()
        assert wait_for(lambda: beats(store) == 2)
        time.sleep(0.3)
        assert beats(store) == 2, "nothing was done since"


def test_a_busy_process_is_no_progress_on_a_gpu(store: Store) -> None:
    """A GPU that hangs keeps its process spinning."""
    with Heartbeat(store, RUN, NODE, on_gpu=True, every_s=0.05):
        wait_for(lambda: beats(store) == 1)
        deadline = time.monotonic() + 0.4
        while time.monotonic() < deadline:
            pass
        assert beats(store) == 1


def test_a_busy_process_is_progress_on_a_cpu_and_a_waiting_one_is_not(store: Store) -> None:
    with Heartbeat(store, RUN, NODE, on_gpu=False, every_s=0.2):
        wait_for(lambda: beats(store) == 1)
        time.sleep(0.7)
        seen = beats(store)
        assert seen <= 2, "the heartbeat's own work does not count"
        assert wait_for(lambda: sum(range(20_000)) > 0 and beats(store) > seen)


def test_a_little_processor_time_in_a_short_while_is_no_progress(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks are frequent where the store is a folder; what Ray's threads use in one of them is no work."""
    used, looks = [0.0], [0]

    def cpu_s() -> float:
        looks[0] += 1
        return used[0]

    monkeypatch.setattr(Heartbeat, "_cpu_s", staticmethod(cpu_s))
    beat = Heartbeat(store, RUN, NODE, on_gpu=False, every_s=NEAR_BEAT_S)
    beat.every_s = 0.01
    with beat:
        assert wait_for(lambda: beats(store) == 1)
        used[0] = 0.9 * IDLE_CPU_SHARE * BEAT_S
        seen = looks[0]
        assert wait_for(lambda: looks[0] > seen + 5)
        assert beats(store) == 1
        used[0] = 1.1 * IDLE_CPU_SHARE * BEAT_S
        assert wait_for(lambda: beats(store) == 2)


def test_a_beat_carries_the_position_of_the_work(store: Store) -> None:
    with Heartbeat(store, RUN, NODE, on_gpu=True, every_s=0.05):
        assert wait_for(lambda: beats(store) == 1)
        assert RunRecord(store, RUN).beats()[NODE]["fraction"] == 0.0
        for number in steps(range(4)):
            if number == 3:
                assert wait_for(lambda: beats(store) >= 2), "a loop that goes on makes progress"
                beat = RunRecord(store, RUN).beats()[NODE]
                assert beat["fraction"] == 0.75 and 0 <= beat["certainty"] <= 1
    assert list(steps(range(2))) == [0, 1], "nobody listens any more"


def test_an_object_store_gets_fewer_beats_than_a_folder(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert beat_s(store, 600.0) < BEAT_S and beat_s(store, 4.0) == 1.0
    monkeypatch.setattr(store, "location", replace(store.location, local=None))
    assert beat_s(store, 600.0) == BEAT_S and beat_s(store, 4.0) == 1.0


def test_a_store_that_is_gone_does_not_end_the_node(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*args: Any) -> None:
        raise OSError("stale file handle")

    monkeypatch.setattr(RunRecord, "beat", gone)
    with Heartbeat(store, RUN, NODE, on_gpu=False, every_s=0.01):
        time.sleep(0.05)
    assert not [t for t in threading.enumerate() if t.name == "midef-heartbeat"]
