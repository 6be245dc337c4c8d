"""Which orderings of the papers hold: each pair of defenses, by each judge or attack, over seeds and identities.

    python benchmarks/orderings.py benchmarks/smoke/claims.yaml --store STORE

The file names the sweeps, what is asked, and the pairs:

    sweeps: [lfw]
    asked:                             # a column each: its setups, and the metric (default attack_accuracy)
      GMI: {setups: [gmi]}
    claims:
      - {paper: BiDO, less: bido, more: none}

A difference is of the same people under both defenses, with an interval over identities and seeds, as in `midef table`,
from the first setup that has both defenses. It is read as an ordering only where its 95 % interval shows it: of twenty
such intervals one leaves out the truth. Numbers that are no result, as of a target that guesses, are not compared (⊘).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from midef.core import ResultRow
from midef.results.compare import Difference, TradeOff, trade_off
from midef.results.gating import EXCLUDED_MARK
from midef.results.summary import EXCLUDED, SummaryRow, summarise
from midef.storage import Store, rows_of_sweep


@dataclass(frozen=True)
class Claim:
    """Of two defenses, which leaks less.

    Args:
        paper: that says so.
        less, more: labels of the defenses.
    """

    paper: str
    less: str
    more: str


@dataclass(frozen=True)
class Claims:
    """Orderings, and what is asked about them.

    Args:
        sweeps: that hold the results.
        asked: heading -> setups that answer it, and by which metric.
        claims: a line each.
    """

    sweeps: tuple[str, ...]
    asked: Mapping[str, tuple[tuple[str, ...], str]]
    claims: tuple[Claim, ...]

    @classmethod
    def read(cls, path: Path) -> Claims:
        """From a YAML file.

        Raises:
            ValueError: for a metric that is not compared.
        """
        given: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
        asked = {name: (tuple(how["setups"]), how.get("metric", _ATTACK)) for name, how in given["asked"].items()}
        if strange := {metric for _, metric in asked.values()} - set(_COMPARED):
            raise ValueError(f"{path}: metric must be one of {', '.join(_COMPARED)}, got {', '.join(sorted(strange))}")
        return cls(tuple(given["sweeps"]), asked, tuple(Claim(**claim) for claim in given["claims"]))


_ATTACK = "attack_accuracy"
_COMPARED = {_ATTACK: lambda one: one.attack, "trait_accuracy": lambda one: one.traits}


def table(claims: Claims, rows: Sequence[ResultRow]) -> str:
    """Markdown, a line for each claim; differences are `less` minus `more`, in points.

    Args:
        rows: of the sweeps.

    Raises:
        ValueError: if two sweeps have a setup of one id that is not the same setup.
    """
    found: dict[tuple[str, str], SummaryRow] = {}
    for row in summarise(rows):
        known = found.setdefault((row.setup, row.defense), row)
        theirs, ours = ({seed: keys for seed, *keys in one.stored} for one in (known, row))
        if differing := [seed for seed in theirs.keys() & ours.keys() if theirs[seed] != ours[seed]]:
            raise ValueError(
                f"{row.setup}: {row.defense} is not the same in the sweeps {known.sweep} and {row.sweep} (seed "
                f"{min(differing)}); give one of the setups another id"
            )
    points = [f"{name}, points" for name in (*claims.asked, "test acc")]
    heads = ["paper", "leaks less", "than", *points, "holds"]
    lines = [f"| {' | '.join(heads)} |", f"| --- | --- | --- |{' ---: |' * (len(claims.asked) + 1)} --- |"]
    for claim in claims.claims:
        compared = {name: _compared(found, setups, claim) for name, (setups, _) in claims.asked.items()}
        asked = {name: None if one is None else _COMPARED[claims.asked[name][1]](one) for name, one in compared.items()}
        utility = next((one.utility for one in compared.values() if one is not None and one.utility), None)
        marked = [_marked(compared[name], difference) for name, difference in asked.items()]
        said = "not compared" if any(compared.values()) and not any(asked.values()) else holds(asked)
        lines.append(f"| {' | '.join([claim.paper, claim.less, claim.more, *marked, _change(utility), said])} |")
    return "\n".join(lines)


def _compared(found: Mapping[tuple[str, str], SummaryRow], setups: Sequence[str], claim: Claim) -> TradeOff | None:
    """The first setup's comparison that has both defenses."""
    for setup in setups:
        less, more = (found.get((setup, name)) for name in (claim.less, claim.more))
        if less is not None and more is not None:
            if less.is_excluded or more.is_excluded:
                return TradeOff(reason=EXCLUDED)
            return trade_off(less.accuracies, more.accuracies)
    return None


def _marked(compared: TradeOff | None, difference: Difference | None) -> str:
    return EXCLUDED_MARK if compared is not None and compared.reason == EXCLUDED else _change(difference)


def _change(difference: Difference | None) -> str:
    return "-" if difference is None else difference.change


def holds(asked: Mapping[str, Difference | None]) -> str:
    """Whether the leak falls, by each that was asked and whose interval shows it."""
    known = {name: one for name, one in asked.items() if one is not None}
    if not known:
        return "not run"
    lower = [name for name, one in known.items() if one.falls]
    higher = [name for name, one in known.items() if one.rises]
    if lower and higher:
        return f"contradiction: less by {', '.join(lower)}, more by {', '.join(higher)}"
    if not lower and not higher:
        return "not resolved"
    names = lower or higher
    by = f"by {names[0]} alone" if len(names) == 1 else "by both" if len(names) == len(asked) == 2 else "by all"
    if 1 < len(names) < len(asked):
        by = f"by {', '.join(names)}"
    return f"{'yes' if lower else '**reversed**'}, {by}"


def rows_of(claims: Claims, store: Store) -> list[ResultRow]:
    """Rows of all sweeps of the claims."""
    return [row for sweep in claims.sweeps for row in rows_of_sweep(store, sweep)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("claims", type=Path)
    parser.add_argument("--store", default="midef-store")
    options = parser.parse_args()
    claims = Claims.read(options.claims)
    print(table(claims, rows_of(claims, Store.open(options.store, create=False))))


if __name__ == "__main__":
    main()
