"""`midef match`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from midef.sweep import library
from midef.sweep.cli.options import (
    RETRY,
    RunArguments,
    add_run_arguments,
    add_store_argument,
    add_sweep_arguments,
    parsed,
    positive,
    say,
    say_what_is_planned,
)

HELP = "bring every defense of a sweep to the same accuracy, then attack them"


@dataclass(frozen=True, kw_only=True)
class MatchArguments(RunArguments):
    """The options of `midef match`."""

    target: str | None
    tolerance: float | None
    trainings: int | None
    retry_failed: bool
    no_attack: bool
    front: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    add_sweep_arguments(parser, stored=True)
    add_store_argument(parser)
    parser.add_argument("--target", help="percent, a defense, or `none - 2` (default: the sweep's, else none)")
    parser.add_argument("--tolerance", type=float, help="percentage points (default: the sweep's, else 0.5)")
    parser.add_argument("--trainings", type=positive, help="at most, of each defense (default: the sweep's, else 30)")
    parser.add_argument("--retry-failed", action="store_true", help=RETRY)
    parser.add_argument("--no-attack", action="store_true", help="search the strengths without attacking")
    parser.add_argument("--front", metavar="DEFENSE", help="search the Pareto front of this defense instead")
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Search the strengths, attack what was found, then print the table."""
    options = parsed(MatchArguments, args)
    spec = options.spec(library.existing_store(options.store))
    run_options = options.options()
    say_what_is_planned(spec)
    result = library.match(
        spec,
        options.store,
        run_options,
        target=options.target,
        tolerance=options.tolerance,
        trainings=options.trainings,
        front=options.front,
        attack=not options.no_attack,
        retry_failed=options.retry_failed,
        replace=options.replace,
        say=say,
    )
    return options.finish(result)
