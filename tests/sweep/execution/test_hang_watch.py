"""Nodes that hang are found by this machine's clock, and only their very process is ended."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from midef.core import Failure, Recipe
from midef.storage import Store
from midef.sweep.execution import hang_watch
from midef.sweep.execution.hang_watch import HangWatch, end_process
from midef.sweep.execution.heartbeat import process_start
from midef.sweep.execution.progress import Progress
from midef.sweep.execution.run_record import RunRecord
from midef.sweep.execution.searcher import PlanSearcher
from midef.sweep.planning.plan import Node, Plan

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


def test_a_node_that_hangs_is_ended_once_and_explained_until_it_works_again(
    store: Store, clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(HangWatch, "end", staticmethod(lambda said: ended.append(said["pid"]) or True))
    recipe = Recipe("target", "made_up", {"defense": {"name": "midre"}, "seed": 0})
    plan = Plan(None, {recipe.key: Node(recipe, frozenset())}, [], [], [], [])  # type: ignore[arg-type]
    searcher = PlanSearcher(plan, lambda node: {}, on_done=lambda *args: None, on_lost=lambda *args: None)
    assert searcher.suggest("trial1") == {}
    stream, record = io.StringIO(), RunRecord(store, RUN)
    watch, progress = HangWatch(record, hang_s=60), Progress(plan, slots=1, stream=stream)

    def look(pid: int, beats: int) -> None:
        record.beat(recipe.key.digest, {"pid": pid, "beats": beats, "host": "w1", "fraction": 0.4, "left_s": None})
        record.beat("of another run", {"pid": 9, "beats": 1, "host": "w1"})
        clock(61)
        watch.look(searcher, progress)

    progress.started(plan.nodes[recipe.key])
    look(7, 1)
    assert progress.line().endswith("target midre seed 0 40 %"), "how far it is comes with its heartbeat"
    look(7, 1)
    assert ended == [7] and "hangs: target midre seed 0: it made no progress for 60 s on w1" in stream.getvalue()
    failure = searcher.explained[recipe.key]
    assert failure == Failure("hung", "it made no progress for 60 s on w1 and was ended")
    look(8, 1)
    assert ended == [7] and not searcher.explained, "it was tried again, and works"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_only_the_very_process_is_ended() -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        started = process_start(sleeper.pid)
        assert not end_process(sleeper.pid, started + 1), "another process has its number now"
        assert sleeper.poll() is None
        assert end_process(sleeper.pid, started)
        assert sleeper.wait(120) == -9
        assert not end_process(sleeper.pid, started)
    finally:
        sleeper.kill()
        sleeper.wait()
