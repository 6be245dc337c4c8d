"""`midef compare`: two defenses of a sweep, or two sweeps of a store, pair by pair."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from midef.core.errors import SpecError, did_you_mean, few
from midef.sweep.cli.options import ADDRESS, add_store_argument, parsed, say
from midef.sweep.cli.table import FORMATS, Format, add_setup_argument, check_output, write_plain
from midef.sweep.result import EXIT_FOUND, EXIT_OK, NO_RESULTS, rows_of_setups

if TYPE_CHECKING:
    from midef.core.rows import ResultRow
    from midef.results.paired import Comparison
    from midef.storage import Store

HELP = "compare two defenses or two sweeps, pair by pair; exit code 5 if the second leaks more, or nothing is paired"


@dataclass(frozen=True, kw_only=True)
class CompareArguments:
    """The options of `midef compare`."""

    first: str
    second: str
    store: str
    sweep: str | None
    setup: list[str]
    matched: bool
    format: Format
    out: Path | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    what = "a defense as `midef table` names it, or a sweep of the store"
    parser.add_argument("first", metavar="A", help=what)
    parser.add_argument("second", metavar="B", help=f"{what}; differences are B minus A")
    add_store_argument(parser)
    parser.add_argument("--sweep", help=f"of two defenses, {ADDRESS}")
    add_setup_argument(parser)
    parser.add_argument("--matched", action="store_true", help="only defenses that reached their target accuracy")
    parser.add_argument("--format", choices=FORMATS, default="text", help="of the tables (default text)")
    parser.add_argument("--out", type=Path, help="file to write instead of printing; --format parquet needs one")


def run(args: argparse.Namespace) -> int:
    """Print the differences, and say what they show."""
    from midef.results.paired_table import comparison_tables
    from midef.storage import Store

    options = parsed(CompareArguments, args)
    check_output(options.format, options.out, "differences.parquet")
    found = _compared(options, Store.open(options.store, create=False))
    if found is None:
        say(NO_RESULTS)
        return EXIT_OK
    write_plain(comparison_tables(found), [], options.format, options.out)
    if not found.pairs or any(one.second_leaks_more for one in found.overall):
        return EXIT_FOUND
    return EXIT_OK


def _compared(options: CompareArguments, store: Store) -> Comparison | None:
    """The comparison; None where nothing was measured yet.

    Raises:
        SpecError: for a name that is neither a defense nor a sweep.
    """
    from midef.results.paired import compare, side_of_defense, side_of_sweep
    from midef.results.summary import summarise

    names = options.first, options.second
    if options.first == options.second:
        raise SpecError(f"{options.first} against itself: name two defenses or two sweeps")
    rows = rows_of_setups(store, options.sweep, options.setup)
    defenses = _defenses(rows)
    if rows and all(name in defenses for name in names):
        sides = side_of_defense(rows, names[0]), side_of_defense(rows, names[1])
        return compare(*names, sides, summarise(rows), matched=options.matched)
    sweeps = [_rows_of(store, name, options.setup) for name in names]
    if not rows and not any(sweeps):
        return None
    problems = [
        f"{name!r} is neither a defense of {rows[0].sweep if rows else 'this sweep'} nor a sweep of this store; "
        f"{did_you_mean(name, {*defenses, *_sweeps(store)})}"
        for name, of_name in zip(names, sweeps, strict=True)
        if of_name is None and name not in defenses
    ]
    if not problems and any(of_name is None for of_name in sweeps):
        problems = [f"{names[0]} and {names[1]} are a defense and a sweep; name two defenses or two sweeps"]
    if problems:
        raise SpecError(problems)
    if options.sweep is not None:
        raise SpecError(f"--sweep {options.sweep} is of two defenses; {names[0]} and {names[1]} are sweeps")
    first, second = ([*(of_name or [])] for of_name in sweeps)
    if not first and not second:
        return None
    whole = [*summarise(first), *summarise(second)]
    found = compare(*names, (side_of_sweep(first), side_of_sweep(second)), whole, matched=options.matched)
    setups = [list(dict.fromkeys(row.setup for row in rows)) for rows in (first, second)]
    if all(setups) and set(setups[0]).isdisjoint(setups[1]):
        have = "; ".join(f"{name} has {few(ids)}" for name, ids in zip(names, setups, strict=True))
        found = replace(found, notes=(*found.notes, f"setups are paired by their id, and none is in both: {have}"))
    return found


def _defenses(rows: list[ResultRow]) -> set[str]:
    return {name for row in rows for name in (row.defense, row.defense_name)}


def _sweeps(store: Store) -> set[str]:
    return {manifest.sweep for _, manifest in store.sweeps.manifests()}


def _rows_of(store: Store, sweep: str, setups: list[str]) -> list[ResultRow] | None:
    """Rows of a sweep under the name it was asked by; None if the store has none of that name."""
    try:
        rows = rows_of_setups(store, sweep)
    except SpecError:
        return None
    known = {row.setup for row in rows}
    if setups and rows and not known.isdisjoint(setups):
        rows = rows_of_setups(store, sweep, setups)
    return [replace(row, sweep=sweep) for row in rows]
