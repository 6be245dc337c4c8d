"""One table of a sweep's attacks, strongest first, from the stored rows: what each reaches, and at what cost.

    python benchmarks/attack_table.py lfw-attacks --store STORE

Per defense: attack accuracy @1 with its interval over identities, KNN distance. Queries, seconds and peak memory are
those of the attack on the first defense; seconds and memory of its priors stand in the second table.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence

from midef.core import ArtifactKey, ResultRow
from midef.storage import Store

Found = Mapping[tuple[str, str], Mapping[str, ResultRow]]  # (attack, defense) -> metric -> row


def by_pair(rows: Sequence[ResultRow]) -> Found:
    found: dict[tuple[str, str], dict[str, ResultRow]] = defaultdict(dict)
    for row in rows:
        found[row.attack_name, row.defense][row.metric] = row
    return found


def attacks_table(found: Found, defenses: Sequence[str]) -> str:
    """Markdown; a cell that failed or is missing says so."""
    heads = [f"{d}: att@1 %" for d in defenses] + [f"{d}: KNN" for d in defenses]
    lines = [f"| attack | access | n | {' | '.join(heads)} | coverage % | queries | s | peak MB |"]
    lines.append("| --- | --- |" + " ---: |" * (len(heads) + 5))
    attacks = {attack for attack, _ in found}
    first = defenses[0]

    def strength(attack: str) -> float:
        row = found.get((attack, first), {}).get("attack_accuracy_at_1")
        return -1.0 if row is None or row.value is None else row.value

    for attack in sorted(attacks, key=lambda a: (-strength(a), a)):
        hits = [found.get((attack, d), {}).get("attack_accuracy_at_1") for d in defenses]
        distances = [found.get((attack, d), {}).get("knn_distance") for d in defenses]
        own = found.get((attack, first), {})
        row = hits[0] or next(r for r in hits if r is not None)
        cells = [attack, row.access, f"{row.n or '-'}", *map(_interval, hits), *(_number(r, ".1f") for r in distances)]
        cells += [_number(own.get("coverage"), ".0f"), _number(own.get("queries"), ",.0f")]
        cells += [
            _number(own.get("wall_s"), ",.0f"),
            "-" if row.peak_memory_mb is None else f"{row.peak_memory_mb:,.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _interval(row: ResultRow | None) -> str:
    if row is None:
        return "missing"
    return row.status if row.value is None else f"{row.value:.1f} [{row.low:.1f}, {row.high:.1f}]"


def _number(row: ResultRow | None, style: str) -> str:
    return "-" if row is None or row.value is None else format(row.value, style)


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
    defenses = sorted({row.defense for row in rows}, key=lambda d: (d != "none", d))
    one = next((row for row in rows if row.metric == "attack_accuracy_at_1" and row.value is not None), rows[0])
    accuracy = {r.defense: r.value for r in rows if r.metric == "natural_accuracy" and r.value is not None}
    told = ", ".join(f"{d} {accuracy[d]:.1f} %" for d in defenses if d in accuracy)
    return (
        f"{one.identities} identities, chance {one.chance or 0:.1f} %; evaluator {one.evaluator} "
        f"{one.evaluator_accuracy or 0:.1f} %; test accuracy of the targets: {told}\n\n"
        f"{attacks_table(by_pair(rows), defenses)}\n\n{priors_table(store, rows)}\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep")
    parser.add_argument("--store", default="midef-store")
    options = parser.parse_args()
    store = Store.open(options.store, create=False)
    rows = [row for row in store.results.read() if row.sweep == options.sweep]
    if not rows:
        sys.exit(f"{options.store} holds no rows of a sweep {options.sweep!r}")
    sys.stdout.write(attacks_report(store, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
