"""Held-out errors of the inversion networks of a sweep, epoch by epoch: had the attacker trained long enough?

    python benchmarks/training_course.py query-time-longer --store STORE

A line for each network: mean squared error on public images that it was not trained on, pixels in [0, 1].
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from midef.core import ResultRow
from midef.core.errors import MissingArtifact
from midef.core.recipe import ArtifactKey
from midef.storage import Store, rows_of_sweep

FACT = "held_out_mse_by_epoch"
ATTACKERS = ("prior", "inverter")
"""Kinds of artifacts that an attacker of answers trains; a defender's inversion network is of another."""


def table(store: Store, rows: Sequence[ResultRow]) -> str:
    """Markdown table of the errors after 1, 2, 4, ... epochs and the last.

    Args:
        store: holds the networks.
        rows: of one or several sweeps.

    Raises:
        ValueError: if no network says how its error went.
    """
    courses = {(row.setup, row.defense, row.seed): _course(store, row) for row in rows if row.reconstructions_key}
    known = {cell: course for cell, course in courses.items() if course}
    if not known:
        raise ValueError("has no inversion network that says how its error went")
    epochs = shown_epochs(max(map(len, known.values())))
    lines = ["| setup | defense | seed | " + " | ".join(f"epoch {n}" for n in epochs) + " |"]
    lines.append("| --- | --- | ---: |" + " ---: |" * len(epochs))
    for (setup, defense, seed), course in sorted(known.items()):
        errors = " | ".join(f"{course[n - 1]:.4f}" if n <= len(course) else "" for n in epochs)
        lines.append(f"| {setup} | {defense} | {seed} | {errors} |")
    return "\n".join(lines)


def shown_epochs(last: int) -> list[int]:
    """Powers of two up to the last epoch, and the last.

    >>> shown_epochs(24)
    [1, 2, 4, 8, 16, 24]
    """
    return sorted({2**n for n in range(last.bit_length()) if 2**n <= last} | {last})


def _course(store: Store, row: ResultRow) -> list[float]:
    """Errors of the network that rebuilt the images of a row; empty where it does not say them."""
    try:
        recipe = store.artifacts.recipe(ArtifactKey.parse(row.reconstructions_key))
        facts = [store.artifacts.meta(part.key)["facts"] for part in recipe.inputs.values() if part.kind in ATTACKERS]
    except MissingArtifact:
        return []
    return next((list(map(float, fact[FACT])) for fact in facts if FACT in fact), [])


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", help="its name, name@digest or digest")
    parser.add_argument("--store", default="midef-store", help="default midef-store")
    given = parser.parse_args()
    store = Store.open(given.store, create=False)
    print(table(store, rows_of_sweep(store, given.sweep)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
