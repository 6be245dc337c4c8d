"""Layer-wise Fisher information, for classifying and for being inverted: TL-DMI's reason to freeze early layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, grad, vmap

from midef.core.errors import SpecError
from midef.nn.network import Forward, TargetModel

Loss = Callable[[Forward, Tensor], Tensor]


@dataclass(frozen=True)
class UnitInformation:
    """Mean Fisher information of one unit of the network.

    Args:
        unit: its name.
        parameters: number of weights.
        classifying: for classification.
        inverting: for inversion.
    """

    unit: str
    parameters: int
    classifying: float
    inverting: float


def fisher_by_unit(
    model: TargetModel,
    units: tuple[str, ...],
    *,
    images: Tensor,
    labels: Tensor,
    reconstructions: Tensor,
    reconstructed: Tensor,
    private: Tensor,
    private_labels: Tensor,
) -> list[UnitInformation]:
    """Mean over a unit's weights of E[(dL/dtheta)^2], E over single images, the network in eval mode.

    Classifying: L is cross entropy on `images` [N, 3, H, W] with `labels` [N], not used for training. Inverting: L is
    the distance between the features of `reconstructions` [M, 3, H, W] and the mean features of the `private` training
    images of the class they should show, `reconstructed` [M]. All images in [0, 1].

    Raises:
        SpecError: if a reconstructed class has no private image, or there is nothing to measure on.

    Source: Ho et al., "Model Inversion Robustness: Can Transfer Learning Help?" (TL-DMI), CVPR 2024, its analysis of
    layer importance. We differ: the diagonal is exact (a gradient per image), and the head is left out.
    """
    if min(len(images), len(reconstructions), len(private)) == 0:
        raise SpecError("Fisher information needs images, reconstructions and private images; one of them is empty")
    missing = sorted(set(reconstructed.tolist()) - set(private_labels.tolist()))
    if missing:
        raise SpecError(f"no private image of the reconstructed classes {missing[:10]}; give the whole train split")
    model.eval()
    centroids = class_centroids(model, private, private_labels)
    classifying = squared_gradients(model, images, labels, loss=cross_entropy)
    goals = torch.stack([centroids[int(k)] for k in reconstructed])
    inverting = squared_gradients(model, reconstructions, goals, loss=distance)
    information = []
    for unit in units:
        members = {id(p) for module in model.unit(unit) for p in module.parameters()}
        names = [name for name, p in model.named_parameters() if id(p) in members]
        count = sum(classifying[name].numel() for name in names)
        information.append(
            UnitInformation(
                unit,
                count,
                sum(float(classifying[n].sum()) for n in names) / max(count, 1),
                sum(float(inverting[n].sum()) for n in names) / max(count, 1),
            )
        )
    return [f for f in information if f.parameters]


def cross_entropy(forward: Forward, label: Tensor) -> Tensor:
    """Of one image."""
    return F.cross_entropy(forward.logits, label[None])


def distance(forward: Forward, goal: Tensor) -> Tensor:
    """Euclidean distance of one image's features [1, D] to a goal [D]."""
    length: Tensor = torch.linalg.vector_norm(forward.features[0] - goal)
    return length


def squared_gradients(
    model: TargetModel, images: Tensor, goals: Tensor, *, loss: Loss, chunk: int = 8
) -> dict[str, Tensor]:
    """E[(dL/dtheta)^2] over single images, for every weight; a mean of squares, not the square of a mean.

    Args:
        chunk: images whose gradients are held at once; changes memory, not the result.
    """
    weights = {name: p.detach() for name, p in model.named_parameters()}
    buffers = dict(model.named_buffers())

    def of_one(values: dict[str, Tensor], image: Tensor, goal: Tensor) -> Tensor:
        return loss(functional_call(model, {**values, **buffers}, (image[None],)), goal)

    per_image = vmap(grad(of_one), in_dims=(None, 0, 0), randomness="different")
    total = {name: torch.zeros_like(p) for name, p in weights.items()}
    for start in range(0, len(images), chunk):
        slopes = per_image(weights, images[start : start + chunk], goals[start : start + chunk])
        for name, slope in slopes.items():
            total[name] += slope.square().sum(dim=0)
    return {name: t / len(images) for name, t in total.items()}


@torch.no_grad()
def class_centroids(model: TargetModel, images: Tensor, labels: Tensor) -> dict[int, Tensor]:
    """Mean penultimate features [D] of every class."""
    features = torch.cat([model(part).features for part in images.split(256)])
    return {int(k): features[labels == k].mean(dim=0) for k in labels.unique()}
