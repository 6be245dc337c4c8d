"""ResNets from torchvision as a chain of named blocks, and a tiny sibling for small images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from typing_extensions import override

from midef.core.lazy import nn
from midef.models.base import ARCHITECTURES, Architecture, ModelFacts
from midef.nn.stem import conv_stem, stem_at

if TYPE_CHECKING:
    from midef.nn.network import TargetModel


@dataclass(frozen=True, kw_only=True)
class _ResNet(Architecture):
    """Blocks `stem`, `layer1_0` to `layer4_n`, `pool`; taps: stem, stage ends, pooled vector.

    Args:
        stem: `imagenet` is conv7 stride 2 and max-pool (224 px); `small` is conv3 stride 1 (32 to 64 px, where five
            halves would leave one pixel); `strided` is conv3 stride 2; `auto` takes `small` below 128 px.

    Source: He et al., CVPR 2016; blocks are torchvision's. Taps after BiDO's ResNet-18 variant, stage ends only.
    """

    paper: ClassVar[str] = "He et al., CVPR 2016"
    family: ClassVar[str] = "resnet"
    block: ClassVar[str] = "BasicBlock"
    depths: ClassVar[tuple[int, ...]] = (2, 2, 2, 2)
    widths: ClassVar[tuple[int, ...]] = (64, 128, 256, 512)

    stem: Literal["auto", "imagenet", "small", "strided"] = "auto"

    @override
    def facts(self) -> ModelFacts:
        stages = tuple(tuple(f"layer{s}_{i}" for i in range(depth)) for s, depth in enumerate(self.depths, 1))
        inner = [name for stage in stages for name in stage]
        ends = tuple(f"layer{s}_{depth - 1}" for s, depth in enumerate(self.depths, 1))
        return ModelFacts(
            self.family,
            ("stem", *inner, "pool"),
            ("stem", *ends[:-1], "pool"),
            has_batch_norm=True,
            skip_stages=stages,
            weightless=frozenset({"pool"}),
            draws=False,
        )

    @override
    def build(self, n_classes: int, resolution_px: int) -> TargetModel:
        from midef.nn import residual
        from midef.nn.network import TargetModel

        unit: Any = getattr(residual, self.block)
        channels = self.widths[0]
        blocks: list[tuple[str, nn.Module]] = [("stem", conv_stem(stem_at(self.stem, resolution_px), channels))]
        for stage, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True), 1):
            for i in range(depth):
                stride = 2 if i == 0 and stage > 1 else 1
                out = width * unit.expansion
                shortcut = None
                if stride != 1 or channels != out:
                    shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
                blocks.append((f"layer{stage}_{i}", unit(channels, width, stride, shortcut)))
                channels = out
        blocks.append(("pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())))
        head = nn.Linear(channels, n_classes)
        model = TargetModel(blocks, head, feature_dim=channels, n_classes=n_classes, mean=0.5, std=0.5)
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        return model


@ARCHITECTURES.add("resnet18")
@dataclass(frozen=True, kw_only=True)
class ResNet18(_ResNet):
    """ResNet-18; 11,689,512 parameters with the ImageNet stem and 1,000 classes."""

    gflop_64px: ClassVar[float] = 4.4


@ARCHITECTURES.add("resnet34")
@dataclass(frozen=True, kw_only=True)
class ResNet34(_ResNet):
    """ResNet-34; 21,797,672 parameters with the ImageNet stem and 1,000 classes."""

    gflop_64px: ClassVar[float] = 9.3
    depths: ClassVar[tuple[int, ...]] = (3, 4, 6, 3)


@ARCHITECTURES.add("resnet50")
@dataclass(frozen=True, kw_only=True)
class ResNet50(_ResNet):
    """ResNet-50; 25,557,032 parameters with the ImageNet stem and 1,000 classes."""

    gflop_64px: ClassVar[float] = 10
    block: ClassVar[str] = "Bottleneck"
    depths: ClassVar[tuple[int, ...]] = (3, 4, 6, 3)


@ARCHITECTURES.add("resnet101")
@dataclass(frozen=True, kw_only=True)
class ResNet101(_ResNet):
    """ResNet-101; 44,549,160 parameters with the ImageNet stem and 1,000 classes."""

    gflop_64px: ClassVar[float] = 20
    block: ClassVar[str] = "Bottleneck"
    depths: ClassVar[tuple[int, ...]] = (3, 4, 23, 3)


@ARCHITECTURES.add("resnet152")
@dataclass(frozen=True, kw_only=True)
class ResNet152(_ResNet):
    """ResNet-152; 60,192,808 parameters with the ImageNet stem and 1,000 classes."""

    gflop_64px: ClassVar[float] = 30
    block: ClassVar[str] = "Bottleneck"
    depths: ClassVar[tuple[int, ...]] = (3, 8, 36, 3)


@ARCHITECTURES.add("resnet18_tiny")
@dataclass(frozen=True, kw_only=True)
class ResNet18Tiny(_ResNet):
    """ResNet-18 with a quarter of the channels and a stem that halves once: a sixteenth of the work per layer."""

    gflop_64px: ClassVar[float] = 0.07
    is_small: ClassVar[bool] = True
    stem: Literal["auto", "imagenet", "small", "strided"] = "strided"
    widths: ClassVar[tuple[int, ...]] = (16, 32, 64, 128)
