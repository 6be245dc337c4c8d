"""Folder for the temporary files of a Ray started here: sockets lie below it, and their paths have a limit."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from midef.core.errors import PreflightError
from midef.core.text import readable

SOCKET_LETTERS = 103 if sys.platform == "darwin" else 107
"""Most bytes of a socket's path that the system takes."""
_BELOW = "/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store.9"
_ROOM_BYTES = 64 * 2**20
_SHORT = Path("/tmp")


@contextmanager
def ray_folder() -> Iterator[None]:
    """A folder that Ray can use, named by RAY_TMPDIR meanwhile: Ray's own choice, else one in /tmp, removed at the end.

    Raises:
        PreflightError: if neither can be used, with the reason of each.
    """
    from ray._common.utils import get_default_system_temp_dir

    chosen = Path(get_default_system_temp_dir())
    why = _problem(chosen)
    if not why:
        yield
        return
    if why_short := _problem(_SHORT):
        raise PreflightError(
            f"Ray needs a folder for its temporary files: {chosen} {why}, {_SHORT} {why_short}; set RAY_TMPDIR to a "
            f"short path with {readable(_ROOM_BYTES)} free"
        )
    folder = tempfile.mkdtemp(prefix="midef-ray.", dir=_SHORT)  # 0700
    before = os.environ.get("RAY_TMPDIR")
    os.environ["RAY_TMPDIR"] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ["RAY_TMPDIR"]
        else:
            os.environ["RAY_TMPDIR"] = before
        shutil.rmtree(folder, ignore_errors=True)


def _problem(folder: Path) -> str:
    """Why Ray cannot use a folder; "" if it can."""
    most = SOCKET_LETTERS - len(_BELOW)
    if len(os.fsencode(folder)) > most:
        return f"is too long for the sockets of Ray ({len(os.fsencode(folder))} letters, {most} at most)"
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"midef")
            probe.flush()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return f"cannot be used ({error.strerror})"
    return f"has {readable(free)} free" if free < _ROOM_BYTES else ""
