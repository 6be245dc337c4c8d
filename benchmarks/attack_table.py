"""One table of a sweep's attacks, strongest first, from the stored rows: what each reaches, and at what cost.

    python benchmarks/attack_table.py lfw-attacks --store STORE

Per defense: attack accuracy @1 with its interval, KNN distance, over the seeds that the defenses of a setup share.
Marks and the lines below are those of `midef table`. Coverage, queries and seconds are those of the attack on the
first defense; seconds and memory of its priors stand in the second table.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from midef.core import ArtifactKey, ResultRow
from midef.results.gating import gate_lines, mark_of
from midef.results.summary import SummaryRow, by_setup, interval_choice, summarise
from midef.storage import Store, rows_of_sweep

ATTACK = "attack_accuracy_at_1"


def attacks_table(groups: Sequence[Sequence[SummaryRow]], defenses: Sequence[str]) -> str:
    """Markdown, one line per setup; a defense that failed or is missing says so."""
    heads = [f"{d}: att@1 %" for d in defenses] + [f"{d}: KNN" for d in defenses]
    lines = [f"| attack | access | seeds | {' | '.join(heads)} | coverage % | queries | s |"]
    lines.append("| --- | --- | ---: |" + " ---: |" * (len(heads) + 3))

    def strength(group: Sequence[SummaryRow]) -> float:
        first = next((row for row in group if row.defense == defenses[0]), None)
        mean = None if first is None else first.attack_accuracy_at_1.mean
        return -1.0 if mean is None else mean

    for group in sorted(groups, key=lambda g: (-strength(g), g[0].attack)):
        rows = {row.defense: row for row in group}
        first, own = group[0], rows.get(defenses[0])
        cells = [first.attack, first.access, str(max(len(row.shown_seeds) for row in group))]
        cells += [_accuracy(group, rows.get(d)) for d in defenses]
        cells += [_number(rows.get(d), "knn_distance", ".1f") for d in defenses]
        cells += [_number(own, "coverage", ".0f"), _number(own, "queries", ",.0f"), _number(own, "wall_s", ",.0f")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _accuracy(group: Sequence[SummaryRow], row: SummaryRow | None) -> str:
    if row is None:
        return "missing"
    found = row.attack_accuracy_at_1
    if found.mean is None:
        return "failed" if row.failed else "refused"
    span = found.interval(interval_choice(group))
    ends = f" {span.ends}" if span else ""
    return f"{mark_of(row.gates)} {found.mean:.1f}{ends}".strip()


def _number(row: SummaryRow | None, metric: str, style: str) -> str:
    mean = None if row is None else row.estimate(metric).mean
    return "-" if mean is None else format(mean, style)


def priors_table(store: Store, rows: Sequence[ResultRow]) -> str:
    """What was trained beforehand: seconds, peak memory, queries."""
    seen: dict[str, str] = {}
    for row in rows:
        if not row.reconstructions_key:
            continue
        recipe = store.artifacts.recipe(ArtifactKey.parse(row.reconstructions_key))
        for needed in recipe.walk():
            if needed.kind in ("prior", "surrogate", "inverter"):
                meta = store.artifacts.meta(needed.key)
                whose = row.defense if "target" in needed.inputs else "all targets"
                facts = meta["facts"]
                seen[f"{needed.component} ({whose})"] = (
                    f"{meta['wall_s']:,.0f} | {facts['peak_memory_mb']:,.0f} | {facts['queries']:,}"
                )
    lines = ["| trained beforehand, for | s | peak MB | queries |", "| --- | ---: | ---: | ---: |"]
    return "\n".join([*lines, *(f"| {name} | {text} |" for name, text in sorted(seen.items()))])


def attacks_report(store: Store, rows: Sequence[ResultRow]) -> str:
    """Both tables of a sweep's rows, under a line about its targets."""
    groups = list(by_setup(summarise(rows)).values())
    found = [row for group in groups for row in group]
    defenses = sorted({row.defense for row in found}, key=lambda d: (d != "none", d))
    one = next((row for row in found if row.attack_accuracy_at_1.mean is not None), found[0])
    accuracy = {row.defense: row.natural_accuracy.mean for row in found if row.natural_accuracy.mean is not None}
    told = ", ".join(f"{d} {accuracy[d]:.1f} %" for d in defenses if d in accuracy)
    notes = [f"- {group[0].attack}: {line}" for group in groups for line in gate_lines(group)]
    return "\n\n".join(
        [
            f"{one.identities} identities, chance {one.chance or 0:.1f} %; evaluator {one.evaluator} "
            f"{one.evaluator_accuracy or 0:.1f} %; test accuracy of the targets: {told}",
            attacks_table(groups, defenses),
            *(["\n".join(notes)] if notes else []),
            priors_table(store, rows),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep")
    parser.add_argument("--store", default="midef-store")
    options = parser.parse_args()
    store = Store.open(options.store, create=False)
    rows = rows_of_sweep(store, options.sweep)
    if not rows:
        sys.exit(f"{options.store} holds no rows of a sweep {options.sweep!r}")
    sys.stdout.write(attacks_report(store, rows) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
