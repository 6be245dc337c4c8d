"""ResNeSt's bottleneck with a skip connection that can be scaled, and its stem; weights and names are timm's."""

from __future__ import annotations

from timm.models.resnest import ResNestBottleneck
from torch import Tensor, nn
from typing_extensions import override

from midef.nn.network import ResidualBlock


class SplitAttentionBottleneck(ResNestBottleneck, ResidualBlock):  # type: ignore[misc]  # timm is skipped by mypy
    """relu(F(x) + k S(x)); F is a 1x1 convolution, split attention over two 3x3 convolutions, another 1x1.

    With stride 2, F halves by averaging after the attention, and S averages 2x2 pixels before its 1x1 convolution.
    """

    expansion: int
    conv1: nn.Module
    bn1: nn.Module
    act1: nn.Module
    conv2: nn.Module
    avd_last: nn.Module | None
    conv3: nn.Module
    bn3: nn.Module
    act3: nn.Module

    def __init__(self, c_in: int, width: int, stride: int) -> None:
        shortcut = _shortcut(c_in, width * self.expansion, stride)
        super().__init__(c_in, width, stride, shortcut, radix=2, avd=True)

    @override
    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.act1(self.bn1(self.conv1(x))))
        if self.avd_last is not None:
            out = self.avd_last(out)
        result: Tensor = self.act3(self.with_skip(self.bn3(self.conv3(out)), x))
        return result


def _shortcut(c_in: int, out: int, stride: int) -> nn.Sequential | None:
    """S(x); None where the shapes already agree."""
    if stride == 1 and c_in == out:
        return None
    # An odd side rounds up, as F does it; a last pixel without a neighbour is its own mean.
    pool = nn.Identity() if stride == 1 else nn.AvgPool2d(stride, ceil_mode=True)
    return nn.Sequential(pool, nn.Conv2d(c_in, out, 1, bias=False), nn.BatchNorm2d(out))


def deep_stem(width: int, *, stride: int, pool: bool) -> nn.Sequential:
    """Three 3x3 convolutions to `width`, `width` and twice that; the first has the stride, a max-pool may follow."""
    layers: list[nn.Module] = []
    for c_in, out, step in ((3, width, stride), (width, width, 1), (width, 2 * width, 1)):
        layers += [nn.Conv2d(c_in, out, 3, step, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
    if pool:
        layers.insert(-1, nn.MaxPool2d(3, stride=2, padding=1))  # before the ReLU: less work, equal to the bit
    return nn.Sequential(*layers)
