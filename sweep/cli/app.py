"""The command line: `midef VERB`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Protocol

import midef
import midef.sweep.cli.analyse as analyse
import midef.sweep.cli.audit as audit
import midef.sweep.cli.cite as cite
import midef.sweep.cli.compact as compact
import midef.sweep.cli.compare as compare
import midef.sweep.cli.convert as convert
import midef.sweep.cli.dashboard as dashboard
import midef.sweep.cli.datasets as datasets
import midef.sweep.cli.doctor as doctor
import midef.sweep.cli.export as export
import midef.sweep.cli.export_target as export_target
import midef.sweep.cli.import_published as import_published
import midef.sweep.cli.init as init
import midef.sweep.cli.listing as listing
import midef.sweep.cli.logs as logs
import midef.sweep.cli.match as match
import midef.sweep.cli.merge as merge
import midef.sweep.cli.plan as plan
import midef.sweep.cli.retry as retry
import midef.sweep.cli.run as run
import midef.sweep.cli.schema as schema
import midef.sweep.cli.show as show
import midef.sweep.cli.status as status
import midef.sweep.cli.table as table
import midef.sweep.cli.validate as validate
import midef.sweep.cli.verify as verify
from midef.core.errors import MidefError
from midef.sweep.cli.last_net import forget_output, last_words, open_streams, output_is_closed, tell
from midef.sweep.cli.terminal import LogFormatter, Parser
from midef.sweep.result import EXIT_INTERRUPTED, EXIT_OK


class Verb(Protocol):
    """A module that is one verb; it imports what it needs when it runs, so that the parser is made at once."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options of this verb to its parser."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it and return the exit code."""


VERBS: Mapping[str, Verb] = {
    "init": init,
    "validate": validate,
    "plan": plan,
    "run": run,
    "retry": retry,
    "match": match,
    "audit": audit,
    "status": status,
    "table": table,
    "compare": compare,
    "show": show,
    "logs": logs,
    "export-target": export_target,
    "list": listing,
    "schema": schema,
    "cite": cite,
    "doctor": doctor,
    "dashboard": dashboard,
    "analyse": analyse,
    "compact": compact,
    "verify": verify,
    "merge": merge,
    "export": export,
    "import-published": import_published,
    "datasets": datasets,
    "convert": convert,
}
VERBOSE = "show logs, and the traceback of an error that nobody expected"
WORKING = ("run", "retry", "match", "audit")
"""Verbs that build what is missing: they may have been ended before their plan was."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 ok; 1 finished with failed cells or undecided searches; 2 wrong usage or specification; 3 something is missing on
    this machine; 4 the budget was reached, the same command goes on; 5 a check found something; 70 an error nobody
    expected, its traceback in a file; 130 interrupted, what is finished is stored.

    Args:
        arguments: of the command line (default: of this process).
    """
    open_streams()
    args = argparse.Namespace()
    try:
        args = make_parser().parse_args(arguments)
        level = logging.DEBUG if getattr(args, "verbose", False) else logging.WARNING
        handler = logging.StreamHandler()
        handler.setFormatter(LogFormatter("%(levelname)s %(name)s: %(message)s"))
        logging.basicConfig(level=level, handlers=[handler])
        return VERBS[args.verb].run(args)
    except MidefError as error:
        tell(f"midef: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        tell("\nmidef: interrupted; what is finished is stored, the same command goes on from there\n")
        return EXIT_INTERRUPTED
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001  # the last net: a sentence for a person, the traceback in a file
        if isinstance(error, BrokenPipeError) and output_is_closed():
            forget_output()
            return EXIT_INTERRUPTED if getattr(args, "verb", "") in WORKING else EXIT_OK
        return last_words(error, args)


def make_parser() -> argparse.ArgumentParser:
    """The parser of every verb."""
    parser = Parser(prog="midef", description="Measures defenses against model inversion.")
    parser.add_argument("--version", action="version", version=f"midef {midef.__version__}")
    verbs = parser.add_subparsers(title="commands", dest="verb", metavar="VERB", required=True)
    for name, verb in VERBS.items():
        own = verbs.add_parser(name, help=verb.HELP, description=verb.HELP)
        verb.add_arguments(own)
        if "--verbose" not in own._option_string_actions:
            own.add_argument("--verbose", action="store_true", help=VERBOSE)
    return parser


if __name__ == "__main__":
    sys.exit(main())
