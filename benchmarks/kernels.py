"""Where the CPU seconds of a training step and of an attack step go, and what other ways to compute them would save.

    python benchmarks/kernels.py [--rounds 9] [--compile] [--page benchmarks/kernels.md]

One thread, CPU seconds, so that other work on the machine hardly counts. The rate of convolutions stands beside that of
a matrix product in the same run: where they are near, only fewer operations would save time. A way that is not taken
stands with its ratio to ours, median and range over alternating rounds, and whether its numbers are equal to the bit;
if not, taking it would need a new version and every result anew.
"""

from __future__ import annotations

import argparse
import copy
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from midef.core.code_version import code_version
from midef.models import ARCHITECTURES
from midef.nn.network import TargetModel, freeze_
from midef.stages.build import processor_name

CLASSES = 120
NETWORKS = (("vgg16_tiny", 32, 64), ("resnet18_tiny", 32, 64), ("vgg16", 64, 8))
"""Architecture, pixels, images in a step."""
KINDS = {
    "convolution": ("convolution",),
    "batch norm": ("batch_norm",),
    "pooling, ReLU": ("pool", "threshold", "relu", "clamp_min"),
    "optimizer": ("Optimizer", "_fused"),
}
Step = Callable[[], list[Tensor]]


@dataclass(frozen=True)
class Way:
    """How a step is computed.

    Args:
        name: in the table.
        layout: of weights and images in memory.
        fused: the optimizer moves all weights in one kernel.
        folded: batch norms are folded into the convolutions before them; of an attack.
        compiled: by torch.compile.
        low: in bfloat16.
        late_pool: ReLUs before their max pools.
    """

    name: str
    layout: torch.memory_format = torch.channels_last
    fused: bool = False
    folded: bool = False
    compiled: bool = False
    low: bool = False
    late_pool: bool = False


OURS = Way("ours")
WAYS = (
    Way("images as planes", layout=torch.contiguous_format),
    Way("ReLU before its max pool", late_pool=True),
    Way("fused optimizer", fused=True),
    Way("batch norms folded", folded=True),
    Way("bfloat16", low=True),
    Way("compiled", compiled=True),
)


def network_of(name: str, px: int, way: Way) -> TargetModel:
    torch.manual_seed(0)
    network = ARCHITECTURES.make(name).build(CLASSES, px)
    if way.late_pool:
        neighbours_swapped(network, nn.MaxPool2d, nn.ReLU)
    return network.to(memory_format=way.layout)


def neighbours_swapped(network: nn.Module, first: type[nn.Module], second: type[nn.Module]) -> None:
    for part in network.modules():
        if isinstance(part, nn.Sequential):
            for i in range(len(part) - 1):
                if isinstance(part[i], first) and isinstance(part[i + 1], second):
                    part[i], part[i + 1] = part[i + 1], part[i]


def fold(network: nn.Module) -> nn.Module:
    """The network with each batch norm that directly follows a convolution in a chain folded into it."""
    folded = copy.deepcopy(network)
    for part in folded.modules():
        if isinstance(part, nn.Sequential):
            for i in range(len(part) - 1):
                before, after = part[i], part[i + 1]
                if isinstance(before, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
                    part[i] = nn.utils.fusion.fuse_conv_bn_eval(before, after)
                    part[i + 1] = nn.Identity()
    freeze_(folded)
    return folded


def step_of(network: TargetModel, px: int, batch: int, way: Way, *, is_attack: bool) -> Step:
    """One step on the same images each time; returns the loss and the gradient it ends in."""
    rng = torch.Generator().manual_seed(1)
    images = torch.rand(batch, 3, px, px, generator=rng).contiguous(memory_format=way.layout)
    labels = torch.randint(0, CLASSES, (batch,), generator=rng)

    def loss_of(images: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=way.low):
            logits: Tensor = asked(images).logits
        return F.cross_entropy(logits.float(), labels)

    asked: nn.Module = network
    if is_attack:
        freeze_(network)
        asked = fold(network) if way.folded else network
        images.requires_grad_()
    loss_from = torch.compile(loss_of) if way.compiled else loss_of
    if is_attack:

        def search() -> list[Tensor]:
            images.grad = None
            loss = loss_from(images)
            loss.backward()
            assert images.grad is not None
            return [loss.detach(), images.grad]

        return search
    optimizer = torch.optim.SGD(network.train().parameters(), lr=0.01, momentum=0.9, fused=way.fused)
    weight = next(network.parameters())

    def train() -> list[Tensor]:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_from(images)
        loss.backward()
        optimizer.step()
        return [loss.detach(), weight.detach().clone()]

    return train


def seconds(step: Step) -> float:
    begun = time.process_time()
    step()
    return time.process_time() - begun


def ratios(ours: Step, other: Step, rounds: int) -> list[float]:
    """CPU seconds of the other way over ours, in rounds that alternate."""
    found = []
    for number in range(rounds + 2):
        pair = (ours, other) if number % 2 else (other, ours)
        took = {id(step): seconds(step) for step in pair}
        if number > 1:
            found.append(took[id(other)] / took[id(ours)])
    return found


def matrix_rate(size: int = 2048) -> float:
    """GFLOP/s of a product of square matrices."""
    left, right = torch.rand(size, size), torch.rand(size, size)

    def once() -> list[Tensor]:
        return [left @ right]

    once()
    return 2 * size**3 / median(seconds(once) for _ in range(5)) / 1e9


def shares(step: Step, count: int = 10) -> tuple[float, dict[str, float], float]:
    """Milliseconds of a step, the share in percent of each kind of work, and GFLOP/s of the convolutions."""
    step()
    with FlopCounterMode(display=False) as counter:
        step()
    operations = sum(flop for op, flop in counter.get_flop_counts()["Global"].items() if "conv" in str(op))
    whole = median(seconds(step) for _ in range(count))
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for _ in range(count):
            step()
    spent: Counter[str] = Counter()
    for event in seen.key_averages():
        kind = next((kind for kind, words in KINDS.items() if any(word in event.key for word in words)), "rest")
        spent[kind] += event.self_cpu_time_total
    total = sum(spent.values())
    found = {kind: 100 * spent[kind] / total for kind in (*KINDS, "rest")}
    return 1000 * whole, found, operations / (whole * found["convolution"] / 100) / 1e9


def share_rows(rate: float) -> list[str]:
    """A line for each network and kind of step."""
    rows = [
        f"| step | images | ms | {' | '.join(f'{kind} %' for kind in (*KINDS, 'rest'))} | GFLOP/s of convolutions "
        "| of a matrix product |",
        "| --- | ---: | ---: |" + " ---: |" * (len(KINDS) + 3),
    ]
    for name, px, batch in NETWORKS:
        for is_attack in (False, True):
            step = step_of(network_of(name, px, OURS), px, batch, OURS, is_attack=is_attack)
            ms, found, gflops = shares(step)
            numbers = " | ".join(f"{share:.0f}" for share in found.values())
            kind = "attack" if is_attack else "training"
            rows.append(f"| {kind}, {name} | {batch} | {ms:.1f} | {numbers} | {gflops:.0f} | {rate:.0f} |")
    return rows


def way_rows(rounds: int, *, compiles: bool) -> list[str]:
    """A line for each way that applies to a step."""
    rows = [
        "| step | instead | CPU seconds, ours is 1 | range | equal to the bit |",
        "| --- | --- | ---: | ---: | --- |",
    ]
    for name, px, batch in NETWORKS:
        for is_attack in (False, True):
            for way in WAYS:
                applies = not (way.folded and not is_attack) and not (way.fused and is_attack)
                if not applies or (way.compiled and not compiles) or (way.folded and "vgg" not in name):
                    continue
                ours, other = (
                    step_of(network_of(name, px, each), px, batch, each, is_attack=is_attack) for each in (OURS, way)
                )
                equal = all(torch.equal(a, b) for a, b in zip(ours(), other(), strict=True))
                found = ratios(ours, other, rounds)
                rows.append(
                    f"| {'attack' if is_attack else 'training'}, {name} | {way.name} | {median(found):.2f} "
                    f"| {min(found):.2f} to {max(found):.2f} | {'yes' if equal else 'no'} |"
                )
                print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="pairs of steps that a ratio is the median of")
    parser.add_argument("--compile", action="store_true", help="also torch.compile, which needs a C++ compiler")
    parser.add_argument("--page", type=Path, help="file whose part between the marks is written anew")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rate = matrix_rate()
    shared = share_rows(rate)
    print("\n".join(shared), flush=True)
    ways = way_rows(options.rounds, compiles=options.compile)
    version, _, commit = code_version().partition("+")
    made = (
        f"Made at commit `{commit or version}`, {datetime.now(UTC).date()}, on {processor_name()}, load "
        f"{os.getloadavg()[0]:.1f}, torch {torch.__version__}."
    )
    if options.page:
        text = options.page.read_text("utf-8")
        before, after = text.split("<!-- numbers -->")[0], text.split("<!-- /numbers -->")[1]
        parts = [made, "\n".join(shared), "\n".join(ways)]
        options.page.write_text(before + "<!-- numbers -->\n" + "\n\n".join(parts) + "\n<!-- /numbers -->" + after)


if __name__ == "__main__":
    main()
