"""Stage: the evaluator. Trained like a target without a defense, or published, with a head that is fitted here."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from midef.core.choice import Choice
from midef.core.errors import DataError, few
from midef.core.position import steps
from midef.core.recipe import Inputs, Recipe
from midef.datasets import Images, Splits
from midef.models import ARCHITECTURES, Architecture, Judge
from midef.nn.network import TargetModel
from midef.nn.weights import read_stored
from midef.stages import target
from midef.stages.build import BuildContext
from midef.stages.recipes import BACKBONE, FITTED_HEAD
from midef.stages.split import load as load_splits
from midef.training.finite import check_answers

LOWER_ITS_RATE = "lower learning_rate of evaluator_training"
LOWER_TARGETS_RATE = "lower learning_rate of training"


@dataclass(frozen=True, kw_only=True)
class EvaluatorSpec:
    """An evaluator, decoded from its recipe.

    Args:
        resolution_px: of the images it judges.
    """

    architecture: Architecture
    resolution_px: int

    @property
    def at_once(self) -> int:
        """Images evaluated together. A judge sees large ones: 256 of 112 px and their mirrors take 3 GB."""
        return 32 if self.architecture.judges_only else 256

    @property
    def advice(self) -> str:
        """What to do where its answers are no numbers."""
        return "choose another evaluator" if self.architecture.judges_only else LOWER_ITS_RATE

    @classmethod
    def of(cls, recipe: Recipe) -> EvaluatorSpec:
        """Decode the recipe of an evaluator."""
        return cls(
            architecture=ARCHITECTURES.remake(Choice.from_plain(recipe.params["architecture"])),
            resolution_px=int(recipe.inputs["private"].params["resolution_px"]),
        )


def build(recipe: Recipe, inputs: Inputs, context: BuildContext, folder: Path) -> dict[str, Any]:
    """Train the evaluator as a target is, or fit the head of a judge; write `model.safetensors`.

    Raises:
        DataError: if a class has no training image, or the published weights do not fit.
    """
    if recipe.component != FITTED_HEAD:
        return target.build(recipe, inputs, context, folder)
    spec, splits = EvaluatorSpec.of(recipe), load_splits(inputs.path("private"))
    judge, classes = spec.architecture, len(splits.class_names)
    assert isinstance(judge, Judge), "recipes fit heads of judges only"
    start = time.monotonic()
    model = _published(spec, inputs.path(BACKBONE), classes)
    model = model.to(context.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    parts = steps(splits.parts.items(), weights=[len(part) for part in splits.parts.values()])
    answers = {name: _features(model, part, spec, context.device) for name, part in parts}
    weight, bias = _fitted(judge, answers["train"], splits)
    model.head.load_state_dict({"weight": weight, "bias": bias})
    target.save(model.state_dict(), folder / target.WEIGHTS)
    accuracies = {
        f"{name}_accuracy": _accuracy(features @ weight.T + bias, part.labels)
        for (name, part), features in zip(splits.parts.items(), answers.values(), strict=True)
    }
    return {"train_s": time.monotonic() - start, "classes": classes, **accuracies}


def _features(model: TargetModel, images: Images, spec: EvaluatorSpec, device: str) -> Tensor:
    """[N, D]."""
    if not len(images):
        return torch.zeros(0, model.feature_dim)
    _, features = evaluate_images(model, images.images, device, at_once=spec.at_once, advice=spec.advice)
    return torch.from_numpy(features)


def _fitted(judge: Judge, features: Tensor, splits: Splits) -> tuple[Tensor, Tensor]:
    """Weight [K, D] and bias [K] of the head that fits the private training images.

    Args:
        features: of the training images, [N, D].

    Raises:
        DataError: if a class has no training image.
    """
    labels, names = splits.train.labels, splits.class_names
    counts = labels.bincount(minlength=len(names))
    if empty := [name for name, count in zip(names, counts.tolist(), strict=True) if not count]:
        raise DataError(f"a head is fitted on training images of every class, found none of {few(empty)}")
    weight, bias = judge.fitted_head(features.double(), labels, len(names))
    return weight.float(), bias.float()


def _published(spec: EvaluatorSpec, folder: Path, n_classes: int) -> TargetModel:
    """The network with its published trunk, in eval mode; its head is fresh."""
    model = spec.architecture.build(n_classes, spec.resolution_px)
    stored = read_stored(folder / target.WEIGHTS)
    model.blocks.load_state_dict({name.removeprefix("blocks."): tensor for name, tensor in stored.items()})
    return model.eval()


def _accuracy(logits: Tensor, labels: Tensor) -> float | None:
    """Percent; None for no images."""
    return float(100 * (logits.argmax(dim=1) == labels).double().mean()) if len(labels) else None


def load(spec: EvaluatorSpec, folder: Path, context: BuildContext, n_classes: int) -> TargetModel:
    """A stored evaluator, in eval mode on the context's device."""
    model = spec.architecture.build(n_classes, spec.resolution_px)
    model.load_state_dict(read_stored(folder / target.WEIGHTS))
    return model.to(context.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]


@torch.no_grad()
def evaluate_images(
    evaluator: TargetModel,
    images: Tensor,
    device: str,
    *,
    at_once: int = 256,
    whose: str = "the evaluator",
    advice: str = LOWER_ITS_RATE,
) -> tuple[np.ndarray, np.ndarray]:
    """Logits [N, K] and penultimate features [N, D] of images [N, 3, H, W] uint8.

    Args:
        at_once: images of a pass.
        whose: answers these are, in words.
        advice: what to do where they are not finite.

    Raises:
        MidefError: if they are not finite: no number counts as an answer, and would pass for the highest rank.
    """
    logits, features = [], []
    for part in steps(images.split(at_once)):
        forward = evaluator(part.to(device).float() / 255)
        logits.append(forward.logits.float().cpu())
        features.append(forward.features.float().cpu())
    answers = torch.cat(logits), torch.cat(features)
    check_answers(answers, whose=whose, advice=advice)
    return answers[0].numpy(), answers[1].numpy()
