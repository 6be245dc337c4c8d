"""Kills and other disturbances of running sweeps; afterwards the rows have to equal those of an undisturbed run.

Each disturbance starts `midef run` of a sweep of seconds, disturbs it, gives the same command until it is done, and
compares. `benchmarks/reliability_table.py` runs them.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reliability.runs import (
    LONGEST_WAIT_S,
    MICRO,
    PATIENCE_S,
    Run,
    Seal,
    Stored,
    Victim,
    finished,
    own_environment,
    wait_for,
    write_sweep,
)

TWENTY: Mapping[Victim, int] = {"driver": 4, "raylet": 3, "node": 8, "writer": 5}
MANY = {"defenses": ["none", "midre", "nls", "loft"], "seeds": [0, 1, 2]}
"""A sweep of 40 artifacts, in the place of 10."""
TRIES = 3
SMALL_DISK = "size=64k"


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


def kill_often(folder: Path, victims: Mapping[Victim, int], environment: dict[str, str], *, seed: int) -> Story:
    """Run a sweep to its end while `victims` are killed in a random order; the same command goes on after each."""
    write_sweep(folder, MICRO, **MANY)
    rng = random.Random(seed)
    order = [victim for victim, count in victims.items() for _ in range(count)]
    rng.shuffle(order)
    story, start, runs = Story(Stored(folder)), time.monotonic(), 0
    run = None
    try:
        for victim in (*order, None):
            if run is None or run.process.poll() is not None:
                run = Run.start(folder, f"run-{runs}", environment, "--cpus", "1", "--retries", "100")
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


@dataclass(frozen=True)
class Outcome:
    """A disturbance and what came of it.

    Args:
        name: of the disturbance.
        times: how often.
        codes: exit codes of the runs it was done to, and of those given until the sweep was done.
        tracebacks: runs whose output holds one.
        rewritten: artifacts that were finished at the disturbance and were written again.
        are_rows_equal: to those of an undisturbed run.
        skipped: why it could not be done here.
    """

    name: str
    times: int = 1
    codes: tuple[int | None, ...] = ()
    tracebacks: int = 0
    rewritten: int = 0
    are_rows_equal: bool = False
    skipped: str = ""

    @property
    def is_right(self) -> bool:
        return not self.skipped and self.are_rows_equal and not self.tracebacks and not self.rewritten


@dataclass
class Disturbed:
    """A sweep that is run, disturbed and run again.

    Args:
        folder: of `sweep.yaml`, its store and the logs.
        environment: of the commands.
        texts: what each run said.
        codes: how each ended.
        sealed: what was finished at the disturbance.
    """

    folder: Path
    environment: dict[str, str]
    texts: list[str] = field(default_factory=list)
    codes: list[int | None] = field(default_factory=list)
    sealed: dict[str, Seal] = field(default_factory=dict)

    def start(self, **changes: str) -> Run:
        """Start the command once more, with some of its environment changed."""
        return Run.start(self.folder, f"run-{len(self.codes)}", {**self.environment, **changes}, "--cpus", "1")

    def ended(self, run: Run) -> None:
        """Wait for the end of a run and note how it ended."""
        self.codes.append(run.wait(PATIENCE_S))
        self.texts.append(run.text)
        self.sealed = finished(self.folder, self.sealed)

    def outcome(self, name: str, wanted: Stored, times: int = 1) -> Outcome:
        """Give the command until the sweep is done, and compare."""
        sealed = dict(self.sealed)
        while (not self.codes or self.codes[-1] != 0) and len(self.codes) <= TRIES:
            self.ended(self.start())
        now = finished(self.folder, {})
        return Outcome(
            name,
            times,
            tuple(self.codes),
            sum("Traceback" in text for text in self.texts),
            sum(now.get(artifact) != seal for artifact, seal in sealed.items()),
            Stored(self.folder).rows() == wanted.rows(),
        )


def at_work(run: Run) -> bool:
    """Wait until the run has stored something and works on; False if it ended before."""
    started = wait_for(
        lambda: run.process.poll() is not None or (run.nodes() and finished(run.folder, {})),
        at_most_s=PATIENCE_S,
    )
    return bool(started) and run.process.poll() is None


def signals(sweep: Disturbed, *numbers: int) -> None:
    """Send signals to the driver, as `kill` or a terminal would, a second apart."""
    run = sweep.start()
    assert at_work(run), run.text
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if number == signal.SIGINT else os.kill)(run.process.pid, number)
        time.sleep(1)
    sweep.ended(run)


def full_tmpdir(sweep: Disturbed) -> None:
    """Run with a TMPDIR that has no room left."""
    with small_disk() as disk:
        (disk / "filled").write_bytes(bytes(48 * 1024))
        with contextlib.suppress(OSError), (disk / "rest").open("wb") as stream:
            stream.write(bytes(48 * 1024))
        sweep.ended(sweep.start(TMPDIR=str(disk)))


@contextlib.contextmanager
def small_disk() -> Iterator[Path]:
    """A file system of 64 kB.

    Raises:
        PermissionError: without the right to mount one.
    """
    folder = Path(tempfile.mkdtemp(prefix="small.", dir="/tmp"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", SMALL_DISK, "tmpfs", str(folder)], capture_output=True, check=False
    )
    try:
        if mounted.returncode:
            raise PermissionError("may not mount a file system here")
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def two_drivers(sweep: Disturbed) -> None:
    """Two of the same command at once."""
    runs = [Run.start(sweep.folder, name, sweep.environment, "--cpus", "1") for name in ("one", "two")]
    for run in runs:
        sweep.ended(run)


CLOCK = """import os, time
_time, _time_ns = time.time, time.time_ns
_is_back = lambda: os.path.exists(os.environ["CLOCK_IS_BACK"])
time.time = lambda: _time() - 3600 * _is_back()
time.time_ns = lambda: _time_ns() - 3_600_000_000_000 * _is_back()
"""


def clock_set_back(sweep: Disturbed) -> None:
    """The clock of every Python process goes back by an hour in the middle; the files' times, which the system sets,
    then lie in the future."""
    site = sweep.folder / "clock"
    site.mkdir()
    (site / "sitecustomize.py").write_text(CLOCK)
    is_back = sweep.folder / "is-back"
    path = f"{site}{os.pathsep}{sweep.environment['PYTHONPATH']}"
    run = sweep.start(PYTHONPATH=path, CLOCK_IS_BACK=str(is_back))
    assert at_work(run), run.text
    is_back.touch()
    sweep.ended(run)


DISTURBANCES: Mapping[str, Callable[[Disturbed], None]] = {
    "SIGTERM": lambda sweep: signals(sweep, signal.SIGTERM),
    "SIGINT once": lambda sweep: signals(sweep, signal.SIGINT),
    "SIGINT twice": lambda sweep: signals(sweep, signal.SIGINT, signal.SIGINT),
    "TMPDIR full": full_tmpdir,
    "two drivers": two_drivers,
    "clock set back by an hour": clock_set_back,
}


def run_all(root: Path, say: Callable[[str], None] = print) -> list[Outcome]:
    """Every disturbance once and twenty kills, each in a folder of its own below `root`."""
    environment = {**own_environment(root / "ray"), "RAY_health_check_period_ms": "500"}
    undisturbed = {}
    for name, changes in (("small", {}), ("many", MANY)):
        folder = root / f"undisturbed-{name}"
        folder.mkdir()
        write_sweep(folder, MICRO, **changes)
        Disturbed(folder, environment).ended(Run.start(folder, "run", environment, "--cpus", "1"))
        undisturbed[name] = Stored(folder)
        say(f"undisturbed, {name}: {len(undisturbed[name].rows())} rows")
    outcomes = []
    for number, (name, disturb) in enumerate(DISTURBANCES.items()):
        sweep = Disturbed(root / str(number), environment)
        sweep.folder.mkdir()
        write_sweep(sweep.folder, MICRO)
        try:
            disturb(sweep)
        except PermissionError as error:
            outcomes.append(Outcome(name, skipped=str(error)))
        else:
            outcomes.append(sweep.outcome(name, undisturbed["small"]))
        say(str(outcomes[-1]))
    folder = root / "kills"
    folder.mkdir()
    story = kill_often(folder, TWENTY, environment, seed=48)
    now = finished(folder, {})
    for victim in TWENTY:
        kills = [one for one in story.kills if one.victim == victim]
        outcomes.append(
            Outcome(
                f"kill -9 of {'a ' if victim in ('node', 'writer') else 'the '}{victim}",
                len(kills),
                (*(one.code for one in kills), story.code),
                sum("Traceback" in one.text for one in kills if one.code is not None),
                sum(now.get(name) != seal for name, seal in story.sealed.items()),
                story.stored.rows() == undisturbed["many"].rows(),
            )
        )
        say(str(outcomes[-1]))
    return outcomes


def table(outcomes: list[Outcome]) -> str:
    """The outcomes as Markdown."""
    lines = [
        "| disturbance | times | exit codes | tracebacks | finished work written again | rows as undisturbed |",
        "| --- | ---: | --- | ---: | ---: | --- |",
    ]
    for one in outcomes:
        codes = ", ".join("went on" if code is None else str(code) for code in dict.fromkeys(one.codes))
        cells = (
            [one.name, "-", f"not done here: {one.skipped}", "-", "-", "-"]
            if one.skipped
            else [one.name, one.times, codes, one.tracebacks, one.rewritten, "yes" if one.are_rows_equal else "NO"]
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)
