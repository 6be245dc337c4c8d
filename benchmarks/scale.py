"""How sweeps of a thousand to a million cells would run on 1 to 1,000 GPUs, and what breaks first: a simulation.

    python benchmarks/scale.py                    # the tables of docs/scale.md, half an hour of a core
    python benchmarks/scale.py --cells 1000       # some of them
    python benchmarks/scale_requests.py           # requests of a node, counted at an S3 server of this machine
    python benchmarks/scale_driver.py             # what the driver's own work grows with

The plan is the real planner's (`scale_shapes.py`), the rule is the searcher's (`scale_play.py`), what else is assumed
stands in `scale_costs.py`; `tests/benchmarks/test_scale.py` compares all that with closed forms and with the searcher.
`--as-before` takes the driver and the store as they were before the simulation showed what to mend.
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from scale_costs import BEFORE, NOW, Costs
from scale_play import play
from scale_played import Machines, Played
from scale_shapes import Shape, matrix

CELLS = (1_000, 10_000, 100_000, 1_000_000)
GPUS = (1, 10, 100, 1000)
SWEEPS = {
    "hours": ("paper", "published networks and budgets at 64 px, on RTX A5000s"),
    "seconds": ("small", "tiny networks of the profile `small`, seconds each on a GPU"),
}
HOUR, YEAR = 3600.0, 365.25 * 24 * 3600.0


def words(seconds: float) -> str:
    """`12 s`, `3.4 h`, `5.1 d`, `2.0 years`."""
    for unit, name in ((YEAR, "years"), (24 * HOUR, "d"), (HOUR, "h"), (60.0, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:,.1f} {name}"
    return f"{seconds:.0f} s"


def row(shape: Shape, gpus: int, played: Played, costs: Costs) -> str:
    """A line of the growth table."""
    store, end_s = costs.store, played.end_s
    busy = {what: seconds / end_s for what, seconds in played.driver_s.items()}
    most = max(busy, key=lambda what: busy[what]) if busy else "-"
    idle = 1 - (played.work_s + played.lost_s + played.waited_s) / (gpus * end_s)
    stored = played.stored_bytes / 1e12
    return " | ".join([
        f"| {shape.cells:,}", f"{gpus:,}", words(end_s), f"{100 * played.critical_s / end_s:.0f}",
        f"{100 * max(0.0, idle):.0f}", f"{100 * played.waited_s / (gpus * end_s):.1f}",
        f"{100 * sum(busy.values()):.1f} ({most})", words(played.rows_s[0]),
        f"{played.requests.writes / end_s:,.1f} + {played.requests.reads / end_s:,.1f}",
        f"{played.busiest_writes:,.0f} + {played.busiest_reads:,.0f}",
        f"{store.usd(played.requests):,.2f}", f"{stored:,.2f}", f"{played.read_bytes / 1e12:,.1f} |",
    ])  # fmt: skip


HEAD = (
    "| cells | GPUs | end | longest path, % of it | GPUs idle, % | waiting for the store, % | driver busy, % (most on) "
    "| a tenth of the rows after | requests/s, written + read | at most | requests, USD | TB stored | TB read |\n"
    "| ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
)


def breaking(shape: Shape, costs: Costs) -> str:
    """GPUs at which each part of the driver alone is busy all the time, by the mean of nodes and by closed form."""
    gpu_s = shape.total(lambda work: work.seconds * work.gpu)
    each_s = gpu_s / shape.nodes
    cells = shape.cells / shape.nodes
    handed = each_s / costs.hand_out_s
    waits_s = costs.store.row.all * costs.store.latency_s
    row_s = costs.row_s + (0.0 if costs.store.rows_beside else waits_s)
    rows = each_s / (cells * row_s)
    both = each_s / (costs.hand_out_s + cells * row_s)
    look = costs.store.latency_s * costs.store.look.all / costs.store.parallel
    running = gpu_s / shape.total(lambda work: work.seconds if work.gpu else 0.0)
    beats = running * costs.look_every_s / look
    return f"| {each_s:,.1f} | {handed:,.0f} | {rows:,.0f} | {both:,.0f} | {beats:,.0f} |"


def made() -> str:
    """`Made at commit ..., on ...`."""
    from midef.stages.build import processor_name

    root = Path(__file__).resolve().parents[1]
    commit = subprocess.run(
        ["git", "rev-parse", "--short=8", "HEAD"], cwd=root, capture_output=True, text=True, check=True
    )
    return f"Made at commit `{commit.stdout.strip()}`, {datetime.now(tz=UTC):%Y-%m-%d}, on {processor_name()}."


def tables(
    cells: Iterable[int], gpus: Iterable[int], costs: Costs, sweeps: Iterable[str], *, seeds_first: bool
) -> None:
    print(made())
    for name in sweeps:
        profile, about = SWEEPS[name]
        shape = matrix(profile, px=64 if profile == "paper" else None)
        print(
            f"\n{name}: {about}; {len(shape.shared)} shared nodes, {len(shape.block)} nodes and "
            f"{sum(one.cells for one in shape.block)} cells a seed; longest path {words(shape.critical_s())}\n"
        )
        print(HEAD)
        for count in cells:
            grown = shape.with_cells(count)
            for many in gpus:
                machines = Machines(gpus=many, cpus=many * costs.cpus_per_gpu)
                print(row(grown, many, play(grown, machines, costs, seeds_first=seeds_first), costs), flush=True)
        print("\n| mean GPU-seconds of a node | driver full by handing out | by rows | by both | by heartbeats |")
        print("| ---: | ---: | ---: | ---: | ---: |")
        print(breaking(shape.with_cells(100_000), costs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="+", default=list(CELLS))
    parser.add_argument("--gpus", type=int, nargs="+", default=list(GPUS))
    parser.add_argument("--sweeps", nargs="+", default=list(SWEEPS), choices=list(SWEEPS))
    parser.add_argument("--seeds-first", action="store_true", help="play the order of a run for each seed instead")
    parser.add_argument("--as-before", action="store_true", help="the driver and the store as they were")
    options = parser.parse_args()
    costs = BEFORE if options.as_before else NOW
    tables(options.cells, options.gpus, costs, options.sweeps, seeds_first=options.seeds_first)


if __name__ == "__main__":
    main()
