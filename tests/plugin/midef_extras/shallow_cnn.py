"""Shallow CNN: one convolution and one hidden layer, the least a classifier of images can be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.core.lazy import nn
from midef.models.base import ARCHITECTURES, Architecture, ModelFacts

if TYPE_CHECKING:
    from midef.nn.network import TargetModel


@ARCHITECTURES.add("shallow_cnn")
@dataclass(frozen=True, kw_only=True)
class ShallowCnn(Architecture):
    """Blocks `conv` (5x5, stride 2, batch norm, ReLU, averages of 4 x 4 areas) and `hidden` (linear, ReLU).

    Args:
        width: channels of the convolution, >= 1.
        features: size of the hidden layer, >= 1.
    """

    paper: ClassVar[str] = "illustration, 2026"
    family: ClassVar[str] = "shallow"
    is_small: ClassVar[bool] = True

    width: int = 16
    features: int = 64

    def __post_init__(self) -> None:
        if min(self.width, self.features) < 1:
            raise ValueError(f"needs width and features >= 1, got {self.width} and {self.features}")

    @override
    def facts(self) -> ModelFacts:
        blocks = ("conv", "hidden")
        return ModelFacts(self.family, blocks, blocks, has_batch_norm=True, draws=False)

    @override
    def problems(self, resolution_px: int) -> list[str]:
        return [] if resolution_px >= 8 else [f"needs at least 8 px, got {resolution_px}; raise resolution_px"]

    @override
    def build(self, n_classes: int, resolution_px: int) -> TargetModel:
        from midef.nn.network import TargetModel

        convolution = nn.Conv2d(3, self.width, 5, stride=2, padding=2)
        conv = nn.Sequential(convolution, nn.BatchNorm2d(self.width), nn.ReLU(), nn.AdaptiveAvgPool2d(4))
        hidden = nn.Sequential(nn.Flatten(), nn.Linear(16 * self.width, self.features), nn.ReLU())
        head = nn.Linear(self.features, n_classes)
        return TargetModel(
            [("conv", conv), ("hidden", hidden)],
            head,
            feature_dim=self.features,
            n_classes=n_classes,
            mean=0.5,
            std=0.5,
        )
