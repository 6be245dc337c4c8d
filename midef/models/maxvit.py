"""MaxViT from torchvision as a chain of named blocks, and a tiny sibling for small images."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.core.lazy import nn
from midef.models.base import ARCHITECTURES, Architecture, ModelFacts

if TYPE_CHECKING:
    from midef.nn.network import TargetModel


@ARCHITECTURES.add("maxvit_t")
@dataclass(frozen=True, kw_only=True)
class MaxVitT(Architecture):
    """MaxViT-T: blocks `stem`, `block1_0` to `block4_1` (stage, layer), `pool`; 30,920,624 parameters, 1,000 classes.

    A block is an MBConv, attention in windows of 7 by 7 pixels and attention on a grid of 7 by 7, so the side of every
    stage must be a multiple of 7: 224 px. `pool` ends with LayerNorm, one hidden layer and Tanh, as torchvision's
    classifier does. Skips are of the kinds `mbconv`, `attention` (both of a block) and `mlp` (both of a block).
    Stochastic depth grows from 0 in the first block to 0.2 in the last. Taps: stem, stage ends, features.

    Source: Tu et al., ECCV 2022; sizes, layers and fresh weights are torchvision's.
    We differ: the head has a bias, K parameters more than torchvision's 30,919,624. Where a skip is scaled to 0 its
    branch is no longer dropped by stochastic depth, since the image would be lost with it.
    """

    gflop_64px: ClassVar[float] = 0.91
    paper: ClassVar[str] = "Tu et al., ECCV 2022"
    family: ClassVar[str] = "maxvit"
    first: ClassVar[int] = 64
    widths: ClassVar[tuple[int, ...]] = (64, 128, 256, 512)
    depths: ClassVar[tuple[int, ...]] = (2, 2, 5, 2)
    strides: ClassVar[tuple[int, ...]] = (2, 2, 2, 2)
    partition: ClassVar[int] = 7
    head_dim: ClassVar[int] = 32
    drop: ClassVar[float] = 0.2
    momentum: ClassVar[float] = 0.01

    @override
    def facts(self) -> ModelFacts:
        stages = tuple(tuple(f"block{s}_{i}" for i in range(depth)) for s, depth in enumerate(self.depths, 1))
        inner = [name for stage in stages for name in stage]
        ends = [stage[-1] for stage in stages]
        return ModelFacts(
            self.family,
            ("stem", *inner, "pool"),
            ("stem", *ends, "pool"),
            has_batch_norm=True,
            skip_stages=stages,
            skip_kinds=("mbconv", "attention", "mlp"),
            has_attention=True,
            draws=self.drop > 0,
        )

    def _sides(self, resolution_px: int) -> list[int]:
        """Pixels per side after each stage; a 3x3 convolution with stride 2 rounds up."""
        sides = [-(-resolution_px // 2)]
        for stride in self.strides:
            sides.append(-(-sides[-1] // stride))
        return sides[1:]

    @override
    def problems(self, resolution_px: int) -> list[str]:
        sides = self._sides(resolution_px)
        if all(side % self.partition == 0 for side in sides):
            return []
        works = 2 * prod(self.strides) * self.partition
        got = f"got {', '.join(map(str, sides))} from {resolution_px} px"
        return [
            f"attention needs stages whose side is a multiple of {self.partition}, {got}; take a multiple of {works}"
        ]

    @override
    def build(self, n_classes: int, resolution_px: int) -> TargetModel:
        from midef.nn import maxvit
        from midef.nn.network import TargetModel

        blocks: list[tuple[str, nn.Module]] = [("stem", maxvit.make_stem(self.first, self.momentum))]
        channels = self.first
        last = sum(self.depths) - 1
        stages = zip(self.depths, self.widths, self.strides, self._sides(resolution_px), strict=True)
        for stage, (depth, width, stride, side) in enumerate(stages, 1):
            for i in range(depth):
                layer = maxvit.MaxVitLayer(
                    channels,
                    width,
                    stride=stride if i == 0 else 1,
                    side=side,
                    partition=self.partition,
                    head_dim=self.head_dim,
                    drop=self.drop * (len(blocks) - 1) / last,
                    momentum=self.momentum,
                )
                blocks.append((f"block{stage}_{i}", layer))
                channels = width
        blocks.append(("pool", maxvit.make_pool(channels)))
        head = nn.Linear(channels, n_classes)
        model = TargetModel(blocks, head, feature_dim=channels, n_classes=n_classes, mean=0.5, std=0.5)
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        return model


@ARCHITECTURES.add("maxvit_t_tiny")
@dataclass(frozen=True, kw_only=True)
class MaxVitTTiny(MaxVitT):
    """MaxViT's chain with one block per stage, an eighth of the channels and windows of 2 by 2; multiples of 32 px.

    Stage 4 keeps the size of stage 3, nothing is dropped while training, and the running statistics of batch norm
    follow the last tens of batches, not the last hundreds: a short run has no more.
    """

    gflop_64px: ClassVar[float] = 0.024
    is_small: ClassVar[bool] = True
    first: ClassVar[int] = 16
    widths: ClassVar[tuple[int, ...]] = (16, 32, 48, 64)
    depths: ClassVar[tuple[int, ...]] = (1, 1, 1, 1)
    strides: ClassVar[tuple[int, ...]] = (2, 2, 2, 1)
    partition: ClassVar[int] = 2
    head_dim: ClassVar[int] = 16
    drop: ClassVar[float] = 0.0
    momentum: ClassVar[float] = 0.1
