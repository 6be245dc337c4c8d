"""`midef logs`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from midef.core.errors import SpecError
from midef.sweep.cli.chosen_cells import StoredCell, choose_stored, pieces_of
from midef.sweep.cli.options import ADDRESS, add_store_argument, parsed, say
from midef.sweep.cli.waiting import EVERY_S, is_starting, wait_for_plan
from midef.sweep.result import EXIT_OK

if TYPE_CHECKING:
    from midef.storage import Store
    from midef.storage.logs import Attempt

HELP = "print the logs of a cell, with the traceback of what failed"
_MOST_CELLS = 20


@dataclass(frozen=True, kw_only=True)
class LogsArguments:
    """The options of `midef logs`."""

    store: str
    cells: list[str]
    sweep: str | None
    follow: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    add_store_argument(parser)
    parser.add_argument("cells", nargs="+", metavar="CELL", help="a cell by its first letters, or defense=midre seed=0")
    parser.add_argument("--sweep", help=ADDRESS)
    parser.add_argument(
        "-f",
        "--follow",
        action="store_true",
        help="go on while the cell is being built; waits for a sweep that is not planned yet",
    )


def run(args: argparse.Namespace) -> int:
    """Print the logs of every artifact of the cell, inputs first."""
    from midef.storage import Store

    options = parsed(LogsArguments, args)
    if options.follow:
        wait_for_plan(options.store, options.sweep)
    store = Store.open(options.store, create=False)
    cells = choose_stored(store, options.sweep, options.cells)
    if len(cells) > 1:
        shown = [f"  {cell.title}" for cell in cells[:_MOST_CELLS]]
        more = [f"  and {len(cells) - _MOST_CELLS} more"] if len(cells) > _MOST_CELLS else []
        lines = "\n".join([*shown, *more])
        raise SpecError(
            f"{len(cells)} cells match {' '.join(options.cells)}; name one, as by its first letters:\n{lines}"
        )
    say(f"cell {cells[0].title}")
    printed: dict[str, str] = {}
    is_last = not options.follow
    while True:
        _print_new(store, cells[0], printed, with_missing=not options.follow)
        if is_last:
            if options.follow and store.results.states().get(cells[0].digest) is None:
                say("\nthe cell has no results, and no run is at work on it; `midef run` goes on with it")
            return EXIT_OK
        is_last = _has_ended(store, cells[0])  # what was written meanwhile is still printed
        if not is_last:
            time.sleep(EVERY_S)


def _print_new(store: Store, cell: StoredCell, printed: dict[str, str], *, with_missing: bool) -> None:
    """Print what is new in the logs of the cell.

    Args:
        printed: text that was printed, by path; gains what is printed here.
        with_missing: name artifacts without a log.
    """
    pieces = pieces_of(store, cell)
    for piece in pieces:
        for attempt in piece.attempts:
            _print_attempt(attempt, printed)
        if not piece.attempts and with_missing:
            stored = "it was built before logs were kept" if piece.wall_s is not None else "it is not built"
            say(f"\n== {piece.key.short}: no log, {stored}")
    if not pieces and with_missing:
        say("no logs: the cell needs no artifacts, or an older midef planned it")


def _print_attempt(attempt: Attempt, printed: dict[str, str]) -> None:
    before = printed.get(attempt.path, "")
    printed[attempt.path] = attempt.text
    if not before:
        say(f"\n== {attempt.path}")
        if attempt.state == "killed":
            say("(its process is gone without a last word)")
    new = attempt.text[_shown_until(before, attempt.text) :]
    if new.strip():
        say(new.rstrip("\n"))


def _shown_until(before: str, now: str) -> int:
    """Where in a log what is new begins; of one that grew beyond its bound, after the last lines that were shown."""
    if now.startswith(before):
        return len(before)
    last = before[-200:]
    at = now.rfind(last)
    return at + len(last) if at >= 0 else max(0, now.find("bytes are left out here"))


def _has_ended(store: Store, cell: StoredCell) -> bool:
    """Whether nothing more can come: the rows of this run are written, or nobody is at work on the sweep."""
    from midef.sweep.execution.run_record import drivers

    alive = [driver for driver in drivers(store) if driver.is_alive and driver.digest == cell.sweep_digest]
    if not alive:
        attempts = [attempt for piece in pieces_of(store, cell) for attempt in piece.attempts]
        return not any(attempt.state == "running" for attempt in attempts) and not _may_start(store, cell, attempts)
    state = store.results.states().get(cell.digest)
    if state is None:
        return False
    try:
        return state.status == "ok" or store.location.modified(f"results/{cell.digest}.parquet") >= alive[0].since
    except FileNotFoundError:  # among others in one file, so from an earlier run
        return False


def _may_start(store: Store, cell: StoredCell, attempts: Sequence[Attempt]) -> bool:
    """Whether the run that planned the cell may still be starting Ray, before which nothing is recorded."""
    planned = dict(store.sweeps.sweeps()).get(cell.sweep_digest, 0.0)
    has_begun = any((attempt.begun or 0.0) + 1 >= planned for attempt in attempts)  # logs tell whole seconds
    is_missing = store.results.states().get(cell.digest) is None
    return is_missing and not has_begun and is_starting(store, cell.sweep_digest)
