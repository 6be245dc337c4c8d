"""The real-size run: published networks on real faces, on one GPU in ten minutes, without Ray.

    export MIDEF_DATA=... MIDEF_WEIGHTS=...      # folders with lfw/lfw_private.zip ..., and with mobilefacenet.pt
    python benchmarks/real_size.py --store STORE
    python benchmarks/real_size.py --cpu-smoke   # the same path with tiny networks, 3 minutes of two cores

Part A: VGG16 at 64 px without defense and under MIDRE, BiDO and TL-DMI, trained on 42 people of LFW from a backbone
that learned other people, attacked by GMI on a WGAN-GP and by PLG-MI, all networks as wide as published, all restarts
in one batch. Part B: ResNet-18 at 224 px without defense and under MIDRE, attacked by PPA on a StyleGAN2 of 64 px whose
images are enlarged. MobileFaceNet judges both.

What ten minutes cannot hold is cut: see `real_size_budget.py` for the shares of the time. The first call measures the
seconds of each step on this machine, fixes the counts, and writes them to STORE/real-size.json; every later call takes
them from there, so a run that was killed or stopped goes on from what is stored. On a GPU classifiers and searches run
in bfloat16 (losses and kernels in float32); generators train in the device's usual precision (TF32 convolutions), for
gradient penalties are not safe in bfloat16. Precision is part of every key.

Exit codes: 0 all is built, 1 something failed, 4 stopped before the end.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from real_size_budget import REAL, SMOKE, SWEEP, published_counts
from real_size_work import BUDGET, STAGES, Options, Run, counts_of, fixed_budget, make_pretraining, say, sweep_of
from unit_costs import clock_of

from midef.core.errors import MidefError, PreflightError, SpecError
from midef.stages import BuildContext
from midef.stages.build import device_name
from midef.storage import Store
from midef.sweep.result import EXIT_BUDGET, EXIT_FAILURES, EXIT_OK, results_table


def report(options: Options, store: Store) -> str:
    """The table of results, what was cut, and seconds and memory of each stage, as Markdown."""
    shown = f"{device_name(options.device)}, torch {torch.__version__}, precision {options.precision}"
    return "\n\n".join([shown, results_table(store, SWEEP, "md").strip(), stages_report(options.store)])


def stages_report(folder: Path) -> str:
    """What was cut, and seconds and memory of each stage, of the run in a store's folder."""
    budget = json.loads((folder / BUDGET).read_text("utf-8"))
    shared = f"{budget['seconds_to_share']:.0f} s of {budget['minutes']:g} minutes were shared; precision "
    return "\n\n".join([f"{shared}{budget['asked']['precision']}.", cuts_table(budget), stages_table(folder)])


def cuts_table(budget: Mapping[str, Any]) -> str:
    """Counts beside the published ones."""
    lines = ["| work | unit | here | published | % | s of one, of all artifacts |"]
    lines.append("| --- | --- | ---: | ---: | ---: | ---: |")
    for name, cut in budget["cuts"].items():
        here, published, each_s = cut["count"], cut["published"], cut["each_s"]
        share = 100 * here / published
        lines.append(f"| {name} | {cut['unit']} | {here:,} | {published:,} | {share:.1f} | {each_s:.3g} |")
    return "\n".join(lines)


def stages_table(folder: Path) -> str:
    """Seconds and memory of each stage that was built, of all calls."""
    lines = ["| stage | s | GPU, MB | host, MB |", "| --- | ---: | ---: | ---: |"]
    total = 0.0
    for text in (folder / STAGES).read_text("utf-8").splitlines() if (folder / STAGES).exists() else ():
        one = json.loads(text)
        total += one["seconds"]
        gpu = "-" if one["gpu_mb"] is None else f"{one['gpu_mb']:,.0f}"
        lines.append(f"| {one['stage']} | {one['seconds']:.1f} | {gpu} | {one['host_mb']:,.0f} |")
    return "\n".join([*lines, f"| all | {total:.1f} | | |"])


def run(options: Options) -> int:
    """Build what is missing, print the report and write it to STORE/real-size.md; gives the exit code."""
    began, clock = time.monotonic(), clock_of(options.device)
    began_on_device = clock()
    options.store.mkdir(parents=True, exist_ok=True)
    store = Store.open(options.store)
    locations: dict[str, Mapping[str, Any]] = {}
    checkpoints = options.store / "checkpoints"
    context = BuildContext(store=store, device=options.device, locations=locations, checkpoints=checkpoints)
    if not (options.store / BUDGET).exists():
        make_pretraining(options)
        locations.update(sweep_of(options, published_counts(options.size)).locations)
    budget = fixed_budget(options, context, began_on_device)
    sweep = sweep_of(options, counts_of(budget))
    locations.update(sweep.locations)
    say(cuts_table(budget))
    work = Run(options, store, context, budget, began)
    is_whole = work.all(sweep)
    text = report(options, store)
    (options.store / "real-size.md").write_text(text + "\n", "utf-8")
    say(f"\n{text}\n\n{time.monotonic() - began:.0f} s, {time.process_time():.0f} CPU s in this call")
    if not is_whole:
        return EXIT_BUDGET
    return EXIT_FAILURES if work.failures or work.outcome.environment else EXIT_OK


def parsed(arguments: Sequence[str] | None = None) -> Options:
    """Options from the command line.

    Raises:
        PreflightError: if the data, or a GPU that was asked for, is not here.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("midef-real-size"))
    parser.add_argument("--data", type=Path, help="folder of LFW (default: lfw in $MIDEF_DATA)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    parser.add_argument("--minutes", type=float, help="of the whole run; they fix the counts (10, of --cpu-smoke 3)")
    parser.add_argument("--stop-after", type=float, metavar="MINUTES", help="begin nothing that would end later")
    parser.add_argument("--parts", nargs="+", choices=("a", "b"), default=("a", "b"))
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--judge", default="mobilefacenet", help="architecture that evaluates")
    parser.add_argument("--fix", nargs="+", default=[], metavar="WORK=COUNT", help="counts that time does not decide")
    parser.add_argument("--stored", nargs="+", default=[], help="stores to take artifacts from that have the same key")
    parser.add_argument("--cpu-smoke", action="store_true", help="tiny networks and budgets, on the CPU")
    given = parser.parse_args(arguments)
    size = SMOKE if given.cpu_smoke else REAL
    device = chosen_device("cpu" if given.cpu_smoke and given.device == "auto" else given.device)
    root = Path(os.environ.get("MIDEF_DATA") or "~/.cache/midef/data").expanduser()
    data = (given.data or next((p for p in (root / "lfw", root) if (p / "lfw_private.zip").exists()), root)).absolute()
    if lacking := [name for name in FILES if not (data / name).exists()]:
        raise PreflightError(
            f"no {', '.join(lacking)} in {data}; give --data or $MIDEF_DATA (benchmarks/lfw/README.md)"
        )
    fixed = {name: int(count) for name, _, count in (text.rpartition("=") for text in given.fix)}
    if unknown := fixed.keys() - {cut.name for cut in size.cuts}:
        raise SpecError(
            f"--fix knows no {', '.join(sorted(unknown))}; it is one of {', '.join(c.name for c in size.cuts)}"
        )
    return Options(
        store=given.store,
        data=data,
        device=device,
        precision=chosen_precision(given.precision, device),
        judge=given.judge,
        size=size,
        minutes=given.minutes or (3.0 if given.cpu_smoke else 10.0),
        stop_after_s=None if given.stop_after is None else 60 * given.stop_after,
        parts=tuple(given.parts),
        fixed=fixed,
        stored=tuple(given.stored),
    )


FILES = ("lfw_private.zip", "lfw_private_train.txt", "lfw_private_test.txt", "lfw_public.zip")


def chosen_device(asked: str) -> str:
    """`cuda` where there is a GPU and nothing else is asked for.

    Raises:
        PreflightError: if a GPU is asked for that is not here.
    """
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked.startswith("cuda"):
        number = int(asked.partition(":")[2] or 0)
        if number >= torch.cuda.device_count():
            raise PreflightError(f"no GPU {number} here, torch finds {torch.cuda.device_count()}; give --device cpu")
    return asked


def chosen_precision(asked: str, device: str) -> str:
    """`bfloat16` on GPUs that have it, unless something else is asked for."""
    if asked != "auto":
        return asked
    return "bfloat16" if device.startswith("cuda") and torch.cuda.is_bf16_supported() else "float32"


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        return run(parsed(arguments))
    except MidefError as error:
        sys.stderr.write(f"real_size: {error}\n")
        return 3 if isinstance(error, PreflightError) else 2


if __name__ == "__main__":
    sys.exit(main())
