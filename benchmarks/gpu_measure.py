"""What one loop does on a device: speed, operations, memory, waits of the host, and where its time goes."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from peaks import peaks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from typing_extensions import override
from unit_costs import clock_of

PRECISIONS = ("float32", "tf32", "bfloat16")
NEEDS_A_GPU = "needs a GPU"


@dataclass(frozen=True)
class Loop:
    """A loop of midef whose steps can be counted.

    Args:
        precision: of its networks, one of `PRECISIONS`; `tf32` is what midef runs in on a GPU unless told otherwise:
            convolutions in TF32, products of matrices in float32.
        images: of a step.
        run: makes about so many steps, and says how many.
        cycle: steps that repeat, such as five of a critic and one of a generator.
        most: steps of a run.
        prepare: makes what so many steps read; not timed.
    """

    name: str
    precision: str
    images: float
    run: Callable[[int], float]
    cycle: int = 1
    most: int = 1000
    prepare: Callable[[int], object] = lambda steps: None


@dataclass(frozen=True)
class Measured:
    """Figures of a loop, each of one step.

    Args:
        gpu_mb: most memory of tensors on the GPU; None without one.
        waits: calls in which the host waited for the GPU; None without one.
        profile: what takes its time, largest first, in words.
    """

    loop: Loop
    seconds: float
    flop: float
    gpu_mb: float | None
    waits: float | None
    profile: str

    @property
    def images_s(self) -> float:
        return self.loop.images / self.seconds


@contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """Float32 arithmetic of a GPU while this lasts: `float32` is exact, the others allow TF32 as midef has it."""
    cudnn, before = torch.backends.cudnn, torch.get_float32_matmul_precision()
    allowed = cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    cudnn.allow_tf32 = precision != "float32"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
        cudnn.allow_tf32 = allowed


def matmul_flop_s(precision: str, device: str, size: int, seconds: float) -> float:
    """Operations a second of a product of two square matrices of this many rows; best of what the seconds allow."""
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    clock, before = clock_of(device), torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        for _ in range(3):
            left @ right
        best, end = float("inf"), clock() + seconds
        while best == float("inf") or clock() < end:
            begun = clock()
            for _ in range(4):
                left @ right
            best = min(best, (clock() - begun) / 4)
    finally:
        torch.set_float32_matmul_precision(before)
    return 2 * size**3 / max(best, 1e-9)


def measured(loop: Loop, device: str, seconds: float) -> Measured:
    """Figures of a loop; of all but memory those of a short run are taken off those of a longer one.

    Args:
        seconds: of timing, about; counting and profiling come to it.
    """
    few, clock = loop.cycle, clock_of(device)

    def timed(steps: int) -> tuple[float, float]:
        loop.prepare(steps)
        begun = clock()
        made = loop.run(steps)
        return clock() - begun, made

    with arithmetic(loop.precision):
        timed(few)
        short_s, short = timed(few)
        with peaks(device) as peak:
            long_s, long = timed(2 * few)
        each_s = max((long_s - short_s) / max(long - short, 1e-9), 1e-5)
        more = loop.cycle * int(min(loop.most, seconds / each_s) / loop.cycle)
        if more > 2 * few:
            with peaks(device) as peak:
                long_s, long = timed(more)
            each_s = max((long_s - short_s) / max(long - short, 1e-9), 1e-9)
        flop = per_step(loop, operations)
        waits = per_step(loop, waits_of) if device.startswith("cuda") else None
        return Measured(loop, each_s, flop, peak.gpu_mb, waits, profiled(loop, device))


def per_step(loop: Loop, count: Callable[[Callable[[], float]], tuple[float, float]]) -> float:
    """What `count` counts in a step: in two cycles, less one."""
    few, few_steps = count(lambda: loop.run(loop.cycle))
    more, more_steps = count(lambda: loop.run(2 * loop.cycle))
    return (more - few) / max(more_steps - few_steps, 1e-9)


class Operations(TorchDispatchMode):
    """Counts operations of matrix products and convolutions, ways back included, by torch's own formulas.

    torch's `FlopCounterMode` also follows modules, and its hooks fail where a loop calls `torch.autograd.grad`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flop = 0.0

    @override
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        out = func(*args, **given)
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.flop += float(formula(*args, **given, out_val=out))
        return out


def operations(run: Callable[[], float]) -> tuple[float, float]:
    """Operations of matrix products and convolutions in a run, and its steps."""
    with Operations() as counter:
        steps = run()
    return counter.flop, steps


def waits_of(run: Callable[[], float]) -> tuple[float, float]:
    """Calls of a run in which the host waited for the GPU, as torch notices them, and its steps."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            steps = run()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return float(sum("synchronizing CUDA operation" in str(one.message) for one in said)), steps


def profiled(loop: Loop, device: str, shown: int = 4) -> str:
    """The kernels (without a GPU the operators) that take most of the time of a few steps, with their share of it."""
    on_gpu = device.startswith("cuda")
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if on_gpu:
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
        torch.cuda.synchronize(device)
    begun = time.monotonic()
    with torch.profiler.profile(activities=kinds) as profile:
        loop.run(loop.cycle)
        if on_gpu:
            torch.cuda.synchronize(device)
    wall_us = 1e6 * (time.monotonic() - begun)
    rows: Sequence[Any] = profile.key_averages()
    taken = {row.key: float(row.self_device_time_total if on_gpu else row.self_cpu_time_total) for row in rows}
    if on_gpu:  # operators stand beside the kernels they launch
        kernels = {row.key for row in rows if str(row.device_type).endswith("CUDA")}
        taken = {key: us for key, us in taken.items() if key in kernels}
    whole = sum(taken.values()) or 1.0
    largest = sorted(taken, key=lambda key: -taken[key])[:shown]
    said = [f"{key[:60]} {100 * taken[key] / whole:.0f} %" for key in largest]
    busy = [f"GPU busy {100 * min(1.0, whole / wall_us):.0f} % of the profiled time"] if on_gpu else []
    return "; ".join([*busy, *said])
