"""Published numbers of query-time defenses beside ours, with a verdict for each, from the stored rows.

    python benchmarks/published_table.py benchmarks/query_time/published.csv query-time-mnist --tables I --store STORE

A line for each of our defenses that a line of the file names (its `setup`, and `ours`, a component with some of its
parameters). Attack accuracy is that of the network that was attacked, as in the paper, and of an independent evaluator.
Errors are of images whose channels have unit variance, as the paper's seem to be.

The verdict compares with no defense, seed by seed: from three seeds on, a difference is shown where Student's 95 %
interval of the paired differences excludes zero; with fewer seeds nothing is shown.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from midef.core import ResultRow
from midef.core.grammar import read_call
from midef.core.statistics import t_interval
from midef.results.estimates import SEEDS_FOR_T
from midef.storage import Store, rows_of_sweep

ACCURACY, DISTORTION = "natural_accuracy", "confidence_distortion"
BY_TARGET, BY_EVALUATOR = "attack_accuracy_by_target", "attack_accuracy_by_evaluator"
ERROR = "reconstruction_error_normalised"
UNDEFENDED = "none"
NEAR = 3.0
"""A distortion is near the published one where neither is more than so many times the other."""
HEADS = (
    *("table", "setup", "defense", "seeds", "test acc %", "paper", "distortion", "paper"),
    *("att % by target", "paper", "by evaluator", "error", "paper", "verdict"),
)
Values = Mapping[tuple[str, str], Mapping[str, Mapping[int, float]]]


@dataclass(frozen=True)
class Published:
    """A line of the file; numbers as text, "" where the paper gives none."""

    table: str
    private: str
    defense: str
    params: str
    setup: str
    ours: str
    accuracy: str
    attack_accuracy: str
    distortion: str
    error: str

    @classmethod
    def read(cls, path: Path) -> list[Published]:
        """All lines of a file."""
        with path.open(newline="", encoding="utf-8") as stream:
            return [cls(**line) for line in csv.DictReader(stream)]

    def is_of(self, setup: str, defense: str) -> bool:
        """Whether this line speaks of one of our cells."""
        if not self.ours or self.setup != setup:
            return False
        wanted, got = read_call(self.ours), read_call(defense)
        return wanted.name == got.name and wanted.params.items() <= got.params.items()


def values_of(rows: Sequence[ResultRow]) -> Values:
    """Values by setup and defense, metric and seed."""
    found: dict[tuple[str, str], dict[str, dict[int, float]]] = {}
    for row in rows:
        if row.status == "ok" and row.value is not None:
            of_cell = found.setdefault((row.setup, row.defense), {})
            of_cell.setdefault(row.metric, {})[row.seed] = row.value
    return found


def table(published: Sequence[Published], tables: Sequence[str], rows: Sequence[ResultRow]) -> str:
    """Markdown, the lines in the order of the file; published lines that nothing here measures say so.

    Args:
        tables: numbers of the paper's tables.
    """
    values = values_of(rows)
    setups = {setup for setup, _ in values}
    lines = [f"| {' | '.join(HEADS)} |", "| --- | --- | --- |" + " ---: |" * (len(HEADS) - 4) + " --- |"]
    for line in published:
        if line.table not in tables or line.setup not in setups:
            continue
        ours = sorted(defense for setup, defense in values if line.is_of(setup, defense))
        for defense in ours:
            lines.append(_line(line, defense, values))
        if not ours:
            paper = (line.accuracy, "", line.distortion, "", line.attack_accuracy, "", "", line.error)
            lines.append(f"| {line.table} | {line.setup} | {line.defense} | 0 | | {' | '.join(paper)} | not run |")
    return "\n".join(lines)


def _line(line: Published, defense: str, values: Values) -> str:
    own, plain = values[line.setup, defense], values.get((line.setup, UNDEFENDED), {})
    seeds = len(own.get(BY_TARGET, {}))
    cells = [line.table, line.setup, _short(defense), str(seeds)]
    cells += [_mean(own, ACCURACY, ".2f"), line.accuracy, _mean(own, DISTORTION, ".2g"), line.distortion]
    cells += [_mean(own, BY_TARGET, ".1f"), line.attack_accuracy, _mean(own, BY_EVALUATOR, ".1f")]
    cells += [_mean(own, ERROR, ".4f"), line.error, verdict(line, defense, own, plain)]
    return f"| {' | '.join(cells)} |"


def verdict(
    line: Published, defense: str, own: Mapping[str, Mapping[int, float]], plain: Mapping[str, Mapping[int, float]]
) -> str:
    """What the numbers show against no defense, and whether the distortion is near the published one."""
    if defense == UNDEFENDED:
        return "reference"
    said = [
        _change("attack", own, plain, BY_TARGET, ("less", "more")),
        _change("attack by the evaluator", own, plain, BY_EVALUATOR, ("less", "more")),
        _change("error", own, plain, ERROR, ("smaller", "larger")),
    ]
    if own.get(ACCURACY) == {seed: plain.get(ACCURACY, {}).get(seed) for seed in own.get(ACCURACY, {})}:
        said.append("same test accuracy")
    if line.distortion and own.get(DISTORTION):
        of_seeds = own[DISTORTION].values()
        ratio = sum(of_seeds) / len(of_seeds) / float(line.distortion)
        said.append("distortion near" if 1 / NEAR <= ratio <= NEAR else f"distortion {ratio:.2g} times the paper's")
    return "; ".join(said)


def _change(
    what: str,
    own: Mapping[str, Mapping[int, float]],
    plain: Mapping[str, Mapping[int, float]],
    metric: str,
    words: tuple[str, str],
) -> str:
    before, after = plain.get(metric, {}), own.get(metric, {})
    changes = [after[seed] - before[seed] for seed in sorted(after) if seed in before]
    if not changes:
        return f"{what}: nothing to compare with"
    word = words[sum(changes) > 0]
    span = t_interval(changes) if len(changes) >= SEEDS_FOR_T else None
    if span is None:
        return f"{what} {word} in {len(changes)} seed{'s' if len(changes) > 1 else ''}, not shown"
    return f"{what} **{word}**" if span[0] > 0 or span[1] < 0 else f"{what}: no change shown"


def _short(defense: str) -> str:
    """The defense without the settings of its inversion network, which all share."""
    call = read_call(defense)
    kept = {name: value for name, value in call.params.items() if not name.startswith("inverter_")}
    return call.name + (f"({', '.join(f'{k}={v}' for k, v in kept.items())})" if kept else "")


def _mean(own: Mapping[str, Mapping[int, float]], metric: str, style: str) -> str:
    values = own.get(metric, {}).values()
    return format(sum(values) / len(values), style) if values else "-"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("published", type=Path)
    parser.add_argument("sweeps", nargs="+")
    parser.add_argument("--tables", required=True, help="of the paper, with commas: I,VII")
    parser.add_argument("--store", required=True)
    args = parser.parse_args(arguments)
    store = Store.open(args.store, create=False)
    rows = [row for sweep in args.sweeps for row in rows_of_sweep(store, sweep)]
    print(table(Published.read(args.published), args.tables.split(","), rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
