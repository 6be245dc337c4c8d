"""The plainest generator: mean and standard deviation of every pixel of the public images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from midef.attacks.base import SmallBudget
from midef.attacks.priors.base import PRIORS, FitContext, Networks, PublicPrior
from midef.core.lazy import nn, torch

if TYPE_CHECKING:
    from torch import Tensor

    from midef.datasets import Splits


@PRIORS.add("pixel_gaussian")
@dataclass(frozen=True, kw_only=True)
class PixelGaussian(PublicPrior):
    """Images whose pixels are normal and independent; latents [N, 3, R, R] are standard normal.

    Args:
        spread: of the standard deviations, >= 0; smaller draws images nearer to the mean.
    """

    paper: ClassVar[str] = "illustration, 2026"

    spread: float = 1.0

    def __post_init__(self) -> None:
        if self.spread < 0:
            raise ValueError(f"needs spread >= 0, got {self.spread}")

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        return {}  # one pass over the images

    @override
    def networks(self, resolution_px: int, n_classes: int) -> dict[str, nn.Module]:
        class Pixels(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.register_buffer("mean", torch.zeros(3, resolution_px, resolution_px))
                self.register_buffer("std", torch.zeros(3, resolution_px, resolution_px))

            def forward(self, latents: Tensor) -> Tensor:
                return self.get_buffer("mean") + self.get_buffer("std") * latents

        return {"generator": Pixels()}

    @override
    def fit(self, networks: Networks, public: Splits, context: FitContext) -> dict[str, Any]:
        images = public.all_images.float() / 255
        networks["generator"].get_buffer("mean").copy_(images.mean(dim=0))
        networks["generator"].get_buffer("std").copy_(self.spread * images.std(dim=0))
        return {"images": len(images)}
