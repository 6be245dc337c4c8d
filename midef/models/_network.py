"""The network every family builds: a chain of named blocks and a head."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from torch import Tensor, nn
from typing_extensions import override

from midef.core.errors import SpecError, did_you_mean


class Forward(NamedTuple):
    """What one pass gives.

    logits: [B, K]; features: penultimate [B, D], the input of the head; taps: outputs of the blocks asked for, by name.
    """

    logits: Tensor
    features: Tensor
    taps: dict[str, Tensor]


class TargetModel(nn.Module):
    """A classifier as a chain of named blocks, so that taps, cuts and freezing mean the same for every family.

    blocks: name -> module, in order; the last one must give features [B, D]. head: features to logits.
    mean, std: normalisation of images in [0, 1]; the model normalises for itself.
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
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential(OrderedDict(blocks))
        self.head = head
        self.feature_dim = feature_dim
        self.n_classes = n_classes
        self.mean = mean
        self.std = std

    @property
    def block_names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.blocks.named_children())

    @override
    def forward(self, images: Tensor, taps: tuple[str, ...] = ()) -> Forward:
        """Run images [B, 3, H, W] in [0, 1].

        Raises:
            SpecError: if a tap is not a block of this network.
        """
        unknown = set(taps) - set(self.block_names)
        if unknown:
            raise SpecError([f"no block {name!r} to tap; {did_you_mean(name, self.block_names)}" for name in unknown])
        seen: dict[str, Tensor] = {}
        x = images if self.mean == 0.0 and self.std == 1.0 else (images - self.mean) / self.std
        for name, block in self.blocks.named_children():
            x = block(x)
            if name in taps:
                seen[name] = x
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
