"""A whole matrix in two tables: what was built and shared, and a line for each defense of each setup.

    python benchmarks/matrix_table.py matrix37 --store STORE

A line holds what `midef table` says of it, without the columns that not all setups have: measured numbers with their
intervals, the comparison with the undefended target, and published numbers, marked `pub.`. "(excluded)" and marks are
explained in docs/metrics.md. What a target was pre-trained on stands in `midef table`.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence

from midef.core import ArtifactKey, ResultRow
from midef.core.recipe import Recipe
from midef.results.compare import ATTACK, NATURAL
from midef.results.gating import mark_of
from midef.results.summary import by_setup, summarise
from midef.results.table import setup_table
from midef.storage import Store, rows_of_sweep
from midef.storage.published import read_published

COLUMNS = {"defense": "defense", NATURAL: "test acc %", ATTACK: "att@1 %", "comparison": "against none"}
PUBLISHED = "published"


def lines(rows: Sequence[ResultRow], published: Sequence[ResultRow]) -> str:
    """A line for each defense of each setup, as Markdown.

    Args:
        rows: of one sweep.
        published: rows of any setups.
    """
    heads = ["setup", "attack", "target", *COLUMNS.values(), PUBLISHED]
    shown = [f"| {' | '.join(heads)} |", f"| {' | '.join('---' for _ in heads)} |"]
    for group in by_setup(summarise(rows)).values():
        table = setup_table(group, published)
        place = {column.key: i for i, column in enumerate(table.columns)}
        for row, cells in zip(group, table.cells, strict=True):
            found = [cells[place[key]].joined if key in place else "-" for key in (*COLUMNS, PUBLISHED)]
            name = f"{mark_of(row.gates)} {row.setup_label}".strip()
            target = row.architecture.partition(",")[0]
            shown.append(f"| {' | '.join([name, row.attack, target, *found])} |")
    return "\n".join(shown)


def work(store: Store, rows: Sequence[ResultRow]) -> str:
    """How many artifacts of each kind the results rest on, and the seconds that building them took, as Markdown.

    Args:
        store: holds them.
        rows: of one sweep.
    """
    keys = {row.scores_key for row in rows if row.scores_key}
    unshared: Counter[str] = Counter()
    shared: dict[ArtifactKey, Recipe] = {}
    for key in keys:
        of_cell = {recipe.key: recipe for recipe in _tree(store.artifacts.recipe(ArtifactKey.parse(key)))}
        unshared.update(recipe.kind for recipe in of_cell.values())
        shared |= of_cell
    built = {key: store.artifacts.meta(key) for key in shared if store.artifacts.has(key)}
    shown = ["| artifact | if nothing were shared | built | seconds |", "| --- | ---: | ---: | ---: |"]
    total = 0.0
    for kind in sorted(unshared, key=lambda kind: -unshared[kind]):
        metas = [meta for key, meta in built.items() if key.kind == kind]
        seconds = sum(float(meta["wall_s"]) for meta in metas)
        total += seconds
        shown.append(f"| {kind} | {unshared[kind]:,} | {len(metas):,} | {seconds:,.0f} |")
    shown.append(f"| total | {sum(unshared.values()):,} | {len(built):,} | {total:,.0f} |")
    return "\n".join(shown)


def _tree(recipe: Recipe) -> Iterator[Recipe]:
    yield recipe
    for one in recipe.inputs.values():
        yield from _tree(one)


def report(store: Store, rows: Sequence[ResultRow]) -> str:
    """Both tables."""
    refused = {(row.setup, row.defense, row.seed) for row in rows if row.status == "refused"}
    cells = {(row.setup, row.defense, row.seed) for row in rows}
    whole = {(row.setup, row.defense, row.seed) for row in rows if row.metric == ATTACK and row.status == "ok"}
    said = (
        f"{len({setup for setup, *_ in cells})} setups, {len(cells)} cells: {len(whole)} with an attack accuracy, "
        f"{len(refused - whole)} refused."
    )
    return f"{said}\n\n{work(store, rows)}\n\n{lines(rows, read_published(store))}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep")
    parser.add_argument("--store", default="midef-store")
    options = parser.parse_args()
    store = Store.open(options.store, create=False)
    print(report(store, rows_of_sweep(store, options.sweep)))


if __name__ == "__main__":
    main()
