"""Building blocks of MobileFaceNet."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, which the published network's images are normalised with."""


class Mirrored(nn.Module):
    """Images [B, 3, R, R] in [0, 1] -> the normalised images and, after them, their mirrors [2B, 3, R, R]."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    @override
    def forward(self, images: Tensor) -> Tensor:
        normalised = (images - self.mean) / self.std
        return torch.cat([normalised, normalised.flip(-1)])


class SeparableConv(nn.Module):
    """A depthwise 3x3 and a pointwise convolution, each with batch norm and ReLU, at one width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.pointwise = nn.Conv2d(width, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    @override
    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.depthwise(x)))
        return F.relu(self.bn2(self.pointwise(x)))


class GlobalDepthwise(nn.Module):
    """One depthwise convolution over the whole map of `size_px`, without padding, and batch norm."""

    def __init__(self, width: int, size_px: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, size_px, groups=width, bias=False)
        self.bn = nn.BatchNorm2d(width)

    @override
    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.bn(self.depthwise(x))
        return pooled


class FaceVector(nn.Module):
    """Maps of images and of their mirrors [2B, C, S, S] -> features [B, D] of length 1.

    The embedding of an image and that of its mirror are added and the sum is divided by its length.
    """

    def __init__(self, width: int, size_px: int, feature_dim: int) -> None:
        super().__init__()
        self.gdconv = GlobalDepthwise(width, size_px)
        self.conv3 = nn.Conv2d(width, feature_dim, 1)
        self.bn = nn.BatchNorm2d(feature_dim)

    @override
    def forward(self, x: Tensor) -> Tensor:
        image, mirror = self.bn(self.conv3(self.gdconv(x))).flatten(1).chunk(2)
        return F.normalize(image + mirror, dim=1)
