"""ResNet blocks whose skip connection can be scaled; weights and names are torchvision's."""

from __future__ import annotations

from torch import Tensor
from torchvision.models import resnet
from typing_extensions import override

from midef.models._network import SkipBlock


def _skip(x: Tensor, downsample: object, k: float) -> Tensor | None:
    """k S(x); None where nothing is to be added."""
    if k == 0:
        return None
    shortcut: Tensor = x if downsample is None else downsample(x)  # type: ignore[operator]
    return shortcut if k == 1 else k * shortcut


class BasicBlock(resnet.BasicBlock, SkipBlock):
    """relu(F(x) + k S(x)) with two 3x3 convolutions in F."""

    skip_scale: float = 1.0

    @override
    def scale_skip(self, k: float, *, only: frozenset[str] = frozenset()) -> None:
        self.skip_scale = k
        if k == 0:
            self.downsample = None

    @override
    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        skip = _skip(x, self.downsample, self.skip_scale)
        result: Tensor = self.relu(out if skip is None else out + skip)
        return result


class Bottleneck(resnet.Bottleneck, SkipBlock):
    """relu(F(x) + k S(x)) with 1x1, 3x3 and 1x1 convolutions in F."""

    skip_scale: float = 1.0

    @override
    def scale_skip(self, k: float, *, only: frozenset[str] = frozenset()) -> None:
        self.skip_scale = k
        if k == 0:
            self.downsample = None

    @override
    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))
        out = self.bn3(self.conv3(out))
        skip = _skip(x, self.downsample, self.skip_scale)
        result: Tensor = self.relu(out if skip is None else out + skip)
        return result
