"""What a training through Ray Train costs beside the training itself: processor seconds, time, memory, processes.

    python benchmarks/worker_group.py                    # the table of worker_group.md, on this machine
    python benchmarks/worker_group.py --workers 1 --targets 4

Targets that learn for a moment (48 drawn faces, one epoch) are trained in the node's own process, and by one and two
workers of Ray Train, one after another. Processor seconds are those of the processes that a training starts, without
Ray's own. Memory is the largest sum of proportional set sizes (PSS) of all processes of a run, Ray's own among them.
Linux only.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import first_run  # type: ignore[import-not-found, unused-ignore]

EVERY_S = 0.25
RAYS_OWN = ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent", "ray::_AutoscalingCoordinatorActor")
"""Actors and agents that a run has once, however much it trains, and processes that wait for work."""
_FACES: dict[str, Any] = {"name": "synthetic_faces", "train_images": 4, "select_images": 1, "report_images": 1}
SPEC: dict[str, Any] = {
    "name": "worker_group",
    "setups": [
        {
            "id": "faces",
            "attack": "gmi",
            "private": {**_FACES, "identities": 12},
            "public": {**_FACES, "population": "public", "identities": 20},
            "protocol": {"identities": 4},
        }
    ],
    "defenses": ["none"],
    "training": {"epochs": 1, "batch_size": 16},
}


@dataclass
class Run:
    """What a run took, sampled while it lasts.

    Args:
        mb: largest sum of the PSS of its processes.
        processes: that were there at that moment.
        cpu_s: name and processor seconds of each process when it was last seen; its last moments are missed.
        largest_mb: PSS of each process when it was largest.
    """

    wall_s: float = 0.0
    mb: float = 0.0
    processes: int = 0
    cpu_s: dict[int, tuple[str, float]] = field(default_factory=dict)
    largest_mb: dict[int, float] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event, repr=False)

    def watch(self) -> None:
        """Sample until `end` is called."""
        while not self._ended.wait(EVERY_S):
            sizes = {pid: first_run.pss_mb(pid) for pid in first_run.descendants(os.getpid())}
            for pid, mb in sizes.items():
                name, seconds = self.cpu_s.get(pid, ("unknown", 0.0))
                self.cpu_s[pid] = (_name(first_run.command_line(pid), name), max(seconds, first_run.cpu_s(pid)))
                self.largest_mb[pid] = max(mb, self.largest_mb.get(pid, 0.0))
            if (total := sum(sizes.values())) > self.mb:
                self.mb, self.processes = total, len(sizes)

    def end(self) -> None:
        self._ended.set()

    def by_name(self) -> list[tuple[str, int, float, float]]:
        """Name of processes, how many there were, their processor seconds and the MB of the largest; most first."""
        named: dict[str, list[int]] = {}
        for pid, (name, _) in self.cpu_s.items():
            named.setdefault(name, []).append(pid)
        rows = [
            (name, len(pids), sum(self.cpu_s[pid][1] for pid in pids), max(self.largest_mb[pid] for pid in pids))
            for name, pids in named.items()
        ]
        return sorted(rows, key=lambda row: -row[2])


def _name(line: str, before: str) -> str:
    """What a process is, by its command line: an actor of Ray by its class, whatever it does at the moment.

    Args:
        before: what it was when it was last seen: it stays that when it ends, or waits for more work.
    """
    first = (line.split() or ["ray::IDLE"])[0]
    if not first.startswith("ray::"):
        return "python" if first.endswith("python") else Path(first).name
    name = first.partition(".")[0]
    return before if name == "ray::IDLE" and before != "unknown" else name


def train(workers: int, targets: int, store_folder: str, *, only_splits: bool) -> None:
    """Train so many targets, one after another; or make the data that they need."""
    from midef.stages import BuildContext, ensure
    from midef.storage import Store
    from midef.sweep.execution.outcome import RunOptions
    from midef.sweep.execution.tune_run import run_plan
    from midef.sweep.planning.plan import make_plan
    from midef.sweep.spec.load import parse_spec
    from midef.sweep.spec.resolve import resolve

    sweep = resolve(parse_spec({**SPEC, "seeds": list(range(targets)), "train_workers": workers}))
    store = Store.open(store_folder)
    plan = make_plan(sweep, store)
    if only_splits:
        ensure(sweep.cells[0].recipes.private, BuildContext(store=store))
        return
    nodes = {key: node for key, node in plan.nodes.items() if node.recipe.kind == "target"}
    outcome = run_plan(replace(plan, nodes=nodes), store, RunOptions(cpus=max(1, workers)))
    if outcome.failed or outcome.built != targets:
        sys.exit(f"not everything was built: {outcome}")


def measured(workers: int, targets: int) -> Run:
    """One run in processes of its own."""
    with tempfile.TemporaryDirectory(prefix="wg.", dir="/tmp") as scratch:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        environment |= {"OMP_NUM_THREADS": "1", "RAY_TMPDIR": scratch}
        command = [sys.executable, __file__, "--one", str(workers), str(targets), f"{scratch}/store"]
        subprocess.run([*command, "--only-splits"], env=environment, check=True)
        run = Run()
        watcher = threading.Thread(target=run.watch, daemon=True)
        watcher.start()
        start = time.monotonic()
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
        run.wall_s = time.monotonic() - start
        run.end()
        watcher.join()
    if done.returncode:
        sys.exit(done.stderr)
    return run


def row(workers: int, run: Run, targets: int) -> str:
    """One line of the table."""
    way = {0: "the node's own process", 1: "Ray Train, 1 worker"}.get(workers, f"Ray Train, {workers} workers")
    cpu_s = sum(seconds for name, _, seconds, _ in run.by_name() if _is_of_a_training(name)) / targets
    return f"| {way} | {cpu_s:.1f} | {run.wall_s:.0f} | {run.mb:,.0f} | {run.processes} |"


def _is_of_a_training(name: str) -> bool:
    return name.startswith("ray::") and name not in RAYS_OWN


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--targets", type=int, default=2)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--only-splits", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        workers, targets, store = options.one
        train(int(workers), int(targets), store, only_splits=options.only_splits)
        return 0
    ctypes.CDLL(None).prctl(first_run._CHILD_SUBREAPER, 1, 0, 0, 0)
    last = Run()
    print("| trained in | CPU s per target | s of the run | peak PSS, MB | processes |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for workers in options.workers:
        last = measured(workers, options.targets)
        print(row(workers, last, options.targets), flush=True)
    print(f"\nProcesses of the last of these runs, of {options.targets} targets:\n")
    print("| process | number | CPU s | largest, MB |\n| --- | ---: | ---: | ---: |")
    for name, number, cpu_s, mb in last.by_name():
        print(f"| `{name}` | {number} | {cpu_s:.1f} | {mb:,.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
