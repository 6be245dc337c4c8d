"""Logs of pieces of work: what is kept, how much of it, and what is left where a process was killed."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from midef.core.errors import StoreError
from midef.core.position import share, tell
from midef.core.recipe import ArtifactKey
from midef.storage import Store
from midef.storage.logs import (
    HEAD_BYTES,
    KEPT_ATTEMPTS,
    TAIL_BYTES,
    PieceLog,
    end_log,
    folder_of,
    read_attempts,
)

KEY = ArtifactKey("target", "ab" * 32)


def test_what_was_said_and_how_it_ended(store: Store) -> None:
    with PieceLog(store.location, KEY, what="target midre seed 0", device="cuda:1") as kept:
        kept.say("epoch 1, loss 0.5")
        logging.getLogger("midef.anything").warning("a warning of %s", "midef")
        logging.getLogger("midef.anything").info("too fine to keep")
    (attempt,) = read_attempts(store.location, KEY)
    assert (attempt.what, attempt.device, attempt.state) == ("target midre seed 0", "cuda:1", "ok")
    assert attempt.begun is not None and attempt.ended is not None and 0 <= attempt.ended - attempt.begun < 60
    lines = attempt.text.splitlines()
    assert lines[1].endswith("epoch 1, loss 0.5")
    assert lines[2].endswith("WARNING midef.anything: a warning of midef")
    assert "too fine" not in attempt.text and len(lines) == 4


def test_the_traceback_of_what_failed(store: Store) -> None:
    def fails() -> None:
        raise ValueError("the loss\nis nan")

    with pytest.raises(ValueError, match="the loss"), PieceLog(store.location, KEY):
        fails()
    (attempt,) = read_attempts(store.location, KEY)
    assert attempt.state == "failed" and attempt.reason == "ValueError: the loss is nan"
    assert "Traceback (most recent call last)" in attempt.text and "in fails" in attempt.text


def test_a_log_is_bounded_and_keeps_its_beginning_and_its_end(local_store: Store) -> None:
    with PieceLog(local_store.location, KEY) as kept:
        for number in range(20_000):
            kept.say(f"line {number} of many")
        kept.say("a line without an end: " + "x" * 10 * TAIL_BYTES)
    (attempt,) = read_attempts(local_store.location, KEY)
    assert len(attempt.text) <= HEAD_BYTES + TAIL_BYTES + 100
    assert "line 0 of many" in attempt.text and "line 9000 of many" not in attempt.text
    assert "bytes are left out here" in attempt.text and "a line without an end" in attempt.text
    assert attempt.state == "ok"


def test_the_latest_attempts_are_kept(local_store: Store) -> None:
    for number in range(KEPT_ATTEMPTS + 2):
        with PieceLog(local_store.location, KEY, what=f"try {number}"):
            pass
    kept = [attempt.what for attempt in read_attempts(local_store.location, KEY)]
    assert kept == [f"try {number}" for number in range(2, KEPT_ATTEMPTS + 2)]


def test_a_running_attempt_can_be_read_and_says_how_far_it_is(local_store: Store) -> None:
    with PieceLog(local_store.location, KEY, every_s=0.01), share(0.0, 1.0):
        tell(0.42)
        end = time.monotonic() + 20
        while "42 % done" not in read_attempts(local_store.location, KEY)[0].text:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert read_attempts(local_store.location, KEY)[0].state == "running"


KILLED = """
import sys, time
from midef.core.recipe import ArtifactKey
from midef.storage import Store
from midef.storage.logs import PieceLog
with PieceLog(Store.open(sys.argv[1]).location, ArtifactKey("target", "ab" * 32), every_s=0.05) as kept:
    kept.say("the last words")
    time.sleep(0.5)
    print("said", flush=True)
    time.sleep(60)
"""


def test_a_killed_process_leaves_what_it_said(local_store: Store) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, local_store.uri], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"said\n"
        os.kill(process.pid, signal.SIGKILL)
    (attempt,) = read_attempts(local_store.location, KEY)
    assert "the last words" in attempt.text and (attempt.state, attempt.ended) == ("killed", None)
    end_log(local_store.location, KEY, "the process died: it was killed")
    (attempt,) = read_attempts(local_store.location, KEY)
    assert (attempt.state, attempt.reason) == ("failed", "the process died: it was killed")
    assert "the last words" in attempt.text
    end_log(local_store.location, KEY, "said twice")
    assert "said twice" not in read_attempts(local_store.location, KEY)[-1].text
    end_log(local_store.location, KEY, "of another run", since=time.time() + 60)
    assert [a.reason for a in read_attempts(local_store.location, KEY)][1:] == ["of another run"]


def test_a_store_that_cannot_be_written_loses_the_log_and_not_the_work(
    local_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise StoreError("full")

    monkeypatch.setattr(type(local_store.location), "put", full)
    with PieceLog(local_store.location, KEY) as kept:
        kept.say("nobody will read this")
    assert read_attempts(local_store.location, KEY) == []


def test_helpers_write_only_when_they_fail(local_store: Store) -> None:
    with PieceLog(local_store.location, KEY, only_if_failed=True):
        pass
    assert read_attempts(local_store.location, KEY) == []
    with pytest.raises(RuntimeError), PieceLog(local_store.location, KEY, only_if_failed=True):
        raise RuntimeError("rank 1")
    assert [a.state for a in read_attempts(local_store.location, KEY)] == ["failed"]


def test_what_is_no_log_is_shown_as_it_is(local_store: Store) -> None:
    local_store.location.put(f"{folder_of(KEY)}/0-m-x-1.log", b"\xff no log\nended yesterday: ok\n")
    local_store.location.put(f"{folder_of(KEY)}/other.txt", b"not listed")
    assert (Path(local_store.uri) / folder_of(KEY)).is_dir()
    (attempt,) = read_attempts(local_store.location, KEY)
    assert attempt.begun is None and attempt.state == "" and "no log" in attempt.text
