"""Layers of StyleGAN2's generator and discriminator: filters around changes of resolution, scaled weights, styles.

Source: Karras et al., CVPR 2020 (StyleGAN2) and NeurIPS 2020 (StyleGAN2-ADA).
"""

from __future__ import annotations

from math import sqrt

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from typing_extensions import override

from midef.datasets.files.augment import constant

TAPS = (1.0, 3.0, 3.0, 1.0)
"""The low-pass filter around every change of resolution."""


def channels_at(size_px: int, channel_base: int, channel_max: int) -> int:
    """Channels where the image is `size_px` wide."""
    return max(1, min(channel_base // size_px, channel_max))


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


LEAKY_GAIN = sqrt(2)
"""Keeps the second moment through a leaky ReLU. It commutes with it, so layers scale their small weights by it."""


def leaky(values: Tensor, clamp: float | None = None) -> Tensor:
    """Leaky ReLU 0.2, between -clamp and clamp; changes `values` in place where nothing else needs them."""
    return clamped(F.leaky_relu(values, 0.2, inplace=True), clamp)


def clamped(values: Tensor, clamp: float | None) -> Tensor:
    """Values between -clamp and clamp; None changes nothing."""
    return values if clamp is None else values.clamp(-clamp, clamp)


def in_float32(like: Tensor) -> torch.autocast:
    """While this lasts, autocast is off on the device of a tensor."""
    return torch.autocast(like.device.type, enabled=False)


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
    def forward(self, values: Tensor, gain: float = 1.0) -> Tensor:
        """Its outputs, `gain` times."""
        scale = gain * self.rate
        return F.linear(values, self.weight * (scale / sqrt(self.weight.shape[1])), self.bias * scale)


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
    def forward(self, images: Tensor, gain: float = 1.0) -> Tensor:
        """Its outputs, `gain` times."""
        weight = self.weight * (gain / sqrt(self.weight[0].numel()))
        bias = None if self.bias is None else self.bias * gain
        if not self.down:
            return F.conv2d(images, weight, bias, padding=self.size // 2)
        if self.size == 1:
            return F.conv2d(filtered(images, pad=1, stride=2), weight, bias)
        return F.conv2d(filtered(images, pad=2), weight, bias, stride=2)


def _demodulation(weight: Tensor, scale: Tensor) -> Tensor:
    """[B, out]: what brings the outputs of a modulated convolution back to the variance they had without a style."""
    power = scale.square() @ weight.square().sum(dim=(2, 3)).T
    return (power + 1e-8).rsqrt()


def modulated(
    images: Tensor,
    weight: Tensor,
    scale: Tensor,
    added: Tensor,
    *,
    gain: float = 1.0,
    demodulate: bool = True,
    up: bool = False,
) -> Tensor:
    """A convolution of images [B, in, H, W] whose input channels are scaled by the style of each image.

    Styles scale what the convolution takes and demodulation what it gives: one convolution for all images.

    Args:
        weight: [out, in, k, k].
        scale: [B, in].
        added: to the result, any shape that broadcasts to it.
        gain: factor of the result, before that.
        up: doubles the resolution: zeros between the pixels, convolution, filter.
    """
    images = images * scale[:, :, None, None]
    if not demodulate:
        weight = weight * gain
    if up:
        images = filtered(F.conv_transpose2d(images, weight.transpose(0, 1), stride=2), pad=1, gain=4.0)
    else:
        images = F.conv2d(images, weight, padding=weight.shape[2] // 2)
    if not demodulate:
        return images + added
    return torch.addcmul(added, images, (_demodulation(weight, scale) * gain)[:, :, None, None])


def modulated_kernels(
    images: Tensor,
    weight: Tensor,
    scale: Tensor,
    added: Tensor,
    *,
    gain: float = 1.0,
    demodulate: bool = True,
    up: bool = False,
) -> Tensor:
    """`modulated` as the paper defines it: each image has kernels of its own, in one grouped convolution.

    Args:
        weight: [out, in, k, k].
        scale: [B, in].
        added, gain, up: as of `modulated`.
    """
    kernels = weight * gain * scale[:, None, :, None, None]  # [B, out, in, k, k]
    if demodulate:
        kernels = kernels * _demodulation(weight, scale)[:, :, None, None, None]
    count, size = len(images), weight.shape[2]
    together = images.reshape(1, -1, *images.shape[2:])
    if up:
        turned = kernels.transpose(1, 2).flatten(0, 1)
        made = F.conv_transpose2d(together, turned, stride=2, groups=count)
        return filtered(made.view(count, -1, *made.shape[2:]), pad=1, gain=4.0) + added
    made = F.conv2d(together, kernels.flatten(0, 1), padding=size // 2, groups=count)
    return made.view(count, -1, *made.shape[2:]) + added


class StyledLayer(nn.Module):
    """Modulated 3x3 convolution, noise on each pixel (the same for all channels), bias and leaky ReLU.

    Args:
        clamp: largest size of what comes out.
        fused: `modulated_kernels` in place of `modulated`.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        style_dim: int,
        resolution_px: int,
        *,
        up: bool = False,
        clamp: float | None = None,
        fused: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(c_out, c_in, 3, 3))
        self.affine = EqualLinear(style_dim, c_in, bias=1.0)
        self.bias = nn.Parameter(torch.zeros(c_out))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.noise_const: Tensor
        self.register_buffer("noise_const", torch.randn(resolution_px, resolution_px))
        self.up, self.clamp, self.fused = up, clamp, fused

    @override
    def forward(self, images: Tensor, style: Tensor, rng: Generator | None) -> Tensor:
        convolve = modulated_kernels if self.fused else modulated
        noise = self.noise_const
        if rng is not None:
            noise = torch.randn(len(images), 1, *noise.shape, generator=rng, device=images.device)
        added = noise * (self.noise_strength * LEAKY_GAIN)
        images = convolve(images, self.weight, self.affine(style), added, gain=LEAKY_GAIN, up=self.up)
        return leaky(images.add_((self.bias * LEAKY_GAIN)[:, None, None]), self.clamp)


class ToRgb(nn.Module):
    """A modulated 1x1 convolution to colours, without demodulation, noise or ReLU."""

    def __init__(self, c_in: int, style_dim: int, *, clamp: float | None = None, fused: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, c_in, 1, 1))
        self.affine = EqualLinear(style_dim, c_in, bias=1.0)
        self.bias = nn.Parameter(torch.zeros(3))
        self.clamp, self.fused = clamp, fused

    @override
    def forward(self, images: Tensor, style: Tensor) -> Tensor:
        convolve = modulated_kernels if self.fused else modulated
        gain = 1 / sqrt(self.weight.shape[1])
        colours = convolve(
            images, self.weight, self.affine(style), self.bias[:, None, None], gain=gain, demodulate=False
        )
        return clamped(colours, self.clamp)
