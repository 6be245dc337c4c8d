"""How much faster a step of an attack is here than in a naive loop, as ratios measured in the same run.

    python benchmarks/attacks.py [--classes 8] [--steps 2] [--rounds 3] [gmi brep_mi kedmi plg_mi training]

Naive is how attacks are often released: one class at a time, the networks' weights still ask for gradients, labels are
taken with autograd on. Ours is the attack's own `reconstruct`, all classes in one batch. Networks have the papers'
sizes (VGG16 at 64 px, 1,000 classes) and random weights. CPU seconds of one thread, so other work on the machine
hardly counts; every ratio is the median over rounds, each of which times both one after the other. With
`--device cuda` it is wall seconds on the GPU.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

from midef.attacks import ATTACKS, PRIORS
from midef.attacks.base import Task
from midef.attacks.latent_search.views import VIEW_DRAWS, slightly_changed
from midef.attacks.target_handle import TargetHandle
from midef.core import Choice, Inputs, Recipe
from midef.datasets import Images
from midef.defenses import DEFENSES
from midef.models import ARCHITECTURES
from midef.nn.network import TargetModel
from midef.training import TrainingRecipe
from midef.training.classifier.fit import fit_classifier
from midef.training.generative.kedmi import reality_loss

PX, CLASSES = 64, 1000
DEVICE = torch.device("cpu")
"""Where everything runs; `--device` changes it once, before anything is built."""


def target_network() -> TargetModel:
    torch.manual_seed(0)
    return ARCHITECTURES.make("vgg16").build(CLASSES, PX).eval().to(DEVICE)


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds, or wall seconds on a GPU."""
    if DEVICE.type == "cpu":
        start = time.process_time()
        work()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


class Ours:
    """An attack on fresh networks of the papers' sizes."""

    def __init__(self, name: str, **params: Any) -> None:
        self.name, self.params = name, params
        self.folder = Path(tempfile.mkdtemp(prefix="midef-benchmark-"))
        self.networks: dict[str, nn.Module] = {}

        def fetch(recipe: Recipe) -> Path:
            torch.manual_seed(1)
            prior = PRIORS.remake(Choice(recipe.component, recipe.params["params"], recipe.version))
            for role, network in prior.networks(PX, CLASSES).items():
                save_file(
                    {k: v.contiguous() for k, v in network.state_dict().items()}, self.folder / f"{role}.safetensors"
                )
                self.networks[role] = network.eval().to(DEVICE)
            return self.folder

        attack = ATTACKS.make(name, params)
        self.inputs = Inputs(attack.requires(target=Recipe("target", "x"), public=Recipe("split", "y")), fetch)
        self.inputs.path("prior")

    def step_s(self, budget: str, steps: int, classes: int) -> float:
        """Seconds per step: of `steps` more of them, so that loading and the last drawing do not count."""

        def run(count: int) -> float:
            attack = ATTACKS.make(self.name, {**self.params, budget: count})
            handle = TargetHandle(target_network(), DEFENSES.make("none"), attack.access, device=str(DEVICE))
            handle._model.to(memory_format=torch.channels_last)
            task = Task(torch.arange(classes), torch.zeros(classes, dtype=torch.long), PX, 0, str(DEVICE))
            return seconds(lambda: attack.reconstruct(handle, self.inputs, task))

        return (run(1 + steps) - run(1)) / steps


def naive_gmi(networks: dict[str, nn.Module], target: TargetModel, classes: int) -> None:
    for label in range(classes):
        latent = torch.randn(1, 100, device=DEVICE, requires_grad=True)
        image = networks["generator"](latent)
        loss = -networks["critic"](image).mean() + 100 * F.cross_entropy(
            target(image).logits, torch.tensor([label], device=DEVICE)
        )
        loss.backward()


def naive_kedmi(networks: dict[str, nn.Module], target: TargetModel, classes: int) -> None:
    for label in range(classes):
        mean, logvar = (torch.full((1, 100), start, device=DEVICE, requires_grad=True) for start in (0.0, 1.0))
        image = networks["generator"](mean + (logvar / 2).exp() * torch.randn(1, 100, device=DEVICE))
        real = reality_loss(networks["discriminator"](image)[1]).mean()
        (real + 100 * F.cross_entropy(target(image).logits, torch.tensor([label], device=DEVICE))).backward()


def naive_plg(networks: dict[str, nn.Module], target: TargetModel, classes: int) -> None:
    for label in range(classes):
        latent, own = torch.randn(1, 128, device=DEVICE, requires_grad=True), torch.tensor([label], device=DEVICE)
        image = networks["generator"](latent, own).clamp(0, 1)
        loss = torch.zeros((), device=DEVICE)
        for _ in range(2):
            logits = target(slightly_changed(image, torch.rand(1, VIEW_DRAWS, device=DEVICE), jitter_p=1.0)).logits
            loss = loss - logits[0, label] + logits.masked_fill(F.one_hot(own, CLASSES).bool(), -torch.inf).max()
        loss.backward()


def naive_brep(networks: dict[str, nn.Module], target: TargetModel, classes: int) -> None:
    for _ in range(classes):
        directions = F.normalize(torch.randn(32, 100, device=DEVICE))
        for latents in (2 * directions, directions.mean(0, keepdim=True)):
            target(networks["generator"](latents)).logits.argmax(dim=1)


NAIVE: dict[str, Callable[[dict[str, nn.Module], TargetModel, int], None]] = {
    "gmi": naive_gmi,
    "kedmi": naive_kedmi,
    "plg_mi": naive_plg,
    "brep_mi": naive_brep,
}
# A pool that finds nobody and one patient iteration: what is timed is the repulsion of rows that are declared started.
BUDGETS = {"gmi": "iterations", "kedmi": "iterations", "plg_mi": "iterations"}


def brep_s(ours: Ours, steps: int, classes: int) -> float:
    """Seconds per iteration of the repulsion, for all classes."""
    attack = ATTACKS.make("brep_mi", {"patience": steps, "redraws": 1, "inside_share": 0.99})
    handle = TargetHandle(target_network(), DEFENSES.make("none"), attack.access, device=str(DEVICE))
    handle._model.to(memory_format=torch.channels_last)
    generator = ours.networks["generator"].requires_grad_(False).to(memory_format=torch.channels_last)

    def ask(latents: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([handle.labels(generator(part.to(DEVICE))).cpu() for part in latents.split(1024)])

    task = Task(torch.arange(classes), torch.zeros(classes, dtype=torch.long), PX, 0, str(DEVICE))
    started = torch.ones(classes, dtype=torch.bool)
    spent = seconds(lambda: attack.repel(ask, torch.randn(classes, 100), started, task))  # type: ignore[attr-defined]
    generator.requires_grad_(True)
    return spent * classes * 33 / handle.queries


def naive_training(images: Tensor, labels: Tensor, batch: int) -> None:
    """A loop as tutorials write it: images one by one through a loader, a loss read in every step."""

    def prepared(i: int) -> tuple[Tensor, Tensor]:
        image = images[i].float() / 255
        return (image.flip(2) if torch.rand(()) < 0.5 else image), labels[i]

    model = target_network().train()
    sgd = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4)
    seen = 0.0
    drawn: Any = [prepared(i) for i in range(len(images))]
    for given, wanted in DataLoader(drawn, batch_size=batch, shuffle=True):
        loss = F.cross_entropy(model(given.to(DEVICE)).logits, wanted.to(DEVICE))
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        seen += loss.item()


def our_training(images: Tensor, labels: Tensor, batch: int) -> None:
    data, one = Images(images, labels), Images(images[:1], labels[:1])
    recipe = TrainingRecipe(epochs=1, batch_size=batch, learning_rate=1e-4)
    model = target_network().to(memory_format=torch.channels_last)
    none, facts = DEFENSES.make("none"), ARCHITECTURES.make("vgg16").facts()
    fit_classifier(model, data, one, facts=facts, recipe=recipe, defense=none, seed=0, device=str(DEVICE))


def line(
    name: str, unit: str, amount: float, rounds: int, ours: Callable[[], float], naive: Callable[[], float]
) -> str:
    """One row of the table. amount: what one call does, in the unit; ours, naive: its seconds."""
    found = [(naive(), ours()) for _ in range(rounds)]
    ratios = sorted(slow / fast for slow, fast in found)
    fast, slow = (amount / median(pair[i] for pair in found) for i in (1, 0))
    return f"| {name} | {unit} | {fast:.2f} | {slow:.2f} | {median(ratios):.2f} | {ratios[0]:.2f} to {ratios[-1]:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=8)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32, help="of the training step")
    parser.add_argument("what", nargs="*", default=["gmi", "brep_mi", "kedmi", "plg_mi", "training"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    globals()["DEVICE"] = torch.device(options.device)
    where = "one CPU thread" if DEVICE.type == "cpu" else torch.cuda.get_device_name(DEVICE)
    print(f"VGG16, {PX} px, {options.classes} classes, torch {torch.__version__}, {where}\n")
    print("| what | per second | ours | naive | ratio | range |\n| --- | --- | ---: | ---: | ---: | ---: |")
    for name in options.what:
        if name == "training":
            pixels = torch.randint(0, 256, (2 * options.batch, 3, PX, PX), dtype=torch.uint8)
            labels = torch.arange(len(pixels)) % CLASSES
            trained = [partial(work, pixels, labels, options.batch) for work in (our_training, naive_training)]
            ours_s, naive_s = (partial(seconds, work) for work in trained)
            print(line("training, no defense", "images", len(pixels), options.rounds, ours_s, naive_s), flush=True)
            continue
        ours, target = Ours(name), target_network()
        naive_s = partial(seconds, partial(NAIVE[name], ours.networks, target, options.classes))
        naive_s()  # the first pass allocates
        if name == "brep_mi":
            ours_s = partial(brep_s, ours, options.steps, options.classes)
        else:
            ours_s = partial(ours.step_s, BUDGETS[name], options.steps, options.classes)
        unit = "iterations of all classes" if name == "brep_mi" else "steps of all classes"
        print(line(name, unit, 1, options.rounds, ours_s, naive_s), flush=True)


if __name__ == "__main__":
    main()
