"""Generators and critics shared by attacks of the 64-pixel line."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from midef.nn.doubling import FULL, doublings, halving, rising
from midef.nn.sized import SizedGenerator


class Generator(SizedGenerator):
    """The GMI generator: latents [B, Z] -> images [B, 3, px, px] in [0, 1].

    Linear, then transposed convolutions k5 s2, each but the last with BatchNorm and ReLU; channels halve from
    8 * width at 4 px to width at 32, and stay there. 5,142,083 parameters at 64 px, 5,347,139 at 256, Z 100, width 64.

    Args:
        resolution_px: R, of what it draws itself.
        shown_px: of its images, see `SizedGenerator`.

    Source: Zhang et al., CVPR 2020 (GMI). Two more blocks at 256 px: LoFt, appendix on attacks; their channels:
    MIBench, whose networks it uses.
    """

    kept: ClassVar[float] = 4.5

    def __init__(self, latent_dim: int, resolution_px: int, width: int, shown_px: int | None = None) -> None:
        super().__init__(resolution_px, shown_px)
        channels = halving(width, doublings(resolution_px) - 1, widest=FULL - 1)
        self.latent_dim = latent_dim
        self.width = width
        self.first = first = channels[0]
        self.project = nn.Sequential(
            nn.Linear(latent_dim, first * 16, bias=False), nn.BatchNorm1d(first * 16), nn.ReLU(inplace=True)
        )
        layers: list[nn.Module] = []
        for c_in, c_out in pairwise(channels):
            layers += [
                nn.ConvTranspose2d(c_in, c_out, 5, 2, 2, 1, bias=False),
                nn.BatchNorm2d(c_out),
                nn.ReLU(inplace=True),
            ]
        layers += [nn.ConvTranspose2d(width, 3, 5, 2, 2, 1), nn.Sigmoid()]
        self.grow = nn.Sequential(*layers)

    @property
    @override
    def largest_feature(self) -> int:
        return self.width * (self.resolution_px // 2) ** 2

    @override
    def forward(self, latents: Tensor) -> Tensor:
        images: Tensor = self.grow(self.project(latents).view(-1, self.first, 4, 4))
        return self.shown(images)


class Critic(nn.Module):
    """The WGAN critic of GMI: images [B, 3, R, R] -> scores [B], larger is more real.

    Strided convolutions k5 with InstanceNorm (none on the first) and LeakyReLU 0.2, down to 4 px; channels double from
    width to 8 * width, and stay there. 4,316,545 parameters at 64 px, width 64. InstanceNorm keeps no running
    statistics, so train and eval agree.

    Source: as `Generator`.
    """

    def __init__(self, resolution_px: int, width: int) -> None:
        super().__init__()
        channels = rising(width, doublings(resolution_px), widest=FULL - 1)
        layers: list[nn.Module] = [nn.Conv2d(3, width, 5, 2, 2), nn.LeakyReLU(0.2)]
        for c_in, c_out in pairwise(channels):
            layers += [nn.Conv2d(c_in, c_out, 5, 2, 2), nn.InstanceNorm2d(c_out, affine=True), nn.LeakyReLU(0.2)]
        layers.append(nn.Conv2d(channels[-1], 1, 4))
        self.judge = nn.Sequential(*layers)

    @override
    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.judge(images).flatten()
        return scores


def standard_latents(seeds: list[int], latent_dim: int) -> Tensor:
    """Standard normal latents [N, Z], row i from seeds[i] alone."""
    rows = [torch.randn(latent_dim, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows)
