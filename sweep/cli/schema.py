"""`midef schema`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass

from midef.sweep.cli.options import parsed, say
from midef.sweep.cli.terminal import text_width
from midef.sweep.result import EXIT_OK

HELP = "print the data dictionary: every column of the result rows, its type and meaning"


@dataclass(frozen=True, kw_only=True)
class SchemaArguments:
    """The options of `midef schema`."""

    json: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print one line per column."""
    from midef.results.dictionary import ROW_SCHEMA_VERSION, data_dictionary
    from midef.results.layout import TextColumn, fitted_table

    columns = data_dictionary()
    if parsed(SchemaArguments, args).json:
        say(json.dumps({"row_schema": ROW_SCHEMA_VERSION, "columns": [asdict(one) for one in columns]}, indent=1))
        return EXIT_OK
    say(f"row schema {ROW_SCHEMA_VERSION}: one row is one metric of one cell\n")
    types = tuple(f"{one.type}{' or null' if one.is_nullable else ''}" for one in columns)
    table = [
        TextColumn("column", tuple(one.name for one in columns)),
        TextColumn("type", types),
        TextColumn("since", tuple(str(one.since) for one in columns), "right"),
        TextColumn("meaning", tuple(one.meaning for one in columns)),
    ]
    say("\n".join(fitted_table(table, text_width())))
    return EXIT_OK
