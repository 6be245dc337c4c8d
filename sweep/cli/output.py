"""Checks of `--out`, before work starts: a sweep of hours must not end at a folder that is a file."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from midef.core.errors import PreflightError, SpecError
from midef.core.text import readable

_ROOM_BYTES = 16 * 2**20
"""The script that draws the figures has 5 MB, and every page carries it."""


def check_folder(out: Path) -> None:
    """See that files can be written into a folder, which may not be there yet; nothing is made.

    Args:
        out: of `--out`.

    Raises:
        SpecError: if it is a file, or below one.
        PreflightError: if this machine does not let it be written.
    """
    _check(out, out)


def check_file(out: Path) -> None:
    """See that a file can be written or replaced, in a folder that may not be there yet; nothing is made.

    Args:
        out: of `--out`.

    Raises:
        SpecError: if it is a folder, or below a file.
        PreflightError: if this machine does not let it be written.
    """
    try:
        if out.is_dir():
            raise SpecError(f"--out {out} is a folder; give the name of a file, such as {out / 'figure.html'}")
        if out.exists():
            with out.open("ab"):
                pass
    except (OSError, ValueError) as error:
        raise _unusable(out, error) from error
    _check(out, out.parent)


def _check(out: Path, folder: Path) -> None:
    try:
        place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        if not place.is_dir():
            raise SpecError(f"--out {out}: {place} is a file, where a folder is needed; give another --out")
        if broken := next((p for p in (folder.absolute(), *folder.absolute().parents) if _leads_nowhere(p)), None):
            raise SpecError(f"--out {out}: {broken} is a link that leads nowhere; give another --out")
        with tempfile.TemporaryFile(dir=place):
            pass
        free = shutil.disk_usage(place).free
    except (OSError, ValueError) as error:
        raise _unusable(out, error) from error
    if free < _ROOM_BYTES:
        raise PreflightError(f"--out {out}: {place} has {readable(free)} free; free space or give another --out")


def _leads_nowhere(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _unusable(out: Path, error: OSError | ValueError) -> PreflightError:
    reason = getattr(error, "strerror", None) or str(error)
    return PreflightError(f"--out {str(out)!r} cannot be written ({reason}); give another --out, or check its rights")
