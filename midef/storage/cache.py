"""Local copies of an object store's artifacts."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from midef.core.errors import StoreError


def cache_folder(uri: str) -> Path:
    """A folder of this user for copies from the store at `uri`; safe to delete while nothing runs.

    Lives below the temporary folder (`TMPDIR`), under the user's number: several users share a machine.

    Raises:
        StoreError: if somebody else owns the folder and could change what is read from it.
    """
    user = getattr(os, "getuid", lambda: 0)()
    mine = Path(tempfile.gettempdir()) / f"midef-cache-{user}"
    mine.mkdir(mode=0o700, parents=True, exist_ok=True)
    if mine.is_symlink() or mine.stat().st_uid != user:
        raise StoreError(f"{mine} belongs to somebody else; remove it or set TMPDIR to a folder of your own")
    folder = mine / hashlib.sha256(uri.encode()).hexdigest()[:16]
    folder.mkdir(exist_ok=True)
    return folder
