"""Naive references of classifier training: images changed one by one, losses from formulas, a loss read each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from hot_loops_naive import Pair, Sizes, Work, learnable
from torch import Tensor, nn

from midef.core import Inputs, Recipe
from midef.core.seeds import derive_seed
from midef.datasets import Images
from midef.defenses import DEFENSES, Batch, Defense
from midef.defenses.families.erasing import valid_corner_boxes
from midef.defenses.families.heads import gaussian_of
from midef.defenses.midre import IMAGENET_MEAN
from midef.defenses.training_state import TrainingState
from midef.models import ARCHITECTURES
from midef.nn.network import Forward, TargetModel
from midef.testing.trainings import made
from midef.training import TrainingRecipe
from midef.training.classifier.batches import batches_of_epoch
from midef.training.classifier.descent import loss_of, make_optimizer
from midef.training.classifier.fit import fit_classifier

BATCH, SEED = 32, 0


@dataclass(frozen=True)
class Step:
    """What the naive loss of a step is made of."""

    defense: Any
    forward: Forward
    images: Tensor
    labels: Tensor
    progress: float

    @property
    def log_p(self) -> Tensor:
        p: Tensor = self.forward.logits.softmax(dim=1).log()
        return p

    def cross_entropy(self) -> Tensor:
        return -torch.stack([row[label] for row, label in zip(self.log_p, self.labels, strict=True)]).mean()


def _smoothed(step: Step, alpha: float) -> Tensor:
    """Cross entropy with (1 - alpha) times the label plus alpha / K for every class."""
    classes = step.forward.logits.shape[1]
    wanted = (1 - alpha) * F.one_hot(step.labels, classes) + alpha / classes
    return -(wanted * step.log_p).sum(dim=1).mean()


def _kernel(points: Tensor, sigma: float) -> Tensor:
    """Gaussian, from the differences themselves."""
    rows = points.flatten(1)
    apart = torch.stack([(rows - row).square().sum(dim=1) for row in rows])
    return (-apart / (2 * sigma**2 * rows.shape[1])).exp()


def _hsic(one: Tensor, other: Tensor) -> Tensor:
    """trace(R_K R_L), R = K H (K H + 1e-5 B I)^-1, both taken anew for every pair of kernels."""
    count = len(one)
    centring, ridge = torch.eye(count) - 1 / count, 1e-5 * count * torch.eye(count)
    first, second = (kernel @ centring @ torch.inverse(kernel @ centring + ridge) for kernel in (one, other))
    return (first @ second).trace()


def _bido(step: Step) -> Tensor:
    defense, loss = step.defense, step.cross_entropy()
    one_hot = F.one_hot(step.labels, step.forward.logits.shape[1]).float()
    for tap in step.forward.taps.values():
        hidden = _kernel(tap, defense.sigma)
        loss = loss + defense.lambda_x * _hsic(hidden, _kernel(step.images, defense.sigma))
        loss = loss - defense.lambda_y * _hsic(hidden, defense.kernel_of_labels(one_hot))
    return loss


def _mid(step: Step) -> Tensor:
    """Cross entropy plus weight * KL(N(mean, variance) || N(0, 1))."""
    mean, log_sigma = gaussian_of(next(iter(step.forward.taps.values())))
    variance = log_sigma.exp().square()
    kl = (0.5 * (mean.square() + variance - 1 - variance.log())).sum(dim=1).mean()
    return step.cross_entropy() + step.defense.weight * kl


LOSSES: Mapping[str, Callable[[Step], Tensor]] = {
    "bido": _bido,
    "ls": lambda step: _smoothed(step, step.defense.alpha),
    "loft": Step.cross_entropy,
    "mid": _mid,
    "midre": Step.cross_entropy,
    "nls": lambda step: _smoothed(step, step.defense.alpha_at(step.progress)),
    "none": Step.cross_entropy,
    "tl_dmi": Step.cross_entropy,
}


def _erased(defense: Any, batch: Batch, rng: torch.Generator) -> Tensor:
    """MIDRE: a square of each image in the mean colour, one image after the other."""
    images, side = batch.images.clone(), batch.images.shape[-1]
    draws = torch.rand(len(images), 1, 3, generator=rng)
    for image, drawn in zip(images, draws, strict=True):
        box = valid_corner_boxes(drawn, (side, side), area=(defense.area_low, defense.area_high))
        top, left, height, width = box[0].tolist()
        for channel, value in enumerate(IMAGENET_MEAN):
            image[channel, top : top + height, left : left + width] = value
    return images


class Learned:
    """A training of a fresh network on random images under a defense.

    Args:
        name: registered.
    """

    def __init__(self, name: str, sizes: Sizes) -> None:
        self.name, self.sizes, self.defense = name, sizes, made(name)
        self.architecture = ARCHITECTURES.make(sizes.target)
        count = BATCH * sizes.steps
        rng = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (count, 3, sizes.px, sizes.px), generator=rng, dtype=torch.uint8)
        self.data = Images(pixels, torch.arange(count) // 4 % sizes.classes)
        planned = vars(TrainingRecipe(epochs=1, batch_size=BATCH, learning_rate=1e-3))
        self.recipe = TrainingRecipe.make({**planned, **self.defense.training_overrides(planned), "epochs": 1})

    def model(self) -> TargetModel:
        torch.manual_seed(0)
        model = self.architecture.build(self.sizes.classes, self.sizes.px)
        model = self.defense.prepare_model(model, Inputs({}, _nothing))
        model.head = self.defense.prepare_head(model.head)
        return model

    def ours(self) -> Work:
        model = self.model().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        nobody = Images(self.data.images[:0], self.data.labels[:0])

        def work() -> Tensor:
            done = fit_classifier(
                model,
                self.data,
                nobody,
                facts=self.architecture.facts(),
                recipe=self.recipe,
                defense=self.defense,
                seed=SEED,
            )
            return torch.tensor(done.loss)

        return work

    def naive(self) -> Work:
        model, defense, recipe = self.model().train(), self.defense, self.recipe
        trainable = [weight for weight in model.parameters() if weight.requires_grad]
        optimizer = make_optimizer(trainable, recipe)
        learnable(model)  # frozen parts get gradients, too, that nobody uses

        def work() -> Tensor:
            order = torch.Generator().manual_seed(derive_seed(SEED, "order", 0))
            rng = torch.Generator().manual_seed(derive_seed(SEED, "augment", 0, 0))
            torch.manual_seed(derive_seed(SEED, "noise", 0, 0) % 2**63)
            batches = batches_of_epoch(self.data.labels, recipe, defense, TrainingState(), order)
            total = 0.0
            for number, positions in enumerate(batches):
                progress = number / len(batches)
                mirrored = torch.rand(len(positions), generator=rng) < recipe.flip
                images = [self.data.images[i].float() / 255 for i in positions.tolist()]
                flipped = [image.flip(2) if m else image for image, m in zip(images, mirrored.tolist(), strict=True)]
                batch = Batch(torch.stack(flipped), self.data.labels[positions], positions)
                if self.name == "midre":
                    batch = batch.with_images(_erased(defense, batch, rng))
                else:
                    batch = defense.transform_batch(batch, progress, rng)
                forward = model(batch.images, defense.taps(self.architecture.facts()))
                if self.name in LOSSES:
                    step = Step(defense, forward, batch.images, batch.labels, progress)
                    loss = LOSSES[self.name](step)
                else:
                    loss = loss_of(defense, forward, batch, progress)
                model.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                total += loss.item()
            return torch.tensor([total / len(batches)])

        return work

    def one_by_one(self) -> Work:
        """DP-SGD as its algorithm says: the gradient of each image alone, clipped, added up, and noise."""
        model: nn.Module = self.model().train()
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        optimizer = make_optimizer(weights, self.recipe)
        defense: Any = self.defense

        def work() -> Tensor:
            total = 0.0
            for positions in torch.randperm(len(self.data)).split(BATCH):
                summed = [torch.zeros_like(weight) for weight in weights]
                for i in positions.tolist():
                    image = self.data.images[i].float() / 255
                    image = image.flip(2) if torch.rand(()) < self.recipe.flip else image
                    loss = F.cross_entropy(model(image[None]).logits, self.data.labels[i : i + 1])
                    gradients = torch.autograd.grad(loss, weights)
                    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
                    for part, gradient in zip(summed, gradients, strict=True):
                        part += gradient * (defense.max_grad_norm / norm).clamp(max=1)
                    total += loss.item()
                for weight, part in zip(weights, summed, strict=True):
                    noise = defense.noise_multiplier * defense.max_grad_norm * torch.randn_like(part)
                    weight.grad = (part + noise) / BATCH
                optimizer.step()
            return torch.tensor([total / len(self.data)])

        return work


def _nothing(recipe: Recipe) -> Any:
    raise AssertionError("a training that starts from another one starts here from a fresh network")


FORMULA = "images one by one, nothing frozen, the loss from its formula"
OWN_LOSS = "images one by one, nothing frozen, the defense's own loss"


def training_pairs(sizes: Sizes) -> Iterator[Pair]:
    """A pair for every defense that changes the training and has no training step of its own, and for DP-SGD."""
    for name in DEFENSES.names():
        learned, naive_is = Learned(name, sizes), FORMULA if name in LOSSES else OWN_LOSS
        acts = learned.defense.acts_on_training or name == "none"
        if not acts or learned.defense.problems(learned.architecture.facts()):
            continue
        if name == "dp_sgd":
            naive_is = "the gradient of one image at a time, from the formula"
            pair = Pair(name=name, group="training", naive_is=naive_is, ours=learned.ours, naive=learned.one_by_one)
            yield replace(pair, tolerance=None)
        elif type(learned.defense).training_state is Defense.training_state:
            yield Pair(name=name, group="training", naive_is=naive_is, ours=learned.ours, naive=learned.naive)
