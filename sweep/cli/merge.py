"""`midef merge`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from midef.sweep.cli.options import add_store_argument, parsed, say
from midef.sweep.result import EXIT_FOUND, EXIT_OK

if TYPE_CHECKING:
    from midef.storage import Store
    from midef.storage.merge import Merged

HELP = "add the results and artifacts of other stores and bundles to a store; nothing is overwritten"
_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class MergeArguments:
    """The options of `midef merge`."""

    sources: list[str]
    store: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="a store, or a bundle of `midef export`; only read"
    )
    add_store_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Merge them in order and print the counts; 0 if nothing is in conflict, else 5."""
    from midef.storage import Store
    from midef.storage.merge import merge

    options = parsed(MergeArguments, args)
    with _all_opened(options.sources) as sources:  # each can be read, before anything is written
        into = Store.open(options.store)
        before = _counts(into)
        has_conflicts = False
        for name, source in zip(options.sources, sources, strict=True):
            merged = merge(source, into)
            has_conflicts |= bool(merged.conflicts)
            say(merged_text(name, merged))
    say(f"store {into.location.shown}: {before} before, {_counts(into)} now")
    return EXIT_FOUND if has_conflicts else EXIT_OK


@contextmanager
def _all_opened(names: list[str]) -> Iterator[list[Store]]:
    from contextlib import ExitStack

    from midef.storage import Store
    from midef.sweep.bundle import is_bundle, opened

    with ExitStack() as stack:
        yield [
            stack.enter_context(opened(Path(name))) if is_bundle(name) else Store.open(name, create=False)
            for name in names
        ]


def _counts(store: Store) -> str:
    artifacts, cells, plans = len(store.artifacts.keys()), len(store.results.cells()), len(store.sweeps.sweeps())
    return f"{artifacts} artifacts, {cells} cells with results, {plans} plans"


def merged_text(name: str, merged: Merged) -> str:
    """What became of the things of one source."""
    copied = ", ".join(f"{n} {what}" for what, n in merged.copied.items() if n) or "nothing new"
    same = sum(merged.same.values())
    lines = [f"{name}: {copied}; {same} thing{'' if same == 1 else 's'} here already"]
    if merged.failures_filled:
        lines.append(f"  {merged.failures_filled} cells had failed here and were measured there")
    lines += _listed("conflict, kept as it is here", merged.conflicts)
    lines += _listed("left out", merged.left_out)
    lines += [f"  one name, several sweeps: {text}; use these addresses" for text in merged.shared_names]
    return "\n".join(lines)


def _listed(what: str, texts: list[str]) -> list[str]:
    more = [f"  {what}: {len(texts) - _SHOWN} more"] if len(texts) > _SHOWN else []
    return [f"  {what}: {text}" for text in texts[:_SHOWN]] + more
