"""`midef validate`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from midef.core.errors import PreflightError, SpecError
from midef.sweep.cli.options import SweepArguments, add_sweep_arguments, parsed, say
from midef.sweep.library import is_matched, search_text
from midef.sweep.result import EXIT_OK

if TYPE_CHECKING:
    from midef.sweep.spec.resolve import Sweep

HELP = "check a specification: every problem at once, or how many runs it has"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    add_sweep_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print `config ok` and the size of the sweep; looks at no store and starts nothing."""
    from midef.sweep.spec.resolve import resolve

    options = parsed(SweepArguments, args)
    try:
        spec = options.spec()
    except PreflightError:
        raise
    except SpecError as error:
        raise SpecError(list(dict.fromkeys([*error.problems, *_further(options, error)]))) from error
    sweep = resolve(spec, absent=True)
    if sweep.lacking and not sweep.cells:
        raise PreflightError(list(sweep.lacking))
    if is_matched(sweep):
        search_text(sweep)
    say(f"config ok: {size_text(sweep)} (sweep {sweep.name}, profile {sweep.profile.name})")
    for line in (*sweep.lacking, *sweep.notes):
        say(f"note: {line}")
    return EXIT_OK


def _further(options: SweepArguments, error: SpecError) -> list[str]:
    """Problems that those which were found hide."""
    from midef.sweep.catalogue import read_document
    from midef.sweep.spec.further import further_problems
    from midef.sweep.spec.load import override

    try:
        document = read_document(Path(options.config) if Path(options.config).suffix else options.config)
        for text in [*options.set, *([f"profile={options.profile}"] if options.profile else [])]:
            document = override(document, text)
    except SpecError:
        return []
    return further_problems(document, error.problems)


def size_text(sweep: Sweep) -> str:
    """`37 setups × 20 defenses × 5 seeds = 3,700 runs`, and what of them is refused or searched first."""
    cells = sweep.cells
    setups, defenses = {c.cell.setup.id for c in cells}, {c.cell.defense for c in cells}
    seeds, refused = {c.cell.seed for c in cells}, sum(bool(c.refused) for c in cells)
    runs = _count(len(cells), "run")
    parts = [_count(len(setups), "setup"), _count(len(defenses), "defense"), _count(len(seeds), "seed")]
    is_product = len(setups) * len(defenses) * len(seeds) == len(cells)
    text = f"{' × '.join(parts)} = {runs}" if is_product else f"{parts[0]}, {parts[1]} in all, {parts[2]}: {runs}"
    text += f", {refused:,} of them refused" if refused else ""
    return text + ("; `midef match` searches strengths first" if is_matched(sweep) else "")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
