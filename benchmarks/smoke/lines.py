"""A sweep in one table, a line for each defense of each setup: accuracies by all judges, seconds, course of the search.

python benchmarks/smoke/lines.py tried --store STORE
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from midef.core import ResultRow
from midef.results.compare import TRAITS
from midef.results.estimates import Estimate
from midef.results.gating import mark_of
from midef.results.judges import ESTIMATE_MARK
from midef.results.summary import SummaryRow, by_setup, interval_choice, summarise
from midef.storage import Store, rows_of_sweep

HEADS = (
    *("setup", "defense", "test acc %", "att@1 %", "trait@1 %", "evaluator %"),
    *("confidence", "rise of log-odds, low end", "gradient norm", "train s", "attack s"),
)


def table(rows: Sequence[ResultRow]) -> str:
    """Markdown.

    Args:
        rows: of the sweep.
    """
    lines = [f"| {' | '.join(HEADS)} |", f"| --- | --- |{' ---: |' * (len(HEADS) - 2)}"]
    for group in by_setup(summarise(rows)).values():
        lines += [f"| {' | '.join(_cells(row, group))} |" for row in group]
    return "\n".join(lines)


def _cells(row: SummaryRow, group: Sequence[SummaryRow]) -> list[str]:
    choice = interval_choice(group)

    def accuracy(found: Estimate) -> str:
        if found.mean is None:
            return "-"
        span = found.interval(choice)
        mark = ESTIMATE_MARK if found.is_estimate else ""
        return f"{mark}{found.mean:.1f}" + (f" {span.ends}" if span else "")

    course = row.course
    evaluator = "-" if row.evaluator_accuracy is None else f"{row.evaluator_accuracy:.1f}"
    if course:
        start, end = course["gradient_start"], course["gradient_end"]
        search = [f"{course['confidence_start']:.2f} to {course['confidence_end']:.2f}"]
        search += [f"{course['confidence_rise']:.2f}, {course['confidence_rise_low']:.2f}", f"{start:.3g} to {end:.3g}"]
    else:
        search = ["-", "-", "-"]
    seconds = [row.estimate(name).mean for name in ("train_s", "wall_s")]
    return [
        f"{mark_of(row.gates)} {row.setup}".strip(),
        row.defense,
        *map(accuracy, (row.natural_accuracy, row.attack_accuracy_at_1, row.estimate(TRAITS))),
        evaluator,
        *search,
        *("-" if one is None else f"{one:.0f}" for one in seconds),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep")
    parser.add_argument("--store", default="midef-store")
    options = parser.parse_args()
    print(table(rows_of_sweep(Store.open(options.store, create=False), options.sweep)))


if __name__ == "__main__":
    main()
