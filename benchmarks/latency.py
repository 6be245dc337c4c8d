"""What a query costs under each defense of answers, as a ratio to the undefended forward pass of the same run.

    python benchmarks/latency.py [--page benchmarks/latency.md] [--network yang_cnn] [--width 32] [--seconds 1]

CPU seconds of one thread, so that other work on the machine hardly counts, of a query that comes alone and of 64 that
come in one call. Each round times the network and the guard one after the other; a ratio is the median over rounds.
Memory is what the call needs at its peak beyond what the process held before, where Linux says it. A guard is prepared
on random images: how well a substitute was trained changes no cost.
"""

from __future__ import annotations

import argparse
import ctypes
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor, nn

from midef.core.code_version import code_version
from midef.defenses import DEFENSES, Defense
from midef.guard import Guard
from midef.models import ARCHITECTURES
from midef.stages.build import processor_name

PX, CLASSES, BATCH, ALONE, ROUNDS = 32, 5, 64, 8, 3
PUBLISHED_PREDICTION_MS = 0.35
"""Of the network of the LPA data-poisoning paper on MNIST (Table VIII), beside `published_ms` of the defenses."""
PAGE = """# What a query costs

`python benchmarks/latency.py --page benchmarks/latency.md` times a [guard](../docs/guard.md) with each defense of
answers, beside the undefended forward pass of the same run: `{network}` with three blocks, {px} px, {classes} classes,
the network of the LPA data-poisoning paper for MNIST; substitute inversion networks of four blocks and width {width}
(published: 128), all other parameters as they are by default. CPU milliseconds of one thread for each query; a ratio is
the median over {rounds} rounds, or fewer where they take more than {seconds:g} s. Memory is what a call needs at its
peak beyond what the process held. `none` is what the guard itself costs: checks of images, answers and modes.

{made}

{table}

- The paper's milliseconds are of a perturbation on MNIST, on a GPU, beside {prediction:g} for a prediction; its ratio
  is of both, as ours is. Compare with care: its number of rounds is not stated (ours: 10), and its network is wider.
- `per_query` differentiates an inversion network for each query alone, `joint` once for all of a call.
- `lfp` flips a query that comes alone with the probability 0.05; `lfp(share=0.99)` is what a flipped one costs.
- `noisy_scores` and `lpa_vae` draw from a stream of each image's own: sha256 of its pixels, and a generator.
"""


class Cost(NamedTuple):
    """Of a call.

    Args:
        ms: CPU milliseconds per query.
        ratios: to the undefended forward pass, one for each round.
        mb: at its peak; None where it is not known.
    """

    ms: float
    ratios: list[float]
    mb: float | None


def subjects(width: int) -> Iterator[tuple[str, str]]:
    """(as the table names it, as it is written) of every defense of answers."""
    yield "none", "none"
    for name in DEFENSES.names():
        cls = DEFENSES.get(name)
        if cls.answer is Defense.answer:
            continue
        known = {field.name for field in fields(cls)}
        sizes = f"inverter_width={width},inverter_blocks=4,inverter_epochs=1" if "inverter_width" in known else ""
        short = ",epochs=1" if "epochs" in known else ""
        variants = [""]
        if "alignment" in known:
            variants = ["alignment=joint", "alignment=per_query"]
        elif "share" in known and "window" in known:
            variants = ["", "share=0.99"]
        for variant in variants:
            inside = ",".join(part for part in (variant, sizes + short) if part).strip(",")
            yield f"{name}({variant})" if variant else name, f"{name}({inside})" if inside else name


def guard_of(written: str, model: nn.Module) -> Guard:
    rng = torch.Generator().manual_seed(1)
    public, private = (torch.randint(0, 256, (n, 3, PX, PX), generator=rng, dtype=torch.uint8) for n in (40, 32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return Guard(model, written, secret=1).prepare(public=public, private=private)


def cpu_s(ask: Callable[[Tensor], Tensor], calls: list[Tensor], least_s: float) -> float:
    """CPU seconds of a call, the mean over these and, where they are short, over passes that take so long."""
    done, begun = 0, time.process_time()
    while not done or time.process_time() - begun < least_s:
        for images in calls:
            ask(images)
        done += len(calls)
    return (time.process_time() - begun) / done


def peak_mb(ask: Callable[[Tensor], Tensor], images: Tensor) -> float | None:
    """Memory of a call at its peak beyond what was held before; None where the system does not say."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = _status_kb("VmRSS")
        ask(images)
        return (_status_kb("VmHWM") - before) / 1024
    except (OSError, AttributeError, StopIteration):
        return None


def _status_kb(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


def cost(
    plain: Callable[[Tensor], Tensor], guarded: Callable[[Tensor], Tensor], calls: list[Tensor], seconds: float
) -> Cost:
    """Of calls with so many images each."""
    mb, size = peak_mb(guarded, calls[0]), len(calls[0]) if calls[0].ndim == 4 else 1
    times, ratios, begun = [], [], time.process_time()
    while len(ratios) < ROUNDS and (not ratios or time.process_time() - begun < seconds):
        undefended = cpu_s(plain, calls, 0.1)
        times.append(cpu_s(guarded, calls, 0.1))
        ratios.append(times[-1] / undefended)
    return Cost(1000 * median(times) / size, ratios, mb)


def cells(found: Cost) -> str:
    ends = f"{min(found.ratios):.2f} to {max(found.ratios):.2f}" if len(found.ratios) > 1 else "one round"
    mb = "" if found.mb is None else f"{found.mb:.0f}"
    return f"{found.ms:.3g} | {median(found.ratios):.2f} | {ends} | {mb}"


def table(options: argparse.Namespace) -> str:
    torch.manual_seed(0)
    network = ARCHITECTURES.make(options.network, {"blocks": 3}).build(CLASSES, PX).eval()
    images = torch.rand(BATCH, 3, PX, PX, generator=torch.Generator().manual_seed(2))
    alone = [images[i : i + 1] for i in range(ALONE)]

    @torch.no_grad()
    def plain(asked: Tensor) -> Tensor:
        return torch.softmax(network(asked).logits, dim=1)

    titles = ["ms", "ratio", "range", "MB"]
    head = ["defense", *(f"{t}, alone" for t in titles), *(f"{t}, in 64" for t in titles), "paper, ms", "paper, ratio"]
    lines = [f"| {' | '.join(head)} |", "| --- |" + " ---: |" * (len(head) - 1)]
    for name, written in subjects(options.width):
        guard = guard_of(written, network)
        for asked in (images[:1], images):
            plain(asked), guard(asked)  # the first pass allocates and plans
        costs = [cells(cost(plain, guard, calls, options.seconds)) for calls in (alone, [images])]
        published = type(guard.defense).published_ms.get("MNIST")
        ratio = "" if published is None else f"{1 + published / PUBLISHED_PREDICTION_MS:.1f}"
        lines.append(f"| {name} | {' | '.join(costs)} | {'' if published is None else published} | {ratio} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="yang_cnn", help="an architecture with a parameter `blocks`")
    parser.add_argument("--width", type=int, default=32, help="of the inversion networks; published: 128")
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU seconds after which no further round starts")
    parser.add_argument("--page", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = table(options)
    version, _, commit = code_version().partition("+")
    made = f"Made at commit `{commit or version}`, {datetime.now(UTC):%Y-%m-%d}, on {processor_name()}."
    text = PAGE.format(
        network=options.network,
        px=PX,
        classes=CLASSES,
        width=options.width,
        rounds=ROUNDS,
        seconds=options.seconds,
        made=made,
        table=found,
        prediction=PUBLISHED_PREDICTION_MS,
    )
    if options.page:
        options.page.write_text(text, encoding="utf-8")
    else:
        print("\n" + text)


if __name__ == "__main__":
    main()
