"""Runs every attack against every defense and prints which pairs work, as a table.

    python benchmarks/pairs.py [--store midef-pairs] [--cpus 2]

The same command again takes what is stored. A cell holds the number of reconstructions, `refused` or `failed`; the
reasons stand below. Attack accuracies after a few training steps mean nothing and are not shown.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence

from midef.core import ResultRow
from midef.storage import Store
from midef.sweep.catalogue import read_spec
from midef.sweep.cli.app import main as midef
from midef.sweep.spec.resolve import resolve


def grid(rows: Sequence[ResultRow], refused: dict[tuple[str, str], str]) -> str:
    """Attacks x defenses; refused: (attack, defense) -> reason, of pairs that were refused while planning."""
    found: dict[tuple[str, str], str] = dict.fromkeys(refused, "refused")
    reasons = Counter(f"{defense}: {why}" for (_, defense), why in refused.items())
    for row in rows:
        pair = (row.attack_name, row.defense)
        if row.status == "failed":  # any metric
            found[pair] = "failed"
            reasons[f"{row.attack_name} x {row.defense}: {row.reason}"] += 1
        elif row.metric == "attack_accuracy_at_1" and found.get(pair) != "failed":
            found[pair] = f"{row.n}"
    attacks = sorted({attack for attack, _ in found})
    lines = [f"| defense | {' | '.join(attacks)} |", f"| --- |{' ---: |' * len(attacks)}"]
    for defense in sorted({defense for _, defense in found}):
        lines.append(f"| {defense} | {' | '.join(found.get((a, defense), 'missing') for a in attacks)} |")
    return "\n".join([*lines, "", *(f"- {count} x {text}" for text, count in sorted(reasons.items()))])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default="midef-pairs")
    parser.add_argument("--cpus", default=None)
    options = parser.parse_args()
    code = midef(["run", "every_pair", "--store", options.store, *(["--cpus", options.cpus] if options.cpus else [])])
    sweep = resolve(read_spec("every_pair"))
    refused = {(c.cell.setup.attack.name, c.cell.defense.label): c.refused for c in sweep.cells if c.refused}
    planned = {c.cell.digest for c in sweep.cells if not c.refused}
    rows = [row for row in Store.open(options.store, create=False).results.read() if row.cell in planned]
    sys.stdout.write("\n" + grid(rows, refused) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
