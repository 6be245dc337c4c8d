"""Runs of `midef run` that are disturbed from outside, and what their stores hold afterwards."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from midef.metrics import STANDARD, chosen_metrics
from midef.storage import Store
from midef.sweep.catalogue import read_spec
from midef.sweep.execution.heartbeat import process_start
from midef.sweep.planning.plan import Plan, make_plan
from midef.sweep.spec.resolve import resolve

Victim = Literal["driver", "raylet", "node", "writer"]
"""writer: whoever has a private file or folder with something in it in the store; mostly a node, now and then the
driver."""
PATIENCE_S = 180.0
"""For what takes seconds on a machine that is free."""
LONGEST_WAIT_S = 1.0
"""A kill comes up to so long after the first node is at work: nodes take about as long."""
TIMED = ("wall_s", "peak_memory_mb")
"""Columns that no two runs share."""


MICRO: dict[str, Any] = {
    "name": "micro",
    "setups": [
        {
            "id": "faces",
            "attack": {"name": "gmi", "iterations": 3, "prior": {"steps": 4, "width": 8}},
            "private": {
                "name": "synthetic_faces",
                "identities": 12,
                "train_images": 4,
                "select_images": 1,
                "report_images": 1,
            },
            "public": {
                "name": "synthetic_faces",
                "population": "public",
                "identities": 20,
                "train_images": 4,
                "select_images": 1,
                "report_images": 1,
            },
            "protocol": {"identities": 4, "images_per_identity": 2},
        }
    ],
    "defenses": ["none", "midre"],
    "training": {"epochs": 1, "batch_size": 16},
    "evaluator_training": {"epochs": 1, "batch_size": 16},
    "regressor_images": 64,
}


def own_environment(ray_folder: str | Path) -> dict[str, str]:
    """The environment of a command that starts a Ray of its own, whatever other Ray runs on this machine.

    Args:
        ray_folder: a short path: sockets lie below it.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {
        "OMP_NUM_THREADS": "1",
        "RAY_worker_niceness": "0",  # Ray's own 15 starves its workers beside other programs
        "RAY_TMPDIR": str(ray_folder),  # in its own, Ray finds the cluster that somebody else started last
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    }


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
            (cell, metric) for cell in cells for metric in chosen_metrics([STANDARD])
        )
        assert left_over(self.folder) == []

    def rows(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Every row by cell and metric, without what no two runs share: seconds and memory."""
        return {
            (row.cell, row.metric): {
                name: value
                for name, value in asdict(row).items()
                if name not in TIMED and not (row.unit == "seconds" and name == "value")
            }
            for row in self.store.results.read()
        }


def write_sweep(folder: Path, micro: dict[str, Any], **changes: Any) -> None:
    (folder / "sweep.yaml").write_text(yaml.safe_dump({**copy.deepcopy(micro), **changes}))
