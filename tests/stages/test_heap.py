"""Freed memory stays with the process while it builds: a step does not wait for pages the step before it had."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from midef.stages import heap

needs_glibc = pytest.mark.skipif(heap._glibc() is None, reason="needs glibc with limits that nobody set")

STEPS = """
import ctypes, resource, sys
from contextlib import nullcontext
from midef.stages.heap import freed_memory_kept
import torch

torch.set_num_threads(1)
ctypes.CDLL(None).mallopt(-3, 2**17)  # blocks of 4 MB go back when they are freed, as at a process's start
blocks = int(sys.argv[1])

def step():  # as a training step: blocks of some megabytes, freed together
    return sum(float(block.sum()) for block in [torch.ones(2**20) for _ in range(blocks)])

def faults(count):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def held_kb():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])

faults(3)
free = faults(10)
with freed_memory_kept():
    with freed_memory_kept():
        faults(3)
    kept, held = faults(10), held_kb()
print(free, kept, held - held_kb())
"""


def measured(blocks: int) -> tuple[int, int, float]:
    """Pages cleared in ten steps without and with the rule, and megabytes that went back at its end."""
    done = subprocess.run([sys.executable, "-c", STEPS, str(blocks)], capture_output=True, text=True, check=True)
    free, kept, given_back_kb = map(int, done.stdout.split())
    return free, kept, given_back_kb / 1024


@needs_glibc
def test_steps_use_memory_again_and_it_goes_back_at_the_end() -> None:
    free, kept, given_back_mb = measured(blocks=48)  # 192 MB
    assert free > 10 * 48 * 1000, "each block is cleared in each step"
    assert kept < free / 50
    assert given_back_mb > 170


@needs_glibc
def test_a_small_build_leaves_its_pages_to_the_next() -> None:
    _, kept, given_back_mb = measured(blocks=12)
    assert kept < 1000 and abs(given_back_mb) < 16


@pytest.mark.parametrize(
    ("name", "value"), [("MALLOC_TRIM_THRESHOLD_", "1"), ("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=1")]
)
def test_limits_that_somebody_set_stay(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert heap._glibc() is None


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert heap._glibc() is None
    with heap.freed_memory_kept():
        assert heap._open == 0


@needs_glibc
def test_an_error_inside_ends_it() -> None:
    with pytest.raises(KeyError), heap.freed_memory_kept():
        assert heap._open == 1
        raise KeyError
    assert heap._open == 0


def test_a_limit_that_an_older_glibc_refuses_is_the_largest_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset, it would be fixed where it stands: 128 KiB, and every larger tensor mapped and cleared anew."""
    most, limits = 32 * 2**20, dict[int, int]()

    class Older:
        def mallopt(self, limit: int, size: int) -> int:
            if limit == heap._MMAP and size > most:
                return 0
            limits[limit] = size
            return 1

        def malloc_trim(self, pad: int) -> int:
            return 1

    monkeypatch.setattr(heap, "_glibc", Older)
    with heap.freed_memory_kept():
        assert limits == {heap._MMAP: most, heap._TRIM: heap.KEPT}
