"""Files of a local store: reading them, and making them last."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from midef.core.errors import DamagedFile
from midef.storage.processes import process_lives

_PART_BYTES = 2**20
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
"""Without waiting: a named pipe in the place of a file has nobody who writes into it."""
_BROKEN = {
    getattr(errno, name)
    for name in ("EIO", "ELOOP", "EUCLEAN", "ENXIO", "ENODEV", "EOPNOTSUPP")
    if hasattr(errno, name)
}
"""Errors of one file: a bad sector, a ring of links, a damaged file system, a socket."""


def read_file(path: Path) -> bytes:
    """The content of a local file.

    Raises:
        FileNotFoundError: if it is not there.
        DamagedFile: if something is there that is no file, or one of ours that cannot be read.
    """
    with _opened(path) as stream:
        return stream.read()


def digest_file(path: Path) -> tuple[str, int]:
    """sha256 and size of a local file; errors as of `read_file`."""
    with _opened(path) as stream:
        return digest_stream(stream)


def digest_stream(stream: BinaryIO) -> tuple[str, int]:
    """sha256 and size of what a stream gives from here on."""
    digest, size = hashlib.sha256(), 0
    while part := stream.read(_PART_BYTES):
        digest.update(part)
        size += len(part)
    return digest.hexdigest(), size


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | _AT_ONCE), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise DamagedFile("expected a file, found a pipe or a device")
            yield stream
    except IsADirectoryError as error:
        raise DamagedFile("expected a file, found a folder") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        if path.is_symlink():
            raise DamagedFile("expected a file, found a link to nowhere") from error
        raise FileNotFoundError(str(path)) from error
    except OSError as error:
        if is_broken(error, path):
            raise DamagedFile(f"it cannot be read: {error}") from error
        raise


def is_broken(error: OSError, path: Path) -> bool:
    """True if an error is one of this file and not of the place: a bad sector, or rights that its owner lost.

    What belongs to somebody else and is kept from us is not damaged.
    """
    if error.errno != errno.EACCES:
        return error.errno in _BROKEN
    try:
        return path.stat().st_uid == getattr(os, "geteuid", lambda: 0)()
    except OSError:
        return False


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def last_change(path: Path) -> float:
    try:
        newest: float = max(each.stat().st_mtime for each in (path, *(path.rglob("*") if path.is_dir() else ())))
    except FileNotFoundError:  # its owner is at work
        return time.time()
    return newest


def owner_lives(name: str) -> bool | None:
    """True if the process that made a private file still runs; None if it ran on another machine."""
    machine, _, pid = name.rpartition("-")[0].rpartition("-")
    return process_lives(machine, int(pid)) if pid.isdigit() else None
