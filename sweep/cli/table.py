"""`midef table`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from midef.core.errors import SpecError
from midef.sweep.cli.options import ADDRESS, add_store_argument, parsed, say
from midef.sweep.cli.output import check_file
from midef.sweep.cli.terminal import text_width
from midef.sweep.result import EXIT_OK, NO_RESULTS, results_of, results_table, rows_of_setups

if TYPE_CHECKING:
    from midef.results.plain import PlainTable
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
    paper: str | None
    table: str
    worst: bool
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
    add_setup_argument(parser)
    parser.add_argument(
        "--columns",
        default="",
        metavar="A,B",
        help="columns to show, in this order: metrics by name, or matched, delta, comparison, seeds, published "
        "(default: all)",
    )
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--paper", metavar="NAME", help="numbers of a paper beside ours, with a verdict on each: MIDRE")
    kinds.add_argument(
        "--worst",
        action="store_true",
        help="the highest attack accuracy of each defense over all attacks on one target",
    )
    parser.add_argument("--table", default="", metavar="ID", help="with --paper, one of its tables: B.2 (default: all)")
    parser.add_argument("--format", choices=FORMATS, default="text", help="of the table (default text)")
    parser.add_argument("--out", type=Path, help="file to write instead of printing; --format parquet needs one")


def add_setup_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--setup`."""
    parser.add_argument(
        "--setup",
        action="append",
        default=[],
        metavar="ID",
        help="a setup by its id, or 'S0*' for several (repeatable)",
    )


def check_output(format_: Format, out: Path | None, example: str) -> None:
    """See that what will be printed or written can be.

    Args:
        format_: of `--format`.
        out: of `--out`.
        example: name of a Parquet file.

    Raises:
        SpecError: for a name that cannot be a file, or Parquet without one.
    """
    if out is not None:
        check_file(out)
    elif format_ == "parquet":
        raise SpecError(f"--format parquet is a file, not text; give its name: --out {example}")


def run(args: argparse.Namespace) -> int:
    """Print the table, or write it."""
    from midef.storage import Store

    options = parsed(TableArguments, args)
    check_output(options.format, options.out, "results.parquet")
    if options.table and options.paper is None:
        raise SpecError(f"--table {options.table} is a table of a paper; say of which: --paper MIDRE")
    store = Store.open(options.store, create=False)
    if options.worst or options.paper is not None:
        return write_plain(_plain_tables(options, store), options.shown, options.format, options.out)
    if options.format == "parquet":
        return _parquet(options, store)
    text = results_table(
        store, options.sweep, options.format, setups=options.setup, columns=options.shown, width=text_width()
    )
    write_or_say(text, options.out)
    return EXIT_OK


def _plain_tables(options: TableArguments, store: Store) -> list[PlainTable]:
    """Tables of worst cases, or of a paper."""
    from midef.results.paper_table import paper_tables
    from midef.results.worst_table import worst_tables
    from midef.storage.published import read_published
    from midef.sweep.catalogue.published.rows import published_rows

    rows = rows_of_setups(store, options.sweep, options.setup)
    if options.paper is None:
        return worst_tables(rows)
    every = [*published_rows(), *read_published(store)]
    chosen = {row.setup for row in rows}
    theirs = [row for row in every if not options.setup or row.setup in chosen]
    return paper_tables(rows, theirs, options.paper, options.table)


def write_plain(tables: Sequence[PlainTable], columns: Sequence[str], style: Format, out: Path | None) -> int:
    """Print tables or write them to a file, and return the exit code.

    Args:
        tables: none if nothing was measured yet.
        columns: of text to show; all if empty.
        style: of the tables; CSV and Parquet hold every number.
        out: file to write.
    """
    from midef.results.export import parquet_bytes
    from midef.results.plain import plain_csv, plain_latex, plain_markdown, plain_records, plain_text, with_columns

    if not tables:
        say(NO_RESULTS)
        return EXIT_OK
    shown = with_columns(tables, columns)
    if style == "parquet":
        assert out is not None
        _write(out, parquet_bytes(plain_records(shown)))
    elif style == "text":
        write_or_say(plain_text(shown, text_width()), out)
    else:
        draw = {"md": plain_markdown, "latex": plain_latex, "csv": plain_csv}[style]
        write_or_say(draw(shown).rstrip("\n"), out)
    return EXIT_OK


def _write(out: Path, content: bytes) -> None:
    """Write a file, and say where."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(content)
    say(f"table: {out.resolve()}")


def write_or_say(text: str, out: Path | None) -> None:
    """Write lines to a file and say where, or print them."""
    if out is None:
        say(text)
    else:
        _write(out, f"{text.rstrip()}\n".encode())


def _parquet(options: TableArguments, store: Store) -> int:
    from midef.results.export import parquet_bytes, records

    assert options.out is not None
    lines = records(*results_of(store, options.sweep, options.setup), columns=options.shown)
    if not lines:
        say(NO_RESULTS)
        return EXIT_OK
    _write(options.out, parquet_bytes(lines))
    return EXIT_OK
