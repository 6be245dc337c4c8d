"""Building blocks of Inception-ResNet-v1: convolutions side by side, and units that add what these found."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from midef.nn.network import ResidualBlock, TargetModel

Size = int | tuple[int, int]
Step = tuple[int, Size, int, Size]
"""Width, kernel, stride and padding of a convolution of a branch."""

BRANCHES_35: tuple[tuple[Step, ...], ...] = (
    ((32, 1, 1, 0),),
    ((32, 1, 1, 0), (32, 3, 1, 1)),
    ((32, 1, 1, 0), (32, 3, 1, 1), (32, 3, 1, 1)),
)
BRANCHES_17: tuple[tuple[Step, ...], ...] = (
    ((128, 1, 1, 0),),
    ((128, 1, 1, 0), (128, (1, 7), 1, (0, 3)), (128, (7, 1), 1, (3, 0))),
)
BRANCHES_8: tuple[tuple[Step, ...], ...] = (
    ((192, 1, 1, 0),),
    ((192, 1, 1, 0), (192, (1, 3), 1, (0, 1)), (192, (3, 1), 1, (1, 0))),
)
"""Branches of the residual units, named after the side of their maps in the paper."""
BRANCHES_6A: tuple[tuple[Step, ...], ...] = (
    ((384, 3, 2, 0),),
    ((192, 1, 1, 0), (192, 3, 1, 1), (256, 3, 2, 0)),
    (),
)
BRANCHES_7A: tuple[tuple[Step, ...], ...] = (
    ((256, 1, 1, 0), (384, 3, 2, 0)),
    ((256, 1, 1, 0), (256, 3, 2, 0)),
    ((256, 1, 1, 0), (256, 3, 1, 1), (256, 3, 2, 0)),
    (),
)
"""Branches of the units that halve; an empty one is a max-pool."""


class ConvNorm(nn.Module):
    """A convolution without bias, batch norm with epsilon 0.001, ReLU."""

    def __init__(self, c_in: int, c_out: int, kernel: Size, stride: int = 1, padding: Size = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(c_out, eps=0.001)
        self.relu = nn.ReLU()

    @override
    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.bn(self.conv(x)))
        return out


def _branch(c_in: int, steps: Sequence[Step], divisor: int) -> nn.Module:
    """The convolutions of one branch; a single one stands alone, as in the published file."""
    if not steps:
        return nn.MaxPool2d(3, stride=2)
    made = []
    for width, kernel, stride, padding in steps:
        made.append(ConvNorm(c_in, width // divisor, kernel, stride, padding))
        c_in = width // divisor
    return made[0] if len(made) == 1 else nn.Sequential(*made)


class Halving(nn.Module):
    """Branches that halve the map, their channels one after another.

    Args:
        c_in: channels that come.
        branches: of the unit; a max-pool keeps all channels.
        divisor: of all widths.
    """

    def __init__(self, c_in: int, branches: Sequence[Sequence[Step]], divisor: int) -> None:
        super().__init__()
        self.n_branches = len(branches)
        for i, steps in enumerate(branches):
            self.add_module(f"branch{i}", _branch(c_in, steps, divisor))
        self.c_out = sum(steps[-1][0] // divisor if steps else c_in for steps in branches)

    @override
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.get_submodule(f"branch{i}")(x) for i in range(self.n_branches)], dim=1)


class InceptionResidual(ResidualBlock):
    """act(scale F(x) + k x), where F is a 1x1 convolution over the branches' channels.

    Args:
        channels: that come and go.
        branches: of F.
        divisor: of all widths of branches.
        scale: of F, so that a deep chain of units does not diverge.
        rectifies: False for the last unit, which ends without ReLU.
    """

    def __init__(
        self,
        channels: int,
        branches: Sequence[Sequence[Step]],
        divisor: int,
        *,
        scale: float,
        rectifies: bool = True,
    ) -> None:
        super().__init__()
        self.n_branches, self.scale = len(branches), scale
        for i, steps in enumerate(branches):
            self.add_module(f"branch{i}", _branch(channels, steps, divisor))
        self.conv2d = nn.Conv2d(sum(steps[-1][0] // divisor for steps in branches), channels, 1)
        self.downsample = None
        self.relu: Callable[[Tensor], Tensor] = nn.ReLU() if rectifies else nn.Identity()

    @override
    def forward(self, x: Tensor) -> Tensor:
        seen = torch.cat([self.get_submodule(f"branch{i}")(x) for i in range(self.n_branches)], dim=1)
        return self.relu(self.with_skip(self.scale * self.conv2d(seen), x))


class UnitLength(nn.Module):
    """Images [B, 3, R, R] in [0, 1] -> features [B, D] of length 1 of a network, whose head is not asked."""

    def __init__(self, network: TargetModel) -> None:
        super().__init__()
        self.network = network

    @override
    def forward(self, images: Tensor) -> Tensor:
        return F.normalize(self.network(images).features, dim=1)
