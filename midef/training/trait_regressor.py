"""Traits that draw images: how much each moves the image, and a network that reads them from it."""

from __future__ import annotations

from math import cos, pi
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from midef.core.seeds import derive_seed
from midef.training.generative.loop import Losses, TrainingRun, descend

if TYPE_CHECKING:
    from torch import Generator

    from midef.datasets import ImageFormation

WEIGHED = 64
"""Random images that the weight of a trait is measured on: with others it differs by some percent."""
_STEP = 0.1
"""Half the difference of a trait that its slope is measured over, in standard deviations of the population."""
BATCH = 64
_LEARNING_RATE = 3e-3
_LARGEST_SHIFT_PX = 1
_LARGEST_BLUR_PX = 0.9
_LARGEST_NOISE = 0.05


def trait_weights(formation: ImageFormation, resolution_px: int) -> np.ndarray:
    """How much each identity trait moves the image [n_traits]: root mean square over pixels, channels and random images
    of the population of the change per standard deviation of the trait, by central differences, without pixel noise.

    The same on every machine up to roundings: the images follow from a fixed seed.
    """
    rng = torch.Generator().manual_seed(derive_seed("trait weights"))
    latents = torch.randn(WEIGHED, formation.latent_dim, generator=rng)
    squares = []
    with torch.no_grad():
        for trait in range(formation.n_traits):
            step = torch.zeros(formation.latent_dim)
            step[trait] = _STEP
            above, below = (formation.images(latents + sign * step, resolution_px) for sign in (1, -1))
            squares.append(((above - below) / (2 * _STEP)).double().square().mean())
    weights: np.ndarray = torch.stack(squares).sqrt().numpy()
    return weights


class TraitRegressor(nn.Module):
    """Images [B, 3, R, R] in [0, 1] to traits [B, n_traits] in standard deviations of the population.

    Convolutions of stride 2 down to 4 px at most, then two linear layers.

    Args:
        resolution_px: R >= 8.
        width: channels after the first convolution.
    """

    def __init__(self, n_traits: int, resolution_px: int, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, size, wider = 3, resolution_px, width
        while size > 4 or not layers:
            kernel = 3 if layers else 4
            layers += [nn.Conv2d(channels, wider, kernel, 2, 1, bias=False), nn.BatchNorm2d(wider), nn.ReLU()]
            channels, wider = wider, min(2 * wider, 4 * width)
            size = (size + 2 - kernel) // 2 + 1
        self.features = nn.Sequential(*layers, nn.Flatten())
        self.head = nn.Sequential(
            nn.Linear(channels * size * size, 8 * width), nn.ReLU(), nn.Linear(8 * width, n_traits)
        )

    @override
    def forward(self, images: Tensor) -> Tensor:
        traits: Tensor = self.head(self.features(2 * images - 1))
        return traits


def fit_trait_regressor(
    formation: ImageFormation, weights: Tensor, *, resolution_px: int, images: int, run: TrainingRun
) -> tuple[TraitRegressor, dict[str, float]]:
    """Train a regressor on so many images, each drawn anew from random latents and shown once, disturbed.

    Adam with decoupled weight decay; the learning rate rises over the first tenth of the steps and falls to 0 as a
    cosine. The loss is the squared distance of traits, as trait accuracy weighs them, over that of always guessing 0:
    1 for a network that knows nothing.

    Args:
        weights: of the traits [n_traits].
        images: >= 1; steps are of 64.

    Returns:
        The network, in eval mode, and the mean loss over the last tenth of the steps.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        network = TraitRegressor(formation.n_traits, resolution_px)
    run.prepare_(network)
    adam = torch.optim.AdamW(network.parameters(), lr=_LEARNING_RATE, weight_decay=1e-4)
    rng, count = run.stream("trait regressor"), max(1, images // BATCH)
    shares = (weights.float().square() / weights.float().square().sum()).to(run.device)

    def step(number: int) -> Losses:
        for group in adam.param_groups:
            group["lr"] = _LEARNING_RATE * rate_share(number / count)
        with torch.no_grad():
            latents = torch.randn(min(BATCH, max(2, images)), formation.latent_dim, generator=rng, device=run.device)
            drawn = disturbed(formation.images(latents, resolution_px), rng)
        guessed = network(drawn.to(memory_format=torch.channels_last))
        loss = ((guessed - latents[:, : formation.n_traits]).square() * shares).sum(dim=1).mean()
        descend(adam, loss)
        return {"loss": loss}

    losses = run.steps(count, step)
    return network.eval(), losses


def rate_share(progress: float) -> float:
    """Share of the largest learning rate, above 0 to 1, at a fraction of training."""
    return 0.1 + 9 * progress if progress < 0.1 else 0.5 * (1 + cos(pi * (progress - 0.1) / 0.9))


def disturbed(images: Tensor, rng: Generator) -> Tensor:
    """Images [B, 3, R, R] as generators of networks draw them: half blurred, all noisy, shifted by a pixel at most.

    Without it, a regressor that saw only sharp drawings reads little from a generator's images.
    """
    count, device = len(images), images.device

    def uniform() -> Tensor:
        return torch.rand(count, 1, 1, 1, generator=rng, device=device)

    blurs = blurred(images, (_LARGEST_BLUR_PX * uniform()).clamp(min=0.05).flatten())
    images = torch.where(uniform() < 0.5, blurs, images)
    images = images + _LARGEST_NOISE * uniform() * torch.randn(images.shape, generator=rng, device=device)
    most, size = _LARGEST_SHIFT_PX, images.shape[3]
    down, right = torch.randint(0, 2 * most + 1, (2,), generator=rng, device=device)
    padded, places = F.pad(images, (most, most, most, most), mode="replicate"), torch.arange(size, device=device)
    # the whole batch together: the next one is shifted otherwise
    return padded.index_select(2, down + places).index_select(3, right + places)


def blurred(images: Tensor, sigmas: Tensor) -> Tensor:
    """Images [B, C, H, W], each under a Gaussian of its own standard deviation [B], pixels; borders are repeated."""
    count, channels = images.shape[:2]
    places = torch.arange(-2.0, 3.0, device=images.device)
    kernels = (-places.square() / (2 * sigmas[:, None].square())).exp()
    kernels = (kernels / kernels.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)[:, None]
    flat = F.pad(images, (2, 2, 2, 2), mode="replicate").flatten(0, 1)[None]
    flat = F.conv2d(flat, kernels[:, :, :, None], groups=count * channels)
    flat = F.conv2d(flat, kernels[:, :, None, :], groups=count * channels)
    return flat.view(images.shape)


@torch.no_grad()
def read_traits(network: TraitRegressor, images: Tensor, device: str) -> Tensor:
    """Traits [N, n_traits], float64 on the CPU, as a network in eval mode reads them from images [N, 3, R, R] uint8."""
    parts = [network(part.to(device).float() / 255).double().cpu() for part in images.split(512)]
    return torch.cat(parts)
