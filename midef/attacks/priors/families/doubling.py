"""Base of the priors whose networks double from 4 px: at which resolution they draw, and on which images they learn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from typing_extensions import override

from midef.attacks.priors.base import PRIORS, Prior
from midef.core.recipe import Recipe
from midef.nn.doubling import FULL, SMALLEST_PX, drawn_for

USUAL_PX = 4 << FULL
"""Resolution of the papers' networks."""


@dataclass(frozen=True, kw_only=True)
class DoublingPrior(Prior):
    """Base of priors whose networks double from 4 px, put before `PublicPrior` or `TargetedPrior`.

    They draw at a power of two, see `drawn_for`: a target of 224 px is attacked by networks of 256 px, with two more
    blocks than those of 64. They learn the public images at that resolution, where their discriminator judges, and what
    they draw is resized for the target, by antialiased bilinear weights.

    Source: LoFt, appendix on attacks: two more blocks, 256 px, resized to 224.
    """

    @override
    def drawn_px(self, resolution_px: int) -> int:
        return drawn_for(resolution_px)

    @override
    def problems(self, resolution_px: int) -> list[str]:
        if resolution_px >= SMALLEST_PX:
            return []
        name = PRIORS.describe(self).name
        return [f"{name} draws {SMALLEST_PX} px and more, not {resolution_px}; choose a larger resolution_px"]

    @override
    def recipe(self, *, public: Recipe, target: Recipe) -> Recipe:
        own_px = self.drawn_px(resolution_of(public))
        recipe = super().recipe(public=at(public, own_px), target=target)
        # networks above 64 px had other channels before this was in their key
        return recipe if own_px <= USUAL_PX else replace(recipe, params={**recipe.params, "drawn_px": own_px})


def resolution_of(split: Recipe) -> int:
    """Pixels a side of the images of a split."""
    return int(split.params["resolution_px"])


@lru_cache(1024)
def at(split: Recipe, px: int) -> Recipe:
    """The same data set at another resolution."""
    return replace(split, params={**split.params, "resolution_px": px})
