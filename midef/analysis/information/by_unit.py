"""Layer-wise Fisher information, for classifying and for being inverted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from midef.analysis.information.losses import Distance, InversionLoss, cross_entropy, inversion_loss
from midef.core.errors import SpecError
from midef.core.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from midef.analysis.information.losses import Loss
    from midef.nn.network import TargetModel


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
    distance: Distance = "l2",
) -> list[UnitInformation]:
    """Mean over a unit's weights of E[(dL/dtheta)^2], E over single images, the network in eval mode.

    Classifying: L is cross entropy on `images` [N, 3, H, W] with `labels` [N], not used for training. Inverting: L is
    the distance between the features of `reconstructions` [M, 3, H, W] and the mean features of the `private` training
    images of the class they should show, `reconstructed` [M]. All images in [0, 1].

    Args:
        distance: see `inversion_loss`.

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
    classifying = squared_gradients(model, images, labels, loss=cross_entropy)
    loss = inversion_loss(distance, model)
    inverting = inversion_gradients(
        model,
        reconstructions,
        reconstructed,
        loss=loss,
        centroids=class_centroids(model, private, private_labels, loss=loss),
    )
    information = []
    for unit in units:
        count, (first, second) = mean_of_unit(model, unit, classifying, inverting)
        information.append(UnitInformation(unit, count, first, second))
    return [f for f in information if f.parameters]


def mean_of_unit(model: TargetModel, unit: str, *squared: Mapping[str, Tensor]) -> tuple[int, list[float]]:
    """Number of weights of a unit, and their mean of each of several squared gradients; 0 for one without weights."""
    members = {id(p) for module in model.unit(unit) for p in module.parameters()}
    names = [name for name, p in model.named_parameters() if id(p) in members]
    count = sum(p.numel() for p in model.parameters() if id(p) in members)
    return count, [sum(float(of_loss[n].sum()) for n in names) / max(count, 1) for of_loss in squared]


def inversion_gradients(
    model: TargetModel,
    reconstructions: Tensor,
    reconstructed: Tensor,
    *,
    loss: InversionLoss,
    centroids: Mapping[int, Tensor],
) -> dict[str, Tensor]:
    """Squared gradients of the loss of reconstructions [M, 3, H, W] of classes `reconstructed` [M].

    Args:
        centroids: of these classes, see `class_centroids`.
    """
    goals = torch.stack([centroids[int(k)] for k in reconstructed])
    return squared_gradients(model, reconstructions, goals, loss=loss, taps=loss.taps)


def squared_gradients(
    model: TargetModel, images: Tensor, goals: Tensor, *, loss: Loss, taps: tuple[str, ...] = (), chunk: int = 8
) -> dict[str, Tensor]:
    """E[(dL/dtheta)^2] over single images, for every weight; a mean of squares, not the square of a mean.

    Args:
        taps: blocks whose outputs the loss reads.
        chunk: images whose gradients are held at once; changes memory, not the result.
    """
    from torch.func import functional_call, grad, vmap

    weights = {name: p.detach() for name, p in model.named_parameters()}
    buffers = dict(model.named_buffers())

    def of_one(values: dict[str, Tensor], image: Tensor, goal: Tensor) -> Tensor:
        return loss(functional_call(model, {**values, **buffers}, (image[None],), {"taps": taps}), goal)

    per_image = vmap(grad(of_one), in_dims=(None, 0, 0), randomness="different")
    total = {name: torch.zeros_like(p) for name, p in weights.items()}
    for start in range(0, len(images), chunk):
        slopes = per_image(weights, images[start : start + chunk], goals[start : start + chunk])
        for name, slope in slopes.items():
            total[name] += slope.square().sum(dim=0)
    return {name: t / len(images) for name, t in total.items()}


def class_centroids(model: TargetModel, images: Tensor, labels: Tensor, *, loss: InversionLoss) -> dict[int, Tensor]:
    """Mean of what the loss compares, [V], over the images of every class; images in [0, 1]."""
    with torch.no_grad():
        views = torch.cat([loss.view(model(part, loss.taps)) for part in images.split(256)])
    return {int(k): views[labels == k].mean(dim=0) for k in labels.unique()}
