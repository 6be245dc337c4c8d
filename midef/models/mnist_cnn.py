"""Plain convolutional networks: target and evaluator on MNIST, and the classifier of the first inversion networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from typing_extensions import override

from midef.core.lazy import nn
from midef.models.base import ARCHITECTURES, Architecture, ModelFacts

if TYPE_CHECKING:
    from midef.nn.network import TargetModel

RESOLUTION_PX = 32
"""The size at which the unpadded convolutions of MCNN and SCNN end in one pixel; MNIST is enlarged to it."""


@dataclass(frozen=True, kw_only=True)
class _MnistCnn(Architecture):
    """Blocks `block1` to `blockn`: convolution, batch norm, leaky ReLU (slope 0.2), max-pool in the first two.

    The map has shrunk to one pixel at the end, so the last block gives the features. Every block is tapped.
    `convs` holds width, kernel and padding of each block. Images are not normalised.

    Source: MNIST networks of GMI (Zhang et al., CVPR 2020) as BiDO has them (github AlanPeng0897/Defend_MI).
    We differ: three input channels for their one. A grey image is repeated, and its answer then depends on the sum of
    the three kernels, so nothing is gained or lost but 2 x 49 weights per channel of the first block.
    """

    is_small: ClassVar[bool] = True
    paper: ClassVar[str] = "Zhang et al., CVPR 2020 (GMI)"
    family: ClassVar[str] = "cnn"
    convs: ClassVar[tuple[tuple[int, int, int], ...]]
    pooled: ClassVar[int] = 2

    @override
    def facts(self) -> ModelFacts:
        blocks = tuple(f"block{i + 1}" for i in range(len(self.convs)))
        return ModelFacts(self.family, blocks, blocks, has_batch_norm=True, draws=False)

    @override
    def problems(self, resolution_px: int) -> list[str]:
        if resolution_px != RESOLUTION_PX:
            return [f"made for {RESOLUTION_PX} px, where the map ends in one pixel, got {resolution_px}"]
        return []

    @override
    def build(self, n_classes: int, resolution_px: int) -> TargetModel:
        from midef.nn.network import TargetModel

        blocks: list[tuple[str, nn.Module]] = []
        channels = 3
        for i, (width, kernel, padding) in enumerate(self.convs):
            layers: list[nn.Module] = [nn.Conv2d(channels, width, kernel, padding=padding)]
            layers += [nn.BatchNorm2d(width), nn.LeakyReLU(0.2)]
            if i < self.pooled:
                layers.append(nn.MaxPool2d(2))
            if i == len(self.convs) - 1:
                layers.append(nn.Flatten())
            blocks.append((f"block{i + 1}", nn.Sequential(*layers)))
            channels = width
        return TargetModel(blocks, nn.Linear(channels, n_classes), feature_dim=channels, n_classes=n_classes)


@ARCHITECTURES.add("mcnn")
@dataclass(frozen=True, kw_only=True)
class Mcnn(_MnistCnn):
    """The target on MNIST, three blocks and 256 features; 1,036,037 parameters with 5 classes.

    Source: MCNN of BiDO, whose hidden list is all three blocks.
    """

    convs: ClassVar[tuple[tuple[int, int, int], ...]] = ((64, 7, 1), (128, 5, 0), (256, 5, 0))


@ARCHITECTURES.add("scnn")
@dataclass(frozen=True, kw_only=True)
class Scnn(_MnistCnn):
    """The evaluator on MNIST, five blocks and 512 features; 1,743,370 parameters with 10 classes.

    The map is one pixel after the third block; the last two look at it with padded 3x3 kernels.
    """

    convs: ClassVar[tuple[tuple[int, int, int], ...]] = (
        (32, 7, 1),
        (64, 5, 0),
        (128, 5, 0),
        (256, 3, 1),
        (512, 3, 1),
    )


@ARCHITECTURES.add("yang_cnn")
@dataclass(frozen=True, kw_only=True)
class YangCnn(Architecture):
    """Classifier of Yang et al.: blocks that halve, then a hidden layer five times as wide as there are classes.

    Blocks `block1` to `blockn` (3x3 convolution, batch norm, max-pool, ReLU; 128, 256, 512, 1024 channels) and
    `hidden` (flatten, linear layer to 5 K, half of it dropped while training; no activation). Features are those 5 K
    values, so their number depends on the number of classes K. Every block is tapped.

    Args:
        blocks: 4 is the published network, for faces at 64 px; 3 is the one that LPA uses for digits and clothes.
            Larger sees more of the image at once.

    Source: Yang et al., CCS 2019 (github yziqi/adversarial-model-inversion); three blocks after the LPA data-poisoning
    paper, which gives no widths: we keep the first three.
    We differ: three input channels for their one, a grey image is repeated; images stay in [0, 1], while they stretch
    every pixel over the data set; they end in a log-softmax, which leaves the cross entropy as it is.
    """

    gflop_64px: ClassVar[float] = 1.9
    paper: ClassVar[str] = "Yang et al., CCS 2019"
    family: ClassVar[str] = "cnn"
    first: ClassVar[int] = 128

    blocks: Literal[3, 4] = 4

    @override
    def facts(self) -> ModelFacts:
        blocks = (*(f"block{i + 1}" for i in range(self.blocks)), "hidden")
        return ModelFacts(self.family, blocks, blocks, has_batch_norm=True, draws=True)

    @override
    def problems(self, resolution_px: int) -> list[str]:
        smallest_px = 2**self.blocks
        if resolution_px < smallest_px:
            return [f"{self.blocks} poolings need at least {smallest_px} px, got {resolution_px}; raise resolution_px"]
        return []

    @override
    def build(self, n_classes: int, resolution_px: int) -> TargetModel:
        from midef.nn.network import TargetModel

        blocks: list[tuple[str, nn.Module]] = []
        channels, feature_dim = 3, 5 * n_classes
        for i in range(self.blocks):
            width = self.first * 2**i
            conv = nn.Conv2d(channels, width, 3, padding=1)
            blocks.append((f"block{i + 1}", nn.Sequential(conv, nn.BatchNorm2d(width), nn.MaxPool2d(2), nn.ReLU())))
            channels = width
        linear = nn.Linear(channels * (resolution_px // 2**self.blocks) ** 2, feature_dim)
        blocks.append(("hidden", nn.Sequential(nn.Flatten(), linear, nn.Dropout(0.5))))
        head = nn.Linear(feature_dim, n_classes)
        return TargetModel(blocks, head, feature_dim=feature_dim, n_classes=n_classes)


@ARCHITECTURES.add("yang_cnn_tiny")
@dataclass(frozen=True, kw_only=True)
class YangCnnTiny(YangCnn):
    """YangCnn with a quarter of the channels, a sixteenth of the work, for runs on CPUs.

    Args:
        blocks: see `YangCnn`.
    """

    is_small: ClassVar[bool] = True
    gflop_64px: ClassVar[float] = 0.13
    first: ClassVar[int] = 32
