"""Inception-ResNet-v1, which works on faces call Inception-V1 or FaceNet, and a tiny sibling for small images."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.core.lazy import nn
from midef.models.base import ARCHITECTURES, Architecture, ModelFacts, PublishedFile

if TYPE_CHECKING:
    from midef.nn.network import TargetModel

_LEAST_PX = 75
_SCALES = (0.17, 0.10, 0.20)
"""Of the residuals of the three rows of units."""


def _named(ours: str) -> str:
    """Name of a tensor in the published file.

    >>> _named("repeat_1_0.branch0.conv.weight"), _named("stem.conv2d_1a.bn.bias"), _named("pool.last_bn.weight")
    ('repeat_1.0.branch0.conv.weight', 'conv2d_1a.bn.bias', 'last_bn.weight')
    """
    return re.sub(r"^(?:stem|pool)\.", "", re.sub(r"^(repeat_\d)_(\d+)", r"\1.\2", ours))


@dataclass(frozen=True, kw_only=True)
class _InceptionResNet(Architecture):
    """Blocks `stem`, `repeat_1_0` to `repeat_3_n` with two that halve between them, `block8`, `pool`.

    Taps: stem, the blocks that halve, the last residual block, features. The names are those of the published file, and
    `block8`, which adds its residual unscaled, is a stage of skip connections of its own.
    """

    paper: ClassVar[str] = "Szegedy et al., AAAI 2017"
    family: ClassVar[str] = "inception_resnet"
    depths: ClassVar[tuple[int, int, int]] = (5, 10, 5)
    divisor: ClassVar[int] = 1
    has_small_stem: ClassVar[bool] = False

    @property
    def _rows(self) -> tuple[tuple[str, ...], ...]:
        """Names of the residual blocks, by the size of their maps."""
        one, two, three = (tuple(f"repeat_{row}_{i}" for i in range(depth)) for row, depth in enumerate(self.depths, 1))
        return one, two, (*three, "block8")

    @override
    def facts(self) -> ModelFacts:
        one, two, three = self._rows
        return ModelFacts(
            self.family,
            ("stem", *one, "mixed_6a", *two, "mixed_7a", *three, "pool"),
            ("stem", "mixed_6a", "mixed_7a", "block8", "pool"),
            has_batch_norm=True,
            skip_stages=(one, two, three[:-1], three[-1:]),
        )

    @override
    def problems(self, resolution_px: int) -> list[str]:
        if self.has_small_stem or resolution_px >= _LEAST_PX:
            return []
        return [f"five halvings without padding need {_LEAST_PX} px, got {resolution_px}; raise resolution_px"]

    @override
    def build(self, n_classes: int, resolution_px: int) -> TargetModel:
        from midef.nn import inception_resnet as parts
        from midef.nn.network import TargetModel

        divisor, feature_dim = self.divisor, 512 // self.divisor
        blocks: list[tuple[str, nn.Module]] = [("stem", self._stem())]
        channels = 256 // divisor
        halvings = (("mixed_6a", parts.BRANCHES_6A), ("mixed_7a", parts.BRANCHES_7A))
        rows = (parts.BRANCHES_35, parts.BRANCHES_17, parts.BRANCHES_8)
        for number, (names, branches, scale) in enumerate(zip(self._rows, rows, _SCALES, strict=True)):
            for name in names:
                is_last = name == "block8"
                unit = parts.InceptionResidual(
                    channels, branches, divisor, scale=1.0 if is_last else scale, rectifies=not is_last
                )
                blocks.append((name, unit))
            if number < len(halvings):
                halving = parts.Halving(channels, halvings[number][1], divisor)
                blocks.append((halvings[number][0], halving))
                channels = halving.c_out
        pooled: list[tuple[str, nn.Module]] = [
            ("avgpool_1a", nn.AdaptiveAvgPool2d(1)),
            ("flatten", nn.Flatten()),
            ("dropout", nn.Dropout(0.6)),
            ("last_linear", nn.Linear(channels, feature_dim, bias=False)),
            ("last_bn", nn.BatchNorm1d(feature_dim, eps=0.001)),
        ]
        blocks.append(("pool", nn.Sequential(OrderedDict(pooled))))
        head = nn.Linear(feature_dim, n_classes)
        return TargetModel(blocks, head, feature_dim=feature_dim, n_classes=n_classes, mean=0.5, std=128 / 255)

    def _stem(self) -> nn.Module:
        """Seven layers: to a sixteenth of the side or, where `has_small_stem`, to a half."""
        from midef.nn.inception_resnet import ConvNorm

        def conv(name: str, c_in: int, c_out: int, kernel: int, stride: int = 1) -> tuple[str, nn.Module]:
            padding = kernel // 2 if self.has_small_stem or name == "conv2d_2b" else 0
            came = c_in if c_in == 3 else c_in // self.divisor
            return name, ConvNorm(came, c_out // self.divisor, kernel, stride, padding)

        later = 1 if self.has_small_stem else 2
        pool: nn.Module = nn.Identity() if self.has_small_stem else nn.MaxPool2d(3, stride=2)
        layers = [
            conv("conv2d_1a", 3, 32, 3, 2),
            conv("conv2d_2a", 32, 32, 3),
            conv("conv2d_2b", 32, 64, 3),
            ("maxpool_3a", pool),
            conv("conv2d_3b", 64, 80, 1),
            conv("conv2d_4a", 80, 192, 3),
            conv("conv2d_4b", 192, 256, 3, later),
        ]
        return nn.Sequential(OrderedDict(layers))


@ARCHITECTURES.add("inception_v1")
@dataclass(frozen=True, kw_only=True)
class InceptionV1(_InceptionResNet):
    """Inception-ResNet-v1 at 160 px; 23,995,624 parameters with 1,000 classes and 512 features.

    What MIDRE and MIRROR call Inception-V1, and what PPA compares faces with as FaceNet; not GoogLeNet. A logit is
    linear in the features, which are not of length 1. With the weights `vggface2`, it has learned the 8,631 people that
    VGGFace2 trains on; their order is not needed, since a head is always new.

    The file: 107 MB, plain tensors by name, the head of 8,631 people among them. Its sha256 is nowhere published.

    Licence: code and file of facenet-pytorch are MIT. VGGFace2, which it learned, is for research and is no longer
    handed out by its authors: use the weights for research only, whatever the licence of the file.

    Ties: people of VGGFace2 are famous, and so are those of CelebA, FaceScrub and LFW: it may know who is attacked.

    Source: Szegedy et al., AAAI 2017, section 3 and figures 10 to 15; widths, scales of residuals, dropout and names
    of tensors are those of the published file, github timesler/facenet-pytorch @787da06.
    We differ: the code is our own. Images come in [0, 1] and are brought to (255 x - 127.5) / 128 inside, as there.
    """

    gflop_64px: ClassVar[float] = 0.454
    published: ClassVar[PublishedFile] = PublishedFile(
        weights="vggface2",
        name="20180402-114759-vggface2.pt",
        sha256="",
        source="https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/20180402-114759-vggface2.pt",
        size_mib=107,
        named=_named,
        head=("logits.",),
    )


@ARCHITECTURES.add("inception_v1_tiny")
@dataclass(frozen=True, kw_only=True)
class InceptionV1Tiny(_InceptionResNet):
    """Inception-ResNet-v1 with one unit of each kind, an eighth of the channels and a stem that halves once."""

    gflop_64px: ClassVar[float] = 0.066
    is_small: ClassVar[bool] = True
    depths: ClassVar[tuple[int, int, int]] = (1, 1, 1)
    divisor: ClassVar[int] = 8
    has_small_stem: ClassVar[bool] = True
