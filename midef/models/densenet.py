"""DenseNets as a chain of named blocks, and a tiny sibling for small images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from typing_extensions import override

from midef.core.lazy import nn
from midef.models.base import ARCHITECTURES, Architecture, ModelFacts
from midef.nn.stem import conv_stem, stem_at

if TYPE_CHECKING:
    from midef.nn.network import TargetModel


@dataclass(frozen=True, kw_only=True)
class _DenseNet(Architecture):
    """Blocks `stem`, `dense1`, `transition1` to `dense4`, `pool`; units: each dense layer, as `dense1.layer3`.

    Skips are the concatenations inside a dense block. Scaled by k, a layer sees all channels of the map made just
    before it and the first round(k * channels) of every older one; so does what follows the block. At k = 0 the last
    dense block gives `growth` features. Scaling cuts weights that are already there: kept channels keep theirs.
    Taps: stem, what follows each of the first three dense blocks, pooled vector.

    Args:
        stem: `imagenet` is conv7 stride 2 and max-pool (224 px); `small` is conv3 stride 1 (32 to 64 px, where five
            halves would leave one pixel); `strided` is conv3 stride 2; `auto` takes `small` below 128 px.

    Source: Huang et al., CVPR 2017 (DenseNet-BC); sizes and fresh weights are torchvision's. Meaning of k after the
    released code of MI-RAD (RoLSS, SSF).
    We differ: fresh weights are drawn for the whole network and then cut, so a cut head starts with smaller weights
    than one drawn for its few inputs; the convolutions that are cut are all followed by a batch norm.
    """

    paper: ClassVar[str] = "Huang et al., CVPR 2017"
    family: ClassVar[str] = "densenet"
    growth: ClassVar[int] = 32
    first: ClassVar[int] = 64
    depths: ClassVar[tuple[int, ...]] = (6, 12, 24, 16)

    stem: Literal["auto", "imagenet", "small", "strided"] = "auto"

    @override
    def facts(self) -> ModelFacts:
        blocks, units = ["stem"], ["stem"]
        for stage, depth in enumerate(self.depths, 1):
            after = "pool" if stage == len(self.depths) else f"transition{stage}"
            blocks += [f"dense{stage}", after]
            units += [*(f"dense{stage}.layer{i + 1}" for i in range(depth)), after]
        return ModelFacts(
            self.family,
            tuple(blocks),
            tuple(block for block in blocks if not block.startswith("dense")),
            has_batch_norm=True,
            units=tuple(units),
            skip_stages=tuple((f"dense{stage}",) for stage in range(1, len(self.depths) + 1)),
            skips_concatenate=True,
            draws=False,
        )

    @override
    def problems(self, resolution_px: int) -> list[str]:
        stem = stem_at(self.stem, resolution_px)
        divides = {"imagenet": 4, "small": 1, "strided": 2}[stem]
        side_px = -(-resolution_px // divides)
        if side_px < 8:
            need = (
                f"three transitions need 8 px after the stem, got {side_px} from {resolution_px} px with stem {stem!r}"
            )
            return [f"{need}; raise resolution_px to {7 * divides + 1}"]
        return []

    @override
    def build(self, n_classes: int, resolution_px: int) -> TargetModel:
        from midef.nn import dense

        channels = self.first
        blocks: list[tuple[str, nn.Module]] = [("stem", conv_stem(stem_at(self.stem, resolution_px), channels))]
        for stage, depth in enumerate(self.depths, 1):
            blocks.append((f"dense{stage}", dense.DenseBlock(channels, self.growth, depth)))
            channels += depth * self.growth
            if stage < len(self.depths):
                blocks.append((f"transition{stage}", dense.Transition(channels, channels // 2)))
                channels //= 2
        blocks.append(("pool", dense.Pool(channels)))
        head = nn.Linear(channels, n_classes)
        layers = {unit: (unit,) for unit in self.facts().units if "." in unit}
        model = dense.DenseNet(blocks, head, feature_dim=channels, n_classes=n_classes, mean=0.5, std=0.5, parts=layers)
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        nn.init.zeros_(head.bias)
        return model


@ARCHITECTURES.add("densenet121")
@dataclass(frozen=True, kw_only=True)
class DenseNet121(_DenseNet):
    """DenseNet-121; 7,978,856 parameters with the ImageNet stem and 1,000 classes."""

    gflop_64px: ClassVar[float] = 7.1


@ARCHITECTURES.add("densenet161")
@dataclass(frozen=True, kw_only=True)
class DenseNet161(_DenseNet):
    """DenseNet-161, growth 48; 28,681,000 parameters with the ImageNet stem and 1,000 classes."""

    gflop_64px: ClassVar[float] = 20
    growth: ClassVar[int] = 48
    first: ClassVar[int] = 96
    depths: ClassVar[tuple[int, ...]] = (6, 12, 36, 24)


@ARCHITECTURES.add("densenet169")
@dataclass(frozen=True, kw_only=True)
class DenseNet169(_DenseNet):
    """DenseNet-169; 14,149,480 parameters with the ImageNet stem and 1,000 classes."""

    gflop_64px: ClassVar[float] = 8.5
    depths: ClassVar[tuple[int, ...]] = (6, 12, 32, 32)


@ARCHITECTURES.add("densenet201")
@dataclass(frozen=True, kw_only=True)
class DenseNet201(_DenseNet):
    """DenseNet-201; 20,013,928 parameters with the ImageNet stem and 1,000 classes."""

    gflop_64px: ClassVar[float] = 11
    depths: ClassVar[tuple[int, ...]] = (6, 12, 48, 32)


@ARCHITECTURES.add("densenet121_tiny")
@dataclass(frozen=True, kw_only=True)
class DenseNet121Tiny(_DenseNet):
    """DenseNet-121's chain with 13 dense layers of growth 12 in place of 58 of 32, and a stem that halves once."""

    gflop_64px: ClassVar[float] = 0.048
    is_small: ClassVar[bool] = True
    stem: Literal["auto", "imagenet", "small", "strided"] = "strided"
    growth: ClassVar[int] = 12
    first: ClassVar[int] = 24
    depths: ClassVar[tuple[int, ...]] = (2, 3, 4, 4)
