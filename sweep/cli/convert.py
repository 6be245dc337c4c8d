"""`midef convert`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from midef.sweep.cli.options import parsed, say
from midef.sweep.result import EXIT_OK

HELP = "turn a published StyleGAN2 into files the prior style_gan2 reads; nothing in it is run"


@dataclass(frozen=True, kw_only=True)
class ConvertArguments:
    """The options of `midef convert`."""

    file: str
    out: str
    weights: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    parser.add_argument("file", metavar="FILE", help="a .pkl by NVIDIA (PyTorch version) or a .pt by rosinality")
    parser.add_argument("out", metavar="OUT", help="the folder of published weights, $MIDEF_WEIGHTS")
    parser.add_argument("--weights", default="", metavar="NAME", help="which one it is (default: by the name of FILE)")


def run(args: argparse.Namespace) -> int:
    """Write both networks, and print where they are and what their licence says."""
    from midef.attacks.priors.published.convert import convert
    from midef.attacks.priors.published.files import NOTICE, PUBLISHED

    options = parsed(ConvertArguments, args)
    written, name = convert(Path(options.file).expanduser(), Path(options.out).expanduser(), options.weights)
    for path in written:
        say(f"written: {path}")
    say(f"{name}: {PUBLISHED[name].licence}. {NOTICE}")
    return EXIT_OK
