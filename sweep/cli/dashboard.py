"""`midef dashboard`."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from midef.core.errors import PreflightError, SpecError, did_you_mean
from midef.sweep.cli.options import build_dashboard, parsed, positive, say
from midef.sweep.cli.output import check_folder
from midef.sweep.library import DEFAULT_STORE
from midef.sweep.result import EXIT_FOUND, EXIT_OK

HELP = "build the static dashboard, serve it while a sweep runs, or check it in a browser"
PORT = 8787


@dataclass(frozen=True, kw_only=True)
class DashboardArguments:
    """The options of `midef dashboard`."""

    action: str
    store: list[str]
    sweep: list[str]
    out: Path
    with_private_exemplars: bool
    utility: str | None
    port: int
    every: int
    pictures: Path | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    default = os.environ.get("MIDEF_RESULTS", DEFAULT_STORE)
    parser.add_argument(
        "action",
        nargs="?",
        choices=("build", "serve", "check"),
        default="build",
        help="build: a folder that opens from disk (default); serve: the same on 127.0.0.1, built again when rows "
        "change; check: open the built page in Chromium, exit code 5 if it breaks a rule",
    )
    parser.add_argument(
        "--store",
        action="append",
        default=[],
        help=f"folder or s3:// URI (default {default}); repeat it for one page over several stores",
    )
    parser.add_argument(
        "--sweep",
        action="append",
        default=[],
        help="a sweep of these stores: NAME, NAME@DIGEST or DIGEST, or several, one each (default: the latest)",
    )
    parser.add_argument("--out", type=Path, default=Path("midef-dashboard"), help="folder of the dashboard")
    parser.add_argument("--with-private-exemplars", action="store_true", help="show private training images")
    parser.add_argument(
        "--utility",
        metavar="METRIC",
        help="what attack accuracy is plotted against, such as confidence_distortion (default: test accuracy)",
    )
    parser.add_argument("--port", type=_port, default=PORT, help=f"serve: of 127.0.0.1 (default {PORT}; 0: a free one)")
    parser.add_argument(
        "--every", type=positive, default=5, metavar="S", help="serve: look for new rows every S seconds (default 5)"
    )
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="DIR",
        help="check: write a picture of every view at 1440, 1024 and 390 px here",
    )


def run(args: argparse.Namespace) -> int:
    """Build it and print where it is; serve it until interrupted; or check it.

    Raises:
        SpecError: if the utility is no metric, or says how private something is; if there is no page to check.
        PreflightError: if the port is taken, or there is no browser.
    """
    options = parsed(DashboardArguments, args)
    if options.utility is not None:
        _check_utility(options.utility)
    if options.action == "check":
        return _check(options.out, options.pictures)
    if options.action == "serve":
        return _serve(options)
    check_folder(options.out)
    build_dashboard(
        stores_of(options.store),
        options.out,
        options.sweep,
        with_private_exemplars=options.with_private_exemplars,
        utility=options.utility,
    )
    return EXIT_OK


def stores_of(given: Sequence[str]) -> list[str]:
    """The stores that were named, else the default."""
    return list(given) or [os.environ.get("MIDEF_RESULTS", DEFAULT_STORE)]


def _check(out: Path, pictures: Path | None) -> int:
    """A line per rule."""
    from midef.dashboards.check import check_page, check_text

    index = out if out.name == "index.html" else out / "index.html"
    results = check_page(index, pictures=pictures)
    say(check_text(results))
    return EXIT_FOUND if any(result.problems for result in results) else EXIT_OK


def _serve(options: DashboardArguments) -> int:
    from midef.dashboards.build import build
    from midef.dashboards.serve import HOST, LivePage, ended_by_signals, server, store_state
    from midef.results.compare import NATURAL
    from midef.sweep.cli.reference import reference

    stores = stores_of(options.store)
    facts = reference()

    def rebuild(out: Path) -> None:
        build(
            stores,
            out,
            options.sweep,
            options.with_private_exemplars,
            utility=options.utility or NATURAL,
            reference=facts,
        )

    page = LivePage(rebuild, lambda: store_state(stores), say)
    stop = threading.Event()
    follower = threading.Thread(target=page.keep_fresh, args=(float(options.every), stop), daemon=True)
    with ended_by_signals():
        try:
            page.refresh()
            try:
                serving = server(page, options.port)
            except OSError as error:
                raise PreflightError(
                    f"port {options.port} of {HOST} cannot be used ({error.strerror}); give another --port"
                ) from error
            port = serving.server_address[1]
            try:
                follower.start()
                say(f"dashboard: http://{HOST}:{port}/  (this machine only; end with Ctrl-C)")
                say(f"from elsewhere: ssh -L {port}:{HOST}:{port} {platform.node() or 'MACHINE'}")
                sys.stdout.flush()
                serving.serve_forever(poll_interval=0.2)
            except KeyboardInterrupt:
                say("\nended")
            finally:
                stop.set()
                serving.server_close()
        finally:
            page.remove(follower)
    return EXIT_OK


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, got {text!r}")
    return int(text)


def _check_utility(name: str) -> None:
    from midef.metrics import METRICS

    useful = [metric for metric in METRICS.names() if "private" not in METRICS.get(metric).larger_is]
    if name not in useful:
        what = "says how private a defense is" if name in METRICS.names() else "is no metric"
        raise SpecError(f"--utility {name}: it {what}; {did_you_mean(name, useful)}")
