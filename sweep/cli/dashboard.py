"""`midef dashboard`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from midef.core.errors import SpecError, did_you_mean
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
    utility: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    add_store_argument(parser)
    parser.add_argument("action", choices=("build",), help="the only action")
    parser.add_argument("--sweep", help="a sweep of this store (default: the latest)")
    parser.add_argument("--out", type=Path, default=Path("midef-dashboard"), help="folder of the dashboard")
    parser.add_argument("--with-private-exemplars", action="store_true", help="show private training images")
    parser.add_argument(
        "--utility",
        metavar="METRIC",
        help="what attack accuracy is plotted against, such as confidence_distortion (default: test accuracy)",
    )


def run(args: argparse.Namespace) -> int:
    """Build it and print where it is.

    Raises:
        SpecError: if the utility is no metric, or says how private something is.
    """
    options = parsed(DashboardArguments, args)
    if options.utility is not None:
        _check_utility(options.utility)
    check_folder(options.out)
    build_dashboard(
        options.store,
        options.out,
        options.sweep,
        with_private_exemplars=options.with_private_exemplars,
        utility=options.utility,
    )
    return EXIT_OK


def _check_utility(name: str) -> None:
    from midef.metrics import METRICS

    useful = [metric for metric in METRICS.names() if "private" not in METRICS.get(metric).larger_is]
    if name not in useful:
        what = "says how private a defense is" if name in METRICS.names() else "is no metric"
        raise SpecError(f"--utility {name}: it {what}; {did_you_mean(name, useful)}")
