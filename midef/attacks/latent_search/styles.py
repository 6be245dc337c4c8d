"""Styles of a StyleGAN2: the pool that a target has judged, truncation, and what the target is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midef.attacks.latent_search.memory import in_parts
from midef.attacks.latent_search.selection import best_first
from midef.core.position import share

if TYPE_CHECKING:
    from midef.attacks.target_handle import TargetHandle


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
        """The `count` different entries the target is surest of [count, ...], the surest first; see `best_first`."""
        return self.starts[best_first(self.scores[:, label], count)]


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


def shown(generator: nn.Module, images: Tensor, *, clip: bool = False) -> Tensor:
    """What the target is shown of a StyleGAN2's images [N, 3, R, R] about [-1, 1]: [N, 3, px, px] about [0, 1].

    The prior's view: centre crop and resize to the px that the target takes.

    Args:
        clip: whether the images are clipped to [-1, 1] first.
    """
    view: Tensor = generator.view(images.clamp(-1, 1) if clip else images, generator.shown_px)  # type: ignore[operator]
    return view / 2 + 0.5


def judged(
    generator: Any,
    latents: Tensor,
    rows: Callable[[Tensor], Tensor],
    judge: Callable[[Tensor], Tensor],
    handle: TargetHandle,
    at_once: int,
) -> Tensor:
    """What is said of the images of latents [S, Z]: [S, K], on the CPU.

    Args:
        rows: of w [N, Z], the rows [N, num_ws, Z] to draw.
        judge: of images [N, 3, px, px], clipped before they are resized, [N, K].
        handle: of the target that is asked.
        at_once: images that are drawn together, as memory holds.
    """
    is_styled = has_styles(generator)

    def part(begin: int, end: int) -> Tensor:
        some = latents[begin:end]
        with share(begin / len(latents), end / len(latents)):
            if not is_styled:
                return judge(generator(some)).cpu()
            return judge(shown(generator, generator.synthesis(rows(generator.mapping(some))), clip=True)).cpu()

    with torch.no_grad():
        return torch.cat(in_parts(len(latents), at_once, handle, part))


class NormalSpace:
    """P space: w before the mapping network's last leaky ReLU, where its coordinates are about normal.

    Latents of a prior without styles are normal themselves and stay as they are.

    Args:
        is_styled: whether w comes from a mapping network that ends in a leaky ReLU of slope 0.2.

    Source: An et al., NDSS 2022 (MIRROR).
    """

    def __init__(self, *, is_styled: bool) -> None:
        self.is_styled = is_styled

    def of(self, w: Tensor) -> Tensor:
        """Where w is normal."""
        return F.leaky_relu(w, 5.0) if self.is_styled else w

    def back(self, normal: Tensor) -> Tensor:
        """Inverse of `of`."""
        return F.leaky_relu(normal, 0.2) if self.is_styled else normal

    def clipped(self, w: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """w with its coordinates between these bounds where they are normal."""
        return self.back(self.of(w).clamp(low, high))

    def spread(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and population standard deviation [Z] of a pool w [S, Z] where it is normal."""
        normal = self.of(w)
        return normal.mean(dim=0), normal.std(dim=0, correction=0)
