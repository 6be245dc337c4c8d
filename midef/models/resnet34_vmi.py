"""The ResNet-34 that Variational Model Inversion attacks, and its tiny sibling."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.core.lazy import nn
from midef.models.base import ARCHITECTURES, Architecture, ModelFacts
from midef.models.resnet import ResNet18Tiny, ResNet34

if TYPE_CHECKING:
    from midef.nn.network import TargetModel


@ARCHITECTURES.add("resnet34_vmi")
@dataclass(frozen=True, kw_only=True)
class ResNet34Vmi(Architecture):
    """ResNet-34 with two layers behind its pool; 21,480,616 parameters with 1,000 classes, whatever the resolution.

    Blocks `stem` (conv7 stride 2, max-pool) and `layer1_0` to `layer4_2` of a ResNet; `embedding`, the mean over all
    pixels (2 x 2 at 64 px) and its batch norm; `output`, a linear layer to 128, ReLU and batch norm. Features are the
    vector after that batch norm. Taps: the hidden layers BiDO looks at, that is stem, stage ends, embedding, output.
    Images are normalised with mean 0.5 and deviation 0.5.

    Source: Wang et al., NeurIPS 2021 (github wangkua1/vmi); BiDO (github AlanPeng0897/Defend_MI) has the same target.
    We differ: they end in a log-softmax. It is not part of our logits: cross entropy of logits and of
    log-probabilities is the same number, since a log-softmax of log-probabilities changes nothing. Their dropout
    behind the pool is left out, and so is the ReLU there, which changes no mean of values that are not negative.
    """

    gflop_64px: ClassVar[float] = 0.6
    paper: ClassVar[str] = "Wang et al., NeurIPS 2021 (VMI)"
    family: ClassVar[str] = "resnet_vmi"
    trunk: ClassVar[Architecture] = ResNet34(stem="imagenet")
    feature_dim: ClassVar[int] = 128

    @override
    def facts(self) -> ModelFacts:
        trunk = self.trunk.facts()
        return replace(
            trunk,
            family=self.family,
            blocks=(*trunk.blocks[:-1], "embedding", "output"),
            units=(),
            taps=("stem", *(stage[-1] for stage in trunk.skip_stages), "embedding", "output"),
            weightless=frozenset(),
        )

    @override
    def problems(self, resolution_px: int) -> list[str]:
        if resolution_px < 32:
            return [f"made for 64 px and works from 32 px, got {resolution_px}; raise resolution_px"]
        return []

    @override
    def build(self, n_classes: int, resolution_px: int) -> TargetModel:
        from midef.nn.network import TargetModel

        trunk = self.trunk.build(n_classes, resolution_px)
        blocks = [(name, block) for name, block in trunk.blocks.named_children() if name != "pool"]
        pooled = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(trunk.feature_dim))
        linear = nn.Linear(trunk.feature_dim, self.feature_dim)
        blocks.append(("embedding", nn.Sequential(*pooled)))
        blocks.append(("output", nn.Sequential(linear, nn.ReLU(), nn.BatchNorm1d(self.feature_dim))))
        head = nn.Linear(self.feature_dim, n_classes)
        return TargetModel(blocks, head, feature_dim=self.feature_dim, n_classes=n_classes, mean=0.5, std=0.5)


@ARCHITECTURES.add("resnet34_vmi_tiny")
@dataclass(frozen=True, kw_only=True)
class ResNet34VmiTiny(ResNet34Vmi):
    """ResNet34Vmi on a ResNet-18 with a quarter of the channels and a stem that halves once; 32 features."""

    gflop_64px: ClassVar[float] = 0.07
    is_small: ClassVar[bool] = True
    trunk: ClassVar[Architecture] = ResNet18Tiny()
    feature_dim: ClassVar[int] = 32
