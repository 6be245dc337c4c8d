"""`midef dashboard`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from midef.sweep.cli.options import add_store_argument, build_dashboard, parsed
from midef.sweep.cli.output import check_folder
from midef.sweep.result import EXIT_OK

HELP = "build the static dashboard"


@dataclass(frozen=True, kw_only=True)
class DashboardArguments:
    """The options of `midef dashboard build`, the only action."""

    store: str
    sweep: str | None
    out: Path
    with_private_exemplars: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    add_store_argument(parser)
    parser.add_argument("action", choices=("build",), help="the only action")
    parser.add_argument("--sweep", help="a sweep of this store (default: the latest)")
    parser.add_argument("--out", type=Path, default=Path("midef-dashboard"), help="folder of the dashboard")
    parser.add_argument("--with-private-exemplars", action="store_true", help="show private training images")


def run(args: argparse.Namespace) -> int:
    """Build it and print where it is."""
    options = parsed(DashboardArguments, args)
    check_folder(options.out)
    build_dashboard(options.store, options.out, options.sweep, with_private_exemplars=options.with_private_exemplars)
    return EXIT_OK
