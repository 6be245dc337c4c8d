"""`midef datasets`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from midef.core.errors import PreflightError, SpecError
from midef.sweep.cli.options import parsed, positive, say
from midef.sweep.result import EXIT_FOUND, EXIT_OK

if TYPE_CHECKING:
    from midef.datasets import Dataset

HELP = "show facts, counts and what is left out of a data set; find copies and near copies of images"


@dataclass(frozen=True, kw_only=True)
class DatasetsArguments:
    """The options of `midef datasets`."""

    action: str
    dataset: str
    against: str
    most: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    parser.add_argument(
        "action",
        choices=("card", "check"),
        help="card: licence, consent, counts, what is left out, fingerprint; check: images that are equal in every "
        "pixel (exit code 5), and images that look alike",
    )
    parser.add_argument("dataset", help="as in a sweep: synthetic_faces, image_folder(path=faces.zip); or a path")
    parser.add_argument(
        "--against", default="", metavar="DATASET", help="check: compare with this set, not within the first"
    )
    parser.add_argument(
        "--most", type=positive, default=20, metavar="N", help="check: name so many pairs of a kind (default 20)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the card, or the copies.

    Raises:
        PreflightError: if a data set is not here or cannot be used.
    """
    options = parsed(DatasetsArguments, args)
    if options.action == "check":
        return _check(options)
    if options.against:
        raise SpecError("midef datasets card takes no --against; say midef datasets check")
    _print_card(options.dataset)
    return EXIT_OK


def _print_card(written: str) -> None:
    name, dataset = _made(written, labelled=True)
    found = dataset.examine()
    if found.problems:
        raise PreflightError(found.problems)
    card = dataset.card()
    say(card.title or name)
    for label, text in (("licence", card.licence), ("consent", card.consent), ("source", card.source)):
        say(f"{label:<12}{text or 'unknown'}")
    for label, count in card.counts.items():
        say(f"{label:<12}{count:,}")
    for note in found.notes:
        say(f"{'note':<12}{note}")
    say(f"{'fingerprint':<12}{dataset.fingerprint() or 'computed from its parameters'}")


def _check(options: DatasetsArguments) -> int:
    """Print copies and near copies; exit code 5 if images are equal in every pixel, or cannot be read."""
    from midef.datasets.files.copies import same_image
    from midef.datasets.files.near import NEAR_BITS, compare

    sets = []
    damaged = False
    for written in filter(None, (options.dataset, options.against)):
        name, dataset = _made(written, labelled=False)
        found, seen = dataset.examine(), dataset.seen()
        if not seen:
            raise SpecError(f"{name}: its images are computed, there is nothing to compare; name a set with files")
        say(f"{'checked':<12}{written}: {len(seen):,} images")
        for line in (*found.problems, *found.notes):
            say(f"{'note':<12}{line}")
        damaged |= bool(found.problems)
        sets.append(seen)
    result = compare(*sets)
    _print_pairs("same", [same_image(*pair) for pair in result.exact], options.most)
    alike = [f"{pair.one} and {pair.other} differ in {pair.bits} of 128 bits" for pair in result.near]
    _print_pairs("near", alike, options.most)
    blank = f"; {result.blank:,} images without any outline were compared by their pixels only" if result.blank else ""
    say(
        f"{len(result.exact):,} pairs are the same image, {len(result.near):,} more look alike (at most {NEAR_BITS} of "
        f"128 bits apart: look at them){blank}"
    )
    return EXIT_FOUND if result.exact or damaged else EXIT_OK


def _print_pairs(label: str, pairs: Sequence[str], most: int) -> None:
    for text in pairs[:most]:
        say(f"{label:<12}{text}")
    if len(pairs) > most:
        say(f"{'':<12}and {len(pairs) - most:,} more; --most {len(pairs)} names all")


def _made(written: str, *, labelled: bool) -> tuple[str, Dataset]:
    """Name and data set; where sweeps look for it unless a place is given.

    Raises:
        PreflightError: if it is not here or cannot be used.
    """
    from midef.datasets import DATASETS
    from midef.sweep.spec.datasets import or_path, with_default_folder

    choice = DATASETS.choose(with_default_folder(or_path(written, labelled=labelled)))
    dataset = DATASETS.make(choice.name, choice.params)
    if problems := dataset.problems():
        raise PreflightError(problems)
    return choice.name, dataset
