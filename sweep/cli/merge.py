"""`midef merge`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from midef.core.text import counted
from midef.sweep.cli.options import add_store_argument, parsed, say
from midef.sweep.matching.journal_lines import JOURNAL
from midef.sweep.result import EXIT_FOUND, EXIT_OK

if TYPE_CHECKING:
    from midef.storage import Store
    from midef.storage.merge import Merged

HELP = "add the results and artifacts of other stores and bundles to a store; nothing is overwritten"
_SHOWN = 20
_SINGULAR = {"cells": "cell", "plans": "plan", "logs": "log", "matches": "match", "analyses": "analysis"}
"""Things that are not named by the kind of an artifact."""
_JOURNAL_STAYS = f"""\
  not merged: the journal of strength searches, {JOURNAL}. Its trainings and reports are merged, so `midef match`
  here trains nothing twice; optuna-dashboard shows these searches in the source's journal alone"""


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
            if _journal_stays(source, into):
                say(_JOURNAL_STAYS)
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
    return ", ".join(
        [
            counted(artifacts, "artifact"),
            counted(cells, "cell with results", "cells with results"),
            counted(plans, "plan"),
        ]
    )


def _journal_stays(source: Store, into: Store) -> bool:
    """Whether a source has studies of strength searches that the store has not."""
    there, here = (store.location.get(JOURNAL) if store.location.exists(JOURNAL) else b"" for store in (source, into))
    return there not in (b"", here)


def merged_text(name: str, merged: Merged) -> str:
    """What became of the things of one source."""
    copied = ", ".join(_counted(n, what) for what, n in merged.copied.items() if n) or "nothing new"
    lines = [f"{name}: {copied}; {counted(sum(merged.same.values()), 'thing')} here already"]
    if filled := merged.failures_filled:
        lines.append(
            f"  {counted(filled, 'cell')} had failed here and {'was' if filled == 1 else 'were'} measured there"
        )
    lines += _listed("conflict, kept as it is here", merged.conflicts)
    lines += _listed("left out", merged.left_out)
    lines += [f"  one name, several sweeps: {text}; use these addresses" for text in merged.shared_names]
    return "\n".join(lines)


def _counted(number: int, what: str) -> str:
    return counted(number, _SINGULAR[what], what) if what in _SINGULAR else f"{number:,} {what}"


def _listed(what: str, texts: list[str]) -> list[str]:
    more = [f"  {what}: {len(texts) - _SHOWN} more"] if len(texts) > _SHOWN else []
    return [f"  {what}: {text}" for text in texts[:_SHOWN]] + more
