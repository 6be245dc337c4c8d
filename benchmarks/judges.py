"""The same reconstructions judged by two evaluators, side by side: what a change of judge changes.

    python benchmarks/judges.py lfw --store STORE

A line is one attack on the targets of one defense. Of each evaluator: attack accuracy@1, and how far it falls below the
undefended model (defended minus undefended, in points, paired image by image, 95 % interval over seeds and identities).
Then the share of all images that only one of the two takes for the attacked person, and whether both show the same.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from midef.core import ResultRow, outcomes
from midef.results.compare import ATTACK, Difference
from midef.results.gating import gate_lines, mark_of
from midef.results.summary import SummaryRow, by_setup, interval_choice, summarise
from midef.storage import Store, rows_of_sweep


def table(rows: Sequence[ResultRow]) -> str:
    """Markdown: a line on the judges, and the table.

    Args:
        rows: of sweeps in which two evaluators judge the same reconstructions.

    Raises:
        ValueError: unless exactly two evaluators judged.
    """
    groups = list(by_setup(summarise(rows)).values())
    accuracy: dict[str, float] = {}
    for row in (row for group in groups for row in group):  # a lost cell knows none
        accuracy[row.evaluator] = row.evaluator_accuracy or accuracy.get(row.evaluator, 0.0)
    if len(accuracy) != 2:
        raise ValueError(f"two evaluators were expected, these results have {', '.join(accuracy) or 'none'}")
    judges = sorted(accuracy, key=lambda name: -accuracy[name])
    heads = ["attack", "defense", "test acc %"]
    heads += [head for judge in judges for head in (f"{judge}: att@1 %", "against none")]
    heads += [f"{judge} alone, %" for judge in judges] + ["a change from none is shown"]
    lines = [f"| {' | '.join(heads)} |", f"| --- | --- |{' ---: |' * (len(heads) - 3)} --- |"]
    notes: list[str] = []
    others = {_made(row): row for group in _judged_by(judges[1], groups) for row in group}
    for group in _judged_by(judges[0], groups):
        lines += [_line(row, others.get(_made(row)), judges, group) for row in group]
        notes += [f"- {group[0].setup}: {note}" for note in gate_lines(group)]
    said = ", ".join(f"{judge} {accuracy[judge]:.1f} %" for judge in judges)
    return "\n\n".join(
        [f"Accuracy on the people's test images: {said}.", "\n".join(lines), *(["\n".join(notes)] if notes else [])]
    )


def _judged_by(judge: str, groups: Sequence[Sequence[SummaryRow]]) -> list[Sequence[SummaryRow]]:
    return [group for group in groups if group[0].evaluator == judge]


def _made(row: SummaryRow) -> tuple[str, ...]:
    """The reconstructions that were judged."""
    return tuple(reconstructions for _, reconstructions, _ in row.stored)


def _line(row: SummaryRow, other: SummaryRow | None, judges: Sequence[str], group: Sequence[SummaryRow]) -> str:
    choice = interval_choice(group)
    natural = row.natural_accuracy
    cells = [
        row.attack.partition("(")[0],
        f"{mark_of(row.gates)} {row.defense}".strip(),
        "-" if natural.mean is None else f"{natural.mean:.1f}",
    ]
    for one in (row, other):
        mean = None if one is None else one.attack_accuracy_at_1.mean
        if one is None or mean is None:
            cells += ["-", "-"]
            continue
        span = one.attack_accuracy_at_1.interval(choice)
        change = one.trade_off.attack
        cells.append(f"{mean:.1f}" + (f" {span.ends}" if span else ""))
        cells.append("reference" if one.is_undefended else "-" if change is None else change.change)
    cells += _alone(row, other)
    cells.append(
        "" if row.is_undefended or other is None else shown_by(row.trade_off.attack, other.trade_off.attack, judges)
    )
    return f"| {' | '.join(cells)} |"


def _alone(row: SummaryRow, other: SummaryRow | None) -> list[str]:
    """Percent of the images that the first judge alone, and the second alone, takes for the attacked person."""
    if other is None:
        return ["-", "-"]
    texts = [one.outcomes.get(ATTACK, {}) for one in (row, other)]
    only: list[np.ndarray] = []
    for seed in row.shown_seeds:
        first, second = (outcomes.read(of_seed.get(seed, "")) for of_seed in texts)
        if first is None or second is None or not first.is_paired_with(second):
            return ["-", "-"]
        only.append(np.stack([first.hits & ~second.hits, second.hits & ~first.hits]))
    if not only:
        return ["-", "-"]
    shares = 100 * np.concatenate(only, axis=1).mean(axis=1)
    return [f"{share:.0f}" for share in shares]


def shown_by(first: Difference | None, second: Difference | None, judges: Sequence[str]) -> str:
    """Which of two judges shows that a defense changes the leak, and how."""
    if first is None or second is None:
        return "-"
    said = ["less" if one.falls else "more" if one.rises else "" for one in (first, second)]
    if said[0] == said[1]:
        return f"by both: {said[0]}" if said[0] else "by neither"
    if all(said):
        return f"contradiction: {judges[0]} {said[0]}, {judges[1]} {said[1]}"
    return f"by {judges[0]} alone: {said[0]}" if said[0] else f"by {judges[1]} alone: {said[1]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweeps", nargs="+")
    parser.add_argument("--store", default="midef-store")
    options = parser.parse_args()
    store = Store.open(options.store, create=False)
    sys.stdout.write(table([row for sweep in options.sweeps for row in rows_of_sweep(store, sweep)]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
