"""Building blocks of the IR bodies."""

from __future__ import annotations

from torch import Tensor, nn
from typing_extensions import override

from midef.nn.network import SkipBlock, plus_skip


class IRUnit(SkipBlock):
    """F(x) + k S(x) and no activation after it; F normalises first and has two 3x3 convolutions with a PReLU between.

    S picks every second pixel, or is a 1x1 convolution with batch norm where the width changes.
    The order inside `residual` and `shortcut` is that of Face.evoLVe's `res_layer` and `shortcut_layer`.
    """

    skip_scale: float = 1.0

    def __init__(self, c_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.BatchNorm2d(c_in),
            nn.Conv2d(c_in, width, 3, 1, 1, bias=False),
            nn.PReLU(width),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.shortcut: nn.Module = nn.Identity()
        if c_in != width:
            self.shortcut = nn.Sequential(nn.Conv2d(c_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        elif stride != 1:
            self.shortcut = nn.MaxPool2d(1, stride)

    @override
    def scale_skip(self, k: float, *, only: frozenset[str] = frozenset()) -> None:
        self.skip_scale = k
        if k == 0:
            self.shortcut = nn.Identity()

    @override
    def forward(self, x: Tensor) -> Tensor:
        """[B, c_in, H, W] -> [B, width, H / stride, W / stride]."""
        out: Tensor = self.residual(x)
        return out if self.skip_scale == 0 else plus_skip(out, self.shortcut(x), self.skip_scale)


def make_stem(width: int) -> nn.Sequential:
    """One 3x3 convolution at full resolution."""
    return nn.Sequential(nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width))


def make_output(width: int, side_px: int, feature_dim: int) -> nn.Sequential:
    """[B, width, side_px, side_px] to features [B, feature_dim]."""
    linear = nn.Linear(width * side_px**2, feature_dim)
    return nn.Sequential(nn.BatchNorm2d(width), nn.Dropout(0.5), nn.Flatten(), linear, nn.BatchNorm1d(feature_dim))
