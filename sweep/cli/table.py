"""`midef table`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from midef.sweep.cli.options import add_store_argument, parsed, say
from midef.sweep.result import EXIT_OK, TableStyle, results_table

HELP = "print the results as a table"


@dataclass(frozen=True, kw_only=True)
class TableArguments:
    """The options of `midef table`."""

    store: str
    sweep: str | None
    format: TableStyle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    add_store_argument(parser)
    parser.add_argument("--sweep", help="a sweep of this store (default: the latest)")
    parser.add_argument("--format", choices=("text", "md", "csv"), default="text", help="of the table (default text)")


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    from midef.storage import Store

    options = parsed(TableArguments, args)
    say(results_table(Store.open(options.store, create=False), options.sweep, options.format))
    return EXIT_OK
