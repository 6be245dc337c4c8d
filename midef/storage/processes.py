"""Processes of this machine: their names in files that several machines write, and whether they still run."""

from __future__ import annotations

import hashlib
import os
import socket
from functools import cache
from pathlib import Path


@cache
def this_machine() -> str:
    """Identifies the processes that see each other: this start of this machine and its process numbers.

    The host's name alone is not enough: containers share names, and their process numbers mean different processes.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:  # not Linux
        boot, space = "", 0
    return f"{socket.gethostname()}.{hashlib.sha256(f'{boot} {space}'.encode()).hexdigest()[:8]}"


def process_lives(machine: str, pid: int) -> bool | None:
    """True if a process of this machine still runs; None if `this_machine` named another one."""
    if machine != this_machine():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
