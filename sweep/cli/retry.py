"""`midef retry`."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass

from midef.results.cells import retry_command
from midef.sweep.cli.options import (
    RunArguments,
    add_run_arguments,
    add_store_argument,
    add_sweep_arguments,
    parsed,
    say,
)
from midef.sweep.library import run_cells, unmatched
from midef.sweep.result import EXIT_OK

HELP = "run failed cells again"


@dataclass(frozen=True, kw_only=True)
class RetryArguments(RunArguments):
    """The options of `midef retry`."""

    filter: list[str]
    dry_run: bool

    def command(self, cell: str) -> str:
        """The command that runs one cell alone, to be pasted into a shell.

        Args:
            cell: its digest.
        """
        words = [word for text in self.set for word in ("--set", text)]
        for name in ("profile", "private", "public"):
            words += [f"--{name}", getattr(self, name)] if getattr(self, name) else []
        return " ".join(filter(None, (retry_command(self.config, self.store, cell), shlex.join(words))))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    add_sweep_arguments(parser, stored=True)
    add_store_argument(parser)
    parser.add_argument(
        "--failed", action="store_true", required=True, help="required: cells whose stored result is a failure"
    )
    parser.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="only those with error=oom, error=TEXT or defense=midre (repeatable)",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the commands of these cells and run nothing")
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print which cells failed and match, then run these."""
    from midef.storage import Store
    from midef.sweep.planning.selection import choose_failed

    options = parsed(RetryArguments, args)
    run_options = options.options()
    store = Store.open(options.store, create=False)
    sweep = unmatched(options.sweep(store))
    states = store.results.states()
    chosen = choose_failed(sweep, options.filter, states)
    again = [c for c in sweep.cells if chosen(c)]
    if not again:
        say(f"nothing to retry: no failed cell of sweep {sweep.name} matches")
        return EXIT_OK
    cells = "1 cell" if len(again) == 1 else f"{len(again):,} cells"
    say(f"{'would retry' if options.dry_run else 'retrying'} {cells}; the command below each runs it alone:")
    for c in again:
        say(f"  {c.cell.setup.id}  {c.cell.defense.label}  seed {c.cell.seed}: {states[c.cell.digest].reason}")
        say(f"    {options.command(c.cell.digest)}")
    if options.dry_run:
        return EXIT_OK
    result = run_cells(sweep, store, run_options, chosen, retry_failed=True, replace=options.replace, say=say)
    return options.finish(result)
