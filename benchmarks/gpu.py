"""How well one GPU is used: every kind of loop, measured in ten minutes, against the card's own matrix products.

    python benchmarks/gpu.py [--minutes 10] [--only WORD ...] [--out benchmarks/gpu.md]
    python benchmarks/gpu.py --cpu-smoke          # the same code on tiny sizes, a minute of one core

Trainings in bfloat16, TF32 and float32; generators; PPA (a StyleGAN2 of 1,024 px with fresh weights, ResNet-18 at 224
px); GMI, KedMI, BREP-MI and RLB-MI; evaluation. Of each: steps and images a second, operations of a step, their share
of the rate of a large product of matrices in that precision in this same run, most memory, how often the host waits for
the GPU, and what takes the time. Then the GPU-hours of three cells of the paper profile, predicted by a plan and from
these steps. Neither data sets nor published weights are needed, nor Ray.

Exit codes: 0 all was measured, 1 a loop failed, 3 no GPU is here.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from gpu_cells import Hours, hours_of
from gpu_loops import PAPER, TINY, Loops
from gpu_measure import NEEDS_A_GPU, PRECISIONS, Measured, matmul_flop_s, measured

from midef.core.code_version import code_version
from midef.stages.build import device_name

HEAD = (
    "| loop | precision | steps/s | images/s | GFLOP a step | % of matmul | GPU, MB | waits a step |\n"
    "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
)
KINDS = 24
"""Loops and yardsticks that share the time."""


def row(one: Measured, rates: Mapping[str, float]) -> str:
    """The line of a loop."""
    on_gpu = one.waits is not None
    share = f"{100 * one.flop / one.seconds / rates[one.loop.precision]:.1f}" if on_gpu else NEEDS_A_GPU
    memory = NEEDS_A_GPU if one.gpu_mb is None else f"{one.gpu_mb:,.0f}"
    waits = NEEDS_A_GPU if one.waits is None else f"{one.waits:.2g}"
    speed = f"{1 / one.seconds:,.2f} | {one.images_s:,.0f} | {one.flop / 1e9:,.3g}"
    return f"| {one.loop.name} | {one.loop.precision} | {speed} | {share} | {memory} | {waits} |"


def hours_table(hours: Sequence[Hours], *, on_gpu: bool) -> str:
    """Predicted beside measured GPU-hours."""
    lines = ["| cell | node | predicted h, low / expected / worst | h at the measured speed |"]
    lines.append("| --- | --- | ---: | ---: |")
    for one in hours:
        predicted = " / ".join(f"{value:.2f}" for value in one.predicted)
        shown = "no loop of this run" if one.measured is None else f"{one.measured:.2f}"
        lines.append(f"| {one.cell} | {one.node} | {predicted} | {shown if on_gpu else NEEDS_A_GPU} |")
    return "\n".join(lines)


def report(options: argparse.Namespace, device: str, say: Callable[[str], None]) -> tuple[str, int]:
    """The page of a run, and its exit code."""
    begun, on_gpu = time.monotonic(), device.startswith("cuda")
    size = TINY if options.cpu_smoke else PAPER
    each_s = 60 * options.minutes / KINDS / 2.5  # counting, profiling and building take about as long again
    rates = {name: matmul_flop_s(name, device, size.matmul, min(3.0, each_s)) for name in PRECISIONS}
    yardstick = ", ".join(f"{name} {rate / 1e12:,.3g} TFLOP/s" for name, rate in rates.items())
    say(HEAD)
    found, failed = list[Measured](), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        for loop in Loops(size, device, Path(folder)).all():
            if options.only and not any(word in loop.name for word in options.only):
                continue
            try:
                found.append(measured(loop, device, each_s))
                say(row(found[-1], rates))
            except (RuntimeError, ValueError, TypeError) as error:  # the others are measured all the same
                failed.append(f"{loop.name}, {loop.precision}: {type(error).__name__}: {error}")
                say(f"failed: {failed[-1]}")
            if on_gpu:
                torch.cuda.empty_cache()
    commit = code_version().partition("+")[2][:7]
    made = f"Made at commit `{commit}`, {time.strftime('%Y-%m-%d')}, on {device_name(device)}, "
    made += f"torch {torch.__version__}, load {os.getloadavg()[0]:.1f}, by `python benchmarks/gpu.py"
    made += f"{' --cpu-smoke' if options.cpu_smoke else ''}` in {time.monotonic() - begun:.0f} s."
    parts = [
        made,
        f"A product of two matrices of {size.matmul:,} rows: {yardstick}.",
        "\n".join([HEAD, *(row(one, rates) for one in found)]),
        *(["Failed:\n\n" + "\n".join(f"- {line}" for line in failed)] if failed else []),
        "What takes the time:\n\n" + "\n".join(f"- {m.loop.name}, {m.loop.precision}: {m.profile}" for m in found),
        hours_table(hours_of(found), on_gpu=on_gpu),
    ]
    return "\n\n".join(parts), int(bool(failed))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, help="of the whole run (10, of --cpu-smoke 0.5)")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1")
    parser.add_argument("--only", nargs="*", default=[], help="words, of which the name of a loop holds one")
    parser.add_argument("--out", type=Path, help="file that the page is written to as well")
    parser.add_argument("--cpu-smoke", action="store_true", help="tiny sizes on the CPU")
    options = parser.parse_args(arguments)
    options.minutes = options.minutes or (0.5 if options.cpu_smoke else 10.0)
    device = "cpu" if options.cpu_smoke else options.device
    if device != "cpu" and not torch.cuda.is_available():
        sys.stderr.write("gpu: torch finds no GPU here; --cpu-smoke tries the same code on the CPU\n")
        return 3
    if device == "cpu":
        torch.set_num_threads(1)
    page, code = report(options, device, lambda line: print(line, flush=True))
    print(f"\n{page}")
    if options.out:
        options.out.write_text(page + "\n", "utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
