"""Which orderings of the papers hold on drawn faces: each pair of defenses, by two judges, over seeds and identities.

    python benchmarks/smoke/orderings.py --store STORE

A difference is of the same images under both defenses, with an interval over identities and seeds, as in `midef table`.
It is read as an ordering only where its 95 % interval shows it: seventeen pairs by two judges are 34 intervals, of
which one or two leave out the truth.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from midef.core import ResultRow
from midef.results.compare import Difference, trade_off
from midef.results.summary import SummaryRow, summarise
from midef.storage import Store, rows_of_sweep

SWEEP = "orderings"


@dataclass(frozen=True)
class Claim:
    """Of two defenses, which leaks less.

    Args:
        paper: that says so.
        less, more: labels of the defenses.
        setup: that holds both.
    """

    paper: str
    less: str
    more: str
    setup: str = "faces"


_RANDOM = "midre(area_low=0.2,area_high=0.2)"
_FIXED = "midre(area_low=0.2,area_high=0.2,place=fixed)"
_ENTIRE = "entire_erasing"
CLAIMS = (
    Claim("MIDRE", "midre", "none"),
    Claim("MIDRE", "midre(area_high=0.6)", "none"),
    Claim("MIDRE", "midre(area_high=0.8)", "none"),
    Claim("MIDRE: more area, less leak", "midre(area_high=0.6)", "midre"),
    Claim("MIDRE: more area, less leak", "midre(area_high=0.8)", "midre(area_high=0.6)"),
    Claim("MIDRE: erasing a part", _RANDOM, "none"),
    Claim("MIDRE, P3: random before fixed place", _RANDOM, _FIXED),
    Claim("MIDRE, P2: a part before whole images", _RANDOM, _ENTIRE),
    Claim("MIDRE, P2: a part before whole images", _FIXED, _ENTIRE),
    Claim("BiDO", "bido", "none"),
    Claim("NLS", "nls", "none"),
    Claim("LoFt", "loft", "none"),
    Claim("MID", "mid", "none"),
    Claim("Trap-MID", "trap_mid", "none"),
    Claim("TL-DMI", "tl_dmi", "none", "faces-pretrained"),
    Claim("MIDRE before BiDO", "midre", "bido"),
    Claim("LoFt before BiDO", "loft", "bido"),
)


def table(rows: Sequence[ResultRow]) -> str:
    """Markdown, a line for each claim.

    Args:
        rows: of the sweep.
    """
    found = {(row.setup, row.defense): row for row in summarise(rows)}
    lines = [
        "| paper | leaks less | than | att@1, points | trait@1, points | test acc, points | holds |",
        "| --- | --- | --- | ---: | ---: | ---: | --- |",
    ]
    for claim in CLAIMS:
        pair = [found.get((claim.setup, name)) for name in (claim.less, claim.more)]
        lines.append(f"| {claim.paper} | {claim.less} | {claim.more} | {' | '.join(_cells(*pair))} |")
    return "\n".join(lines)


def _cells(less: SummaryRow | None, more: SummaryRow | None) -> list[str]:
    if less is None or more is None:
        return ["not run", "", "", ""]
    compared = trade_off(less.accuracies, more.accuracies)
    changes = [_change(one) for one in (compared.attack, compared.traits, compared.utility)]
    return [*changes, holds(compared.attack, compared.traits)]


def _change(difference: Difference | None) -> str:
    return "-" if difference is None else difference.change


def holds(evaluator: Difference | None, traits: Difference | None) -> str:
    """Whether the leak falls, by each judge whose interval shows it."""
    said = {"evaluator": evaluator, "traits": traits}
    lower = [name for name, one in said.items() if one is not None and one.falls]
    higher = [name for name, one in said.items() if one is not None and one.rises]
    if lower and higher:
        return f"judges contradict: less by {lower[0]}, more by {higher[0]}"
    if not lower and not higher:
        return "not resolved"
    names = lower or higher
    by = "by both" if len(names) == 2 else f"by {names[0]} alone"
    return f"{'yes' if lower else '**reversed**'}, {by}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default="midef-store")
    print(table(rows_of_sweep(Store.open(parser.parse_args().store, create=False), SWEEP)))


if __name__ == "__main__":
    main()
