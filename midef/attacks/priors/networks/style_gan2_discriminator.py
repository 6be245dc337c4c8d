"""StyleGAN2's discriminator, its tensors named as in NVIDIA's files.

Source: Karras et al., CVPR 2020 (StyleGAN2) and NeurIPS 2020 (StyleGAN2-ADA), the residual architecture.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn
from typing_extensions import override

from midef.attacks.priors.networks.style_gan2_layers import (
    LEAKY_GAIN,
    EqualConv,
    EqualLinear,
    channels_at,
    in_float32,
    leaky,
)
from midef.nn.doubling import doublings


class ResidualDown(nn.Module):
    """Two convolutions beside a 1x1 one, both halving the resolution; their sum keeps the variance.

    Args:
        from_rgb: takes images in place of features.
    """

    def __init__(self, c_in: int, c_out: int, *, clamp: float | None = None, from_rgb: bool = False) -> None:
        super().__init__()
        self.fromrgb = EqualConv(3, c_in, 1) if from_rgb else None
        self.conv0 = EqualConv(c_in, c_in, 3)
        self.conv1 = EqualConv(c_in, c_out, 3, down=True)
        self.skip = EqualConv(c_in, c_out, 1, bias=False, down=True)
        self.clamp = clamp

    @override
    def forward(self, images: Tensor) -> Tensor:
        if self.fromrgb is not None:
            images = leaky(self.fromrgb(images, LEAKY_GAIN), self.clamp)
        main = leaky(self.conv0(images, LEAKY_GAIN), self.clamp)
        half = sqrt(0.5)  # brings the variance of the sum back to one
        main = leaky(self.conv1(main, LEAKY_GAIN * half), None if self.clamp is None else self.clamp * half)
        total: Tensor = main + self.skip(images, half)
        return total


class LastBlock(nn.Module):
    """Features [B, C, 4, 4] to scores [B]; images of a group see each other, see `with_spread`."""

    def __init__(self, channels: int, group: int, clamp: float | None) -> None:
        super().__init__()
        self.conv = EqualConv(channels + 1, channels, 3)
        self.fc = EqualLinear(channels * 16, channels)
        self.out = EqualLinear(channels, 1)
        self.group, self.clamp = group, clamp

    @override
    def forward(self, features: Tensor) -> Tensor:
        features = leaky(self.conv(with_spread(features, self.group), LEAKY_GAIN), self.clamp)
        scores: Tensor = self.out(leaky(self.fc(features.flatten(1), LEAKY_GAIN))).flatten()
        return scores


class StyleDiscriminator(nn.Module):
    """Images [B, 3, R, R] in [-1, 1] to scores [B], larger is more real; images of a group see each other.

    Args:
        channel_base, channel_max: channels at r px are channel_base / r, at most channel_max.
        group: images of a group, >= 1; 4 in most published files, 8 in the one of 256 px by NVIDIA.
        conv_clamp: largest size of what a convolution gives; None has no bound.
    """

    def __init__(
        self,
        resolution_px: int,
        channel_base: int,
        channel_max: int,
        *,
        group: int = 4,
        conv_clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.sizes = [resolution_px >> i for i in range(doublings(resolution_px) + 1)]
        widths = [channels_at(size, channel_base, channel_max) for size in self.sizes]
        for i, size in enumerate(self.sizes[:-1]):
            block = ResidualDown(widths[i], widths[i + 1], clamp=conv_clamp, from_rgb=i == 0)
            self.add_module(f"b{size}", block)
        self.b4 = LastBlock(widths[-1], group, conv_clamp)

    @override
    def forward(self, images: Tensor) -> Tensor:
        with in_float32(images):
            for size in self.sizes:
                images = self.get_submodule(f"b{size}")(images)
        return images


def with_spread(features: Tensor, group: int = 4) -> Tensor:
    """[B, C + 1, H, W]: one more channel with the mean standard deviation within a group of images.

    Groups hold `group` images, or the largest number below it that divides B; image i is in group i mod (B / group).
    """
    size = next(n for n in range(min(group, len(features)), 0, -1) if len(features) % n == 0)
    grouped = features.reshape(size, -1, *features.shape[1:])
    variance = (grouped - grouped.mean(dim=0)).square().mean(dim=0)  # `var` over the first axis is slow on a CPU
    spread = (variance + 1e-8).sqrt().mean(dim=(1, 2, 3)).repeat(size)
    return torch.cat([features, spread[:, None, None, None].expand(-1, 1, *features.shape[2:])], dim=1)
