"""Training state of Trap-MID: a trigger per class, and the discriminator it must get past."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from math import sqrt
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.optim import Optimizer
from typing_extensions import override

from midef.core.seeds import derive_seed
from midef.datasets.files.augment import flip, resized_crop, rotate
from midef.defenses.base import Batch
from midef.defenses.training_state import AuxiliaryBatch, TrainingFacts, TrainingState
from midef.nn.network import FixedZeroBias

if TYPE_CHECKING:
    from midef.defenses.trap_mid import TrapMid
    from midef.nn.network import Forward, TargetModel

PROBED_CLASSES = 8
"""With how many triggers each image is probed to measure the trapdoor's success."""


class TrapTrainingState(TrainingState):
    """Trains triggers and discriminator before each step, and sends the trapped images along.

    `triggers` are [K, 3, H, W] in [0, 1]. `discriminator` is the network as it starts, with one logit, above 0 for
    clean; `discriminator_optimizer` the recipe's, at the rate of the network's; None where triggers do not learn.
    """

    def __init__(self, defense: TrapMid, model: TargetModel, facts: TrainingFacts) -> None:
        self.defense = defense
        self.batch_size = facts.batch_size
        rng = Generator().manual_seed(derive_seed(facts.seed, "traps"))  # on the CPU: the same on every device
        shape = (model.n_classes, 3, facts.resolution_px, facts.resolution_px)
        self.triggers = drawn_triggers(shape, gaussian=defense.trigger_init == "gaussian", rng=rng).to(facts.device)
        self.discriminator: TargetModel | None = None
        self.discriminator_optimizer: Optimizer | None = None
        if defense.learn_triggers:
            self.discriminator = discriminator_of(model, rng).to(facts.device)
            self.discriminator_optimizer = facts.optimizer(
                [p for p in self.discriminator.parameters() if p.requires_grad]
            )
        self._followed: Optimizer | None = None
        self._steps = 1
        self._labels = torch.empty(0, dtype=torch.long)
        self._best: dict[str, Tensor] = {}

    @override
    def optimizer(self, optimizer: Optimizer) -> Optimizer:
        self._followed = optimizer
        return optimizer

    @override
    def batches(self, count: int, rng: Generator) -> list[Tensor] | None:
        self._steps = max(1, count // self.batch_size)  # the labels are drawn once the first batch tells its size
        self._labels = self._labels[:0]
        return None

    @override
    def before_step(
        self, model: TargetModel, batch: Batch, progress: float, rng: Generator
    ) -> tuple[Batch, AuxiliaryBatch | None]:
        labels = self._next_labels(len(batch.labels), rng)
        if self.discriminator is not None:
            self.teach_discriminator(batch.images, labels)
            with in_eval_mode(model):
                self.move_triggers(model, batch.images, labels, rng)
        clean, trapped = self.augment(batch.images, rng), self.augment(self.trap(batch.images, labels), rng)
        return batch.with_images(clean), AuxiliaryBatch(trapped, labels, self.defense.beta)

    def _next_labels(self, count: int, rng: Generator) -> Tensor:
        """Trap labels [count], the next of this epoch's."""
        if len(self._labels) < count:
            self._labels = equally_often(self._steps * count, len(self.triggers), rng)
        labels, self._labels = self._labels[:count], self._labels[count:]
        return labels

    def trap(self, images: Tensor, labels: Tensor) -> Tensor:
        """Images [B, 3, H, W] with a share alpha of the triggers of labels [B]."""
        return blend(images, self.triggers[labels], alpha=self.defense.alpha)

    def augment(self, images: Tensor, rng: Generator) -> Tensor:
        """Crop, mirror and rotate; each image on its own."""
        chosen = self.defense
        images = resized_crop(images, rng, scale=(chosen.crop_low, 1.0), p=chosen.crop_p)
        images = flip(images, rng, p=chosen.flip_p)
        return rotate(images, rng, degrees=chosen.degrees, p=chosen.rotate_p)

    def cleanness(self, clean: Tensor, trapped: Tensor) -> tuple[Tensor, Tensor]:
        """The discriminator's logits of both, [B] each, from one pass in train mode.

        On each half alone batch norm would hide, or give away, which half it is; the running statistics lag behind a
        network that learns this fast.
        """
        assert self.discriminator is not None
        logits = self.discriminator.train()(torch.cat([clean, trapped])).logits.squeeze(1).float()
        return logits[: len(clean)], logits[len(clean) :]

    def teach_discriminator(self, images: Tensor, labels: Tensor) -> Tensor:
        """One step on telling clean images from trapped ones; returns the loss before it."""
        assert self.discriminator_optimizer is not None
        if self._followed is not None:
            for group in self.discriminator_optimizer.param_groups:
                group["lr"] = self._followed.param_groups[0]["lr"]
        clean, trapped = self.cleanness(images, self.trap(images, labels))
        loss = (binary_cross_entropy(clean, is_clean=True) + binary_cross_entropy(trapped, is_clean=False)) / 2
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.discriminator_optimizer.step()
        return loss.detach()

    def move_triggers(self, model: TargetModel, images: Tensor, labels: Tensor, rng: Generator) -> Tensor:
        """One step of the triggers of `labels` down L_T = BCE(D(x'), clean) + CE(f(aug x'), c); returns L_T before it.

        Args:
            model: in eval mode, which also keeps its batch statistics; its `.grad` stays as it is.
        """
        triggers = self.triggers.detach().requires_grad_()
        trapped = blend(images, triggers[labels], alpha=self.defense.alpha)
        unseen = binary_cross_entropy(self.cleanness(images, trapped)[1], is_clean=True)
        caught = F.cross_entropy(model(self.augment(trapped, rng)).logits.float(), labels)
        (slope,) = torch.autograd.grad(unseen + caught, triggers)
        direction = slope.sign() if self.defense.trigger_step == "sign" else slope
        self.triggers.sub_(self.defense.step_size * direction).clamp_(0, 1)
        return (unseen + caught).detach()

    @override
    def mark_best(self) -> None:
        self._best = {name: value.detach().clone() for name, value in self._now().items()}

    @override
    def finish(self) -> None:
        if self._best:
            self.triggers.copy_(self._best["triggers"])

    @override
    def state_dict(self) -> dict[str, Any]:
        always = {"triggers": self.triggers, "best": self._best}
        if self.discriminator is None or self.discriminator_optimizer is None:
            return always
        return {
            **always,
            "discriminator": self.discriminator.state_dict(),
            "judge": self.discriminator_optimizer.state_dict(),
        }

    @override
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.triggers.copy_(state["triggers"])
        self._best = state["best"]
        if self.discriminator is not None and self.discriminator_optimizer is not None:
            self.discriminator.load_state_dict(state["discriminator"])
            self.discriminator_optimizer.load_state_dict(state["judge"])

    @override
    def stored_tensors(self) -> dict[str, Tensor]:
        return self._best or self._now()

    def _now(self) -> dict[str, Tensor]:
        weights = {} if self.discriminator is None else self.discriminator.state_dict()
        return {"triggers": self.triggers, **{f"discriminator.{name}": value for name, value in weights.items()}}

    @override
    def facts(self, run: Callable[[Tensor], Forward], images: Tensor) -> dict[str, float]:
        return {"trapdoor_success": self.success(run, images)} if len(images) else {}

    @torch.no_grad()
    def success(self, run: Callable[[Tensor], Forward], images: Tensor, *, batch_size: int = 512) -> float:
        """Percent of trapped images, not augmented, that are classified as their trap label; 100 / K is chance.

        Args:
            images: [N, 3, H, W] uint8; each is probed with evenly spaced classes, the next image with the next
                ones.
        """
        classes = len(self.triggers)
        probed = min(PROBED_CLASSES, classes)
        hits = 0
        for start in range(0, len(images), batch_size):
            clean = images[start : start + batch_size].to(self.triggers.device).float() / 255
            first = torch.arange(start, start + len(clean), device=clean.device)
            for nth in range(probed):
                labels = (first + nth * classes // probed) % classes
                hits += int((run(self.trap(clean, labels)).logits.argmax(dim=1) == labels).sum())
        return 100.0 * hits / (probed * len(images))


def drawn_triggers(shape: tuple[int, ...], *, gaussian: bool, rng: Generator) -> Tensor:
    """Fresh triggers in [0, 1]: uniform, or normal around 0.5 with deviation 0.5 and clipped."""
    if gaussian:
        return (0.5 + 0.5 * torch.randn(shape, generator=rng)).clamp(0, 1)
    return torch.rand(shape, generator=rng)


def discriminator_of(model: TargetModel, rng: Generator) -> TargetModel:
    """A copy of `model` as it is, with a fresh linear head of one logit, drawn from `rng` as torch draws its own."""
    copy = deepcopy(model)
    for module in copy.modules():
        if not isinstance(module, FixedZeroBias):  # what another defense froze in the network still learns here
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(True)
    head = nn.utils.skip_init(nn.Linear, copy.feature_dim, 1)
    bound = 1 / sqrt(copy.feature_dim)
    for parameter in head.parameters():
        nn.init.uniform_(parameter, -bound, bound, generator=rng)
    copy.head, copy.n_classes = head, 1
    return copy


def binary_cross_entropy(logits: Tensor, *, is_clean: bool) -> Tensor:
    """Mean of -log sigmoid(logits), or of -log(1 - sigmoid(logits)) for images that are not clean."""
    return F.softplus(-logits if is_clean else logits).mean()


def blend(images: Tensor, triggers: Tensor, *, alpha: float) -> Tensor:
    """(1 - alpha) * images + alpha * triggers, both [B, 3, H, W]; stays in float, 8 bits would erase part of it."""
    return (1 - alpha) * images + alpha * triggers


def equally_often(count: int, classes: int, rng: Generator) -> Tensor:
    """[count] labels in random order, each class floor(count / classes) times or once more; where the generator is."""
    some_order = torch.randperm(classes, generator=rng, device=rng.device)  # who comes once more is random too
    shuffle = torch.randperm(count, generator=rng, device=rng.device)
    return some_order[shuffle % classes]


@contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Every part of `model` in eval mode, and then as it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
