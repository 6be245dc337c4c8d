"""StyleGAN2's generator and discriminator.

Source: Karras et al., CVPR 2020 (StyleGAN2) and NeurIPS 2020 (StyleGAN2-ADA). We differ: styles scale what a
convolution takes and demodulation what it gives, which equals scaling each image's kernels and needs no grouped
convolution; no truncation, no clamp for half precision.
"""

from __future__ import annotations

from itertools import pairwise
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from typing_extensions import override

from midef.attacks.priors.networks.dcgan import doublings
from midef.datasets.files.augment import constant

TAPS = (1.0, 3.0, 3.0, 1.0)
"""The low-pass filter around every change of resolution."""


def _filter(like: Tensor, gain: float) -> Tensor:
    """The filter in two dimensions, one for each channel of `like`: [C, 1, 4, 4], summing to `gain`."""
    taps = constant(TAPS, like.device, like.dtype)
    square = taps[:, None] * taps
    return (square * (gain / square.sum())).expand(like.shape[1], 1, 4, 4)


def filtered(images: Tensor, *, pad: int, gain: float = 1.0, stride: int = 1) -> Tensor:
    """Low-pass filtered [B, C, H, W], with zeros around: H + 2 pad - 3 rows, of which each `stride`-th is given."""
    return F.conv2d(images, _filter(images, gain), stride=stride, padding=pad, groups=images.shape[1])


def doubled(images: Tensor) -> Tensor:
    """[B, C, 2H, 2W]: zeros between the pixels, then the filter. A constant stays what it is, but for the border."""
    return F.conv_transpose2d(images, _filter(images, 4.0), stride=2, padding=1, groups=images.shape[1])


def _leaky(values: Tensor) -> Tensor:
    """Leaky ReLU 0.2 that keeps the second moment."""
    return F.leaky_relu(values, 0.2) * sqrt(2)


class EqualLinear(nn.Module):
    """A linear layer whose weights are stored with unit variance and scaled when used, so all learn equally fast.

    Args:
        rate: learning rate of this layer as a share of the optimiser's.
    """

    def __init__(self, c_in: int, c_out: int, *, bias: float = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(c_out, c_in) / rate)
        self.bias = nn.Parameter(torch.full((c_out,), bias / rate))
        self.rate = rate

    @override
    def forward(self, values: Tensor) -> Tensor:
        return F.linear(values, self.weight * (self.rate / sqrt(self.weight.shape[1])), self.bias * self.rate)


class EqualConv(nn.Module):
    """A convolution with the weight scaling of `EqualLinear`.

    Args:
        down: filters and halves the resolution.
    """

    def __init__(self, c_in: int, c_out: int, size: int, *, bias: bool = True, down: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(c_out, c_in, size, size))
        self.bias = nn.Parameter(torch.zeros(c_out)) if bias else None
        self.size, self.down = size, down

    @override
    def forward(self, images: Tensor) -> Tensor:
        weight = self.weight / sqrt(self.weight[0].numel())
        if not self.down:
            return F.conv2d(images, weight, self.bias, padding=self.size // 2)
        if self.size == 1:
            return F.conv2d(filtered(images, pad=1, stride=2), weight, self.bias)
        return F.conv2d(filtered(images, pad=2), weight, self.bias, stride=2)


class ModulatedConv(nn.Module):
    """A convolution whose input channels are scaled by a style [B, W] of each image.

    Args:
        demodulate: outputs are scaled back to the variance they had without a style.
        up: doubles the resolution.
    """

    def __init__(
        self, c_in: int, c_out: int, size: int, style_dim: int, *, demodulate: bool = True, up: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(c_out, c_in, size, size))
        self.affine = EqualLinear(style_dim, c_in, bias=1.0)
        self.size, self.demodulate, self.up = size, demodulate, up

    @override
    def forward(self, images: Tensor, style: Tensor) -> Tensor:
        scale: Tensor = self.affine(style)
        # demodulation undoes any factor of the weights
        weight = self.weight if self.demodulate else self.weight / sqrt(self.weight[0].numel())
        images = images * scale[:, :, None, None]
        if self.up:
            images = F.conv_transpose2d(images, weight.transpose(0, 1), stride=2)
            images = filtered(images, pad=1, gain=4.0)
        else:
            images = F.conv2d(images, weight, padding=self.size // 2)
        if self.demodulate:
            power = scale.square() @ weight.square().sum(dim=(2, 3)).T  # [B, out]
            images = images * (power + 1e-8).rsqrt()[:, :, None, None]
        return images


class StyledLayer(nn.Module):
    """Modulated convolution, noise on each pixel (the same for all channels), bias and leaky ReLU."""

    def __init__(self, c_in: int, c_out: int, style_dim: int, resolution_px: int, *, up: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv(c_in, c_out, 3, style_dim, up=up)
        self.bias = nn.Parameter(torch.zeros(c_out))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise", torch.randn(1, 1, resolution_px, resolution_px))

    @override
    def forward(self, images: Tensor, style: Tensor, rng: Generator | None) -> Tensor:
        images = self.conv(images, style)
        noise: Tensor = self.noise  # type: ignore[assignment]
        if rng is not None:
            noise = torch.randn(len(images), *noise.shape[1:], generator=rng, device=images.device)
        return _leaky(images + noise * self.noise_strength + self.bias[:, None, None])


class Mapping(nn.Module):
    """Latents [B, Z], brought to unit second moment, to styles [B, Z]; learns at 1/100 of the rate."""

    def __init__(self, latent_dim: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EqualLinear(latent_dim, latent_dim, rate=0.01) for _ in range(layers))

    @override
    def forward(self, latents: Tensor) -> Tensor:
        styles = latents * (latents.square().mean(dim=-1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.layers:
            styles = _leaky(layer(styles))
        return styles


class StyleGenerator(nn.Module):
    """Latents [B, Z], or one for each layer [B, num_ws, Z], to images [B, 3, R, R] in [0, 1].

    Two convolutions at each resolution from 8 px, one at 4 px; each resolution adds to the image through a 1x1
    convolution, which shares the style of the convolution after it. num_ws is 10 at 64 px. Channels at r px:
    channel_base / r, at most channel_max. Noise is fixed (`noise_mode` const) where `forward` draws.
    """

    def __init__(
        self, latent_dim: int, mapping_layers: int, resolution_px: int, channel_base: int, channel_max: int
    ) -> None:
        super().__init__()
        sizes = [4 << i for i in range(doublings(resolution_px) + 1)]
        widths = [channels_at(size, channel_base, channel_max) for size in sizes]
        self.latent_dim = latent_dim
        self.num_ws = 2 * len(sizes)
        self.mapping = Mapping(latent_dim, mapping_layers)
        self.constant = nn.Parameter(torch.randn(1, widths[0], 4, 4))
        layers = [StyledLayer(widths[0], widths[0], latent_dim, 4)]
        for size, (c_in, c_out) in zip(sizes[1:], pairwise(widths), strict=True):
            layers += [StyledLayer(c_in, c_out, latent_dim, size, up=True), StyledLayer(c_out, c_out, latent_dim, size)]
        self.layers = nn.ModuleList(layers)
        self.to_rgb = nn.ModuleList(ModulatedConv(width, 3, 1, latent_dim, demodulate=False) for width in widths)
        self.rgb_bias = nn.Parameter(torch.zeros(len(sizes), 3))

    def synthesis(self, styles: Tensor, rng: Generator | None = None) -> Tensor:
        """Images [B, 3, R, R], about [-1, 1], of styles [B, num_ws, Z].

        Args:
            rng: draws fresh noise; None takes the fixed one.
        """
        style = styles.unbind(dim=1)
        hidden = self.constant.expand(len(styles), -1, -1, -1)
        image: Tensor | None = None
        for i, layer in enumerate(self.layers):
            hidden = layer(hidden, style[i], rng)
            if i % 2 == 0:  # the last convolution of its resolution
                block = i // 2
                colour = self.to_rgb[block](hidden, style[i + 1]) + self.rgb_bias[block][:, None, None]
                image = colour if image is None else doubled(image) + colour
        assert image is not None
        return image

    @override
    def forward(self, latents: Tensor) -> Tensor:
        styles = self.mapping(latents)
        if latents.dim() == 2:
            styles = styles[:, None].expand(-1, self.num_ws, -1)
        images: Tensor = (self.synthesis(styles) / 2 + 0.5).clamp(0, 1)
        return images


class ResidualDown(nn.Module):
    """Two convolutions beside a 1x1 one, both halving the resolution; their sum keeps the variance."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.first = EqualConv(c_in, c_in, 3)
        self.second = EqualConv(c_in, c_out, 3, down=True)
        self.skip = EqualConv(c_in, c_out, 1, bias=False, down=True)

    @override
    def forward(self, images: Tensor) -> Tensor:
        main = _leaky(self.second(_leaky(self.first(images))))
        total: Tensor = (main + self.skip(images)) * sqrt(0.5)
        return total


class StyleDiscriminator(nn.Module):
    """Images [B, 3, R, R] in [-1, 1] to scores [B], larger is more real; images of a group see each other."""

    def __init__(self, resolution_px: int, channel_base: int, channel_max: int) -> None:
        super().__init__()
        sizes = [resolution_px >> i for i in range(doublings(resolution_px) + 1)]
        widths = [channels_at(size, channel_base, channel_max) for size in sizes]
        self.from_rgb = EqualConv(3, widths[0], 1)
        self.blocks = nn.Sequential(*(ResidualDown(c_in, c_out) for c_in, c_out in pairwise(widths)))
        self.last = EqualConv(widths[-1] + 1, widths[-1], 3)
        self.hidden = EqualLinear(widths[-1] * 16, widths[-1])
        self.score = EqualLinear(widths[-1], 1)

    @override
    def forward(self, images: Tensor) -> Tensor:
        features = with_spread(self.blocks(_leaky(self.from_rgb(images))))
        features = _leaky(self.last(features))
        scores: Tensor = self.score(_leaky(self.hidden(features.flatten(1)))).flatten()
        return scores


def with_spread(features: Tensor, group: int = 4) -> Tensor:
    """[B, C + 1, H, W]: one more channel with the mean standard deviation within a group of images.

    Groups hold `group` images, or the largest number below it that divides B; image i is in group i mod (B / group).
    """
    size = next(n for n in range(min(group, len(features)), 0, -1) if len(features) % n == 0)
    grouped = features.reshape(size, -1, *features.shape[1:])
    spread = (grouped.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3)).repeat(size)
    return torch.cat([features, spread[:, None, None, None].expand(-1, 1, *features.shape[2:])], dim=1)


def channels_at(size_px: int, channel_base: int, channel_max: int) -> int:
    """Channels where the image is `size_px` wide."""
    return max(1, min(channel_base // size_px, channel_max))
