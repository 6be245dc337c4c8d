"""`midef import-published`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from midef.core.errors import SpecError, did_you_mean
from midef.sweep.cli.options import add_store_argument, parsed, say
from midef.sweep.result import EXIT_OK

HELP = "check published numbers in a CSV or YAML file and keep them in the store, beside what is measured"


@dataclass(frozen=True, kw_only=True)
class ImportArguments:
    """The options of `midef import-published`."""

    file: Path
    store: str
    replace: bool
    check: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    parser.add_argument("file", type=Path, help="one number a line, with its source; docs/stores.md")
    add_store_argument(parser)
    parser.add_argument(
        "--replace", action="store_true", help="take numbers that the store has from the same source with another value"
    )
    parser.add_argument("--check", action="store_true", help="check the file alone, and keep nothing")


def run(args: argparse.Namespace) -> int:
    """Check the file, keep its numbers, say what was new.

    Raises:
        SpecError: everything wrong with the file; or if the store has other values from its source.
    """
    from midef.storage import Store
    from midef.storage.published import merge_published, read_published
    from midef.sweep.published_import import read_numbers

    options = parsed(ImportArguments, args)
    rows = read_numbers(options.file)
    if options.check:
        say(f"{options.file}: {len(rows)} numbers, nothing wrong")
        return EXIT_OK
    store = Store.open(options.store)
    if not options.replace:
        planned = merge_published(store, rows, dry=True)
        if planned.conflicts:
            raise SpecError([f"{text}; --replace takes the new one" for text in planned.conflicts])
    before = len(read_published(store))
    change = merge_published(store, rows, replace=options.replace)
    known = {str(row["setup"]) for _, manifest in store.sweeps.manifests() for row in manifest.rows if "setup" in row}
    for setup in sorted({row.setup for row in rows} - known) if known else ():
        near = did_you_mean(setup, known)
        say(f"warning: no sweep of this store has a setup {setup!r}, so nothing shows it yet; {near}")
    say(f"{options.file}: {change.added} numbers new, {change.replaced} replaced, {change.same} here already")
    say(f"store {store.location.shown}: {before} published numbers before, {before + change.added} now")
    return EXIT_OK
