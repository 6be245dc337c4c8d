"""Losses of one image whose gradients Fisher information is made of: classifying it, and bringing it near a class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from midef.core.lazy import F, torch

if TYPE_CHECKING:
    from torch import Tensor

    from midef.nn.network import Forward, TargetModel

    Loss: TypeAlias = Callable[[Forward, Tensor], Tensor]

Distance: TypeAlias = Literal["l2", "l1", "lpips"]


def cross_entropy(forward: Forward, label: Tensor) -> Tensor:
    """Of one image."""
    return F.cross_entropy(forward.logits, label[None])


@dataclass(frozen=True, kw_only=True)
class InversionLoss:
    """How far an image is from the private images of a class, as a network sees both.

    Args:
        view: of images, from a pass with `taps`: what is compared, [B, V].
        between: distance of one view [V] to the mean view of the private images [V].
        taps: blocks whose outputs the view reads.
    """

    view: Callable[[Forward], Tensor]
    between: Callable[[Tensor, Tensor], Tensor]
    taps: tuple[str, ...] = ()

    def __call__(self, forward: Forward, goal: Tensor) -> Tensor:
        """Of one image."""
        return self.between(self.view(forward)[0], goal)


def inversion_loss(distance: Distance, model: TargetModel) -> InversionLoss:
    """The loss of a distance.

    Args:
        distance: `l2` or `l1` of penultimate features; `lpips`, the formula of LPIPS on the outputs of the network's
            own blocks: the squared difference of channel vectors of length 1, mean over places, sum over blocks.

    Source: Ho et al., CVPR 2024, equation 3 and supplement, section 7.3.
    We differ: the supplement names LPIPS and no network for it. Through AlexNet, as published, the distance of two
    images does not depend on the target's weights and has no gradient for them, so the target's own blocks are read,
    each channel weighted by 1.
    """
    if distance == "l2":
        return InversionLoss(view=_features, between=lambda one, goal: torch.linalg.vector_norm(one - goal))
    if distance == "l1":
        return InversionLoss(view=_features, between=lambda one, goal: (one - goal).abs().sum())
    blocks = model.block_names

    def view(forward: Forward) -> Tensor:
        return torch.cat([unit_channels(forward.taps[name]) for name in blocks], dim=1)

    return InversionLoss(view=view, between=lambda one, goal: (one - goal).square().sum(), taps=blocks)


def _features(forward: Forward) -> Tensor:
    return forward.features


def unit_channels(activations: Tensor, *, floor: float = 1e-10) -> Tensor:
    """Channel vectors of length 1, divided by the root of the number of places: [B, C, ...] -> [B, C * places].

    The squared distance of two is the mean over places of that of their channel vectors.

    Args:
        floor: added to the squared length, for channels that are all 0 and have no direction.
    """
    channels = activations.flatten(start_dim=2) if activations.ndim > 2 else activations[..., None]
    length = (channels.square().sum(dim=1, keepdim=True) + floor).sqrt()
    scaled: Tensor = channels / length / channels.shape[2] ** 0.5
    return scaled.flatten(start_dim=1)
