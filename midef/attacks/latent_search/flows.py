"""Distributions over latents that can be sampled, scored and moved: Glow-like flows and Gaussians, for many at once.

A family keeps no state: its parameters are a list of float64 tensors [N, L, ...], one distribution of vectors [D] for
each of N identities and L layers of a generator. None depends on another.

Shapes: N identities, L layers, B samples, D coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from midef.core.seeds import derive_seed

WARM_UP = 100
"""Standard normal vectors that set the scales of a new flow."""


class Family(Protocol):
    """A family of distributions: its start and its samples."""

    def start(self, seeds: Sequence[int], layers: int, device: str) -> list[Tensor]:
        """Parameters [N, L, ...] of distributions that are nearly standard normal; identity i from seeds[i] alone."""

    def sample(self, parameters: Sequence[Tensor], noise: Tensor) -> tuple[Tensor, Tensor]:
        """Samples [N, L, B, D] made of standard normal noise [N, L, B, D], and their log-ratios [N, L, B].

        The log-ratio is log q(sample) - log N(sample; 0, I); its mean estimates the Kullback-Leibler divergence.
        """


def _log_ratio(sample: Tensor, noise: Tensor, log_volume: Tensor) -> Tensor:
    """log q(s) - log N(s; 0, I) where s is noise moved by a map whose log |det| is `log_volume`."""
    return (sample.square() - noise.square()).sum(dim=-1) / 2 - log_volume


@dataclass(frozen=True)
class Gauss:
    """One Gaussian per identity and layer: a mean and a full lower triangle, from N(0, I) on.

    Args:
        dim: D.
    """

    dim: int

    def start(self, seeds: Sequence[int], layers: int, device: str) -> list[Tensor]:
        shape = (len(seeds), layers, self.dim)
        mean = torch.zeros(shape, dtype=torch.float64, device=device)
        return [mean, torch.diag_embed(torch.ones_like(mean))]

    def sample(self, parameters: Sequence[Tensor], noise: Tensor) -> tuple[Tensor, Tensor]:
        mean, triangle = parameters[0], parameters[1].tril()
        sample = mean[:, :, None] + noise @ triangle.mT
        log_volume = triangle.diagonal(dim1=-2, dim2=-1).abs().log().sum(dim=-1)
        return sample, _log_ratio(sample, noise, log_volume[:, :, None])


class _Norm(NamedTuple):
    """ActNorm: (x + shift) * exp(log_scale), each [N, L, C]."""

    shift: Tensor
    log_scale: Tensor

    def settle_(self, values: Tensor) -> None:
        """Set both so that values [N, L, B, C] come out with mean 0 and variance 1."""
        self.shift.copy_(-values.mean(dim=2))
        self.log_scale.copy_(-(values.std(dim=2, unbiased=False) + 1e-6).log())

    def forward(self, values: Tensor) -> Tensor:
        return (values + self.shift[:, :, None]) * self.log_scale.exp()[:, :, None]

    def inverse(self, values: Tensor) -> Tensor:
        return values * (-self.log_scale).exp()[:, :, None] - self.shift[:, :, None]


class _Step(NamedTuple):
    """ActNorm, a fixed permutation, and additive coupling through a network with two hidden layers."""

    norm: _Norm
    first: Tensor
    first_norm: _Norm
    second: Tensor
    second_norm: _Norm
    last: Tensor
    last_bias: Tensor

    def push(self, half: Tensor, *, settle: bool = False) -> Tensor:
        """Shift of the second half of the channels, computed from the first [N, L, B, C / 2].

        Args:
            settle: set the norms inside from these values.
        """
        hidden = half
        for weight, norm in ((self.first, self.first_norm), (self.second, self.second_norm)):
            hidden = hidden @ weight
            if settle:
                norm.settle_(hidden)
            hidden = F.elu(norm.forward(hidden))
        return hidden @ self.last + self.last_bias[:, :, None]


class _Level(NamedTuple):
    """Steps, then (but for the deepest level) the Gaussian of the channels that leave here, given those that go on."""

    steps: list[_Step]
    split: tuple[Tensor, Tensor] | None

    def leaving(self, staying: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of the channels that leave, given those that stay."""
        assert self.split is not None
        mean, log_std = (staying @ self.split[0] + self.split[1][:, :, None]).chunk(2, dim=-1)
        return mean, log_std


@dataclass(frozen=True)
class Flow:
    """Glow on vectors, one flow per identity and layer.

    Args:
        dim: D.
        levels: after each but the last, half of the channels leaves as a Gaussian given the other half.
        steps: per level, each ActNorm, a permutation and additive coupling.
        hidden: width of the couplings' networks.

    Coupling and splits start at zero and ActNorm starts from `WARM_UP` vectors of N(0, I), so that a new flow is
    nearly standard normal (0.01 nat per coordinate). The permutations are the same for all identities and layers.

    Source: Wang et al., NeurIPS 2021 (VMI), and released code, whose 3x3 convolutions on a 1x1 image are the linear
    layers here.
    """

    dim: int
    levels: int
    steps: int
    hidden: int

    @property
    def widths(self) -> list[int]:
        """Channels of each level; of an odd number the larger half goes on."""
        widths = [self.dim]
        for _ in range(self.levels - 1):
            widths.append(widths[-1] - widths[-1] // 2)
        return widths

    def start(self, seeds: Sequence[int], layers: int, device: str) -> list[Tensor]:
        streams = [Generator().manual_seed(seed) for seed in seeds]

        def normal(*shape: int) -> Tensor:
            rows = [torch.randn(layers, *shape, generator=rng, dtype=torch.float64) for rng in streams]
            return torch.stack(rows).to(device)

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(len(seeds), layers, *shape, dtype=torch.float64, device=device)

        parameters: list[Tensor] = []
        hidden = self.hidden
        for level, width in enumerate(self.widths):
            half = width // 2
            for _ in range(self.steps):
                parameters += [zeros(width), zeros(width)]
                parameters += [0.05 * normal(half, hidden), zeros(hidden), zeros(hidden)]
                parameters += [0.05 * normal(hidden, hidden), zeros(hidden), zeros(hidden)]
                parameters += [zeros(hidden, width - half), zeros(width - half)]
            if level < self.levels - 1:
                parameters += [zeros(width - half, 2 * half), zeros(2 * half)]
        self.encode(parameters, normal(WARM_UP, self.dim), settle=True)
        return parameters

    def sample(self, parameters: Sequence[Tensor], noise: Tensor) -> tuple[Tensor, Tensor]:
        """See `Family`. The first coordinates of the noise feed the deepest level."""
        levels, orders = self._levels(parameters), _orders(tuple(self.widths), self.steps, noise.device)
        start = self.widths[-1]
        sample, rest = noise[..., :start], noise[..., start:]
        log_volume = noise.new_zeros(noise.shape[:-1])
        for level, order, width in reversed(list(zip(levels, orders, self.widths, strict=True))):
            half = width // 2
            if level.split is not None:
                mean, log_std = level.leaving(sample)
                sample = torch.cat([sample, mean + log_std.exp() * rest[..., :half]], dim=-1)
                rest = rest[..., half:]
                log_volume = log_volume + log_std.sum(dim=-1)
            for step, permuted in reversed(list(zip(level.steps, order, strict=True))):
                first, second = sample[..., :half], sample[..., half:]
                sample = torch.cat([first, second - step.push(first)], dim=-1)
                sample = step.norm.inverse(sample[..., permuted.back])
                log_volume = log_volume - step.norm.log_scale.sum(dim=-1)[:, :, None]
        return sample, _log_ratio(sample, noise, log_volume)

    def encode(self, parameters: Sequence[Tensor], sample: Tensor, *, settle: bool = False) -> tuple[Tensor, Tensor]:
        """The noise that samples [N, L, B, D] are made of, and their log-ratios: the inverse of `sample`.

        Args:
            settle: set every ActNorm from the samples on the way.
        """
        levels, orders = self._levels(parameters), _orders(tuple(self.widths), self.steps, sample.device)
        values, left = sample, list[Tensor]()
        log_volume = sample.new_zeros(sample.shape[:-1])
        for level, order, width in zip(levels, orders, self.widths, strict=True):
            half = width // 2
            for step, permuted in zip(level.steps, order, strict=True):
                if settle:
                    step.norm.settle_(values)
                values = step.norm.forward(values)[..., permuted.there]
                first, second = values[..., :half], values[..., half:]
                values = torch.cat([first, second + step.push(first, settle=settle)], dim=-1)
                log_volume = log_volume - step.norm.log_scale.sum(dim=-1)[:, :, None]
            if level.split is not None:
                values, leaving = values[..., : width - half], values[..., width - half :]
                mean, log_std = level.leaving(values)
                left.insert(0, (leaving - mean) * (-log_std).exp())
                log_volume = log_volume + log_std.sum(dim=-1)
        noise = torch.cat([values, *left], dim=-1)
        return noise, _log_ratio(sample, noise, log_volume)

    def _levels(self, parameters: Sequence[Tensor]) -> list[_Level]:
        """The parameters, grouped by level and step, in the order of `start`."""
        left = iter(parameters)

        def step() -> _Step:
            norm = _Norm(next(left), next(left))
            first, first_norm = next(left), _Norm(next(left), next(left))
            second, second_norm = next(left), _Norm(next(left), next(left))
            return _Step(norm, first, first_norm, second, second_norm, next(left), next(left))

        levels = []
        for depth in range(self.levels):
            steps = [step() for _ in range(self.steps)]
            levels.append(_Level(steps, (next(left), next(left)) if depth < self.levels - 1 else None))
        return levels


class _Order(NamedTuple):
    there: Tensor
    back: Tensor


@cache
def _orders(widths: tuple[int, ...], steps: int, device: torch.device) -> list[list[_Order]]:
    """The permutation of each step of each level: constants of the method, not of a run."""

    def order(depth: int, step: int) -> _Order:
        rng = Generator().manual_seed(derive_seed("permutation", depth, step))
        there = torch.randperm(widths[depth], generator=rng)
        return _Order(there.to(device), there.argsort().to(device))

    return [[order(depth, step) for step in range(steps)] for depth in range(len(widths))]
