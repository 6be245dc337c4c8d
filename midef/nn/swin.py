"""Building blocks of Swin Transformer V2; weights and names inside the pieces are torchvision's."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torchvision.models.swin_transformer import PatchMergingV2, ShiftedWindowAttentionV2
from torchvision.ops.misc import MLP, Permute
from torchvision.ops.stochastic_depth import StochasticDepth
from typing_extensions import override

from midef.nn.network import plus_skip
from midef.nn.vit import TransformerBlock

__all__ = ["PatchMergingV2", "SwinBlock", "patch_stem", "pool"]


class SwinBlock(TransformerBlock):
    """Attention inside windows, then an MLP, each before its own LayerNorm: [B, H, W, C] to [B, H, W, C].

    Args:
        window, shift: side of a window and how far the windows are moved, in patches.
        drop: chance that F(x) is dropped for an image while training.
    """

    def __init__(self, width: int, heads: int, *, window: int, shift: int, drop: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = ShiftedWindowAttentionV2(width, [window, window], [shift, shift], heads)
        self.stochastic_depth = StochasticDepth(drop, "row")
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width, [4 * width, width], activation_layer=nn.GELU, inplace=None)

    @override
    def forward(self, x: Tensor) -> Tensor:
        x = self._with_skip(self.norm1(self.attn(x)), x, self.attention_skip)
        return self._with_skip(self.norm2(self.mlp(x)), x, self.mlp_skip)

    def _with_skip(self, out: Tensor, x: Tensor, k: float) -> Tensor:
        # F(x) may be dropped because the shortcut carries the image on; without a shortcut nothing would be left.
        return out if k == 0 else plus_skip(self.stochastic_depth(out), x, k)


def patch_stem(patch: int, width: int) -> nn.Sequential:
    """Images [B, 3, H, W] to normalised patches [B, H / patch, W / patch, C]."""
    return nn.Sequential(nn.Conv2d(3, width, patch, patch), Permute([0, 2, 3, 1]), nn.LayerNorm(width))


def pool(width: int) -> nn.Sequential:
    """[B, H, W, C] to [B, C]: the mean over places after the final LayerNorm."""
    return nn.Sequential(
        OrderedDict(
            norm=nn.LayerNorm(width),
            permute=Permute([0, 3, 1, 2]),
            avgpool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
        )
    )
