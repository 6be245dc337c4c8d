"""Generators that draw at a resolution of their own and show what they draw at another one."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import ClassVar, Self

from torch import Tensor, nn

from midef.nn.doubling import doublings
from midef.nn.resize import resized


class SizedGenerator(nn.Module):
    """Base of generators that draw `resolution_px` and whose images have `shown_px`, resized where the two differ.

    Args:
        resolution_px: of what it draws itself, which is what its critic judges.
        shown_px: of what `forward` gives; None is the same.
    """

    kept: ClassVar[float] = 1.0
    """Features of the size of the largest one, that a search keeps for the way back."""

    def __init__(self, resolution_px: int, shown_px: int | None) -> None:
        super().__init__()
        doublings(resolution_px)
        self.resolution_px = resolution_px
        self.shown_px = shown_px or resolution_px

    def shown(self, images: Tensor) -> Tensor:
        """What it drew, [B, 3, R, R], at `shown_px`: by antialiased bilinear weights."""
        return resized(images, self.shown_px)

    def showing(self, px: int) -> Self:
        """The same network, whose images have this many px; tensors are shared."""
        other = copy(self)
        other.shown_px = px
        return other

    @property
    def largest_feature(self) -> int:
        """Numbers in the largest map of an image."""
        raise NotImplementedError

    @property
    def bytes_per_image(self) -> int:
        """Memory that an image takes in a search, about: `kept` times what its largest feature takes."""
        return int(self.kept * 4 * self.largest_feature)


def with_drawn(networks: Mapping[str, nn.Module]) -> Mapping[str, nn.Module]:
    """The same networks, with a generator whose images are what it draws, not resized: what its critic judges."""
    generator = networks["generator"]
    if not isinstance(generator, SizedGenerator) or generator.shown_px == generator.resolution_px:
        return networks
    return {**networks, "generator": generator.showing(generator.resolution_px)}


def as_shown(networks: Mapping[str, nn.Module], images: Tensor) -> Tensor:
    """Images drawn by the generator of `with_drawn(networks)`, as that of `networks` shows them; others as they are."""
    generator = networks["generator"]
    return generator.shown(images) if isinstance(generator, SizedGenerator) else images
