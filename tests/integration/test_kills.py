"""`kill -9` twenty times in a random order, and two drivers at once: what is finished stays, what is not is done again.

The order of the victims and the moments come from a fixed seed; what a victim does at that moment is up to the machine.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from midef.metrics import METRICS
from midef.storage import Store
from midef.sweep.catalogue import read_spec
from midef.sweep.execution.heartbeat import process_start
from midef.sweep.planning.plan import Plan, make_plan
from midef.sweep.spec.resolve import resolve

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800)]

SEED = 48
Victim = Literal["driver", "raylet", "node", "writer"]
VICTIMS: dict[Victim, int] = {"driver": 4, "raylet": 3, "node": 8, "writer": 5}
"""writer: whoever has a private file or folder with something in it in the store; mostly a node, now and then the
driver."""
PATIENCE_S = 180.0
"""For what takes seconds on a machine that is free."""
LONGEST_WAIT_S = 1.0
"""A kill comes up to so long after the first node is at work: nodes take about as long."""


# --- processes --------------------------------------------------------------------------------------------------------


def session_of(pid: int) -> int:
    """The session a living process belongs to; 0 if it is gone. Ray gives every worker a group of its own."""
    try:
        state, _, _, session = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:4]
    except (OSError, ValueError):
        return 0
    return 0 if state == "Z" else int(session)


def members(session: int) -> list[int]:
    return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and session_of(int(p.name)) == session]


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def wait_for(condition: Callable[[], Any], *, at_most_s: float, every_s: float = 0.05) -> Any:
    """What `condition` answers as soon as it is true, or at the end."""
    deadline = time.monotonic() + at_most_s
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(every_s)
    return found


@dataclass
class Run:
    """A started `midef run` in a session of its own, so that it and all its children are found by that."""

    folder: Path
    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(cls, folder: Path, log: str, env: dict[str, str], *options: str) -> Run:
        path = folder / f"{log}.log"
        with path.open("w") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "midef", "run", "sweep.yaml", "--store", "store", *options],
                cwd=folder, stdout=stream, stderr=stream, env=env, start_new_session=True,
            )  # fmt: skip
        return cls(folder, process, path)

    @property
    def text(self) -> str:
        return self.log.read_text()

    def wait(self, at_most_s: float) -> int:
        """Its exit code; everything it started is gone afterwards."""
        try:
            return self.process.wait(at_most_s)
        finally:
            self.end()

    def end(self) -> None:
        """Give Ray a moment to clean up after its driver, then end what is left: nothing may write into the store
        later."""
        self.process.kill()
        self.process.wait()
        wait_for(lambda: not members(self.process.pid), at_most_s=3)
        for pid in members(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert wait_for(lambda: not members(self.process.pid), at_most_s=PATIENCE_S), "a process survives SIGKILL"

    def find(self, victim: Victim) -> tuple[int, str] | None:
        """The process to kill and what it is doing; None while there is none of this kind."""
        if victim == "driver":
            return self.process.pid, "driver"
        if victim == "raylet":
            return next(((pid, "raylet") for pid in members(self.process.pid) if name_of(pid) == "raylet"), None)
        return next(iter(self.nodes() if victim == "node" else self.writers()), None)

    def nodes(self) -> list[tuple[int, str]]:
        """Living processes of this run that said they are at work, and on what."""
        found = []
        for path in sorted(self.folder.glob("store/runs/*/nodes/*.json")):
            try:
                said = json.loads(path.read_text())
            except FileNotFoundError:
                continue  # it is done
            pid = int(said["pid"])
            if session_of(pid) == self.process.pid and process_start(pid) == said["started"]:
                found.append((pid, said["kind"]))
        return found

    def writers(self) -> list[tuple[int, str]]:
        """Processes of this run that have written a part of something, and what."""
        found = []
        for top in ("artifacts", "results"):
            with contextlib.suppress(FileNotFoundError):
                for private in (self.folder / "store" / top / ".tmp").iterdir():
                    files = sorted(p.name for p in private.iterdir()) if private.is_dir() else ["rows"]
                    pid = int(private.name.split("-")[-2])
                    if files and session_of(pid) == self.process.pid:
                        found.append((pid, f"{top}: {', '.join(files)}"))
        return found


# --- what is in a store -----------------------------------------------------------------------------------------------

Seal = tuple[int, dict[str, str]]
"""When META.json of an artifact was written, and the checksum of each of its files."""


def finished(folder: Path, known: dict[str, Seal]) -> dict[str, Seal]:
    """Every finished artifact as `kind/digest`; those in `known` are not read again."""
    found = dict(known)
    for meta in folder.glob("store/artifacts/[!.]*/*/META.json"):
        name = f"{meta.parent.parent.name}/{meta.parent.name}"
        if name not in found:
            files = {
                p.relative_to(meta.parent).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
                for p in sorted(meta.parent.rglob("*"))
                if p.is_file()
            }
            found[name] = meta.stat().st_mtime_ns, files
    return found


def left_over(folder: Path) -> list[str]:
    """What a store should not hold after its last run: private things, records of runs, checkpoints, damaged files."""
    store = folder / "store"
    places = [store / ".tmp", *store.glob("*/.tmp"), *store.glob("*/.damaged")]
    found = [path for place in places if place.is_dir() for path in place.iterdir()]
    found += [path for top in ("runs", "ray", "checkpoints") for path in (store / top).glob("[!.]*")]
    return sorted(path.relative_to(store).as_posix() for path in found)


def plan_of(folder: Path) -> Plan:
    """Everything the sweep needs, as if nothing were stored."""
    return make_plan(resolve(read_spec(folder / "sweep.yaml")), None)


@dataclass(frozen=True)
class Stored:
    """A folder with `sweep.yaml` and its store, after its last run."""

    folder: Path

    @property
    def store(self) -> Store:
        return Store.open(self.folder / "store", create=False)

    def assert_whole(self) -> None:
        """Each artifact of the plan once and intact, each cell once with every metric once, and nothing else."""
        plan, store = plan_of(self.folder), self.store
        assert store.artifacts.keys() == set(plan.nodes)
        for key in plan.nodes:
            store.artifacts.fetch(key)  # raises where a checksum is wrong
        cells = {planned.cell.digest for planned in plan.cells}
        assert store.results.cells() == dict.fromkeys(cells, "ok")
        assert Counter((row.cell, row.metric) for row in store.results.read()) == Counter(
            (cell, metric) for cell in cells for metric in METRICS.names()
        )
        assert left_over(self.folder) == []

    def measured(self) -> dict[tuple[str, str], Any]:
        """What every metric that times nothing found, by cell."""
        return {(row.cell, row.metric): row.value for row in self.store.results.read() if row.unit != "seconds"}


# --- twenty kills -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kill:
    """victim: what was looked for; process: what it was; doing: what it did; finished: artifacts stored by then;
    code: how the run ended by it, None where it went on; text: what that run had said."""

    victim: Victim
    process: str
    doing: str
    finished: int
    code: int | None
    text: str = field(repr=False)


@dataclass
class Story:
    """A sweep of 40 artifacts through all kills to its end: sealed holds those that were finished at any of them."""

    stored: Stored
    kills: list[Kill] = field(default_factory=list)
    sealed: dict[str, Seal] = field(default_factory=dict)
    code: int = -1
    text: str = ""
    seconds: float = 0.0


def write_sweep(folder: Path, micro: dict[str, Any], **changes: Any) -> None:
    (folder / "sweep.yaml").write_text(yaml.safe_dump({**copy.deepcopy(micro), **changes}))


@pytest.fixture(scope="module")
def watchful(environment: dict[str, str]) -> dict[str, str]:
    """Ray calls a machine dead that missed five looks, 3 s apart; here we wait for that."""
    return {**environment, "RAY_health_check_period_ms": "500"}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, micro: dict[str, Any], watchful: dict[str, str]) -> Story:
    folder = tmp_path_factory.mktemp("kills")
    write_sweep(folder, micro, defenses=["none", "midre", "nls", "loft"], seeds=[0, 1, 2])
    rng = random.Random(SEED)
    victims = [victim for victim, count in VICTIMS.items() for _ in range(count)]
    rng.shuffle(victims)
    story, start, runs = Story(Stored(folder)), time.monotonic(), 0
    run = None
    try:
        for victim in (*victims, None):
            if run is None or run.process.poll() is not None:
                run = Run.start(folder, f"run-{runs}", watchful, "--cpus", "1", "--retries", "100")
                runs += 1
            if victim is not None:
                kill(run, victim, rng.uniform(0, LONGEST_WAIT_S), story)
        assert run is not None
        story.code = run.wait(PATIENCE_S)
        story.text = run.text
    finally:
        if run is not None:
            run.end()
    story.seconds = time.monotonic() - start
    return story


def kill(run: Run, victim: Victim, wait_s: float, story: Story) -> None:
    """Kill -9 one process of a run at work; where the run ends by it, wait for that."""

    def ended() -> bool:
        return run.process.poll() is not None

    wait_for(lambda: ended() or run.nodes(), at_most_s=PATIENCE_S)
    time.sleep(wait_s)
    often_s = 0.0005 if victim == "writer" else 0.02  # a private folder is full for milliseconds
    found = wait_for(lambda: ended() or run.find(victim), at_most_s=PATIENCE_S, every_s=often_s)
    assert isinstance(found, tuple), f"no {victim} to kill after {len(story.kills)} kills:\n{run.text}"
    pid, doing = found
    process = "driver" if pid == run.process.pid else victim
    os.kill(pid, signal.SIGKILL)
    code = run.wait(PATIENCE_S) if process in ("driver", "raylet") else None
    story.sealed = finished(run.folder, story.sealed)
    story.kills.append(Kill(victim, process, doing, len(story.sealed), code, run.text))


def test_twenty_are_killed_in_the_middle(story: Story) -> None:
    for number, one in enumerate(story.kills, 1):
        print(f"{number:>2} {one.victim:<7} {one.doing:<60} {one.finished} artifacts finished")
    print(f"{len(story.kills)} kills and the last run took {story.seconds:.0f} s")
    assert Counter(one.victim for one in story.kills) == VICTIMS
    assert 0 < story.kills[-1].finished < len(plan_of(story.stored.folder).nodes)


def test_a_run_that_loses_ray_ends_and_says_so(story: Story) -> None:
    lost = [one for one in story.kills if one.process == "raylet"]
    assert [one.code for one in lost] == [3] * VICTIMS["raylet"]
    for one in lost:
        assert "midef: Ray's process on this machine (raylet) died" in one.text
        assert "the same command goes on from there" in one.text and "failed 0" in one.text


def test_the_last_run_finishes(story: Story) -> None:
    assert story.code == 0, story.text
    assert "resuming sweep micro: " in story.text


def test_what_was_finished_at_a_kill_is_untouched(story: Story) -> None:
    now = finished(story.stored.folder, {})
    assert {name: now.get(name) for name in story.sealed} == story.sealed


def test_the_store_is_whole_after_the_kills(story: Story) -> None:
    story.stored.assert_whole()


# --- two drivers at once ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """The ends (code, text) of two runs of one sweep started together, and of a third; sealed: artifacts as they were
    when they first appeared."""

    stored: Stored
    ends: list[tuple[int, str]]
    third: tuple[int, str]
    sealed: dict[str, Seal]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, micro: dict[str, Any], watchful: dict[str, str]) -> Iterator[Pair]:
    folder, sealed = tmp_path_factory.mktemp("pair"), dict[str, Seal]()
    write_sweep(folder, micro)
    runs = [Run.start(folder, name, watchful, "--cpus", "1") for name in ("one", "two")]
    try:
        deadline = time.monotonic() + PATIENCE_S
        while any(run.process.poll() is None for run in runs) and time.monotonic() < deadline:
            sealed = finished(folder, sealed)
            time.sleep(0.1)
        ends = [(run.wait(1), run.text) for run in runs]
    finally:
        for run in runs:
            run.end()
    third = Run.start(folder, "three", watchful)
    yield Pair(Stored(folder), ends, (third.wait(PATIENCE_S), third.text), sealed)


def test_both_drivers_finish(pair: Pair) -> None:
    for code, text in pair.ends:
        assert code == 0, text


def test_what_one_driver_stored_the_other_leaves_alone(pair: Pair) -> None:
    assert pair.sealed
    now = finished(pair.stored.folder, {})
    assert {name: now.get(name) for name in pair.sealed} == pair.sealed


def test_the_store_is_whole_after_two_drivers(pair: Pair) -> None:
    pair.stored.assert_whole()


def test_a_third_driver_has_nothing_to_do(pair: Pair) -> None:
    code, text = pair.third
    assert code == 0 and text.startswith("nothing to do: all 2 cells of sweep micro are done\n")


def test_kills_change_no_result(story: Story, pair: Pair) -> None:
    """What is done again after a kill finds what a run without kills finds, to the last digit."""
    killed, undisturbed = story.stored.measured(), pair.stored.measured()
    assert undisturbed
    assert {name: killed.get(name) for name in undisturbed} == undisturbed
