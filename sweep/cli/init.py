"""`midef init`."""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from midef.core.errors import PreflightError, SpecError
from midef.sweep.cli.options import parsed, say
from midef.sweep.cli.output import check_file
from midef.sweep.result import EXIT_OK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from midef.datasets import Dataset
    from midef.datasets.files.survey import Seen

HELP = "look at a folder of images and write a commented specification for it"
FEWEST_PEOPLE, FEWEST_IMAGES, FEWEST_PUBLIC = 4, 6, 100
"""Identities, images of each, and public images below which nothing can be measured or no attacker can learn."""
_LEFT_OUT_BELOW = (20, 10, FEWEST_IMAGES)
"""Proposed `min_images`: the first with which most images stay."""
_STAYING = 0.8
_REPORT_FRACTION = 0.2
"""Of each person's images, proposed for the report split, which attacks of answers invert."""


@dataclass(frozen=True, kw_only=True)
class InitArguments:
    """The options of `midef init`."""

    private: str
    public: str
    out: Path
    name: str


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What a folder of images suggests.

    Args:
        people: identities in the folder.
        used: those with at least `min_images` images.
        images: of those that are used.
        attacked: identities to attack.
        side_px: median of the shorter side.
        smallest_px: of all shorter sides.
    """

    people: int
    used: int
    images: int
    min_images: int
    attacked: int
    side_px: int
    smallest_px: int
    profile: str
    resolution_px: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb to its parser."""
    parser.add_argument("private", help="folder or archive of private images, a folder for each person")
    parser.add_argument(
        "--public", default="", help="folder or archive of other people's images (default: drawn faces)"
    )
    parser.add_argument("--out", type=Path, default=Path("mine.yaml"), help="file to write (default mine.yaml)")
    parser.add_argument("--name", default="", help="of the sweep (default: the name of the file)")


def run(args: argparse.Namespace) -> int:
    """Write the file, after checking that the sweep in it can be planned."""
    options = parsed(InitArguments, args)
    check_file(options.out)
    if options.out.suffix not in (".yaml", ".yml"):
        raise SpecError(f"--out {options.out}: a specification ends in .yaml")
    if options.out.exists():
        raise SpecError(f"{options.out} is there already; move it away, or give another --out")
    proposal = propose(_seen(options.private, labelled=True, least=1), options.private)
    public = _seen(options.public, labelled=False, least=FEWEST_PUBLIC) if options.public else {}
    text = yaml_text(proposal, options, public=len(public))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text, encoding="utf-8")
    try:
        notes = _check(options.out)
    except SpecError:
        options.out.unlink()
        raise
    p = proposal
    say(f"{p.people:,} people, {p.used:,} of them with at least {p.min_images} images, {p.images:,} images in all")
    say(f"shorter side {p.side_px} px in the middle, {p.smallest_px} px at least: {p.resolution_px} px are used")
    for note in notes:
        say(f"note: {note}")
    say(f"written: {options.out}\nnext: midef plan {_quoted(options.out)}")
    return EXIT_OK


def _seen(written: str, *, labelled: bool, least: int) -> Mapping[str, Seen]:
    """What decoding showed of every image of a folder.

    Raises:
        PreflightError: if there is none, or images cannot be read.
    """
    dataset = _made(written, labelled=labelled)
    if problems := dataset.problems() or list(dataset.examine().problems):
        raise PreflightError(problems)
    seen = dataset.seen()
    if len(seen) < least:
        raise PreflightError(
            [f"{written}: {len(seen)} images, at least {least} are needed for an attacker to learn from"]
        )
    return seen


def _made(written: str, *, labelled: bool) -> Dataset:
    from midef.datasets import DATASETS
    from midef.sweep.spec.datasets import or_path

    found = or_path(written, labelled=labelled)
    if isinstance(found, str):
        raise PreflightError(
            [f"{written}: no such folder or archive; published data sets are named in a file of yours"]
        )
    choice = DATASETS.choose({**found, **({"min_images": 3} if labelled else {})})
    return DATASETS.make(choice.name, choice.params)


def propose(seen: Mapping[str, Seen], folder: str) -> Proposal:
    """Identities, resolution and profile for images `identity/.../file`.

    Args:
        seen: by name of the file.
        folder: they lie in, for the error.

    Raises:
        PreflightError: if too few people have enough images, or the images are too small.
    """
    names = [name.split("/") for name in seen]
    while len({parts[0] for parts in names}) == 1:  # a folder around everything
        names = [parts[1:] for parts in names]
    counts = Counter(parts[0] for parts in names)
    usable = [count for count in counts.values() if count >= FEWEST_IMAGES]
    problems = []
    if len(usable) < FEWEST_PEOPLE:
        problems.append(
            f"{folder}: {len(usable)} of {len(counts)} people have {FEWEST_IMAGES} images or more, at least "
            f"{FEWEST_PEOPLE} needed: each person's images are cut into train, select and report; add images"
        )
    sides = sorted(min(one.size) for one in seen.values())
    if sides[len(sides) // 2] < 16:
        problems.append(f"{folder}: half of the images are below 16 px, which shows nobody; give larger ones")
    if problems:
        raise PreflightError(problems)
    whole = sum(usable)
    min_images = next(
        n for n in _LEFT_OUT_BELOW if n == FEWEST_IMAGES or sum(c for c in usable if c >= n) >= _STAYING * whole
    )
    used = [count for count in counts.values() if count >= min_images]
    side = round(median(sides))
    profile, resolution_px = ("small", 64) if side >= 64 and len(used) >= 20 else ("mini", 32)
    return Proposal(
        people=len(counts),
        used=len(used),
        images=sum(used),
        min_images=min_images,
        attacked=min(len(used), 40),
        side_px=side,
        smallest_px=sides[0],
        profile=profile,
        resolution_px=resolution_px,
    )


def yaml_text(proposal: Proposal, options: InitArguments, *, public: int) -> str:
    """The specification, each line with what it means.

    Args:
        public: images of the public set; 0 without one.
    """
    from midef.sweep.spec.profiles import profile_named

    p, profile = proposal, profile_named(proposal.profile)
    reported = max(1, int(_REPORT_FRACTION * p.images / p.used))
    each = min(reported, int(profile.protocol["images_per_identity"]))
    folder = options.out.resolve().parent
    name = options.name or re.sub(r"[^\w.-]+", "-", options.out.stem).strip("-") or "mine"
    if public:
        path = _path(options.public, folder)
        whose = f"    public: {{name: image_folder, path: {path}, labelled: false}}  # {public:,} images"
    else:
        whose = "    # public: {name: image_folder, path: strangers/, labelled: false}  # without it: drawn faces"
    lines = [
        f"# Written by midef init, which saw {p.people:,} people. Next: midef plan {_quoted(options.out)}",
        f"name: {json.dumps(name)}",
        f"profile: {p.profile}  # {profile.about}",
        "setups:",
        "  - id: mine",
        "    attack: [gmi, inversion_model]  # by gradients and by scores; all: midef list attacks",
        f"    resolution_px: {p.resolution_px}  # the images' shorter side is {p.side_px} px in the middle",
        "    private:",
        "      name: image_folder",
        f"      path: {_path(options.private, folder)}  # a folder for each person",
        f"      min_images: {p.min_images}  # people with fewer are left out: {p.used:,} of {p.people:,} stay",
        "      select_fraction: 0.1  # of each person's images: picks checkpoints and matches accuracies",
        f"      report_fraction: {_REPORT_FRACTION}  # of each person's images: reported, never looked at before",
        "      licence: unknown  # of your images; shown in the card of the data and of exported models",
        "      consent: unknown  # of the people on them",
        whose,
        "    protocol:",
        f"      identities: {p.attacked}  # attacked, of {p.used:,}",
        f"      images_per_identity: {each}  # reconstructions of each; inversion_model inverts as many images of each",
        "defenses:  # all: midef list defenses",
        "  - none  # what the others are compared with",
        "  - midre",
        "  - bido",
        "seeds: [0, 1, 2]  # three trainings of each; intervals need at least two",
        "# training: {epochs: 30}  # more epochs where the undefended target guesses",
        "# match: {target: none - 2}  # brings every defense to one accuracy first; then it is `midef match`",
    ]
    return "\n".join(lines) + "\n"


def _check(path: Path) -> Sequence[str]:
    """Notes of the sweep in the file that was written.

    Raises:
        SpecError: everything wrong with it, such as private images among the public ones.
    """
    from midef.sweep.library import load_spec
    from midef.sweep.spec.resolve import resolve

    return resolve(load_spec(path)).notes


def _path(written: str, folder: Path) -> str:
    """A path as the file in `folder` has it: relative to it where the images lie below, so both may be moved."""
    path = Path(written).expanduser().resolve()
    shown = path.relative_to(folder) if path.is_relative_to(folder) else path
    return json.dumps(str(shown), ensure_ascii=False)


def _quoted(path: Path) -> str:
    import shlex

    return shlex.quote(str(path))
