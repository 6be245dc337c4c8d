"""ResNet blocks whose skip connection can be scaled; weights and names are torchvision's."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torchvision.models import resnet
from typing_extensions import override

from midef.models._network import SkipBlock


def _add(out: Tensor, x: Tensor, downsample: Any, k: float) -> Tensor:
    """out + k S(x); the shortcut is not even computed where k is 0."""
    if k == 0:
        return out
    shortcut: Tensor = x if downsample is None else downsample(x)
    return out + (shortcut if k == 1 else k * shortcut)


class BasicBlock(resnet.BasicBlock, SkipBlock):  # type: ignore[misc]  # torchvision is not typed
    """relu(F(x) + k S(x)) with two 3x3 convolutions in F."""

    skip_scale: float = 1.0
    conv1: nn.Module
    bn1: nn.Module
    conv2: nn.Module
    bn2: nn.Module
    relu: nn.Module

    @override
    def scale_skip(self, k: float, *, only: frozenset[str] = frozenset()) -> None:
        self.skip_scale = k
        if k == 0:
            self.downsample = None

    @override
    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        result: Tensor = self.relu(_add(out, x, self.downsample, self.skip_scale))
        return result


class Bottleneck(resnet.Bottleneck, SkipBlock):  # type: ignore[misc]  # torchvision is not typed
    """relu(F(x) + k S(x)) with 1x1, 3x3 and 1x1 convolutions in F."""

    skip_scale: float = 1.0
    conv1: nn.Module
    bn1: nn.Module
    conv2: nn.Module
    bn2: nn.Module
    conv3: nn.Module
    bn3: nn.Module
    relu: nn.Module

    @override
    def scale_skip(self, k: float, *, only: frozenset[str] = frozenset()) -> None:
        self.skip_scale = k
        if k == 0:
            self.downsample = None

    @override
    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))
        result: Tensor = self.relu(_add(self.bn3(self.conv3(out)), x, self.downsample, self.skip_scale))
        return result
