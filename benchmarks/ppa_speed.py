"""How fast PPA searches, as a ratio to the straightforward loop of the same run.

    python benchmarks/ppa_speed.py [--px 64] [--base 2048] [--target resnet18_tiny] [--steps 6] [--rounds 3]

Speed is images x steps per CPU second of one thread, so that other work on the machine hardly counts; of the
optimisation alone: for each loop, the time of a run with few steps is taken off that of one with more. Straightforward
is what released codes do: kernels modulated for each image (grouped convolutions), one batch of 25, torchvision's crop,
`loss.backward()`; parameters are left to be learned (of both networks, or of the target alone, as in PPA's code).
Weights, image size and loss are the same.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import RandomResizedCrop

from midef.attacks.base import Task
from midef.attacks.latent_search.poincare import poincare_loss
from midef.attacks.ppa import Ppa
from midef.attacks.priors.networks.style_gan2 import StyleGenerator
from midef.attacks.priors.style_gan2 import StyleGan2
from midef.attacks.target_handle import TargetHandle
from midef.defenses import Defense
from midef.models import ARCHITECTURES
from midef.nn.network import TargetModel, freeze_

BATCH, CLASSES = 25, 530


def generator_of(options: argparse.Namespace, *, fused: bool) -> StyleGenerator:
    """The same random weights each time."""
    torch.manual_seed(0)
    return StyleGenerator(512, 8, options.px, options.base, 512, fused=fused).eval()


def target_of(options: argparse.Namespace) -> TargetModel:
    torch.manual_seed(1)
    return ARCHITECTURES.make(options.target).build(CLASSES, options.px).eval()


def straightforward(
    options: argparse.Namespace, *, frozen_generator: bool, fused: bool = True
) -> Callable[[int], float]:
    """CPU seconds of so many steps with a batch of 25."""
    generator, target = generator_of(options, fused=fused), target_of(options)
    generator.requires_grad_(not frozen_generator)
    crop = RandomResizedCrop(options.px, scale=(0.9, 1.0), ratio=(1.0, 1.0), antialias=True)
    labels = torch.zeros(BATCH, dtype=torch.long)
    with torch.no_grad():
        start = generator.mapping(torch.randn(BATCH, 512))

    def run(steps: int) -> float:
        w = start.clone().requires_grad_(True)
        optimizer = torch.optim.Adam([w], lr=0.005, betas=(0.1, 0.1))
        begun = time.process_time()
        for _ in range(steps):
            images = generator.synthesis(w[:, None].expand(-1, generator.num_ws, -1))
            loss = poincare_loss(target(crop(images) / 2 + 0.5).logits, labels).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return time.process_time() - begun

    return run


def ours(options: argparse.Namespace) -> Callable[[int], float]:
    """CPU seconds of the attack with so many steps and one batch of 25 candidates, pool and final images included."""
    prior = StyleGan2(latent_dim=512, mapping_layers=8, channel_base=options.base)
    generator, target = generator_of(options, fused=False), target_of(options)
    freeze_(generator)
    task = Task(torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.long), options.px, 0, "cpu")

    def run(steps: int) -> float:
        sizes: dict[str, Any] = {"pool": BATCH, "candidates": BATCH, "selection_rounds": 1}
        attack = Ppa(iterations=steps, prior=prior, **sizes)
        handle = TargetHandle(target, Defense(), attack.access)
        networks: dict[str, nn.Module] = {"generator": generator.to(memory_format=torch.channels_last)}
        handle.lay_out(torch.channels_last)
        begun = time.process_time()
        attack.search(handle, networks, task)
        return time.process_time() - begun

    return run


def agree(options: argparse.Namespace) -> float:
    """Largest difference between images of the two forms of the generator."""
    w = torch.randn(2, 512, generator=torch.Generator().manual_seed(2))
    drawn: list[Tensor] = []
    for fused in (True, False):
        generator = generator_of(options, fused=fused)
        with torch.no_grad():
            drawn.append(generator.synthesis(generator.styles(generator.mapping(w))))
    return float((drawn[0] - drawn[1]).abs().max() / drawn[0].abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--px", type=int, default=64)
    parser.add_argument("--base", type=int, default=2048, help="channels of the generator times px")
    parser.add_argument("--target", default="resnet18_tiny")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    loops = {
        "straightforward, nothing frozen": straightforward(options, frozen_generator=False),
        "straightforward, generator frozen": straightforward(options, frozen_generator=True),
        "straightforward, nothing frozen, not fused": straightforward(options, frozen_generator=False, fused=False),
        "midef": ours(options),
    }
    speeds: dict[str, list[float]] = {name: [] for name in loops}
    for run in loops.values():
        run(1)  # the first pass allocates and plans
    for _ in range(options.rounds):
        for name, run in loops.items():
            few, more = run(1), run(1 + options.steps)
            speeds[name].append(BATCH * options.steps / max(more - few, 1e-9))
    first = speeds["straightforward, nothing frozen"]
    print(
        f"{options.px} px, channels {options.base} / px (most 512), {options.target}, {CLASSES} classes, one thread, "
    )
    print(f"images of both generators apart by {agree(options):.0e} of their range\n")
    print("| loop | images x steps per CPU s | ratio | range of ratios |\n| --- | ---: | ---: | ---: |")
    for name, values in speeds.items():
        ratios = [one / other for one, other in zip(values, first, strict=True)]
        print(f"| {name} | {median(values):.1f} | {median(ratios):.2f} | {min(ratios):.2f} to {max(ratios):.2f} |")


if __name__ == "__main__":
    main()
