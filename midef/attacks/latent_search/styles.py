"""Styles of a StyleGAN2: the pool that a target has judged, truncation, and what the target is shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class StylePool:
    """Latents and what the target says of their images.

    Args:
        starts: what a search may start from [S, ...].
        scores: of the target [S, K], larger is surer.
    """

    starts: Tensor
    scores: Tensor

    def surest(self, label: int, count: int) -> Tensor:
        """The `count` different entries the target is surest of [count, ...], the surest first."""
        order = self.scores[:, label].sort(descending=True, stable=True).indices[:count]
        return self.starts[order.to(self.starts.device)]


def pool_latents(seed: int, count: int, latent_dim: int) -> Tensor:
    """Standard normal latents [count, Z] of NumPy's legacy generator, as released codes draw them.

    A smaller pool of the same seed is the beginning of a larger one.

    Args:
        seed: taken modulo 2^32, which is all that generator has.
    """
    drawn = np.random.RandomState(seed % 2**32).randn(count, latent_dim)  # the published stream
    return torch.from_numpy(drawn).float()


def has_styles(generator: nn.Module) -> bool:
    """True of a StyleGAN2; any other generator is searched by its latents themselves."""
    return hasattr(generator, "synthesis")


def truncated(generator: nn.Module, ws: Tensor, psi: float, cutoff: int) -> Tensor:
    """Rows of w [N, num_ws, Z], each its own, of which the first `cutoff` are pulled towards the mean w by 1 - psi."""
    mean: Tensor = generator.mapping.w_avg  # type: ignore[union-attr,assignment]
    return torch.cat([torch.lerp(mean, ws[:, :cutoff], psi), ws[:, cutoff:]], dim=1)


def shown(generator: nn.Module, images: Tensor, *, clip: bool = False) -> Tensor:
    """What the target is shown of a StyleGAN2's images [N, 3, R, R] about [-1, 1]: [N, 3, px, px] about [0, 1].

    The prior's view: centre crop and resize to the px that the target takes.

    Args:
        clip: whether the images are clipped to [-1, 1] first.
    """
    view: Tensor = generator.view(images.clamp(-1, 1) if clip else images, generator.shown_px)  # type: ignore[operator]
    return view / 2 + 0.5
