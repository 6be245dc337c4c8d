"""Inception-v3's layers: convolutions of any width, and the head at the side that learns with the last one."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor, nn
from torchvision.models.inception import BasicConv2d
from typing_extensions import override

from midef.nn.network import Forward, TargetModel

Conv = Callable[..., nn.Module]
SIDE_BLOCK = "mixed6e"
"""The block whose output the head at the side reads."""


def conv_of(divisor: int) -> Conv:
    """Makes torchvision's convolution, batch norm and ReLU with fewer channels; images keep their three."""

    def conv(in_channels: int, out_channels: int, **kwargs: int | tuple[int, int]) -> nn.Module:
        made: nn.Module = BasicConv2d(
            in_channels if in_channels == 3 else in_channels // divisor, out_channels // divisor, **kwargs
        )
        return made

    return conv


def make_stem(conv: Conv, *, is_small: bool) -> nn.Module:
    """Five convolutions: to an eighth of the resolution, or, where `is_small`, to a half."""
    if is_small:
        return nn.Sequential(
            conv(3, 32, kernel_size=3, stride=2, padding=1),
            conv(32, 32, kernel_size=3, padding=1),
            conv(32, 64, kernel_size=3, padding=1),
            conv(64, 80, kernel_size=1),
            conv(80, 192, kernel_size=3, padding=1),
        )
    return nn.Sequential(
        conv(3, 32, kernel_size=3, stride=2),
        conv(32, 32, kernel_size=3),
        conv(32, 64, kernel_size=3, padding=1),
        nn.MaxPool2d(3, 2),
        conv(64, 80, kernel_size=1),
        conv(80, 192, kernel_size=3),
        nn.MaxPool2d(3, 2),
    )


class Pool(nn.Sequential):
    """Mean over the map, and dropout: the features."""

    def __init__(self) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Dropout(0.5), nn.Flatten())


class SideHead(nn.Module):
    """Logits from a map in the middle of the network.

    Args:
        conv: makes convolutions.
        width: channels of its features.
        n_classes: K.
        side_px: of the map; below 17, where torchvision's pool leaves less than the 5 px that follow need, the map is
            pooled to 5 px.
    """

    def __init__(self, conv: Conv, width: int, n_classes: int, side_px: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(5, 3) if side_px >= 17 else nn.AdaptiveAvgPool2d(5)
        self.conv0 = conv(768, 128, kernel_size=1)
        self.conv1 = conv(128, 768, kernel_size=5)
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(width, n_classes)

    @override
    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(self.mean(self.conv1(self.conv0(self.pool(x)))).flatten(1))
        return out


class InceptionNetwork(TargetModel):
    """A chain of blocks with a head at the side, which answers while training and is silent otherwise.

    Args:
        side: the head; the other arguments are those of `TargetModel`.
    """

    def __init__(
        self,
        blocks: Iterable[tuple[str, nn.Module]],
        head: nn.Module,
        side: SideHead,
        *,
        feature_dim: int,
        n_classes: int,
    ) -> None:
        super().__init__(blocks, head, feature_dim=feature_dim, n_classes=n_classes, mean=0.5, std=0.5)
        self.side = side

    @override
    def forward(self, images: Tensor, taps: tuple[str, ...] = ()) -> Forward:
        if not self.training:
            return super().forward(images, taps)
        forward = super().forward(images, (*taps, SIDE_BLOCK))
        asked = {name: tap for name, tap in forward.taps.items() if name in taps}
        return forward._replace(taps=asked, side_logits=(self.side(forward.taps[SIDE_BLOCK]),))
