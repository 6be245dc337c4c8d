"""`midef compact`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from midef.sweep.cli.options import add_store_argument, parsed, say
from midef.sweep.result import EXIT_OK

HELP = "merge the result files of a store into one"


@dataclass(frozen=True, kw_only=True)
class CompactArguments:
    """The options of `midef compact`."""

    store: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    add_store_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Merge them and print the counts."""
    from midef.storage import Store

    options = parsed(CompactArguments, args)
    before, after, rows = Store.open(options.store, create=False).results.compact()
    say(f"{before} result files -> {after}, {rows} rows")
    return EXIT_OK
