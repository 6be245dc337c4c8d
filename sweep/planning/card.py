"""Memory of the GPUs of this machine, without torch and without a context on them."""

from __future__ import annotations

import subprocess

_QUERY = ("nvidia-smi", "--query-gpu=memory.total,mig.mode.current", "--format=csv,noheader,nounits")
_WAIT_S = 20.0


def card_memory_mb() -> float:
    """MiB of the smallest GPU here; 0 where there is none or it cannot be told.

    A GPU that is divided in hardware (MIG) answers with the memory of all its parts, so it counts as unknown.
    """
    try:
        said = subprocess.run(_QUERY, capture_output=True, text=True, timeout=_WAIT_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return 0.0
    return smallest_of(said)


def smallest_of(said: str) -> float:
    """MiB of the smallest GPU of a list with a line `memory, mode of MIG` each; 0 where one cannot be told."""
    sizes = []
    for line in filter(str.strip, said.splitlines()):
        memory, _, mig = (part.strip() for part in line.partition(","))
        if mig == "Enabled" or not memory.isdecimal():
            return 0.0
        sizes.append(float(memory))
    return min(sizes, default=0.0)
