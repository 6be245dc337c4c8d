"""`midef show`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from midef.sweep.cli.chosen_cells import choose_stored
from midef.sweep.cli.options import ADDRESS, add_store_argument, parsed, say
from midef.sweep.cli.output import check_file
from midef.sweep.cli.terminal import text_width
from midef.sweep.result import EXIT_OK

if TYPE_CHECKING:
    from midef.results.searches import SetupSearches
    from midef.storage import Store

HELP = "show a cell: configuration, stages, metrics, files; or how the searches of attacks went"


@dataclass(frozen=True, kw_only=True)
class ShowArguments:
    """The options of `midef show`."""

    store: str
    cells: list[str]
    sweep: str | None
    out: Path | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    add_store_argument(parser)
    parser.add_argument(
        "cells",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="only these cells: defense=midre seed=0, or a cell by its first letters (default: all)",
    )
    parser.add_argument("--sweep", help=ADDRESS)
    parser.add_argument("--out", type=Path, help="HTML file to draw the searches in")


def run(args: argparse.Namespace) -> int:
    """Print the cell that is named, then the searches; draw these if asked for."""
    from midef.results.searches import searches_text
    from midef.storage import Store
    from midef.sweep.cli.cell_text import cell_text

    options = parsed(ShowArguments, args)
    if options.out is not None:
        check_file(options.out)
    store = Store.open(options.store, create=False)
    cells = choose_stored(store, options.sweep, options.cells) if options.cells else []
    if len(cells) == 1:
        say(f"{cell_text(store, cells[0], text_width())}\n")
    elif cells:
        say("\n".join(cell.title for cell in cells) + "\n")
    names = {cell.address for cell in cells}
    is_measured = not cells or any(cell.state.status != "missing" for cell in cells)
    sweep = options.sweep or next(iter(names), None)
    setups = chosen_searches(store, sweep, options.cells) if is_measured else []
    say(searches_text(setups, text_width()) if setups else "no results yet")
    if options.out is not None:
        draw(setups, options.out)
    return EXIT_OK


def chosen_searches(store: Store, sweep: str | None, cells: list[str]) -> list[SetupSearches]:
    """The searches of chosen cells of a sweep (default: the latest of the store), by setup.

    Args:
        store: where they are.
        sweep: its name.
        cells: `defense=midre`, or the first letters of a cell; all if empty.

    Raises:
        SpecError: if the store has no such sweep, or the sweep no such cell.
    """
    from midef.core.recipe import ArtifactKey
    from midef.core.traces import Traces
    from midef.results.searches import setup_searches
    from midef.storage import rows_of_sweep
    from midef.storage.traces import read_traces
    from midef.sweep.planning.selection import choose_rows

    def read(key: ArtifactKey) -> Traces | None:
        return read_traces(store.artifacts.fetch(key))

    rows = [row for row in rows_of_sweep(store, sweep) if row.origin == "measured"]
    only = [text if "=" in text else f"cell={text}*" for text in cells]
    return setup_searches(choose_rows(rows, only), read) if rows else []


def draw(setups: list[SetupSearches], out: Path) -> None:
    """Write the figure, or say that there is nothing to draw."""
    from midef.dashboards.figures.analysis import write
    from midef.dashboards.figures.searches import search_figure

    if not any(search.bands for setup in setups for search in setup.searches):
        say(f"\nnothing to draw, {out} is not written")
        return
    write(search_figure(setups), out)
    say(f"\nfigure: {out.resolve()}")
