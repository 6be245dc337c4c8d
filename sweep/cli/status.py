"""`midef status`."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from midef.results.layout import wrapped
from midef.sweep.cli.options import ADDRESS, add_store_argument, parsed, say
from midef.sweep.cli.terminal import text_width
from midef.sweep.cli.waiting import is_starting, wait_for_plan
from midef.sweep.result import EXIT_OK

if TYPE_CHECKING:
    from midef.storage import Store
    from midef.sweep.execution.status import Status

HELP = "show what a store holds, what its sweeps lack, and what is running"
_WATCH_S = 10.0


@dataclass(frozen=True, kw_only=True)
class StatusArguments:
    """The options of `midef status`."""

    store: str
    sweep: str | None
    json: bool
    watch: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    add_store_argument(parser)
    parser.add_argument("--sweep", help=ADDRESS.replace("the latest", "all"))
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--watch",
        action="store_true",
        help="print it again every 10 s while a sweep is running; waits for one that is not planned yet",
    )


def run(args: argparse.Namespace) -> int:
    """Print the status, again and again if it is watched."""
    from midef.storage import Store
    from midef.sweep.execution.status import read_status, status_text

    options = parsed(StatusArguments, args)
    if options.watch:
        wait_for_plan(options.store, options.sweep)
    store = Store.open(options.store, create=False)
    while True:
        status = read_status(store, options.sweep)
        say(json.dumps(status.as_plain(), indent=1) if options.json else _fitted(status_text(status)))
        if not options.watch or not (status.is_at_work or _is_starting(store, status)):
            return EXIT_OK
        time.sleep(_WATCH_S)
        say("")


def _fitted(text: str) -> str:
    """Lines that fit the terminal; commands stay whole, so that they can be pasted."""
    return "\n".join(
        part
        for line in text.splitlines()
        for part in ([line] if line.startswith("  next: midef ") else wrapped(line, text_width(), indent="    "))
    )


def _is_starting(store: Store, status: Status) -> bool:
    """Whether a sweep that lacks results was planned just now."""
    return any(sweep.cells.get("missing") and is_starting(store, sweep.digest) for sweep in status.sweeps)
