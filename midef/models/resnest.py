"""ResNeSts on timm's bottleneck as a chain of named blocks, and a tiny sibling for small images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from typing_extensions import override

from midef.core.lazy import nn
from midef.models.base import ARCHITECTURES, Architecture, ModelFacts, PublishedFile
from midef.nn.stem import stem_at

if TYPE_CHECKING:
    from midef.nn.network import TargetModel

_RELEASES = "https://github.com/zhanghang1989/ResNeSt/releases/download/weights_step1"


def _named(ours: str) -> str:
    """Name of a tensor in the published files.

    >>> _named("stem.0.weight"), _named("stem.7.bias"), _named("layer1_0.conv2.fc1.weight")
    ('conv1.0.weight', 'bn1.bias', 'layer1.0.conv2.fc1.weight')
    """
    block, _, rest = ours.partition(".")
    if block == "stem":
        return f"bn1.{rest.removeprefix('7.')}" if rest.startswith("7.") else f"conv1.{rest}"
    return f"{block.replace('_', '.')}.{rest}"


def _published(ours: str, timms: str, digits: str) -> PublishedFile:
    """The authors' file of ImageNet-1k, which timm hands out under its own name."""
    name = f"{ours}-{digits}.pth"
    return PublishedFile(
        weights="imagenet",
        name=name,
        sha256=digits,
        source=f"{_RELEASES}/{name}, or timm's {timms}.in1k, saved as {timms}.in1k.safetensors",
        also=(f"{timms}.in1k.safetensors",),
        named=_named,
        head=("fc.",),
    )


@dataclass(frozen=True, kw_only=True)
class _ResNeSt(Architecture):
    """Blocks `stem`, `layer1_0` to `layer4_n`, `pool`; taps: stem, stage ends, pooled vector.

    Args:
        stem: three 3x3 convolutions in every case, so the weights fit whichever is chosen. `imagenet` halves twice, by
            a stride and a max-pool (224 px); `small` does not (32 to 64 px); `strided` halves once; `auto` takes
            `small` below 128 px.

    Source: Zhang et al., CVPR workshops 2022, with one group and radix 2; blocks are timm's, and its weights of the
    same depth fit by name.
    We differ: timm starts the last batch norm of a block at 0; ours starts at 1, because a block whose shortcut a
    defense removes would answer 0 to everything and pass no slope on.
    """

    paper: ClassVar[str] = "Zhang et al., CVPR workshops 2022"
    family: ClassVar[str] = "resnest"
    depths: ClassVar[tuple[int, ...]] = (3, 4, 6, 3)
    widths: ClassVar[tuple[int, ...]] = (64, 128, 256, 512)
    stem_width: ClassVar[int] = 32

    stem: Literal["auto", "imagenet", "small", "strided"] = "auto"

    @override
    def facts(self) -> ModelFacts:
        stages = tuple(tuple(f"layer{s}_{i}" for i in range(depth)) for s, depth in enumerate(self.depths, 1))
        inner = [name for stage in stages for name in stage]
        ends = tuple(stage[-1] for stage in stages[:-1])
        return ModelFacts(
            self.family,
            ("stem", *inner, "pool"),
            ("stem", *ends, "pool"),
            has_batch_norm=True,
            weightless=frozenset({"pool"}),
            skip_stages=stages,
            draws=False,
        )

    @override
    def build(self, n_classes: int, resolution_px: int) -> TargetModel:
        from midef.nn.network import TargetModel
        from midef.nn.resnest import SplitAttentionBottleneck, deep_stem

        stem_kind = stem_at(self.stem, resolution_px)
        stem = deep_stem(self.stem_width, stride=1 if stem_kind == "small" else 2, pool=stem_kind == "imagenet")
        blocks: list[tuple[str, nn.Module]] = [("stem", stem)]
        channels = 2 * self.stem_width
        for stage, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True), 1):
            for i in range(depth):
                stride = 2 if i == 0 and stage > 1 else 1
                blocks.append((f"layer{stage}_{i}", SplitAttentionBottleneck(channels, width, stride)))
                channels = width * SplitAttentionBottleneck.expansion
        blocks.append(("pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())))
        head = nn.Linear(channels, n_classes)
        model = TargetModel(blocks, head, feature_dim=channels, n_classes=n_classes, mean=0.5, std=0.5)
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        return model


@ARCHITECTURES.add("resnest50")
@dataclass(frozen=True, kw_only=True)
class ResNeSt50(_ResNeSt):
    """ResNeSt-50, timm's `resnest50d`; 27,483,240 parameters with 1,000 classes."""

    gflop_64px: ClassVar[float] = 13
    published: ClassVar[PublishedFile] = _published("resnest50", "resnest50d", "528c19ca")


@ARCHITECTURES.add("resnest101")
@dataclass(frozen=True, kw_only=True)
class ResNeSt101(_ResNeSt):
    """ResNeSt-101, timm's `resnest101e`; 48,275,016 parameters with 1,000 classes.

    TL-DMI reports 48.4 M in all and 27.9 M that train: from block `layer3_15` on, 27,937,000 with 1,000 classes.
    """

    gflop_64px: ClassVar[float] = 24
    published: ClassVar[PublishedFile] = _published("resnest101", "resnest101e", "22405ba7")
    depths: ClassVar[tuple[int, ...]] = (3, 4, 23, 3)
    stem_width: ClassVar[int] = 64


@ARCHITECTURES.add("resnest101_tiny")
@dataclass(frozen=True, kw_only=True)
class ResNeSt101Tiny(_ResNeSt):
    """ResNeSt with two blocks per stage, an eighth of the channels and a stem that halves once."""

    gflop_64px: ClassVar[float] = 0.038
    is_small: ClassVar[bool] = True
    stem: Literal["auto", "imagenet", "small", "strided"] = "strided"
    depths: ClassVar[tuple[int, ...]] = (2, 2, 2, 2)
    widths: ClassVar[tuple[int, ...]] = (8, 16, 32, 64)
    stem_width: ClassVar[int] = 8
