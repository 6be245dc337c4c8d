"""StyleGAN2's generator: the one of all attacks, self-trained or published.

Modules and tensors are named as in the state dict of NVIDIA's `G_ema`, so a converted file loads by name.

Source: Karras et al., CVPR 2020 (StyleGAN2) and NeurIPS 2020 (StyleGAN2-ADA). We differ: styles scale what a
convolution takes and demodulation what it gives, which equals scaling each image's kernels (`fused` does that) and
needs no grouped convolution; everything is float32, under autocast, too.
"""

from __future__ import annotations

from copy import copy
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn
from torch.utils.checkpoint import checkpoint
from typing_extensions import override

from midef.attacks.priors.networks.style_gan2_layers import (
    LEAKY_GAIN,
    EqualLinear,
    StyledLayer,
    ToRgb,
    channels_at,
    doubled,
    in_float32,
    leaky,
)
from midef.nn.doubling import doublings
from midef.nn.resize import resized

KEPT = 20
"""Features of the largest size that are kept for the way back, together: of the two largest blocks mostly."""


class Mapping(nn.Module):
    """Latents [..., Z], brought to unit second moment, to w of the same shape; learns at 1/100 of the rate.

    Its buffer `w_avg` [Z] is the mean w, towards which truncation pulls; zeros until a training sets it.
    """

    def __init__(self, latent_dim: int, layers: int) -> None:
        super().__init__()
        self.n_layers = layers
        for i in range(layers):
            self.add_module(f"fc{i}", EqualLinear(latent_dim, latent_dim, rate=0.01))
        self.w_avg: Tensor
        self.register_buffer("w_avg", torch.zeros(latent_dim))

    @override
    def forward(self, latents: Tensor) -> Tensor:
        with in_float32(latents):
            w = latents * (latents.square().mean(dim=-1, keepdim=True) + 1e-8).rsqrt()
            for i in range(self.n_layers):
                w = leaky(self.get_submodule(f"fc{i}")(w, LEAKY_GAIN))
            return w


class Block(nn.Module):
    """One resolution: two styled convolutions (at 4 px a learned constant and one), and what they add to the image.

    Args:
        c_in: channels that enter; 0 for the block at 4 px.
    """

    def __init__(
        self, c_in: int, c_out: int, style_dim: int, resolution_px: int, *, clamp: float | None, fused: bool
    ) -> None:
        super().__init__()
        if c_in:
            self.conv0 = StyledLayer(c_in, c_out, style_dim, resolution_px, up=True, clamp=clamp, fused=fused)
        else:
            self.const = nn.Parameter(torch.randn(c_out, resolution_px, resolution_px))
        self.conv1 = StyledLayer(c_out, c_out, style_dim, resolution_px, clamp=clamp, fused=fused)
        self.torgb = ToRgb(c_out, style_dim, clamp=clamp, fused=fused)
        self.is_first, self.resolution_px = not c_in, resolution_px

    def features(self, hidden: Tensor | None, ws: Tensor, rng: Generator | None) -> Tensor:
        """What leaves the block, [B, out, r, r], before it becomes colour.

        Args:
            hidden: what enters, [B, in, r/2, r/2]; None at 4 px.
            ws: its rows of w, [B, 3, Z] (2 at 4 px): one for each convolution, then colour.
        """
        if self.is_first:
            hidden = self.const.expand(len(ws), -1, -1, -1)
        else:
            assert hidden is not None
            hidden = self.conv0(hidden, ws[:, 0], rng)
        out: Tensor = self.conv1(hidden, ws[:, -2], rng)
        return out

    @override
    def forward(
        self, hidden: Tensor | None, image: Tensor | None, ws: Tensor, rng: Generator | None
    ) -> tuple[Tensor, Tensor]:
        hidden = self.features(hidden, ws, rng)
        colour = self.torgb(hidden, ws[:, -1])
        return hidden, colour if image is None else doubled(image) + colour


class Synthesis(nn.Module):
    """Rows of w [B, num_ws, Z] to images [B, 3, R, R], about [-1, 1] and never clipped.

    Block k draws at 4 * 2^k px and takes rows 2k - 1, 2k and 2k + 1 (0 and 1 at 4 px): the colour of a block and the
    first convolution of the next one share a row.

    `checkpointed` stores no activations inside blocks but computes them again on the way back: less memory, more time.
    """

    def __init__(
        self, latent_dim: int, resolution_px: int, widths: list[int], *, clamp: float | None, fused: bool
    ) -> None:
        super().__init__()
        self.sizes = [4 << i for i in range(doublings(resolution_px) + 1)]
        for size, (c_in, c_out) in zip(self.sizes, pairwise([0, *widths]), strict=True):
            self.add_module(f"b{size}", Block(c_in, c_out, latent_dim, size, clamp=clamp, fused=fused))
        self.num_ws = 2 * len(self.sizes)
        self.checkpointed = False

    def block(self, k: int) -> Block:
        """The block that draws at 4 * 2^k px."""
        block = self.get_submodule(f"b{self.sizes[k]}")
        assert isinstance(block, Block)
        return block

    def _rows(self, ws: Tensor, k: int) -> Tensor:
        return ws[:, max(0, 2 * k - 1) : 2 * k + 2]

    @override
    def forward(self, ws: Tensor, rng: Generator | None = None, begin: int = 0, hidden: Tensor | None = None) -> Tensor:
        """Images of rows of w.

        Args:
            ws: [B, num_ws, Z], all rows wherever it begins.
            rng: draws fresh noise; None takes the fixed one.
            begin: the first block to run. From 1 on the image starts there: earlier blocks add no colour.
            hidden: what enters that block, see `features`; None where it begins at 0.
        """
        self._check(ws, begin, hidden)
        image: Tensor | None = None
        for k in range(begin, len(self.sizes)):
            block, rows = self.block(k), self._rows(ws, k)
            with in_float32(ws):
                if self.checkpointed and rng is None and torch.is_grad_enabled():
                    hidden, image = checkpoint(
                        block, hidden, image, rows, rng, use_reentrant=False, preserve_rng_state=False
                    )
                else:
                    hidden, image = block(hidden, image, rows, rng)
        assert image is not None
        return image

    def features(self, ws: Tensor, block: int, begin: int = 0, hidden: Tensor | None = None) -> Tensor:
        """What enters a block, with fixed noise: [B, C, r, r] where r is 4 * 2^(block - 1).

        Args:
            block: 1 to the number of blocks - 1, and at least `begin`.
            begin, hidden: as of `forward`.
        """
        self._check(ws, begin, hidden)
        if not max(begin, 1) <= block < len(self.sizes):
            raise ValueError(f"needs a block from {max(begin, 1)} to {len(self.sizes) - 1}, got {block}")
        with in_float32(ws):
            for k in range(begin, block):
                hidden = self.block(k).features(hidden, self._rows(ws, k), None)
        assert hidden is not None
        return hidden

    def _check(self, ws: Tensor, begin: int, hidden: Tensor | None) -> None:
        if ws.dim() != 3 or ws.shape[1] != self.num_ws:
            raise ValueError(f"needs rows of w [B, {self.num_ws}, Z], got {list(ws.shape)}")
        if not 0 <= begin < len(self.sizes) or (begin == 0) != (hidden is None):
            given = "none" if hidden is None else f"features {list(hidden.shape)}"
            raise ValueError(
                f"needs begin from 0 to {len(self.sizes) - 1}, with features from 1 on, got begin={begin} and {given}"
            )


class StyleGenerator(nn.Module):
    """Latents [B, Z], or one for each layer [B, num_ws, Z], to images [B, 3, px, px] in [0, 1].

    Two convolutions at each resolution from 8 px, one at 4 px; each resolution adds to the image through a 1x1
    convolution, which shares the row of w with the convolution after it. num_ws is 10 at 64 px, 18 at 1024.

    Args:
        latent_dim: Z, of latents and w alike.
        resolution_px: R, of what it draws itself.
        channel_base, channel_max: channels at r px are channel_base / r, at most channel_max.
        conv_clamp: largest size of what any convolution gives; None has no bound.
        fused: modulate the kernels of each image in place of what enters and leaves; slower, the same numbers.
        crop: share of the side of an image that `view` keeps, in its centre, (0, 1].
        shown_px: of what `forward` gives; None is R.
    """

    def __init__(
        self,
        latent_dim: int,
        mapping_layers: int,
        resolution_px: int,
        channel_base: int,
        channel_max: int,
        *,
        conv_clamp: float | None = None,
        fused: bool = False,
        crop: float = 1.0,
        shown_px: int | None = None,
    ) -> None:
        super().__init__()
        sizes = [4 << i for i in range(doublings(resolution_px) + 1)]
        widths = [channels_at(size, channel_base, channel_max) for size in sizes]
        self.latent_dim = latent_dim
        self.resolution_px = resolution_px
        self.n_blocks = len(sizes)
        self.num_ws = 2 * len(sizes)
        self.crop, self.shown_px = crop, shown_px or resolution_px
        self.mapping = Mapping(latent_dim, mapping_layers)
        self.synthesis = Synthesis(latent_dim, resolution_px, widths, clamp=conv_clamp, fused=fused)

    @property
    def largest_feature(self) -> int:
        """Numbers in the largest map of an image."""
        blocks = map(self.synthesis.block, range(self.n_blocks))
        return max(block.conv1.weight.shape[0] * block.resolution_px**2 for block in blocks)

    @property
    def bytes_per_image(self) -> int:
        """Memory that an image takes in a search, about: `KEPT` times what its largest feature takes."""
        return KEPT * 4 * self.largest_feature

    def styles(self, w: Tensor, psi: float = 1.0, cutoff: int | None = None) -> Tensor:
        """Rows [B, num_ws, Z] of one w [B, Z] for all layers or of one for each, truncated: w_avg + psi (w - w_avg).

        Args:
            psi: 1 changes nothing, 0 gives the mean.
            cutoff: how many rows are truncated, the first ones; None is all of them.
        """
        rows = w if w.dim() == 3 else w[:, None].expand(-1, self.num_ws, -1)
        if psi == 1:
            return rows
        first = self.num_ws if cutoff is None else cutoff
        return torch.cat([torch.lerp(self.mapping.w_avg, rows[:, :first], psi), rows[:, first:]], dim=1)

    def features(self, ws: Tensor, block: int, begin: int = 0, hidden: Tensor | None = None) -> Tensor:
        """What enters a block of the synthesis; see `Synthesis.features`."""
        return self.synthesis.features(ws, block, begin, hidden)

    def view(self, images: Tensor, px: int) -> Tensor:
        """Images [B, 3, R, R] in [-1, 1] as an attack shows them, [B, 3, px, px]; nothing is clipped.

        The centre of the image (`crop` of its side), resized by antialiased bilinear weights.
        """
        side = images.shape[-1]
        kept = round(side * self.crop)
        if kept < side:
            begin = (side - kept) // 2
            images = images[:, :, begin : begin + kept, begin : begin + kept]
        return resized(images, px)

    def showing(self, px: int) -> StyleGenerator:
        """The same network, whose images `forward` gives, and attacks see, at this many px; tensors are shared."""
        other = copy(self)
        other.shown_px = px
        return other

    @override
    def forward(self, latents: Tensor) -> Tensor:
        w = self.mapping(latents)
        images = self.synthesis(self.styles(w))
        shown: Tensor = (self.view(images, self.shown_px) / 2 + 0.5).clamp(0, 1)
        return shown
