"""ResNet blocks whose skip connection can be scaled; weights and names are torchvision's."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models import resnet
from typing_extensions import override

from midef.nn.network import ResidualBlock


class BasicBlock(resnet.BasicBlock, ResidualBlock):  # type: ignore[misc]  # torchvision is not typed
    """relu(F(x) + k S(x)) with two 3x3 convolutions in F."""

    conv1: nn.Module
    bn1: nn.Module
    conv2: nn.Module
    bn2: nn.Module
    relu: nn.Module

    @override
    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        result: Tensor = self.relu(self.with_skip(out, x))
        return result


class Bottleneck(resnet.Bottleneck, ResidualBlock):  # type: ignore[misc]  # torchvision is not typed
    """relu(F(x) + k S(x)) with 1x1, 3x3 and 1x1 convolutions in F."""

    conv1: nn.Module
    bn1: nn.Module
    conv2: nn.Module
    bn2: nn.Module
    conv3: nn.Module
    bn3: nn.Module
    relu: nn.Module

    @override
    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))
        result: Tensor = self.relu(self.with_skip(self.bn3(self.conv3(out)), x))
        return result
