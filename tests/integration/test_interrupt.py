"""A run that is interrupted, and one with a process that hangs, on real Ray."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from midef.storage import Store

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]


@dataclass
class Run:
    """A started `midef run` in a session of its own, as a terminal would start it."""

    folder: Path
    process: subprocess.Popen[str]
    log: Path

    @classmethod
    def start(cls, folder: Path, name: str, env: dict[str, str], *options: str) -> Run:
        log = folder / f"{name}.log"
        with log.open("w") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "midef", "run", "micro.yaml", "--store", "store", *options],
                cwd=folder, stdout=stream, stderr=stream, env=env, start_new_session=True, text=True,
            )  # fmt: skip
        return cls(folder, process, log)

    @property
    def text(self) -> str:
        return self.log.read_text()

    def wait_for(self, condition: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + 300
        while not (found := condition()):
            assert self.process.poll() is None, f"the run ended before {what}:\n{self.text}"
            assert time.monotonic() < deadline, f"no {what} after 300 s:\n{self.text}"
            time.sleep(0.05)
        return found

    def interrupt(self) -> None:
        """Ctrl-C: the terminal tells the whole group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> int:
        try:
            return self.process.wait(120)
        finally:
            self.process.kill()


def beats(folder: Path, kind: str) -> list[dict[str, Any]]:
    """What nodes of this kind that are at work said last."""
    found = []
    for path in folder.glob("store/runs/*/nodes/*.json"):
        try:
            said = json.loads(path.read_text())
        except (FileNotFoundError, ValueError):
            continue
        if said.get("kind") == kind:
            found.append(said)
    return found


@dataclass(frozen=True)
class Story:
    """once: code and log of a run interrupted while a target trained; twice: interrupted at once; hung: with a process
    that was stopped; stored: artifacts by kind after the first."""

    once: tuple[int, str]
    stored: list[str]
    status: str
    twice: tuple[int, str, float]
    hung: tuple[int, str]
    store: Store


@pytest.fixture(scope="module")
def story(
    tmp_path_factory: pytest.TempPathFactory,
    micro: dict[str, Any],
    environment: dict[str, str],
    joining: dict[str, str],
) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("interrupt")
    data = copy.deepcopy(micro)
    data["training"] = {"epochs": 60, "batch_size": 16}
    (folder / "micro.yaml").write_text(yaml.safe_dump(data))

    run = Run.start(folder, "once", environment, "--cpus", "1")
    run.wait_for(lambda: beats(folder, "target"), "target at work")
    run.interrupt()
    once = run.end(), run.text
    store = Store.open(folder / "store", create=False)
    stored = sorted(key.kind for key in store.artifacts.keys())  # noqa: SIM118  # a method
    status = subprocess.run(
        [sys.executable, "-m", "midef", "status", "--store", "store"],
        cwd=folder, env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip

    run = Run.start(folder, "twice", environment, "--cpus", "1")
    run.wait_for(lambda: beats(folder, "target"), "target at work")
    run.interrupt()
    run.wait_for(lambda: "interrupt again" in run.text, "the first signal heard")
    start = time.monotonic()
    run.interrupt()
    twice = run.end(), run.text, time.monotonic() - start

    run = Run.start(folder, "hung", joining, "--hang-after", "4")
    (said, *_) = run.wait_for(lambda: beats(folder, "target"), "target at work")
    os.kill(said["pid"], signal.SIGSTOP)
    hung = run.end(), run.text
    yield Story(once, stored, status, twice, hung, store)


def test_one_interrupt_lets_what_runs_finish(story: Story) -> None:
    code, text = story.once
    assert code == 130, text
    assert "interrupted: 1 running nodes finish, no further node starts; interrupt again to end them too" in text
    assert "target" in story.stored, "the target that was training is stored"
    assert story.stored.count("target") == 1 and "scores" not in story.stored
    assert text.rstrip().endswith("midef: interrupted; what is finished is stored, the same command goes on from there")


def test_the_status_afterwards_says_how_to_go_on(story: Story) -> None:
    assert "  interrupted on " in story.status and "  next: the command that started it" in story.status
    assert "failed" not in story.status.replace("failed 0", "")


def test_two_interrupts_end_at_once(story: Story) -> None:
    code, text, seconds = story.twice
    assert code == 130, text
    assert seconds < 30
    assert "Traceback" not in text


def test_a_process_that_hangs_is_ended_and_its_work_done_again(story: Story) -> None:
    code, text = story.hung
    assert code == 0, text
    assert "hangs: target " in text and "it made no progress for 4 s on " in text
    assert set(story.store.results.cells().values()) == {"ok"} and len(story.store.results.cells()) == 2


def test_nothing_of_the_runs_is_left(story: Story) -> None:
    assert story.store.location.files("runs") == []
