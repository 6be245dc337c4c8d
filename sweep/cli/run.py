"""`midef run`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from midef.sweep import library
from midef.sweep.cli.options import (
    RunArguments,
    add_cell_arguments,
    add_run_arguments,
    add_store_argument,
    add_sweep_arguments,
    parsed,
    say,
    say_what_is_planned,
)

HELP = "run a sweep; stored work is not repeated"


@dataclass(frozen=True, kw_only=True)
class RunVerbArguments(RunArguments):
    """The options of `midef run`."""

    retry_failed: bool
    only: list[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    add_sweep_arguments(parser)
    add_store_argument(parser)
    add_cell_arguments(parser)
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the sweep, then print its table."""
    options = parsed(RunVerbArguments, args)
    spec = options.spec()
    run_options = options.options()
    say_what_is_planned(spec)
    result = library.run(
        spec,
        options.store,
        run_options,
        only=options.only,
        retry_failed=options.retry_failed,
        replace=options.replace,
        say=say,
    )
    return options.finish(result)
