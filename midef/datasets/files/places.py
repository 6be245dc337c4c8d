"""Places of files as people write them."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from midef.core.errors import DataError
from midef.core.text import printable

LONGEST_PATH = 3_800
"""Bytes of the path of a data set or list. Linux ends at 4,096; names of files in the set come on top."""


def whereabouts(path: str) -> Path:
    """Absolute path of a path in a specification; relative paths start at the working directory.

    What it returns can be looked up, whether anything is there or not.

    Raises:
        DataError: if no file can be called so: it is too long, or holds what no file name may.
    """
    try:
        place = Path(path).expanduser().absolute()
        if len(os.fsencode(place)) > LONGEST_PATH:
            raise OSError(errno.ENAMETOOLONG, "File name too long")
        place.lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise DataError(f"path {_short(path)} is too long for a file; give a shorter one") from None
        if error.errno is None:  # raised by a signal's handler, not by the file system
            raise
    except (ValueError, RuntimeError) as error:  # NUL, half a character; no home folder of this user
        raise DataError(f"path {_short(path)} cannot be that of a file ({error}); give another one") from None
    return place


def find_in(root: Path, folders: Sequence[str], names: Sequence[str], fetch: str) -> Path:
    """The first of these files or folders that exists, in the first of these folders.

    Args:
        root: that holds the folders.
        folders: relative to it; "" first, for itself.
        names: of the file or folder.
        fetch: where to get it.

    Raises:
        DataError: saying what was looked for, and where.
    """
    for folder in folders:
        for name in names:
            if (candidate := root / folder / name).exists():
                return candidate
    others = "".join(f" or {name}" for name in names[1:])
    inner = ", ".join(f"{folder}/" for folder in folders[1:])
    raise DataError(f"no such file or folder {root / names[0]}{others}, nor in its {inner}; {fetch}")


def _short(path: str) -> str:
    """A path, or its beginning and how long it is."""
    shown = printable(path[:60], keep="")
    return shown if len(path) <= 60 else f"{shown}... of {len(path):,} characters"
