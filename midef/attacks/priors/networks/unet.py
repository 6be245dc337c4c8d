"""The U-Net that predicts the noise in an image, given how noisy it is and an answer of the target."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import override

from midef.nn.doubling import doublings


class Encoded(NamedTuple):
    """Maps of an image at three resolutions, and the pooled map grown back: input of the decoder."""

    full: Tensor
    half: Tensor
    quarter: Tensor
    pooled: Tensor


class Denoiser(nn.Module):
    """Images [B, 3, R, R], elapsed share of the noising [B] in (0, 1], answers [B, K] -> noise [B, 3, R, R].

    Two halvings, a pooling over the whole map, and the way back; the share and the answer enter on the way back only:
    the answer multiplies the features, the share is added. So guidance, which asks twice about the same images with
    different answers, encodes them once (`encode`, `decode`). BatchNorm: in eval mode rows do not see each other.

    Args:
        width: channels at full resolution, a multiple of 8.
    """

    def __init__(self, n_classes: int, resolution_px: int, width: int) -> None:
        super().__init__()
        doublings(resolution_px)  # refuses what is not a power of two
        quarter_px = resolution_px // 4
        self.first = _conv(3, width)
        self.second = _conv(width, width)
        self.down1 = nn.Sequential(_block(width, width), nn.MaxPool2d(2))
        self.down2 = nn.Sequential(_block(width, 2 * width), nn.MaxPool2d(2))
        self.pool = nn.Sequential(nn.AvgPool2d(quarter_px), nn.GELU())
        self.unpool = nn.Sequential(
            nn.ConvTranspose2d(2 * width, 2 * width, quarter_px, quarter_px), nn.GroupNorm(8, 2 * width), nn.ReLU()
        )
        self.share1, self.share2 = _embedding(1, 2 * width), _embedding(1, width)
        self.answer1, self.answer2 = _embedding(n_classes, 2 * width), _embedding(n_classes, width)
        self.up1 = _up(4 * width, width)
        self.up2 = _up(2 * width, width)
        self.out = nn.Sequential(
            nn.Conv2d(2 * width, width, 3, 1, 1), nn.GroupNorm(8, width), nn.ReLU(), nn.Conv2d(width, 3, 3, 1, 1)
        )

    @override
    def forward(self, images: Tensor, share: Tensor, answers: Tensor) -> Tensor:
        return self.decode(self.encode(images), share, answers)

    def encode(self, images: Tensor) -> Encoded:
        once = self.first(images)
        full = (once + self.second(once)) / 1.414
        half = self.down1(full)
        quarter = self.down2(half)
        return Encoded(full, half, quarter, self.unpool(self.pool(quarter)))

    def decode(self, seen: Encoded, share: Tensor, answers: Tensor) -> Tensor:
        share = share[:, None]
        up = self.answer1(answers) * seen.pooled + self.share1(share)
        up = self.up1(torch.cat([up, seen.quarter], dim=1))
        up = self.answer2(answers) * up + self.share2(share)
        up = self.up2(torch.cat([up, seen.half], dim=1))
        noise: Tensor = self.out(torch.cat([up, seen.full], dim=1))
        return noise


def _conv(c_in: int, c_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, 1, 1), nn.BatchNorm2d(c_out), nn.GELU())


def _block(c_in: int, c_out: int) -> nn.Sequential:
    return nn.Sequential(_conv(c_in, c_out), _conv(c_out, c_out))


def _up(c_in: int, c_out: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(c_in, c_out, 2, 2), _block(c_out, c_out), _block(c_out, c_out))


def _embedding(c_in: int, c_out: int) -> nn.Sequential:
    """[B, c_in] -> [B, c_out, 1, 1]."""
    return nn.Sequential(nn.Linear(c_in, c_out), nn.GELU(), nn.Linear(c_out, c_out), nn.Unflatten(1, (c_out, 1, 1)))
