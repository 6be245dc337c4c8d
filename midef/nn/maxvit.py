"""MaxViT layers whose three kinds of skip connections can be scaled; weights and names are torchvision's."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torchvision.models import maxvit
from torchvision.ops import Conv2dNormActivation
from typing_extensions import override

from midef.core.errors import SpecError, did_you_mean
from midef.nn.network import SkipBlock

KINDS = ("mbconv", "attention", "mlp")
EXPANSION, SQUEEZE = 4, 0.25


def batch_norm(momentum: float) -> partial[nn.BatchNorm2d]:
    """Batch norm as MaxViT has it."""
    return partial(nn.BatchNorm2d, eps=1e-3, momentum=momentum)


def make_stem(channels: int, momentum: float) -> nn.Sequential:
    """Two 3x3 convolutions, the first with stride 2."""
    norm = batch_norm(momentum)
    return nn.Sequential(
        Conv2dNormActivation(3, channels, 3, 2, norm_layer=norm, activation_layer=nn.GELU, bias=False, inplace=None),
        Conv2dNormActivation(channels, channels, 3, 1, norm_layer=None, activation_layer=None, bias=True),
    )


def make_pool(channels: int) -> nn.Sequential:
    """The mean over all pixels, normalised and passed through one hidden layer: features [B, channels] in (-1, 1)."""
    hidden = (nn.LayerNorm(channels), nn.Linear(channels, channels), nn.Tanh())
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *hidden)


class MBConv(maxvit.MBConv):  # type: ignore[misc]  # torchvision is not typed
    """F(x) + k S(x); F expands, convolves by channel, weighs channels and projects, S is the identity or a projection.

    Stochastic depth drops F(x) for a few images while training; not at k = 0, where nothing would be left of them.
    """

    skip_scale: float = 1.0

    def scale_skip(self, k: float) -> None:
        self.skip_scale = k
        if k == 0:
            self.proj = nn.Identity()

    @override
    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.layers(x)
        if self.skip_scale == 0:
            return change
        skip = self.proj(x)
        return _sum(skip, self.stochastic_depth(change), self.skip_scale)


class PartitionAttention(maxvit.PartitionAttentionLayer):  # type: ignore[misc]  # torchvision is not typed
    """Attention, then an MLP, among the pixels of a window or of a grid; each is F(x) + k x with its own k.

    Stochastic depth drops F(x) for a few images while training; not at k = 0, where nothing would be left of them.
    """

    attention_scale: float = 1.0
    mlp_scale: float = 1.0

    @override
    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]; H and W are those given when it was built."""
        down, across = (side // self.p for side in self.grid_size)
        x = self.partition_swap(self.partition_op(x, self.p))
        x = self._with_skip(x, self.attn_layer, self.attention_scale)
        x = self._with_skip(x, self.mlp_layer, self.mlp_scale)
        result: Tensor = self.departition_op(self.departition_swap(x), self.p, down, across)
        return result

    def _with_skip(self, x: Tensor, layer: nn.Module, k: float) -> Tensor:
        change: Tensor = layer(x)
        return change if k == 0 else _sum(x, self.stochastic_dropout(change), k)


def _sum(skip: Tensor, change: Tensor, k: float) -> Tensor:
    return skip + change if k == 1 else k * skip + change


class MaxVitLayer(SkipBlock):
    """MBConv, attention in windows, attention on a grid; skips of the kinds `mbconv`, `attention` and `mlp`.

    Args:
        side: pixels per side of its output, a multiple of `partition`.
        drop: probability of stochastic depth.
    """

    def __init__(
        self,
        c_in: int,
        out: int,
        *,
        stride: int,
        side: int,
        partition: int,
        head_dim: int,
        drop: float,
        momentum: float,
    ) -> None:
        super().__init__()
        self.mbconv = MBConv(c_in, out, EXPANSION, SQUEEZE, stride, nn.GELU, batch_norm(momentum), drop)
        attention = partial(
            PartitionAttention,
            in_channels=out,
            head_dim=head_dim,
            partition_size=partition,
            grid_size=(side, side),
            mlp_ratio=EXPANSION,
            activation_layer=nn.GELU,
            norm_layer=nn.LayerNorm,
            attention_dropout=0.0,
            mlp_dropout=0.0,
            p_stochastic_dropout=drop,
        )
        self.window_attention = attention(partition_type="window")
        self.grid_attention = attention(partition_type="grid")

    @override
    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.grid_attention(self.window_attention(self.mbconv(x)))
        return result

    @override
    def scale_skip(self, k: float, *, only: frozenset[str] = frozenset()) -> None:
        unknown = sorted(only - set(KINDS))
        if unknown:
            raise SpecError([f"MaxViT has no skips of kind {kind!r}; {did_you_mean(kind, KINDS)}" for kind in unknown])
        kinds = only or frozenset(KINDS)
        if "mbconv" in kinds:
            self.mbconv.scale_skip(k)
        for layer in (self.window_attention, self.grid_attention):
            if "attention" in kinds:
                layer.attention_scale = k
            if "mlp" in kinds:
                layer.mlp_scale = k
