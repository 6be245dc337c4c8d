"""VGG16 with batch norm, as the 64-pixel model-inversion literature uses it, and its tiny sibling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.core.lazy import nn
from midef.models.base import ARCHITECTURES, Architecture, ModelFacts

if TYPE_CHECKING:
    from midef.nn.network import TargetModel

_WIDTHS = (64, 128, 256, 512, 512)
_BLOCKS = ("block1", "block2", "block3", "block4", "block5", "embedding")


@ARCHITECTURES.add("vgg16")
@dataclass(frozen=True, kw_only=True)
class Vgg16(Architecture):
    """Convolutional trunk of VGG16-BN, flatten, BatchNorm1d with its bias held at 0, one linear layer.

    Penultimate features are the vector after that BatchNorm1d (2048 at 64 px). Taps: the first four pooled blocks and
    the embedding, the hidden list of BiDO. 16,776,232 parameters at 64 px with 1,000 classes.

    Source: Simonyan and Zisserman, ICLR 2015; variant of KedMI (github SCccc21/Knowledge-Enriched-DMI), BiDO, LOMMA.
    We differ: fresh weights unless a setup says `weights: imagenet`, from which those works start the trunk.
    """

    gflop_64px: ClassVar[float] = 2.5
    paper: ClassVar[str] = "Simonyan and Zisserman, ICLR 2015"
    family: ClassVar[str] = "vgg"
    convs: ClassVar[tuple[int, ...]] = (2, 2, 3, 3, 3)
    divide_width: ClassVar[int] = 1

    @override
    def facts(self) -> ModelFacts:
        taps = (*_BLOCKS[:4], "embedding")
        units = (*self._convs(), "embedding")
        return ModelFacts(self.family, _BLOCKS, taps, has_batch_norm=True, units=units, draws=False)

    def _convs(self) -> dict[str, tuple[str, ...]]:
        """Every convolution with its batch norm, as `block4.conv2`, and where they lie below `blocks`."""
        return {
            f"{block}.conv{i + 1}": (f"{block}.{3 * i}", f"{block}.{3 * i + 1}")
            for block, convs in zip(_BLOCKS, self.convs, strict=False)
            for i in range(convs)
        }

    @override
    def problems(self, resolution_px: int) -> list[str]:
        if resolution_px < 32:
            return [f"five poolings need at least 32 px, got {resolution_px}; raise resolution_px"]
        return []

    @override
    def build(self, n_classes: int, resolution_px: int) -> TargetModel:
        from midef.nn.network import FixedZeroBias, TargetModel

        blocks: list[tuple[str, nn.Module]] = []
        channels = 3
        for index, (width, convs) in enumerate(zip(_WIDTHS, self.convs, strict=True), 1):
            width //= self.divide_width
            layers: list[nn.Module] = []
            for _ in range(convs):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                nn.init.kaiming_normal_(layers[-3].weight, mode="fan_out", nonlinearity="relu")  # type: ignore[arg-type]
                nn.init.zeros_(layers[-3].bias)  # type: ignore[arg-type]
                channels = width
            layers.insert(-1, nn.MaxPool2d(2))  # before the ReLU: a quarter of its work, equal to the bit
            blocks.append((f"block{index}", nn.Sequential(*layers)))
        feature_dim = channels * (resolution_px // 32) ** 2
        blocks.append(("embedding", nn.Sequential(nn.Flatten(), FixedZeroBias(feature_dim))))
        head = nn.Linear(feature_dim, n_classes)
        return TargetModel(blocks, head, feature_dim=feature_dim, n_classes=n_classes, parts=self._convs())


@ARCHITECTURES.add("vgg16_tiny")
@dataclass(frozen=True, kw_only=True)
class Vgg16Tiny(Vgg16):
    """VGG16's five pooled blocks, embedding and taps with one convolution each and a quarter of the channels.

    The names are VGG16's, so every defense's surgery still applies.
    """

    gflop_64px: ClassVar[float] = 0.037
    is_small: ClassVar[bool] = True
    convs: ClassVar[tuple[int, ...]] = (1, 1, 1, 1, 1)
    divide_width: ClassVar[int] = 4
