"""Freed memory stays with the process while it builds: a step does not wait for pages the step before it had."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from midef.stages import heap

needs_glibc = pytest.mark.skipif(heap._glibc() is None, reason="needs glibc with limits that nobody set")

STEPS = """
import resource, sys
from contextlib import nullcontext
from midef.stages.heap import freed_memory_kept
import torch

torch.set_num_threads(1)

def step():  # as a training step: blocks of some megabytes, freed together
    return sum(float(block.sum()) for block in [torch.ones(2**20) for _ in range(24)])

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


@needs_glibc
def test_steps_use_memory_again_and_it_goes_back_at_the_end() -> None:
    done = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=True)
    free, kept, given_back_kb = map(int, done.stdout.split())
    page_kb = 4
    assert free > 10 * 2**20 * 4 // 1024 // page_kb, "the C library gives the blocks back by itself no more"
    assert kept < free / 50
    assert given_back_kb > 24 * 4096 * 0.9, "what a build freed stays with the process"


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
