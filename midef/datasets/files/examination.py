"""What `examine` and `seen` answer for data sets of image files."""

from __future__ import annotations

from pathlib import Path

from midef.core.errors import few
from midef.datasets.base import Findings
from midef.datasets.files.arrangement import Arrangement
from midef.datasets.files.copies import copy_notes, copy_problems, find_copies
from midef.datasets.files.folders import unreadable
from midef.datasets.files.pixels import Crop
from midef.datasets.files.survey import Seen, survey


def examine_files(
    root: Path,
    arrangement: Arrangement,
    *,
    crop: Crop,
    expected: tuple[tuple[int, int], str] | None = None,
    published: bool = False,
) -> Findings:
    """What looking at every image of an arrangement shows.

    Args:
        root: folder or archive of the images.
        arrangement: without problems.
        crop: what is seen of each image, but for those with a box of their own.
        expected: width and height that all images must have, and what to do about others.
        published: True for a set that is used as it was published: copies in it are told, not refused.
    """
    found = survey(root, arrangement.files)
    problems = [unreadable(found.failures, len(arrangement.files), root)] if found.failures else []
    if expected is not None:
        (width, height), cure = expected
        other = [
            f"{name} {seen.size[0]}x{seen.size[1]}" for name, seen in found.seen.items() if seen.size != (width, height)
        ]
        if other:
            problems.append(
                f"{len(other)} of {len(arrangement.files)} images in {root} have other than {width}x{height} pixels: "
                f"{few(other)}; {cure}"
            )
    cut = crop if expected is None and isinstance(crop, tuple) else None
    small = [
        f"{name} {seen.size[0]}x{seen.size[1]}"
        for name, seen in found.seen.items()
        if (box := arrangement.boxes.get(name, cut)) and (box[2] > seen.size[0] or box[3] > seen.size[1])
    ]
    if small:
        which = f"crop {cut}" if cut else "the annotated box"
        problems.append(f"{which} reaches outside {len(small)} images in {root}: {few(small)}")
    copies = find_copies(arrangement.named_splits, {name: seen.pixels for name, seen in found.seen.items()})
    if not published:
        problems += copy_problems(copies)
    return Findings(problems=tuple(problems), notes=(*arrangement.notes, *copy_notes(copies, published=published)))


def seen_files(root: Path, arrangement: Arrangement) -> dict[str, Seen]:
    """What decoding showed of each image that can be read, by its path, as `Dataset.seen` returns it."""
    return {f"{root}/{name}": seen for name, seen in survey(root, arrangement.files).seen.items()}
