"""`midef table`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from midef.core.errors import SpecError
from midef.sweep.cli.options import ADDRESS, add_store_argument, parsed, say
from midef.sweep.cli.output import check_file
from midef.sweep.cli.terminal import text_width
from midef.sweep.result import EXIT_OK, NO_RESULTS, results_of, results_table

if TYPE_CHECKING:
    from midef.storage import Store

Format: TypeAlias = Literal["text", "md", "latex", "csv", "parquet"]

HELP = "print the results as a table"
FORMATS: tuple[Format, ...] = ("text", "md", "latex", "csv", "parquet")


@dataclass(frozen=True, kw_only=True)
class TableArguments:
    """The options of `midef table`."""

    store: str
    sweep: str | None
    setup: list[str]
    columns: str
    format: Format
    out: Path | None

    @property
    def shown(self) -> list[str]:
        """The chosen columns."""
        return [text for part in self.columns.split(",") if (text := part.strip())]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    add_store_argument(parser)
    parser.add_argument("--sweep", help=ADDRESS)
    parser.add_argument(
        "--setup",
        action="append",
        default=[],
        metavar="ID",
        help="a setup by its id, or 'S0*' for several (repeatable)",
    )
    parser.add_argument(
        "--columns",
        default="",
        metavar="A,B",
        help="columns to show, in this order: metrics by name, or matched, delta, comparison, seeds, published "
        "(default: all)",
    )
    parser.add_argument("--format", choices=FORMATS, default="text", help="of the table (default text)")
    parser.add_argument("--out", type=Path, help="file to write instead of printing; --format parquet needs one")


def run(args: argparse.Namespace) -> int:
    """Print the table, or write it."""
    from midef.storage import Store

    options = parsed(TableArguments, args)
    if options.out is not None:
        check_file(options.out)
    elif options.format == "parquet":
        raise SpecError("--format parquet is a file, not text; give its name: --out results.parquet")
    store = Store.open(options.store, create=False)
    if options.format == "parquet":
        return _parquet(options, store)
    text = results_table(
        store, options.sweep, options.format, setups=options.setup, columns=options.shown, width=text_width()
    )
    write_or_say(text, options.out)
    return EXIT_OK


def write_or_say(text: str, out: Path | None) -> None:
    """Write lines to a file and say where, or print them."""
    if out is None:
        say(text)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(f"{text.rstrip()}\n", encoding="utf-8")
    say(f"table: {out.resolve()}")


def _parquet(options: TableArguments, store: Store) -> int:
    from midef.results.export import parquet_bytes, records

    assert options.out is not None
    lines = records(*results_of(store, options.sweep, options.setup), columns=options.shown)
    if not lines:
        say(NO_RESULTS)
        return EXIT_OK
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_bytes(parquet_bytes(lines))
    say(f"table: {options.out.resolve()}")
    return EXIT_OK
