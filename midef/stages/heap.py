"""Memory that a build frees stays with the process until the build ends: the next step uses it again."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TRIM, _MMAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
KEPT = 2**30
"""Bytes of freed memory that stay with the process while it builds; blocks above it always go back."""
_GIVEN_BACK = {_MMAP: 32 * 2**20, _TRIM: 64 * 2**20}
"""The most that the C library's own rule reaches, which a first call switches off for good."""
_SET_BY_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_")
LARGE = 128 * 2**20
"""Bytes by which a build has to have grown the process for what it freed to go back to the system at its end: a process
that serves small nodes uses the same pages for the next one."""
_open = 0


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep what is freed while this lasts, and give it back to the system after the outermost of them, if it is much.

    A training step frees tens of megabytes of intermediate results and asks for them again. Where the C library returns
    them to the system, every page is cleared anew: 1 to 10 % of a small training. No number depends on it.
    Only glibc is asked, and only where nobody set its limits (`MALLOC_TRIM_THRESHOLD_`, `GLIBC_TUNABLES`).
    """
    global _open
    library = _glibc()
    if library is None:
        yield
        return
    if not _open:
        # an older glibc refuses what its own rule does not reach; unset, every larger block would be mapped anew
        if not library.mallopt(_MMAP, KEPT):
            library.mallopt(_MMAP, _GIVEN_BACK[_MMAP])
        library.mallopt(_TRIM, KEPT)
    _open += 1
    before = _resident()
    try:
        yield
    finally:
        _open -= 1
        if not _open:
            for limit, size in _GIVEN_BACK.items():
                library.mallopt(limit, size)
            if _resident() - before > LARGE:
                library.malloc_trim(0)


def _resident() -> int:
    """Bytes of memory that this process holds, as Linux counts them."""
    counts = Path("/proc/self/statm").read_text("ascii").split()
    return int(counts[1]) * os.sysconf("SC_PAGE_SIZE")


def _glibc() -> ctypes.CDLL | None:
    """The C library of this process, if it is glibc and its limits are its own."""
    is_set = any(name in os.environ for name in _SET_BY_USER) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if not sys.platform.startswith("linux") or is_set or "LD_PRELOAD" in os.environ:
        return None  # a preloaded library may be another allocator
    library = ctypes.CDLL(None)
    has_all = all(hasattr(library, name) for name in ("gnu_get_libc_version", "mallopt", "malloc_trim"))
    return library if has_all else None
