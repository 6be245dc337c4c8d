"""The loops that `gpu.py` measures: trainings, generators, searches, evaluation, on random images and fresh weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from gpu_measure import Loop
from torch import nn

from midef.attacks import ATTACKS, PRIORS, Attack, Prior
from midef.attacks.base import Task
from midef.attacks.priors.base import FitContext, PublicPrior, TargetedPrior
from midef.attacks.target_handle import TargetHandle
from midef.core.recipe import Inputs, Recipe
from midef.datasets import DATASETS, Images, Splits
from midef.defenses import Defense
from midef.models import ARCHITECTURES
from midef.nn.network import TargetModel
from midef.training import TrainingRecipe
from midef.training.classifier.evaluate import EVALUATED_AT_ONCE, accuracy
from midef.training.classifier.fit import fit_classifier

TARGET = Recipe("target", "classifier")


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large everything is.

    Args:
        architecture, px, classes: of the target of low resolution.
        evaluator: architecture and px.
        high: architecture and px of the target of high resolution.
        batch: of a training step of the target.
        rows: reconstructions that are searched together; of KedMI, BREP-MI and RLB-MI, and of PPA.
        priors, attacks: parameters of each, by name.
        matmul: rows of the matrices whose product is the yardstick.
    """

    architecture: str = "vgg16"
    px: int = 64
    classes: int = 1000
    evaluator: tuple[str, int] = ("facenet112", 112)
    high: tuple[str, int] = ("resnet18", 224)
    batch: int = 64
    rows: Mapping[str, int] = field(
        default_factory=lambda: {"gmi": 1500, "kedmi": 300, "brep_mi": 300, "rlb_mi": 300, "ppa": 50}
    )
    priors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    attacks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    matmul: int = 8192


PAPER = Size(
    priors={"style_gan2": {"channel_base": 32768, "mapping_layers": 8, "resolution_px": 1024}},
    attacks={"rlb_mi": {"start_after": 1}},
)
"""The published sizes; PPA's generator is that of FFHQ at 1,024 px."""
_NARROW = {"width": 4, "batch_size": 4, "latent_dim": 6}
TINY = Size(
    architecture="vgg16_tiny",
    px=32,
    classes=5,
    evaluator=("resnet18_tiny", 32),
    high=("resnet18_tiny", 64),
    batch=8,
    rows={"gmi": 4, "kedmi": 4, "brep_mi": 2, "rlb_mi": 4, "ppa": 4},
    priors={
        "style_gan2": {"latent_dim": 16, "channel_base": 256, "channel_max": 8, "mapping_layers": 2, "batch_size": 4},
        "diffusion": {"width": 8, "batch_size": 4},
        **dict.fromkeys(("wgan_gp", "kedmi_gan", "plg_gan", "t_acgan"), _NARROW),
    },
    attacks={"rlb_mi": {"start_after": 1, "batch_size": 8, "hidden": 8}},
    matmul=256,
)
"""The same paths in a minute of one core."""
LOADED_PRIORS = {"gmi": "wgan_gp", "kedmi": "kedmi_gan", "brep_mi": "wgan_gp", "rlb_mi": "wgan_gp", "ppa": "style_gan2"}
TRAINED_PRIORS = ("wgan_gp", "kedmi_gan", "plg_gan", "t_acgan", "style_gan2", "diffusion")


class Loops:
    """All loops at one size.

    Args:
        folder: for priors with fresh weights.
    """

    def __init__(self, size: Size, device: str, folder: Path) -> None:
        self.size, self.device, self.folder = size, device, folder
        self._images: dict[int, Images] = {}

    def all(self) -> Iterator[Loop]:
        """Each as it is asked for, so that what one holds is free before the next."""
        for precision in ("bfloat16", "tf32", "float32"):
            yield self.training(precision, self.size.architecture, self.size.px)
        yield self.training("tf32", *self.size.high)
        for name in TRAINED_PRIORS:
            yield self.prior(name)
        for name in LOADED_PRIORS:
            for precision in ("tf32", "bfloat16"):
                yield self.search(name, precision)
        yield self.evaluation()

    # ------------------------------------------------------------ trainings

    def training(self, precision: str, architecture: str, px: int) -> Loop:
        """An undefended target."""
        size = self.size
        facts = ARCHITECTURES.make(architecture).facts()
        kept = "bfloat16" if precision == "bfloat16" else "float32"
        recipe = TrainingRecipe(epochs=1, batch_size=size.batch, learning_rate=1e-4, precision=kept)  # type: ignore[arg-type]
        model = self.target(architecture, px)

        def run(steps: int) -> float:
            one, part = self.images(1, px), self.images(steps * size.batch, px)
            fit_classifier(model, part, one, facts=facts, recipe=recipe, defense=Defense(), seed=0, device=self.device)
            return steps

        return Loop(
            f"training {architecture} {px} px",
            precision,
            size.batch,
            run,
            most=1000 * 64**2 // max(64, px) ** 2,
            prepare=lambda steps: self.images(steps * size.batch, px),
        )

    def prior(self, name: str) -> Loop:
        """A generator; low resolution, also where PPA's is larger."""
        given = {k: v for k, v in self.size.priors.get(name, {}).items() if k != "resolution_px"}
        if name == "style_gan2" and self.size is PAPER:
            given = {}
        prior, px = PRIORS.make(name, given), self.size.px
        known = {f.name for f in fields(prior)}
        batch = int(getattr(prior, "batch_size", 0))

        def run(steps: int) -> float:
            counted: dict[str, int] = {name: steps for name in ("steps", "iterations") if name in known}
            counted |= {"epochs": 1} if "epochs" in known else {}
            counted |= {"warm_up": 1} if "warm_up" in known else {}
            one = replace(prior, **counted)  # type: ignore[type-var]
            networks = {k: v.to(self.device) for k, v in one.networks(px, self.size.classes).items()}
            images = self.images(steps * batch if "epochs" in known else 8 * batch, px)
            splits = Splits(images, self.images(4, px), self.images(4, px), ())
            context = FitContext(inputs=Inputs({}, lambda recipe: self.folder), public=_public)
            if isinstance(one, TargetedPrior):
                one.fit(networks, splits, self.handle(self.size.architecture, px, one.asks), context)
            else:
                assert isinstance(one, PublicPrior)
                one.fit(networks, splits, context)
            return steps

        cycle = next((int(getattr(prior, f)) for f in ("critic_steps", "discriminator_steps") if f in known), 1)
        made = Loop(f"generator {name} {px} px", "tf32", batch, run, 16 if name == "style_gan2" else cycle)
        if "epochs" not in known:
            return made
        return replace(made, most=200, prepare=lambda steps: self.images(steps * batch, px))

    # ------------------------------------------------------------ searches

    def search(self, name: str, precision: str) -> Loop:
        """An attack on fresh networks."""
        size, count = self.size, self.size.rows[name]
        architecture, px = size.high if name == "ppa" else (size.architecture, size.px)
        prior = {"name": LOADED_PRIORS[name], **size.priors.get(LOADED_PRIORS[name], {})}
        held = ATTACKS.exchangeable(name)
        kept = "bfloat16" if precision == "bfloat16" else "float32"
        params: dict[str, Any] = {**size.attacks.get(name, {}), "precision": kept}
        params["prior"] = prior if "prior" in held else {k: v for k, v in prior.items() if k != "name"}
        if name == "ppa":
            params |= {"pool": count, "candidates": count}
        if name == "brep_mi":
            params |= {"targets": "first_seen", "inside_share": 0.99}
        attack = ATTACKS.make(name, params)
        inputs = self.stored(attack, px)
        numbers = torch.arange(count)
        labels = numbers % size.classes if name in ("gmi", "kedmi") else torch.zeros(count, dtype=torch.long)
        restarts = numbers // size.classes if name in ("gmi", "kedmi") else numbers
        task = Task(labels, restarts, px, 0, self.device)
        steps_of = {"brep_mi": "patience", "rlb_mi": "episodes"}.get(name, "iterations")

        def run(steps: int) -> float:
            handle = self.handle(architecture, px, attack.access)
            if name == "brep_mi":
                _spread(handle, attack, inputs, task)
            before = handle.queries
            one = replace(attack, **{steps_of: steps + 2 if name == "rlb_mi" else steps})
            found = one.reconstruct(handle, inputs, task)
            assert found.images.isfinite().all(), "a search of fresh networks stays finite"
            if name == "brep_mi":  # a sphere that grows adds rounds, and the pool was asked first
                return (handle.queries - before - 256) / (count * (1 + int(one.sphere_points)))  # type: ignore[attr-defined]
            return steps

        images = {"brep_mi": 33 * count, "rlb_mi": 2 * count}.get(name, count)
        return Loop(f"{name} on {architecture} {px} px, {count} rows", precision, images, run)

    def evaluation(self) -> Loop:
        """The evaluator's accuracy."""
        architecture, px = self.size.evaluator
        model = self.target(architecture, px).eval()

        def run(steps: int) -> float:
            accuracy(model, self.images(steps * EVALUATED_AT_ONCE, px), device=self.device)
            return steps

        return Loop(
            f"evaluation by {architecture} {px} px",
            "tf32",
            EVALUATED_AT_ONCE,
            run,
            most=100,
            prepare=lambda steps: self.images(steps * EVALUATED_AT_ONCE, px),
        )

    # ------------------------------------------------------------ what they start from

    def target(self, architecture: str, px: int) -> TargetModel:
        torch.manual_seed(0)
        model = ARCHITECTURES.make(architecture).build(self.size.classes, px)
        return model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def handle(self, architecture: str, px: int, access: Any) -> TargetHandle:
        return TargetHandle(self.target(architecture, px), Defense(), access, device=self.device)

    def images(self, count: int, px: int) -> Images:
        """Random ones that repeat, all classes in turn; the last ones of a resolution are kept."""
        if px not in self._images or len(self._images[px]) < count:
            rng = torch.Generator().manual_seed(0)
            pixels = torch.randint(0, 256, (256, 3, px, px), generator=rng, dtype=torch.uint8)
            times = -(-count // len(pixels))
            self._images[px] = Images(pixels.repeat(times, 1, 1, 1), torch.arange(256 * times) % self.size.classes)
        kept = self._images[px]
        return Images(kept.images[:count], kept.labels[:count])

    def stored(self, attack: Attack, px: int) -> Inputs:
        """Priors of an attack with fresh weights."""
        public = Recipe("split", "synthetic_faces", {"resolution_px": px})
        prior: Prior = attack.prior  # type: ignore[attr-defined]
        folder = self.folder / f"{prior.registered_name}-{px}"
        if not folder.exists():
            folder.mkdir()
            torch.manual_seed(1)
            prior.store(prior.networks(px, self.size.classes), folder)
        return Inputs(attack.requires(target=TARGET, public=public), lambda recipe: folder)


@torch.no_grad()
def _spread(handle: TargetHandle, attack: Attack, inputs: Inputs, task: Task) -> None:
    """Move the biases of the target's head so that images of the generator fall into many classes.

    A fresh deep network says one label of everything, and BREP-MI's spheres would grow without end.
    """
    prior: Prior = attack.prior  # type: ignore[attr-defined]
    networks = prior.load(inputs.path("prior"), task.resolution_px, handle.n_classes, task.device)
    generator: Any = networks["generator"]
    latents = torch.randn(64, int(generator.latent_dim), generator=torch.Generator().manual_seed(0))
    model: Any = handle._model
    seen = model(generator(latents.to(task.device)))
    assert isinstance(model.head, nn.Linear)
    model.head.bias -= seen.logits.mean(dim=0)


@cache
def _public() -> Any:
    return DATASETS.make("synthetic_faces", {"population": "public"})
