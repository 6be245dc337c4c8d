"""What a run leaves in its store is taken for dead, and removed, when its driver is dead: not sooner."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from midef.storage import Store
from midef.storage.processes import this_machine
from midef.sweep.execution.run_record import DriverState, RunRecord, drivers, new_run, remove_dead

DIGEST = "ab" * 32


@pytest.fixture(scope="module")
def dead_pid() -> int:
    """The number of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def state_of(run: str, **changes: Any) -> DriverState:
    now = time.time()
    said: dict[str, Any] = {"run": run, "sweep": "small", "digest": DIGEST, "profile": "smoke", "host": "head"}
    said |= {"machine": this_machine(), "pid": os.getpid(), "since": now, "at": now, "state": "running"}
    return DriverState(**(said | changes))


def left(store: Store) -> set[str]:
    return {path.split("/")[1] for path in store.location.files("runs")}


@pytest.mark.parametrize(
    ("changes", "lives"),
    [
        pytest.param({}, True, id="here and heard"),
        pytest.param({"pid": None}, False, id="here, its process is gone"),
        pytest.param({"pid": None, "machine": "elsewhere.0"}, True, id="elsewhere, heard lately"),
        pytest.param({"at": 0.0, "machine": "elsewhere.0"}, False, id="elsewhere, silent"),
        pytest.param({"at": 0.0}, False, id="here, silent: another process has its number"),
        pytest.param({"state": "interrupted"}, False, id="ended"),
    ],
)
def test_a_driver_lives(changes: dict[str, Any], lives: bool, dead_pid: int) -> None:
    if "pid" in changes:
        changes = {**changes, "pid": dead_pid}
    assert state_of("sweep-1", **changes).is_alive is lives


def test_a_killed_run_is_removed_at_once_with_tune_s_record(store: Store, tmp_path: Path, dead_pid: int) -> None:
    alive, killed = new_run(DIGEST), new_run(DIGEST)
    for run, pid in ((alive, os.getpid()), (killed, dead_pid)):
        RunRecord(store, run).write(state_of(run, pid=pid))
        RunRecord(store, run).beat("ef", {"pid": 1})
        (tmp_path / "ray" / run).mkdir(parents=True)
    assert remove_dead(store, DIGEST, tmp_path / "ray") == 1
    assert left(store) == {alive} and [p.name for p in (tmp_path / "ray").iterdir()] == [alive]


def test_a_run_without_a_driver_has_ended(store: Store) -> None:
    """A node that outlived its driver said once more that it is at work."""
    orphan, other = new_run(DIGEST), new_run("cd" * 32)
    for run in (orphan, other):
        RunRecord(store, run).beat("ef", {"pid": 1})
    assert remove_dead(store, DIGEST) == 1 and left(store) == {other}


def flip(path: Path, place: int) -> None:
    """Change one bit."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << (place % 8)
    path.write_bytes(bytes(content))


def test_a_damaged_state_of_a_driver_is_passed_over_with_a_message(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    run = new_run(DIGEST)
    RunRecord(store, run).write(state_of(run, counts={"done": 5}))
    path = Path(store.uri) / f"runs/{run}/driver.json"
    sound = path.read_bytes()
    for place in range(len(sound)):
        flip(path, place)
        assert drivers(store) == [], place
        path.write_bytes(sound)
    assert f"runs/{run}/driver.json is passed over: " in caplog.text
    assert drivers(store)[0].counts == {"done": 5}


def test_a_damaged_state_is_removed_once_its_driver_would_have_written_it_anew(store: Store) -> None:
    run = new_run(DIGEST)
    RunRecord(store, run).write(state_of(run))
    path = Path(store.uri) / f"runs/{run}/driver.json"
    path.write_bytes(b"{")
    assert remove_dead(store, DIGEST) == 0
    os.utime(path, (0, 0))
    assert remove_dead(store, DIGEST) == 1 and left(store) == set()


@pytest.mark.parametrize("content", [b"", b"[]", b"7", b'{"pid": "x"}', bytes(range(256)), b"[" * 9_999], ids=len)
def test_a_damaged_heartbeat_is_the_last_that_could_be_read(store: Store, content: bytes) -> None:
    """A number in it may end a process; and a node that hangs writes no other."""
    record = RunRecord(store, "sweep-1")
    record.beat("ef", {"pid": 1, "beats": 3})
    record.beat("ab", {"pid": 2, "beats": 1})
    assert record.beats() == {"ef": {"pid": 1, "beats": 3}, "ab": {"pid": 2, "beats": 1}}
    path = Path(store.uri) / "runs/sweep-1/nodes/ef.json"
    path.write_bytes(content)
    assert record.beats() == {"ef": {"pid": 1, "beats": 3}, "ab": {"pid": 2, "beats": 1}}
    assert RunRecord(store, "sweep-1").beats() == {"ab": {"pid": 2, "beats": 1}}
    record.beat("ef", {"pid": 1, "beats": 4})
    flip(path, 20)
    assert record.beats()["ef"]["beats"] == 3
