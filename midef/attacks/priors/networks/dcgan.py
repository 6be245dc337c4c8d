"""Generators, critics and inversion networks shared by attacks of the 64-pixel line."""

from __future__ import annotations

from math import log2

import torch
from torch import Tensor, nn
from typing_extensions import override

from midef.core.errors import ShapeError


def doublings(resolution_px: int) -> int:
    """Number of doublings from 4 px to the resolution.

    Raises:
        ShapeError: if it is not a power of two from 8 up.
    """
    count = log2(resolution_px / 4)
    if count < 1 or count != int(count):
        raise ShapeError(f"this prior draws 8, 16, 32, 64, ... px, got {resolution_px}; choose such a resolution_px")
    return int(count)


class Generator(nn.Module):
    """The GMI generator: latents [B, Z] -> images [B, 3, R, R] in [0, 1].

    Linear, then transposed convolutions k5 s2, each but the last with BatchNorm and ReLU; channels halve from
    width * R / 8. 5,142,083 parameters at 64 px, Z 100, width 64.
    """

    def __init__(self, latent_dim: int, resolution_px: int, width: int) -> None:
        super().__init__()
        ups = doublings(resolution_px)
        first = width * 2 ** (ups - 1)
        self.latent_dim = latent_dim
        self.first = first
        self.project = nn.Sequential(
            nn.Linear(latent_dim, first * 16, bias=False), nn.BatchNorm1d(first * 16), nn.ReLU(inplace=True)
        )
        layers: list[nn.Module] = []
        for i in range(ups - 1):
            c_in, c_out = first >> i, first >> (i + 1)
            layers += [
                nn.ConvTranspose2d(c_in, c_out, 5, 2, 2, 1, bias=False),
                nn.BatchNorm2d(c_out),
                nn.ReLU(inplace=True),
            ]
        layers += [nn.ConvTranspose2d(width, 3, 5, 2, 2, 1), nn.Sigmoid()]
        self.grow = nn.Sequential(*layers)

    @override
    def forward(self, latents: Tensor) -> Tensor:
        images: Tensor = self.grow(self.project(latents).view(-1, self.first, 4, 4))
        return images


class Critic(nn.Module):
    """The WGAN critic of GMI: images [B, 3, R, R] -> scores [B], larger is more real.

    Strided convolutions k5 with InstanceNorm (none on the first) and LeakyReLU 0.2. 4,316,545 parameters at 64 px,
    width 64. InstanceNorm keeps no running statistics, so train and eval agree.
    """

    def __init__(self, resolution_px: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 5, 2, 2), nn.LeakyReLU(0.2)]
        for i in range(doublings(resolution_px) - 1):
            c_in = width << i
            layers += [
                nn.Conv2d(c_in, 2 * c_in, 5, 2, 2),
                nn.InstanceNorm2d(2 * c_in, affine=True),
                nn.LeakyReLU(0.2),
            ]
        layers.append(nn.Conv2d(width << (doublings(resolution_px) - 1), 1, 4))
        self.judge = nn.Sequential(*layers)

    @override
    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.judge(images).flatten()
        return scores


class TransposedCnn(nn.Module):
    """The inversion network of Yang et al.: score vectors [B, K] -> images [B, 3, R, R] in [0, 1].

    Transposed convolutions k4, the first from 1 to 4 px, then each doubling, with BatchNorm and Tanh, the last Sigmoid.

    Args:
        blocks: how many, >= 2; None takes what the resolution needs, 5 at 64 px as in the paper. With fewer, doublings
            at the start are left out and the first one's kernel grows to the larger map (4 at 64 px: k8, from 1 to
            8 px). With more, blocks k3 s1 p1 of `width` channels, BatchNorm and Tanh stand before the last.
    """

    def __init__(self, n_classes: int, resolution_px: int, width: int, blocks: int | None = None) -> None:
        super().__init__()
        needed = doublings(resolution_px)
        ups = needed if blocks is None else min(needed, blocks - 1)
        more = 0 if blocks is None else max(0, blocks - 1 - needed)
        c_in = width * 2 ** (ups - 1)
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(n_classes, c_in, resolution_px >> ups),
            nn.BatchNorm2d(c_in),
            nn.Tanh(),
        ]
        for _ in range(ups - 1):
            layers += [nn.ConvTranspose2d(c_in, c_in // 2, 4, 2, 1), nn.BatchNorm2d(c_in // 2), nn.Tanh()]
            c_in //= 2
        for _ in range(more):
            layers += [nn.ConvTranspose2d(c_in, c_in, 3, 1, 1), nn.BatchNorm2d(c_in), nn.Tanh()]
        layers += [nn.ConvTranspose2d(c_in, 3, 4, 2, 1), nn.Sigmoid()]
        self.grow = nn.Sequential(*layers)

    @override
    def forward(self, scores: Tensor) -> Tensor:
        images: Tensor = self.grow(scores[:, :, None, None])
        return images


def standard_latents(seeds: list[int], latent_dim: int) -> Tensor:
    """Standard normal latents [N, Z], row i from seeds[i] alone."""
    rows = [torch.randn(latent_dim, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows)
