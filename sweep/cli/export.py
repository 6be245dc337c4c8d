"""`midef export`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from midef.core.errors import SpecError, did_you_mean
from midef.core.recipe import KINDS
from midef.sweep.cli.options import ADDRESS, add_store_argument, parsed, say
from midef.sweep.result import EXIT_OK

HELP = "write the results of a sweep, and artifacts if asked for, to one archive that others read or merge"
_ALL = "all"


@dataclass(frozen=True, kw_only=True)
class ExportArguments:
    """The options of `midef export`."""

    bundle: Path
    store: str
    sweep: str | None
    artifacts: list[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    parser.add_argument("bundle", type=Path, help="the archive to write, NAME.tar.zst")
    add_store_argument(parser)
    parser.add_argument("--sweep", help=ADDRESS)
    parser.add_argument(
        "--artifacts",
        action="append",
        default=[],
        metavar="KIND",
        help="take these artifacts along: all, or a kind such as scores or reconstructions (repeatable; default none)",
    )


def run(args: argparse.Namespace) -> int:
    """Write the archive and print what is in it.

    Raises:
        SpecError: for an archive of another format or one that is there, a kind that is none, or an unclear sweep.
    """
    from midef.storage import Store
    from midef.storage.addresses import choose_sweep, stored_sweeps
    from midef.sweep.bundle import SUFFIX, bundle_text, export

    options = parsed(ExportArguments, args)
    problems = [
        f"--artifacts {kind}: it is no kind of artifact; {did_you_mean(kind, [_ALL, *KINDS])}"
        for kind in options.artifacts
        if kind not in (_ALL, *KINDS)
    ]
    if not options.bundle.name.endswith(SUFFIX):
        problems.append(f"{options.bundle}: a bundle is called NAME{SUFFIX}")
    elif options.bundle.exists():
        problems.append(f"{options.bundle} is there already; delete it or give another name")
    elif not options.bundle.absolute().parent.is_dir():
        problems.append(f"{options.bundle}: there is no folder {options.bundle.absolute().parent}")
    if problems:
        raise SpecError(problems)
    store = Store.open(options.store, create=False)
    sweeps = stored_sweeps(store)
    if not sweeps:
        raise SpecError(f"the store {store.location.shown} has no sweep yet; `midef run` makes one")
    sweep = sweeps[0] if options.sweep is None else choose_sweep(sweeps, options.sweep)
    say(bundle_text(export(store, sweep, options.bundle, kinds=options.artifacts)))
    return EXIT_OK
