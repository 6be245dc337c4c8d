"""Places of files as people write them."""

from __future__ import annotations

import errno
import os
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


def _short(path: str) -> str:
    """A path, or its beginning and how long it is."""
    shown = printable(path[:60], keep="")
    return shown if len(path) <= 60 else f"{shown}... of {len(path):,} characters"
