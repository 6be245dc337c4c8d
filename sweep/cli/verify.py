"""`midef verify`."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from midef.core.errors import DamagedFile
from midef.core.text import counted
from midef.sweep.cli.options import add_store_argument, parsed, say
from midef.sweep.result import EXIT_FOUND, EXIT_OK

if TYPE_CHECKING:
    from midef.storage.verify import Verification

HELP = "read everything in a store and say what is damaged"


@dataclass(frozen=True, kw_only=True)
class VerifyArguments:
    """The options of `midef verify`."""

    store: str
    repair: bool
    json: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    add_store_argument(parser)
    parser.add_argument("--repair", action="store_true", help="set aside what is damaged; a run builds it anew")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print what is damaged; 0 if nothing damaged is left in its place, else 5."""
    from midef.results.stored_findings import PATTERN, parse_findings
    from midef.storage import Store
    from midef.storage.verify import Document, verify
    from midef.sweep.execution.result_rows import disagreement
    from midef.sweep.execution.run_record import parse_driver

    options = parsed(VerifyArguments, args)
    store = Store.open(options.store, create=False)
    report = verify(
        store,
        repair=options.repair,
        documents=(
            Document(pattern=PATTERN, what="findings of an analysis", check=parse_findings),
            Document(pattern="runs/*/driver.json", what="state of a run", check=parse_driver),
            Document(pattern="studies/*.log", what="journal of studies", check=_check_journal, has_checksum=False),
        ),
        disagreement=lambda rows: disagreement(rows, store),
        say=lambda text: print(text, file=sys.stderr, flush=True),
    )
    say(json.dumps(asdict(report), indent=1) if options.json else verification_text(report))
    return EXIT_OK if report.is_clean else EXIT_FOUND


def verification_text(report: Verification) -> str:
    """The damaged things one by one, then the counts."""
    lines = []
    for damage in report.damaged:
        lines.append(f"damaged: {damage.path} ({damage.what}): {damage.problem}")
        if damage.built_from_it:
            lines.append(f"  built from it, and as they were: {damage.built_from_it}")
        if damage.set_aside_as:
            lines.append(f"  set aside as {damage.set_aside_as}")
    read = ", ".join(f"{count} {what}" for what, count in report.checked.items()) or "nothing"
    lines.append(f"store {report.store}: whole: {read}")
    if report.before_checksums:
        lines.append(
            f"{counted(report.before_checksums, 'file')} written before checksums: nothing proves what is said there"
        )
    if report.newer:
        lines.append(f"{counted(report.newer, 'file')} of a newer midef not read: upgrade midef")
    if report.not_compared:
        lines.append(
            f"{counted(report.not_compared, 'cell')} with rows, but without whole artifacts to compare them with"
        )
    if report.set_aside_before:
        lines.append(
            f"{report.set_aside_before} things were set aside before, in the folders `.damaged`: look, then delete"
        )
    left = sum(not damage.set_aside_as for damage in report.damaged)
    if not report.damaged:
        lines.append("nothing is damaged")
    elif left:
        lines.append(
            f"{left} damaged: `midef verify --repair` sets them aside, and a run that needs them builds them anew"
        )
    else:
        lines.append(f"{len(report.damaged)} set aside; a run that needs them builds them anew")
    return "\n".join(lines)


def _check_journal(path: str, content: bytes) -> None:
    """Every line of Optuna's journal is whole; half a line at the end is what a killed driver leaves."""
    from midef.sweep.matching.journal_lines import first_damaged_line

    if damaged := first_damaged_line(content):
        number, problem = damaged
        raise DamagedFile(f"line {number}: {problem}; no training is lost by it")
