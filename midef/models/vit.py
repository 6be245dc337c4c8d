"""The Vision Transformer ViT-B/16 as a chain of named blocks, and a tiny sibling for small images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.core.lazy import nn
from midef.models.base import ARCHITECTURES, Architecture, ModelFacts

if TYPE_CHECKING:
    from midef.nn.network import TargetModel


@ARCHITECTURES.add("vit_b16")
@dataclass(frozen=True, kw_only=True)
class VitB16(Architecture):
    """Patches of 16 px, 12 encoder blocks, the class token as features; 86,567,656 parameters at 224 px, 1,000 classes.

    Blocks `stem` (patches, class token, position embedding), `layer1_0` to `layer1_11`, `pool` (final LayerNorm of the
    class token). Taps are tokens [B, S, D]: the stem, the blocks that end a quarter, half and three quarters of the
    depth, and the features [B, D]. Every encoder block has the skips `attention` and `mlp`; they are one stage.
    The position embedding is learned, so a network works only at the resolution it was built for.

    Args:
        dropout: 0 to below 1; share of activations zeroed while training, in the stem, after attention and in the MLPs.
            Larger regularises more; 0 as in torchvision, the paper trains on ImageNet-1k with 0.1.

    Source: Dosovitskiy et al., ICLR 2021; pieces and their initial weights are torchvision's.
    We differ: the head starts with the random weights of any linear layer. torchvision starts it at zero, which gives
    equal logits and no slope below the head until the first step.
    """

    gflop_64px: ClassVar[float] = 2.9
    paper: ClassVar[str] = "Dosovitskiy et al., ICLR 2021"
    family: ClassVar[str] = "vit"
    patch: ClassVar[int] = 16
    depth: ClassVar[int] = 12
    heads: ClassVar[int] = 12
    width: ClassVar[int] = 768

    dropout: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise ValueError(f"needs 0 <= dropout < 1, got {self.dropout}")

    @override
    def facts(self) -> ModelFacts:
        layers = tuple(f"layer1_{i}" for i in range(self.depth))
        quarters = tuple(layers[self.depth * quarter // 4 - 1] for quarter in (1, 2, 3))
        return ModelFacts(
            self.family,
            ("stem", *layers, "pool"),
            ("stem", *quarters, "pool"),
            has_batch_norm=False,
            skip_stages=(layers,),
            skip_kinds=("attention", "mlp"),
            has_attention=True,
            draws=self.dropout > 0,
        )

    @override
    def problems(self, resolution_px: int) -> list[str]:
        if resolution_px < self.patch or resolution_px % self.patch:
            return [f"patches of {self.patch} px need a multiple of {self.patch} px, got {resolution_px}"]
        return []

    @override
    def build(self, n_classes: int, resolution_px: int) -> TargetModel:
        from midef.nn.network import TargetModel
        from midef.nn.vit import ClassToken, EncoderBlock, PatchStem

        blocks: list[tuple[str, nn.Module]] = [("stem", PatchStem(resolution_px, self.patch, self.width, self.dropout))]
        for i in range(self.depth):
            blocks.append((f"layer1_{i}", EncoderBlock(self.width, self.heads, self.dropout)))
        blocks.append(("pool", ClassToken(self.width)))
        head = nn.Linear(self.width, n_classes)
        return TargetModel(blocks, head, feature_dim=self.width, n_classes=n_classes, mean=0.5, std=0.5)


@ARCHITECTURES.add("vit_b16_tiny")
@dataclass(frozen=True, kw_only=True)
class VitB16Tiny(VitB16):
    """ViT with patches of 8 px, 4 blocks and an eighth of the width: 16 patches at 32 px, 64 at 64 px.

    569,416 parameters at 64 px with 1,000 classes; 4 heads of 24 channels. Taps, skips and `dropout` as in ViT-B/16.
    """

    gflop_64px: ClassVar[float] = 0.066
    is_small: ClassVar[bool] = True
    patch: ClassVar[int] = 8
    depth: ClassVar[int] = 4
    heads: ClassVar[int] = 4
    width: ClassVar[int] = 96
