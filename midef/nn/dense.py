"""Dense blocks whose concatenations can be cut, and the network that follows the cut; weights are torchvision's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from typing_extensions import override

from midef.core.errors import SpecError
from midef.nn.network import SkipBlock, TargetModel

BOTTLENECK = 4
"""Channels between the two convolutions of a dense layer, per channel of growth."""


class DenseLayer(nn.Sequential):
    """`growth` new channels from all those concatenated before: norm, relu, conv 1x1, norm, relu, conv 3x3."""

    norm1: nn.BatchNorm2d
    conv1: nn.Conv2d

    def __init__(self, c_in: int, growth: int) -> None:
        between = BOTTLENECK * growth
        layers: dict[str, nn.Module] = {
            "norm1": nn.BatchNorm2d(c_in),
            "relu1": nn.ReLU(inplace=True),
            "conv1": nn.Conv2d(c_in, between, 1, bias=False),
            "norm2": nn.BatchNorm2d(between),
            "relu2": nn.ReLU(inplace=True),
            "conv2": nn.Conv2d(between, growth, 3, padding=1, bias=False),
        }
        super().__init__(OrderedDict(layers))


class Transition(nn.Sequential):
    """Mixes the channels of a dense block into fewer and halves the image."""

    norm: nn.BatchNorm2d
    conv: nn.Conv2d

    def __init__(self, c_in: int, out: int) -> None:
        layers: dict[str, nn.Module] = {
            "norm": nn.BatchNorm2d(c_in),
            "relu": nn.ReLU(inplace=True),
            "conv": nn.Conv2d(c_in, out, 1, bias=False),
            "pool": nn.AvgPool2d(2),
        }
        super().__init__(OrderedDict(layers))


class Pool(nn.Sequential):
    """The last norm of the network and the mean over all pixels: a dense block's output as features [B, D]."""

    norm: nn.BatchNorm2d

    def __init__(self, c_in: int) -> None:
        layers: dict[str, nn.Module] = {
            "norm": nn.BatchNorm2d(c_in),
            "relu": nn.ReLU(inplace=True),
            "pool": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
        }
        super().__init__(OrderedDict(layers))


class DenseBlock(SkipBlock):
    """Layers `layer1` to `layern`; each sees the block's input and what every layer before it added, oldest first.

    The skips are the older maps in these concatenations: all but the one made immediately before. Scaled by k, only
    the first round(k * channels) channels of each older map are seen, by later layers and by what follows the block.
    """

    def __init__(self, c_in: int, growth: int, depth: int) -> None:
        super().__init__()
        self.widths = (c_in, *[growth] * depth)  # channels of each map, the block's input first
        self.kept = self.widths  # how many of them are seen once the map is no longer the newest
        for i in range(depth):
            self.add_module(f"layer{i + 1}", DenseLayer(c_in + i * growth, growth))

    @override
    def forward(self, x: Tensor) -> Tensor:
        older: list[Tensor] = []
        newest = x
        for kept, layer in zip(self.kept, self.children(), strict=False):
            made = layer(torch.cat([*older, newest], 1))
            if kept:
                older.append(newest[:, :kept])
            newest = made
        return torch.cat([*older, newest], 1)

    @override
    def scale_skip(self, k: float, *, only: frozenset[str] = frozenset()) -> None:
        """Cut the layers; `DenseNet.scale_skips` also cuts what follows, which sees fewer channels then."""
        self.narrow_(k, only=only)

    def narrow_(self, k: float, *, only: frozenset[str] = frozenset()) -> list[int]:
        """Cut the inputs of every layer to what k leaves, and return which output channels stay, ascending.

        Raises:
            SpecError: for a kind of skip, since there is one kind only; for a k that asks removed channels back.
        """
        if only:
            raise SpecError(f"a dense block has one kind of skip, got only={sorted(only)}; leave `only` empty")
        narrowed = tuple(round(k * width) for width in self.widths)
        if any(new > old for new, old in zip(narrowed, self.kept, strict=True)):
            raise SpecError(f"k={k:g} asks for channels that a smaller k has removed; scale a fresh network instead")
        stay: list[int] = []  # positions among the older maps
        begin = 0  # where the newest map begins
        for layer, new, old, width in zip(self.children(), narrowed, self.kept, self.widths, strict=False):
            assert isinstance(layer, DenseLayer)
            positions = [*stay, *range(begin, begin + width)]
            keep_norm_(layer.norm1, positions)
            keep_inputs_(layer.conv1, positions)
            stay += range(begin, begin + new)
            begin += old
        self.kept = narrowed
        return [*stay, *range(begin, begin + self.widths[-1])]


class DenseNet(TargetModel):
    """A chain in which every dense block is followed by a `Transition` or, at the end, by `Pool` and the head."""

    @override
    def scale_skips(self, blocks: Iterable[str], k: float, *, only: frozenset[str] = frozenset()) -> None:
        """Keep the first round(k * channels) channels of older maps; the weights of what is kept stay as they are.

        After the last dense block `feature_dim` and the head shrink with it.

        Raises:
            SpecError: if `only` is not empty, if k asks removed channels back, or if the head is no linear layer.
        """
        follower = dict(zip(self.block_names, self.block_names[1:], strict=False))
        for name in blocks:
            block, after = self.blocks.get_submodule(name), self.blocks.get_submodule(follower[name])
            assert isinstance(block, DenseBlock), "ModelFacts.skip_stages names blocks that can be scaled"
            if isinstance(after, Pool) and not isinstance(self.head, nn.Linear):
                head = type(self.head).__name__
                raise SpecError(
                    f"scaling the last dense block cuts a linear head, got {head}; scale before replacing it"
                )
            positions = block.narrow_(k, only=only)
            if isinstance(after, Transition):
                keep_norm_(after.norm, positions)
                keep_inputs_(after.conv, positions)
            else:
                assert isinstance(after, Pool) and isinstance(self.head, nn.Linear)
                keep_norm_(after.norm, positions)
                keep_inputs_(self.head, positions)
                self.feature_dim = len(positions)


def keep_inputs_(layer: nn.Conv2d | nn.Linear, positions: list[int]) -> None:
    """Remove all input channels of `layer` but these, in place: mode, device and frozenness stay."""
    layer.weight = _kept(layer.weight, 1, positions)
    if isinstance(layer, nn.Linear):
        layer.in_features = len(positions)
    else:
        layer.in_channels = len(positions)


def keep_norm_(norm: nn.BatchNorm2d, positions: list[int]) -> None:
    """Remove all channels of `norm` but these, running statistics included, in place."""
    norm.weight, norm.bias = _kept(norm.weight, 0, positions), _kept(norm.bias, 0, positions)
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean = _picked(norm.running_mean, 0, positions)
    norm.running_var = _picked(norm.running_var, 0, positions)
    norm.num_features = len(positions)


def _kept(parameter: Tensor, dim: int, positions: list[int]) -> nn.Parameter:
    return nn.Parameter(_picked(parameter.detach(), dim, positions), requires_grad=parameter.requires_grad)


def _picked(values: Tensor, dim: int, positions: list[int]) -> Tensor:
    return values.index_select(dim, torch.tensor(positions, device=values.device))
