"""Class-conditional generator and the two discriminators that train it, shared by PLG-MI and LOKT."""

from __future__ import annotations

from itertools import pairwise
from math import sqrt
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from typing_extensions import override

from midef.nn.doubling import FULL, doublings, halving, rising
from midef.nn.sized import SizedGenerator


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose scale and offset belong to the class: [B, C, H, W] and labels [B] -> [B, C, H, W].

    Mean and variance are shared by all classes; new rows scale by 1 and add 0. In eval mode an image does not depend on
    the others of its batch.
    """

    def __init__(self, n_classes: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.scale = nn.Parameter(torch.ones(n_classes, channels))
        self.offset = nn.Parameter(torch.zeros(n_classes, channels))

    @override
    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        scale, offset = F.embedding(labels, self.scale), F.embedding(labels, self.offset)
        if self.training:
            x = self.norm(x)
        else:  # one pass over the image instead of two
            mean, variance = self.norm.running_mean, self.norm.running_var
            assert mean is not None and variance is not None
            scale = scale * (variance + self.norm.eps).rsqrt()
            offset = offset - mean * scale
        return torch.addcmul(offset.to(x.dtype)[:, :, None, None], x, scale.to(x.dtype)[:, :, None, None])


def _twice_as_large(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class UpBlock(nn.Module):
    """Residual block that doubles the resolution: cBN, ReLU, bilinear x2, conv3, cBN, ReLU, conv3, plus conv1 of x2.

    The shortcut's convolution runs before its doubling: with a kernel of one pixel the two commute, at a quarter of the
    work.
    """

    def __init__(self, n_classes: int, c_in: int, c_out: int) -> None:
        super().__init__()
        self.norm1 = ConditionalBatchNorm(n_classes, c_in)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.norm2 = ConditionalBatchNorm(n_classes, c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.shortcut = nn.Conv2d(c_in, c_out, 1)

    @override
    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        h = self.conv1(_twice_as_large(F.relu(self.norm1(x, labels), inplace=True)))
        h = self.conv2(F.relu(self.norm2(h, labels), inplace=True))
        grown: Tensor = h + _twice_as_large(self.shortcut(x))
        return grown


class ConditionalGenerator(SizedGenerator):
    """The generator of PLG-MI and LOKT: latents [B, Z] and labels [B] -> images [B, 3, px, px] in [-1, 1].

    Linear to 4 px, residual blocks that double the resolution while channels halve from 16 * width to width at 64 px,
    where they stay, then BatchNorm, ReLU, conv1, tanh. Pictures are trained to lie in [0, 1]: who draws decides what
    becomes of the values below 0. 17,973,379 parameters at 64 px, Z 128, width 64, K 1000, of them 5,760,000 rows of
    the classes; 18,641,411 and 6,272,000 at 256 px.

    Args:
        resolution_px: R, of what it draws itself.
        shown_px: of its images, see `SizedGenerator`.

    Source: Yuan et al., AAAI 2023 (PLG-MI). Two more blocks at 256 px: LoFt, appendix on attacks; their channels:
    MIBench, whose networks it uses.
    """

    kept: ClassVar[float] = 8.0

    def __init__(
        self, latent_dim: int, n_classes: int, resolution_px: int, width: int, shown_px: int | None = None
    ) -> None:
        super().__init__(resolution_px, shown_px)
        channels = halving(width, doublings(resolution_px), widest=FULL)
        self.latent_dim = latent_dim
        self.n_classes = n_classes
        self.width = width
        self.first = channels[0]
        self.project = nn.Linear(latent_dim, self.first * 16)
        self.grow = nn.ModuleList([UpBlock(n_classes, c_in, c_out) for c_in, c_out in pairwise(channels)])
        self.norm = nn.BatchNorm2d(width)
        self.colour = nn.Conv2d(width, 3, 1)

    @property
    @override
    def largest_feature(self) -> int:
        return self.width * self.resolution_px**2

    @override
    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        x: Tensor = self.project(latents).view(-1, self.first, 4, 4)
        for block in self.grow:
            x = block(x, labels)
        return self.shown(torch.tanh(self.colour(F.relu(self.norm(x), inplace=True))))


def _normed_conv(c_in: int, c_out: int, kernel_px: int, *, gain: float) -> nn.Module:
    conv = nn.Conv2d(c_in, c_out, kernel_px, padding=kernel_px // 2)
    nn.init.xavier_uniform_(conv.weight, gain)
    return spectral_norm(conv)


class DownBlock(nn.Module):
    """Residual block that halves the resolution: ReLU, conv3, ReLU, conv3, mean of 2 x 2, plus conv1 of that mean.

    All convolutions are spectrally normalised. The papers' later blocks take conv1 before the mean; the two commute, at
    a quarter of the work this way round.

    Args:
        first: this block sees the image: no ReLU before its first convolution, which widens at once.
    """

    def __init__(self, c_in: int, c_out: int, *, first: bool = False) -> None:
        super().__init__()
        between = c_out if first else c_in
        self.first = first
        self.conv1 = _normed_conv(c_in, between, 3, gain=sqrt(2))
        self.conv2 = _normed_conv(between, c_out, 3, gain=sqrt(2))
        self.shortcut = _normed_conv(c_in, c_out, 1, gain=1.0)

    @override
    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(x if self.first else F.relu(x))
        h = self.conv2(F.relu(h, inplace=True))
        return F.avg_pool2d(h, 2) + self.shortcut(F.avg_pool2d(x, 2))  # type: ignore[no-any-return]


class DownTrunk(nn.Module):
    """Images [B, 3, R, R] -> features [B, `features`]: blocks down to 2 px, ReLU, the sum over space.

    features: 16 * width from 64 px on, fewer below.
    """

    def __init__(self, resolution_px: int, width: int) -> None:
        super().__init__()
        channels = rising(width, doublings(resolution_px) + 1, widest=FULL)
        self.features = channels[-1]
        later = [DownBlock(c_in, c_out) for c_in, c_out in pairwise(channels)]
        self.blocks = nn.Sequential(DownBlock(3, width, first=True), *later)

    @override
    def forward(self, images: Tensor) -> Tensor:
        return F.relu(self.blocks(images)).sum(dim=(2, 3))


def _head(features: int, outputs: int) -> nn.Linear:
    head = nn.Linear(features, outputs)
    nn.init.xavier_uniform_(head.weight)
    return head


class ProjectionDiscriminator(nn.Module):
    """PLG-MI's discriminator: images [B, 3, R, R] and labels [B] -> scores [B], larger is more real for that label.

    A linear score of the features plus their product with the class's row; everything is spectrally normalised.
    11,165,441 parameters at 64 px, width 64, K 1000; 51,017,473 at 256 px. It has no batch
    statistics: an image is judged alone.
    """

    def __init__(self, n_classes: int, resolution_px: int, width: int) -> None:
        super().__init__()
        self.trunk = DownTrunk(resolution_px, width)
        rows = nn.Embedding(n_classes, self.trunk.features)
        nn.init.xavier_uniform_(rows.weight)
        self.real = spectral_norm(_head(self.trunk.features, 1))
        self.rows = spectral_norm(rows)

    @override
    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        features: Tensor = self.trunk(images)
        scores: Tensor = self.real(features).squeeze(1) + (self.rows(labels) * features).sum(dim=1)
        return scores


class AuxiliaryDiscriminator(nn.Module):
    """LOKT's discriminator: images [B, 3, R, R] -> logits of being real [B] and logits of the classes [B, K].

    The trunk of `ProjectionDiscriminator`; the two linear heads are not spectrally normalised.
    """

    def __init__(self, n_classes: int, resolution_px: int, width: int) -> None:
        super().__init__()
        self.trunk = DownTrunk(resolution_px, width)
        self.real = _head(self.trunk.features, 1)
        self.classes = _head(self.trunk.features, n_classes)

    @override
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features: Tensor = self.trunk(images)
        return self.real(features).squeeze(1), self.classes(features)
