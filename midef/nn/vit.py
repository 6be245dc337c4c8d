"""Building blocks of the Vision Transformer; weights and names inside the pieces are torchvision's."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torchvision.models.vision_transformer import MLPBlock
from typing_extensions import override

from midef.core.errors import ShapeError, SpecError, did_you_mean
from midef.nn.network import SkipBlock, plus_skip

KINDS = ("attention", "mlp")
"""The skips of a transformer block, in the order they are computed."""


class TransformerBlock(SkipBlock):
    """A block with two identity skips, one around its attention and one around its MLP, each scaled on its own."""

    attention_skip: float = 1.0
    mlp_skip: float = 1.0

    @override
    def scale_skip(self, k: float, *, only: frozenset[str] = frozenset()) -> None:
        """Set k of the kinds `attention` and `mlp`, or of those in `only`.

        Raises:
            SpecError: if `only` names another kind.
        """
        unknown = only.difference(KINDS)
        if unknown:
            raise SpecError([f"no skip {name!r} to scale; {did_you_mean(name, KINDS)}" for name in sorted(unknown)])
        for kind in only or KINDS:
            setattr(self, f"{kind}_skip", k)


class EncoderBlock(TransformerBlock):
    """Attention, then an MLP, each after its own LayerNorm: tokens [B, S, D] to [B, S, D]."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, eps=1e-6)
        self.self_attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.ln_2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MLPBlock(width, 4 * width, dropout)

    @override
    def forward(self, x: Tensor) -> Tensor:
        normed = self.ln_1(x)
        attended, _ = self.self_attention(normed, normed, normed, need_weights=False)
        x = plus_skip(self.dropout(attended), x, self.attention_skip)
        return plus_skip(self.mlp(self.ln_2(x)), x, self.mlp_skip)


class PatchStem(nn.Module):
    """Images [B, 3, R, R] to tokens [B, 1 + (R / patch)^2, D]: the class token, then the patches row by row."""

    def __init__(self, resolution_px: int, patch: int, width: int, dropout: float) -> None:
        super().__init__()
        self.resolution_px = resolution_px
        self.conv_proj = nn.Conv2d(3, width, patch, patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embedding = nn.Parameter(torch.empty(1, 1 + (resolution_px // patch) ** 2, width).normal_(std=0.02))
        self.dropout = nn.Dropout(dropout)
        nn.init.trunc_normal_(self.conv_proj.weight, std=math.sqrt(1 / (3 * patch**2)))
        assert self.conv_proj.bias is not None
        nn.init.zeros_(self.conv_proj.bias)

    @override
    def forward(self, images: Tensor) -> Tensor:
        side = self.resolution_px
        if images.shape[2:] != (side, side):
            given = " x ".join(str(n) for n in images.shape[2:])
            raise ShapeError(f"the position embedding was built for {side} x {side} px, got {given}; resize the images")
        patches = self.conv_proj(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(images), -1, -1), patches], dim=1)
        embedded: Tensor = self.dropout(tokens + self.pos_embedding)
        return embedded


class ClassToken(nn.Module):
    """The class token of [B, S, D] after the final LayerNorm: [B, D]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln = nn.LayerNorm(width, eps=1e-6)

    @override
    def forward(self, tokens: Tensor) -> Tensor:
        features: Tensor = self.ln(tokens[:, 0])
        return features
