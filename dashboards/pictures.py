"""Pictures of a page, named by what they show: one that an earlier build in the same folder wrote is not made again."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

FOLDER = "img"
LARGEST_PX = 112
ENCODING = f"webp, at most {LARGEST_PX} px, 1"
"""How pictures are made; a change needs another number."""
PRIVATE = "private-"
NAME = re.compile(rf"({PRIVATE})?[0-9a-f]{{32}}\.webp")
OLD_NAME = re.compile(r"\d{2,}-(\d{2,}|private)(-s\d+-r\d+)?(-b\d+)?\.webp")
"""Of pictures that midef wrote before they were named by what they show."""


def content_of(path: Path, member: str = "images") -> str:
    """What stands for an array of a stored .npz without reading it: its size and check sum in the file's directory.

    Raises:
        OSError, KeyError, zipfile.BadZipFile: for a file that is none, or has no such array.
    """
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{member}.npy")
    return f"{info.file_size}-{info.CRC:08x}"


def picture(
    out: Path, shows: Sequence[object], images: Callable[[], Sequence[Any]], *, is_private: bool = False
) -> str:
    """A picture of images side by side, made unless the folder has it.

    Args:
        out: folder of the page.
        shows: all that it depends on, of plain values.
        images: gives them, uint8 [3, H, W] or None; asked only for a picture that is made.
        is_private: of training images: an earlier one is never kept.

    Returns:
        Its name, relative to the page.
    """
    digest = hashlib.sha256(json.dumps([ENCODING, *shows]).encode()).hexdigest()[:32]
    name = f"{FOLDER}/{PRIVATE if is_private else ''}{digest}.webp"
    if not (out / name).is_file():
        _write(images(), out / name)
    return name


def is_ours(path: Path) -> bool:
    """Whether a build wrote this file, by its name."""
    return bool(NAME.fullmatch(path.name) or OLD_NAME.fullmatch(path.name))


def pictures_in(out: Path) -> list[Path]:
    """Pictures of the page; those of others are left alone."""
    return sorted(path for path in (out / FOLDER).glob("*.webp") if is_ours(path))


def remove_stale(out: Path) -> None:
    """Before a build: those of private images, since the next page may not show them, and those of an older midef."""
    for path in pictures_in(out):
        if path.name.startswith(PRIVATE) or OLD_NAME.fullmatch(path.name):
            path.unlink()


def remove_unused(out: Path, used: set[str]) -> None:
    """After a build: those that no strip shows.

    Args:
        out: folder of the page.
        used: names relative to the page.
    """
    for path in pictures_in(out):
        if f"{FOLDER}/{path.name}" not in used:
            path.unlink()


def hand_on(earlier: Path, later: Path) -> None:
    """Give a page to be built the pictures of an earlier one, as links where the disk has them; no private ones."""
    kept = [path for path in pictures_in(earlier) if NAME.fullmatch(path.name) and not path.name.startswith(PRIVATE)]
    if kept:
        (later / FOLDER).mkdir(parents=True, exist_ok=True)
    for path in kept:
        target = later / FOLDER / path.name
        try:
            os.link(path, target)
        except OSError:
            shutil.copyfile(path, target)


def _write(images: Sequence[Any], path: Path) -> None:
    """Write uint8 [3, H, W] images side by side; a missing one is white. Above `LARGEST_PX` they are reduced."""
    import numpy as np
    from PIL import Image

    shape = next((image.shape for image in images if image is not None), (3, 1, 1))
    blank = np.full(shape, 255, np.uint8)
    strip = np.concatenate([blank if image is None else image for image in images], axis=2).transpose(1, 2, 0)
    drawn = Image.fromarray(np.ascontiguousarray(strip))
    height = shape[1]
    if height > LARGEST_PX:
        drawn = drawn.resize((round(drawn.width * LARGEST_PX / height), LARGEST_PX), Image.Resampling.LANCZOS)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")  # a picture that is cut off would be taken for one that is there
    drawn.save(part, "WEBP", lossless=height <= LARGEST_PX, quality=90)
    part.replace(path)
