"""Generators, critics and inversion networks shared by attacks of the 64-pixel line."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from midef.attacks.priors.networks.doubling import FULL, doublings, halving, rising
from midef.attacks.priors.networks.sized import SizedGenerator


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


class TransposedCnn(SizedGenerator):
    """The inversion network of Yang et al.: score vectors [B, K] -> images [B, 3, px, px] in [0, 1].

    Transposed convolutions k4, the first from 1 to 4 px, then each doubling, with BatchNorm and Tanh, the last Sigmoid.
    Channels halve from 8 * width at 4 px to width at 32, and stay there.

    Args:
        resolution_px: R, of what it draws itself.
        blocks: how many, >= 2; None takes what the resolution needs, 5 at 64 px as in the paper. With fewer, doublings
            at the start are left out and the first one's kernel grows to the larger map (4 at 64 px: k8, from 1 to
            8 px). With more, blocks k3 s1 p1 of `width` channels, BatchNorm and Tanh stand before the last.
    """

    def __init__(
        self,
        n_classes: int,
        resolution_px: int,
        width: int,
        blocks: int | None = None,
        *,
        shown_px: int | None = None,
    ) -> None:
        super().__init__(resolution_px, shown_px)
        needed = doublings(resolution_px)
        ups = needed if blocks is None else min(needed, blocks - 1)
        more = 0 if blocks is None else max(0, blocks - 1 - needed)
        first, *_ = channels = halving(width, ups - 1, widest=FULL - 1)
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(n_classes, first, resolution_px >> ups),
            nn.BatchNorm2d(first),
            nn.Tanh(),
        ]
        for c_in, c_out in pairwise(channels):
            layers += [nn.ConvTranspose2d(c_in, c_out, 4, 2, 1), nn.BatchNorm2d(c_out), nn.Tanh()]
        for _ in range(more):
            layers += [nn.ConvTranspose2d(width, width, 3, 1, 1), nn.BatchNorm2d(width), nn.Tanh()]
        layers += [nn.ConvTranspose2d(width, 3, 4, 2, 1), nn.Sigmoid()]
        self.grow = nn.Sequential(*layers)

    @override
    def forward(self, scores: Tensor) -> Tensor:
        images: Tensor = self.grow(scores[:, :, None, None])
        return self.shown(images)


def standard_latents(seeds: list[int], latent_dim: int) -> Tensor:
    """Standard normal latents [N, Z], row i from seeds[i] alone."""
    rows = [torch.randn(latent_dim, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows)
