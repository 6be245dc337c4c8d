"""`midef datasets`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from midef.core.errors import PreflightError
from midef.sweep.cli.options import parsed, say
from midef.sweep.result import EXIT_OK

HELP = "show licence, consent, counts and fingerprint of a data set"


@dataclass(frozen=True, kw_only=True)
class DatasetsArguments:
    """The options of `midef datasets card`, the only action."""

    dataset: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    parser.add_argument("action", choices=("card",), help="the only action")
    parser.add_argument("dataset", help="as in a sweep: synthetic_faces, or image_folder(path=faces.zip)")


def run(args: argparse.Namespace) -> int:
    """Print the card.

    Raises:
        PreflightError: if the data set is not here or cannot be used.
    """
    from midef.datasets import DATASETS
    from midef.sweep.spec.datasets import with_default_folder

    choice = DATASETS.choose(with_default_folder(parsed(DatasetsArguments, args).dataset))
    dataset = DATASETS.make(choice.name, choice.params)
    if problems := dataset.problems():
        raise PreflightError(problems)
    found = dataset.examine()
    if found.problems:
        raise PreflightError(found.problems)
    card = dataset.card()
    say(card.title or choice.name)
    for label, text in (("licence", card.licence), ("consent", card.consent), ("source", card.source)):
        say(f"{label:<12}{text or 'unknown'}")
    for label, count in card.counts.items():
        say(f"{label:<12}{count:,}")
    for note in found.notes:
        say(f"{'note':<12}{note}")
    say(f"{'fingerprint':<12}{dataset.fingerprint() or 'computed from its parameters'}")
    return EXIT_OK
