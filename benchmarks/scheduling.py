"""What scheduling costs and how it grows: nodes through Ray, cells through the planner, rows through `midef status`.

    python benchmarks/scheduling.py [--nodes 100 300 1000] [--cells 1000 10000 100000] [--rows 1000 10000] [--rounds 3]
                                    [--before FOLDER] [nodes planner status]

Every measurement is a process of its own, and beside it stands a baseline of the same run: the same nodes built in a
plain loop, the time Python takes to read and write the planned recipes as JSON, the start of the command line alone.
With `--before`, a checkout of another commit, the planner of that commit is measured in turns with this one.
Nodes are the smallest real ones: splits of two synthetic people at 8 px, published and verified like any artifact.
CPU seconds are of all processes that a measurement started, Ray's included. No goal is a test: machines differ.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

DEFENSES = 20
GOALS = {"nodes": "50 ms a node at 1,000, 20 at 10,000", "planner": "20 s, 2,000 MB", "status": "1 s"}


# --- what is measured, each in a process of its own -------------------------------------------------------------------


def many_cells(count: int) -> Any:
    """About so many cells: 37 setups (every attack on three networks) x 20 defenses x seeds, on synthetic faces."""
    from midef.attacks import ATTACKS
    from midef.defenses import DEFENSES as REGISTERED
    from midef.sweep.spec.load import parse_spec

    attacks = ATTACKS.names()
    setups: list[dict[str, Any]] = [
        {"id": f"m{i}", "attack": attacks[i // 3 % len(attacks)], "architecture": network}
        for i, network in enumerate(("vgg16_tiny", "ir152_tiny", "facenet64_tiny") * 12)
    ]
    setups.append({"id": "m36", "attack": "gmi", "private": {"name": "synthetic_faces", "identities": 130}})
    defenses = ["dp_sgd(batch_norm=group)" if name == "dp_sgd" else name for name in REGISTERED.names()]
    seeds = max(1, round(count / (len(setups) * DEFENSES)))
    chosen = {"defenses": [*defenses, "midre+nls"][:DEFENSES], "seeds": list(range(seeds))}
    return parse_spec({"name": "many", "profile": "smoke", "setups": setups, **chosen})


def small_nodes(count: int) -> Any:
    """A plan of as many splits as asked for, none of which needs another."""
    from midef.datasets import DATASETS
    from midef.stages.recipes import split_recipe
    from midef.sweep.planning.plan import Node, Plan
    from midef.sweep.spec.resolve import resolve

    people = {"name": "synthetic_faces", "identities": 2, "train_images": 1, "select_images": 1, "report_images": 1}
    recipes = [split_recipe(DATASETS.choose({**people, "seed": i}), 8) for i in range(count)]
    return Plan(resolve(many_cells(1)), {r.key: Node(r, frozenset()) for r in recipes}, [], [], [], [])


def through_ray(count: int, folder: Path) -> dict[str, float]:
    from midef.storage import Store
    from midef.sweep.execution.outcome import RunOptions
    from midef.sweep.execution.tune_run import run_plan

    plan, store = small_nodes(count), Store.open(folder / "store")
    with _Processors() as used:
        start = time.perf_counter()
        outcome = run_plan(plan, store, RunOptions(cpus=2))
        wall_s = time.perf_counter() - start
    assert outcome.built == count, outcome
    return {"count": count, "wall_s": wall_s, **used.seconds}


def through_a_loop(count: int, folder: Path) -> dict[str, float]:
    import torch

    from midef.stages import BuildContext, ensure
    from midef.storage import Store

    torch.set_num_threads(1)
    plan, store = small_nodes(count + 1), Store.open(folder / "store")
    first, *recipes = (node.recipe for node in plan.nodes.values())
    ensure(first, BuildContext(store=store))  # imports
    waited, sync = [0.0], os.fsync

    def timed(descriptor: int) -> None:
        start = time.perf_counter()
        sync(descriptor)
        waited[0] += time.perf_counter() - start

    os.fsync = timed  # type: ignore[assignment]
    start, cpu = time.perf_counter(), time.process_time()
    for recipe in recipes:
        ensure(recipe, BuildContext(store=store))
    wall_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu
    return {"count": count, "wall_s": wall_s, "cpu_s": cpu_s, "fsync_s": waited[0]}


def planning(count: int, folder: Path) -> dict[str, float]:
    """With a store that holds one cell's artifacts, so that timings are looked up."""
    from midef.core.recipe import Recipe
    from midef.storage import Store
    from midef.sweep.execution.prepare import prepare
    from midef.sweep.spec.resolve import resolve

    first = next(planned for planned in resolve(many_cells(1)).cells if not planned.refused)  # imports, too
    store = Store.open(folder / "store")
    for recipe in first.recipes.scores.walk():
        with store.artifacts.workspace() as payload:
            (payload / "empty.json").write_text("[]")
            store.artifacts.publish(recipe, payload, wall_s=1.0)
    moments = [time.process_time()]
    sweep = resolve(many_cells(count))
    moments.append(time.process_time())
    # Rows of refused cells are written here and now, one file each: no part of planning.
    stored = first.cell.digest
    wanted = replace(sweep, cells=tuple(c for c in sweep.cells if not c.refused and c.cell.digest != stored))
    plan = prepare(wanted, store)
    moments.append(time.process_time())
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    for node in plan.nodes.values():  # the baseline: each recipe written and read, without its inputs
        Recipe.from_plain(json.loads(json.dumps({**node.recipe.as_plain(), "inputs": {}})))
    moments.append(time.process_time())
    resolve_s, prepare_s, json_s = (after - before for before, after in pairwise(moments))
    about = {"count": len(sweep.cells), "nodes": len(plan.nodes), "peak_mb": peak_mb}
    return {**about, "resolve_s": resolve_s, "prepare_s": prepare_s, "json_s": json_s}


def chosen(count: int, folder: Path) -> dict[str, float]:
    """One seed of one defense, as `midef plan --only` chooses it."""
    from midef.sweep.library import plan_cells
    from midef.sweep.spec.resolve import resolve

    def plan(of: Any, seed: int) -> Any:
        return plan_cells(resolve(of), folder / "no-store", only=[f"seed={seed}", "defense=midre"])

    plan(many_cells(1), 0)  # imports
    spec = many_cells(count)
    start = time.process_time()
    found = plan(spec, spec.seeds[-1])
    return {"count": len(found.sweep.cells), "cells": len(found.cells), "cpu_s": time.process_time() - start}


def fill(count: int, folder: Path) -> dict[str, float]:
    """Stores with about so many rows: `loose` has a file for each cell, `compact` one for all."""
    import shutil

    from midef.core import Failure
    from midef.storage import Store
    from midef.sweep.execution.result_rows import lost_rows
    from midef.sweep.spec.resolve import resolve

    sweep = resolve(many_cells(count))
    store = Store.open(folder / "loose")
    cells: list[dict[str, str | int | float | None]] = []
    rows = 0
    start = time.perf_counter()
    for planned in sweep.cells:
        if rows >= count:
            break
        lost = lost_rows(sweep.name, planned, Failure("bug", "none"))
        found = [replace(row, status="ok", reason="", failure="", value=50.0, n=100, wall_s=1.5) for row in lost]
        store.results.write(planned.cell.digest, found)
        rows += len(found)
        cells.append({"cell": planned.cell.digest, "setup": planned.cell.setup.id, "seed": planned.cell.seed})
    wrote_s = time.perf_counter() - start
    store.sweeps.write_manifest(sweep.digest, cells, json.dumps({"name": sweep.name}))
    shutil.copytree(folder / "loose", folder / "compact")
    Store.open(folder / "compact").results.compact()
    return {"count": rows, "cells": len(cells), "write_s": wrote_s}


def table(count: int, folder: Path) -> dict[str, float]:
    from midef.storage import Store

    start = time.process_time()
    rows = Store.open(folder, create=False).results.read_table()
    return {"count": rows.num_rows, "cpu_s": time.process_time() - start}


class _Processors:
    """Seconds that this process and all it started used meanwhile: the driver, Ray's workers, the rest of Ray.

    Beside them how many processes served nodes.
    """

    def __init__(self) -> None:
        self.found: dict[tuple[int, str], tuple[str, float]] = {}
        self.served: set[int] = set()
        self.watching_s = 0.0
        self.seconds: dict[str, float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Processors:
        self.before = time.process_time()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        workers, rest = (sum(s for what, s in self.found.values() if what == name) for name in ("workers", "ray"))
        driver_s = time.process_time() - self.before - self.watching_s
        self.seconds = {"driver_s": driver_s, "workers_s": workers, "ray_s": rest}
        self.seconds["processes"] = sum(pid in self.served for pid, _ in self.found)

    def _watch(self) -> None:
        tick = os.sysconf("SC_CLK_TCK")
        while not self._ended.wait(0.25):
            stats = {}
            for folder in Path("/proc").iterdir():
                try:
                    name, _, numbers = (folder / "stat").read_text().partition("(")[2].rpartition(")")
                    stats[int(folder.name)] = (name, numbers.split())
                except (OSError, ValueError):
                    continue
            ours, grew = {os.getpid()}, True
            while grew:
                more = {pid for pid, (_, fields) in stats.items() if int(fields[1]) in ours} - ours
                ours, grew = ours | more, bool(more)
            for pid in ours - {os.getpid()}:
                name, fields = stats[pid]
                what = "workers" if name.startswith("ray::") else "ray"
                if name.startswith("ray::Implicit"):  # Tune's name of a function that is a trial
                    self.served.add(pid)
                self.found[pid, fields[19]] = what, (int(fields[11]) + int(fields[12])) / tick
            self.watching_s = time.thread_time()


PARTS: dict[str, Callable[[int, Path], dict[str, float]]] = {
    "ray": through_ray,
    "loop": through_a_loop,
    "plan": planning,
    "only": chosen,
    "fill": fill,
    "table": table,
}


# --- measuring and saying it ------------------------------------------------------------------------------------------


def measure(part: str, count: int, folder: Path, checkout: Path | None = None) -> dict[str, float]:
    """A part in a process of its own: caches are cold and its memory is its own.

    Args:
        checkout: whose midef is measured; None for the one that is installed, or on the path.
    """
    command = [sys.executable, __file__, "--part", part, "--count", str(count), "--folder", str(folder)]
    path = {} if checkout is None else {"PYTHONPATH": str(checkout.resolve())}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **path})
    if done.returncode:
        sys.exit(f"{part} {count} failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def commit_of(checkout: Path) -> str:
    """The first digits of its commit."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short=7", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def timed_command(*arguments: str) -> tuple[float, float]:
    """Wall and CPU seconds of a command of midef, process start included."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "midef", *arguments], check=True, stdout=subprocess.DEVNULL)
    wall_s, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def medians(found: list[dict[str, float]]) -> dict[str, float]:
    return {name: median(one[name] for one in found) for name in found[0]}


def nodes_table(sizes: list[int], rounds: int) -> None:
    print(f"Nodes through `run_plan`, 2 workers (goal {GOALS['nodes']}), and in a loop of one process:\n")
    print(
        "| nodes | wall s | ms a node | CPU ms a node: driver, workers, rest of Ray | CPU s | processes for nodes | "
        "loop: ms a node, of it fsync |"
    )
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    seen = []
    for size in sizes:
        runs: dict[str, list[dict[str, float]]] = {"ray": [], "loop": []}
        for _ in range(rounds):
            for part, kept in runs.items():
                with tempfile.TemporaryDirectory(prefix="midef-benchmark-") as folder:
                    kept.append(measure(part, size, Path(folder)))
        ray, loop = medians(runs["ray"]), medians(runs["loop"])
        used = [ray[name] for name in ("driver_s", "workers_s", "ray_s")]
        cpu = f"{', '.join(f'{1000 * seconds / size:.1f}' for seconds in used)} | {sum(used):.1f}"
        alone, synced = (1000 * loop[name] / size for name in ("wall_s", "fsync_s"))
        each = 1000 * ray["wall_s"] / size
        served = f"{ray['processes']:.0f} | {alone:.1f}, {synced:.1f}"
        print(f"| {size:,} | {ray['wall_s']:.1f} | {each:.1f} | {cpu} | {served} |", flush=True)
        seen.append((size, ray["wall_s"], sum(used)))
    for (few, *short), (more, *long) in pairwise(seen):
        wall, cpu_s = (1000 * (after - before) / (more - few) for before, after in zip(short, long, strict=True))
        print(f"\nFrom {few:,} to {more:,}: {wall:.1f} ms for each node more, {cpu_s:.1f} of CPU.")


def planner_table(sizes: list[int], rounds: int, before: Path | None) -> None:
    """Print the planner's table, with rows of the checkout `before` where one is given; medians of rounds in turns."""
    here = Path(__file__).parents[1]
    checkouts = [here] if before is None else [before, here]
    print(f"\nPlanner, CPU seconds (goal {GOALS['planner']} at 100,000 cells), load {os.getloadavg()[0]:.1f}:\n")
    print(
        "| cells | artifacts | commit | resolve | plan and manifest | sum | us a cell | peak MB | as JSON | `--only` |"
    )
    print("| ---: | ---: | :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for size in sizes:
        found: dict[Path, list[dict[str, float]]] = {checkout: [] for checkout in checkouts}
        for _ in range(rounds):
            for checkout, runs in found.items():
                with tempfile.TemporaryDirectory(prefix="midef-benchmark-") as folder:
                    whole = measure("plan", size, Path(folder), checkout)
                    few = measure("only", size, Path(folder), checkout)
                runs.append({**whole, "only_s": few["cpu_s"], "only_cells": few["cells"]})
        sums = []
        for checkout, runs in found.items():
            m = medians(runs)
            parts = [m[name] for name in ("resolve_s", "prepare_s")]
            sums.append(sum(parts))
            words = " | ".join(f"{seconds:.2f}" for seconds in (*parts, sums[-1]))
            size_words = f"{m['count']:,.0f} | {m['nodes']:,.0f} | `{commit_of(checkout)}`"
            only = f"{m['only_cells']:.0f} cells {m['only_s']:.2f}"
            each = 1e6 * sums[-1] / m["count"]
            print(
                f"| {size_words} | {words} | {each:.0f} | {m['peak_mb']:.0f} | {m['json_s']:.2f} | {only} |", flush=True
            )
        if len(sums) > 1:
            print(f"| | | ratio | | | {sums[0] / sums[1]:.2f} | | | | |", flush=True)
    print(f"\nLoad at the end: {os.getloadavg()[0]:.1f}.")


def status_table(sizes: list[int], rounds: int) -> None:
    print(f"\n`midef status`, process start included (goal {GOALS['status']} at 10,000 rows):\n")
    print("| rows | files | wall s | CPU s | `midef --version`: wall s, CPU s | all rows as a table: CPU s |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="midef-benchmark-") as name:
            folder = Path(name)
            m = measure("fill", size, folder)
            for kind, files in (("loose", m["cells"]), ("compact", 1)):
                store = folder / kind
                both = [
                    (timed_command("status", "--store", str(store)), timed_command("--version"))
                    for _ in range(max(3, rounds))
                ]
                wall_s, cpu_s, start_s, start_cpu_s = (median(b[i][j] for b in both) for i in (0, 1) for j in (0, 1))
                read = median(measure("table", size, store)["cpu_s"] for _ in range(rounds))
                alone = f"{start_s:.2f}, {start_cpu_s:.2f}"
                size_words = f"{m['count']:,.0f} | {files:,.0f}"
                print(f"| {size_words} | {wall_s:.2f} | {cpu_s:.2f} | {alone} | {read:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[100, 300, 1000])
    parser.add_argument("--cells", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", type=Path, help="checkout of an older commit, measured beside this one")
    for hidden, kind in (("--part", str), ("--count", int), ("--folder", Path)):
        parser.add_argument(hidden, type=kind, help=argparse.SUPPRESS)
    parser.add_argument("what", nargs="*", default=["nodes", "planner", "status"])
    options = parser.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part](options.count, options.folder)))
        return
    if "nodes" in options.what:
        nodes_table(options.nodes, options.rounds)
    if "planner" in options.what:
        planner_table(options.cells, options.rounds, options.before)
    if "status" in options.what:
        status_table(options.rows, options.rounds)


if __name__ == "__main__":
    main()
