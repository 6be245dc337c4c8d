"""The network every family builds: a chain of named blocks and a head."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Self

from torch import Tensor, nn
from typing_extensions import override

from midef.core.errors import SpecError, did_you_mean
from midef.nn.taps import CODE


class Forward(NamedTuple):
    """Output of one pass.

    Args:
        logits: [B, K].
        features: penultimate [B, D], the input of the head.
        taps: outputs of the blocks asked for, by name.
        side_logits: of heads in the middle of the network, each [B, K], whose loss is added to that of `logits`; none
            outside of training.
    """

    logits: Tensor
    features: Tensor
    taps: dict[str, Tensor]
    side_logits: tuple[Tensor, ...] = ()


class CodeHead(nn.Module):
    """A head with an inner representation that a defense or an attack may read: the tap `code`."""

    def with_code(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, K] and the code [B, ...] of features [B, D]."""
        raise NotImplementedError

    @override
    def forward(self, features: Tensor) -> Tensor:
        return self.with_code(features)[0]


class SkipBlock(nn.Module):
    """A block with skip connections that can be scaled: out = F(x) + k S(x).

    `scale_skip` is called before training; the parameters that k = 0 leaves unused must be removed by it.
    """

    def scale_skip(self, k: float, *, only: frozenset[str] = frozenset()) -> None:
        """Set k, 0 to 1; k = 1 computes exactly what the block computed before.

        Args:
            only: kinds of skips (of families with several: `mbconv`, `attention`, `mlp`); empty means all.
        """
        raise NotImplementedError


class ResidualBlock(SkipBlock):
    """A block with one shortcut S, `downsample`, or the identity where that is None."""

    skip_scale: float = 1.0
    downsample: nn.Module | None

    @override
    def scale_skip(self, k: float, *, only: frozenset[str] = frozenset()) -> None:
        self.skip_scale = k
        if k == 0:
            self.downsample = None

    def with_skip(self, out: Tensor, x: Tensor) -> Tensor:
        """F(x) + k S(x), where `out` is F(x); S is not computed at k = 0."""
        if self.skip_scale == 0:
            return out
        return plus_skip(out, x if self.downsample is None else self.downsample(x), self.skip_scale)


def plus_skip(out: Tensor, skip: Tensor, k: float) -> Tensor:
    """out + k skip, any shape; `out` alone at k = 0."""
    if k == 0:
        return out
    return out + (skip if k == 1 else k * skip)


class TargetModel(nn.Module):
    """A classifier as a chain of named blocks, so that taps, cuts and freezing mean the same for every family.

    Args:
        blocks: name -> module, in order; the last one must give features [B, D].
        head: features to logits.
        mean, std: normalisation of images in [0, 1]; the model normalises for itself.
        parts: unit -> paths below `blocks` that hold its weights, for units that are smaller than a block.
    """

    def __init__(
        self,
        blocks: Iterable[tuple[str, nn.Module]],
        head: nn.Module,
        *,
        feature_dim: int,
        n_classes: int,
        mean: float = 0.0,
        std: float = 1.0,
        parts: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential(OrderedDict(blocks))
        self.head = head
        self.feature_dim = feature_dim
        self.n_classes = n_classes
        self.mean = mean
        self.std = std
        self.parts = dict(parts or {})
        self._held_in_eval: list[str] = []

    def unit(self, name: str) -> list[nn.Module]:
        """The modules of one unit of `ModelFacts.units`."""
        return [self.blocks.get_submodule(path) for path in self.parts.get(name, (name,))]

    def hold_in_eval(self, paths: Iterable[str]) -> None:
        """Keep these modules (paths as in `named_modules`) in eval mode whatever `train()` says."""
        self._held_in_eval += paths

    @override
    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for path in self._held_in_eval:
            self.get_submodule(path).eval()
        return self

    def scale_skips(self, blocks: Iterable[str], k: float, *, only: frozenset[str] = frozenset()) -> None:
        """Scale the skip connections of these blocks by k; families whose later blocks must follow override this."""
        for name in blocks:
            block = self.blocks.get_submodule(name)
            assert isinstance(block, SkipBlock), "ModelFacts.skip_stages names blocks that can be scaled"
            block.scale_skip(k, only=only)

    @property
    def block_names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.blocks.named_children())

    @override
    def forward(self, images: Tensor, taps: tuple[str, ...] = ()) -> Forward:
        """Run images [B, 3, H, W] in [0, 1].

        Raises:
            SpecError: if a tap is not a block of this network.
        """
        known = {*self.block_names, *([CODE] if isinstance(self.head, CodeHead) else [])}
        unknown = set(taps) - known
        if unknown:
            raise SpecError([f"no block {name!r} to tap; {did_you_mean(name, known)}" for name in sorted(unknown)])
        seen: dict[str, Tensor] = {}
        x = images if self.mean == 0.0 and self.std == 1.0 else (images - self.mean) / self.std
        for name, block in self.blocks.named_children():
            x = block(x)
            if name in taps:
                seen[name] = x
        if CODE in taps:
            assert isinstance(self.head, CodeHead)
            logits, seen[CODE] = self.head.with_code(x)
            return Forward(logits, x, seen)
        return Forward(self.head(x), x, seen)


def freeze_(model: nn.Module) -> None:
    """Put `model` in eval mode and switch gradients of its weights off (saves a third of an attack's backward)."""
    model.eval()
    model.requires_grad_(False)


class FixedZeroBias(nn.BatchNorm1d):
    """BatchNorm1d whose bias is held at 0, as in the 64-px targets of the GMI line."""

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.bias.requires_grad_(False)


def count_parameters(model: nn.Module) -> int:
    """Trainable and frozen parameters, buffers not counted."""
    return sum(p.numel() for p in model.parameters())
