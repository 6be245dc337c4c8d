"""The inversion network: from a target's answer back to an image."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from typing_extensions import override

from midef.nn.doubling import FULL, doublings, halving
from midef.nn.sized import SizedGenerator


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
