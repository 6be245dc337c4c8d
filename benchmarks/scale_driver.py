"""What the driver's own work grows with: nodes that run (searcher and room), nodes that wait (estimates of time left).

    python benchmarks/scale_driver.py

CPU seconds of this process; nothing runs.
"""

from __future__ import annotations

import tempfile
import time
from itertools import pairwise

from scale_requests import TINY

from midef.core.failure import Failure
from midef.core.recipe import Recipe
from midef.storage import Store
from midef.sweep.execution.outcome import Outcome
from midef.sweep.execution.result_rows import RowWriter
from midef.sweep.execution.room import Room
from midef.sweep.execution.searcher import PlanSearcher
from midef.sweep.execution.time_left import TimeLeft
from midef.sweep.planning.plan import Node, Plan
from midef.sweep.spec.load import parse_spec
from midef.sweep.spec.resolve import resolve

SHARES = (0.0, 0.25, 0.5, 1.0)
RUNNING = (10, 100, 1000, 4000)
WAITING = (3_000, 30_000, 100_000)


def made_up(count: int) -> Plan:
    """Nodes that wait for nothing, of four classes of resources."""
    plan = Plan(None, {}, [], [], [], [])  # type: ignore[arg-type]
    for i in range(count):
        recipe = Recipe("scores", "made_up", {"name": i})
        plan.nodes[recipe.key] = Node(recipe, frozenset(), estimated_s=1.0 + i % 7, remaining_s=1.0 + i % 7)
    return plan


def searcher_s(running: int, nodes: int = 200) -> float:
    """Seconds for a node of the searcher, while so many run: its end, the next one, and that no further one fits."""
    plan = made_up(running + nodes)
    share = {key: SHARES[i % len(SHARES)] for i, key in enumerate(plan.nodes)}

    def resources(node: Node) -> dict[str, float]:
        return {"CPU": 1.0} | ({"GPU": share[node.key]} if share[node.key] else {})

    room = Room(resources, {"CPU": float(running), "GPU": float(running)})
    searcher = PlanSearcher(
        plan, lambda node: {"node": str(node.key)}, on_done=lambda *_: None, on_lost=lambda *_: None, room=room
    )
    for i in range(running):
        searcher.suggest(str(i))
    begun = time.process_time()
    for i in range(nodes):
        searcher.on_trial_complete(trial_id=str(i), result={"status": "ok"})
        assert isinstance(searcher.suggest(str(running + i)), dict)
        assert searcher.suggest("none") is None or i == nodes - 1
    return (time.process_time() - begun) / nodes


def time_left_s(waiting: int) -> float:
    """Seconds for one estimate of the time left."""
    plan = made_up(waiting)
    times = TimeLeft(slots=1000, gpus=1000, gpu_of=lambda node: 0.5)
    begun = time.process_time()
    times.of(plan.nodes.values(), ())
    return time.process_time() - begun


def row_s(cells: int = 300) -> float:
    """Seconds for the rows of a cell: made, put into Parquet, written to a folder."""
    sweep = resolve(parse_spec({**TINY, "seeds": list(range(cells))}))
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(folder)
        writer = RowWriter("tiny", store, Outcome())
        begun = time.process_time()
        for planned in sweep.cells:
            writer.write_lost([planned], Failure("bug", "none"))
        return (time.process_time() - begun) / cells


def main() -> None:
    print("| nodes that run | searcher, CPU ms a node |\n| ---: | ---: |")
    seen = [(running, searcher_s(running)) for running in RUNNING]
    for running, seconds in seen:
        print(f"| {running:,} | {1000 * seconds:.2f} |")
    for (few, short), (many, long) in pairwise(seen):
        print(f"\nFrom {few:,} to {many:,}: {1e6 * (long - short) / (many - few):.2f} us for each node more.")
    print(f"\nRows of a cell: {1000 * row_s():.1f} ms of CPU.")
    print("\n| nodes that wait | an estimate of the time left, CPU s | us for each |\n| ---: | ---: | ---: |")
    for waiting in WAITING:
        seconds = time_left_s(waiting)
        print(f"| {waiting:,} | {seconds:.2f} | {1e6 * seconds / waiting:.1f} |")


if __name__ == "__main__":
    main()
