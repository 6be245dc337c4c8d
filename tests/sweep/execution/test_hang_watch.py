"""Nodes that hang are found by this machine's clock, and only their very process is ended."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from midef.storage import Store
from midef.sweep.execution import hang_watch
from midef.sweep.execution.hang_watch import HangWatch, end_process
from midef.sweep.execution.heartbeat import process_start
from midef.sweep.execution.run_record import RunRecord

RUN, NODE = "sweep-1", "ab12"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = [100.0]

    class Clock:
        monotonic = staticmethod(lambda: now[0])

    monkeypatch.setattr(hang_watch, "time", Clock)

    def forward(seconds: float) -> None:
        now[0] += seconds

    return forward


def test_a_node_that_goes_on_is_never_named(store: Store, clock: Callable[[float], None]) -> None:
    record = RunRecord(store, RUN)
    watch = HangWatch(record, hang_s=60)
    for number in range(1, 6):
        record.beat(NODE, {"pid": 7, "beats": number, "at": 0})
        assert watch.hanging() == {}
        clock(59)


def test_a_node_without_progress_is_named_once(store: Store, clock: Callable[[float], None]) -> None:
    record = RunRecord(store, RUN)
    watch = HangWatch(record, hang_s=60)
    record.beat(NODE, {"pid": 7, "beats": 3})
    assert watch.hanging() == {}
    clock(59)
    assert watch.hanging() == {}
    clock(2)
    assert watch.hanging() == {NODE: {"pid": 7, "beats": 3}}
    assert watch.hanging() == {}


def test_a_node_tried_again_is_watched_anew(store: Store, clock: Callable[[float], None]) -> None:
    record = RunRecord(store, RUN)
    watch = HangWatch(record, hang_s=60)
    record.beat(NODE, {"pid": 7, "beats": 1})
    watch.hanging()
    clock(50)
    record.beat(NODE, {"pid": 8, "beats": 1})
    assert watch.hanging() == {}
    clock(50)
    assert watch.hanging() == {}, "its first life does not count"


def test_clocks_of_machines_need_not_agree(store: Store, clock: Callable[[float], None]) -> None:
    record = RunRecord(store, RUN)
    watch = HangWatch(record, hang_s=60)
    record.beat(NODE, {"pid": 7, "beats": 1, "at": 0.0})
    assert watch.hanging() == {}
    record.beat(NODE, {"pid": 7, "beats": 2, "at": 9e9})
    assert watch.hanging() == {}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_only_the_very_process_is_ended() -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        started = process_start(sleeper.pid)
        assert not end_process(sleeper.pid, started + 1), "another process has its number now"
        assert sleeper.poll() is None
        assert end_process(sleeper.pid, started)
        assert sleeper.wait(10) == -9
        assert not end_process(sleeper.pid, started)
    finally:
        sleeper.kill()
        sleeper.wait()
