"""Training of style-based generators on public images, with adaptive augmentation."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from midef.core.lazy import F, torch
from midef.training.generative.augmentation import AdaptiveAugmentation
from midef.training.generative.loop import PROBED, Losses, ShuffledPasses, TrainingRun, frozen

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

PENALTY_EVERY = 16
MIXING = 0.9
"""Share of generated images whose later layers take another latent than the first ones."""
RAMP_UP = 0.05
"""The average forgets half within this share of the images seen so far, while that is less than its half-life."""

Draw = Callable[["nn.Module", "Tensor", "Generator"], "Tensor"]


@dataclass(frozen=True, kw_only=True)
class StyleGanSettings:
    """The fields of `StyleGan2` that its training reads."""

    latent_dim: int
    steps: int
    batch_size: int
    learning_rate: float
    r1: float
    ada_target: float
    ada_images: int
    ema_images: int
    mirror: bool


def fit_style_gan(
    generator: nn.Module,
    discriminator: nn.Module,
    images: Tensor,
    draw: Draw,
    layers: int,
    settings: StyleGanSettings,
    run: TrainingRun,
) -> dict[str, float]:
    """Train both in place on images [N, 3, H, W] uint8; the generator ends as its running average.

    A step is one of the discriminator and one of the generator, with the non-saturating logistic losses and Adam, betas
    (0, 0.99). The discriminator pays r1 / 2 times the squared slope at real images, every 16th step and then 16-fold.

    Args:
        draw: images, about [-1, 1], of the generator and latents [B, layers, latent_dim], with fresh noise.
        layers: latents of an image.

    Source: Karras et al., NeurIPS 2020 (StyleGAN2-ADA), its `auto` configuration. We differ: no path-length penalty of
    the generator; the slope penalty joins the step of the logistic loss, where they take a step of its own; each image
    draws by itself whether and from which layer on it mixes two latents, where they draw it for a batch.

    Early in a training the generator makes the detail it cannot draw yet of noise. Attacks draw with the fixed noise,
    which after a short training is a grain at the same places of all images.

    Returns:
        The mean discriminator (without penalty) and generator losses of the last tenth, and the last augmentation
        probability.
    """
    run.prepare_(generator, discriminator)
    average = copy.deepcopy(generator)
    data = images.to(run.device)
    rng = run.stream("style_gan")
    passes = ShuffledPasses(len(data), settings.batch_size, rng)
    adam = {"lr": settings.learning_rate, "betas": (0.0, 0.99)}
    adam_g, adam_d = (run.optimizer(torch.optim.Adam, network, **adam) for network in (generator, discriminator))
    augment = AdaptiveAugmentation(
        target=settings.ada_target, images=settings.ada_images, batch_size=settings.batch_size, device=run.device
    )

    def fakes() -> Tensor:
        return draw(generator, mixed_latents(settings.batch_size, layers, settings.latent_dim, rng, run.device), rng)

    def loss_of_discriminator(index: Tensor, *, with_penalty: bool) -> tuple[Tensor, ...]:
        real = data[index].float() / 127.5 - 1
        if settings.mirror:
            mirrored = torch.rand(len(real), 1, 1, 1, generator=rng, device=real.device) < 0.5
            real = torch.where(mirrored, real.flip(3), real)
        with torch.no_grad():
            fake = fakes()
        real.requires_grad_(with_penalty)
        of_real = discriminator(augment(real, rng))
        of_fake = discriminator(augment(fake, rng))
        logistic = F.softplus(of_fake).mean() + F.softplus(-of_real).mean()
        penalty = PENALTY_EVERY * settings.r1 / 2 * slope_penalty(of_real, real) if with_penalty else 0.0
        return logistic + penalty, logistic, of_real

    def with_penalty(index: Tensor) -> tuple[Tensor, ...]:
        return loss_of_discriminator(index, with_penalty=True)

    def without_penalty(index: Tensor) -> tuple[Tensor, ...]:
        return loss_of_discriminator(index, with_penalty=False)

    def loss_of_generator() -> tuple[Tensor, ...]:
        with frozen(discriminator):
            return (F.softplus(-discriminator(augment(fakes(), rng))).mean(),)

    teach, teach_with_penalty = run.update(adam_d, without_penalty, rng), run.update(adam_d, with_penalty, rng)
    teach_generator = run.update(adam_g, loss_of_generator, rng)

    def step(number: int) -> Losses:
        update = teach if number % PENALTY_EVERY else teach_with_penalty
        _, logistic, of_real = update(passes.next())
        (loss_g,) = teach_generator()
        keep_average_(average, generator, ema_weight(number, settings.batch_size, settings.ema_images))
        augment.observe(of_real)
        return {"discriminator_loss": logistic, "generator_loss": loss_g}

    def probe() -> tuple[Tensor, ...]:
        stream = run.stream("probe")
        images = draw(average, mixed_latents(PROBED, layers, settings.latent_dim, stream, run.device), stream)
        return images, discriminator(images)

    run.watch(average)
    losses = run.steps(settings.steps, step, probe=probe)
    generator.load_state_dict(average.state_dict())
    mapping = getattr(generator, "mapping", None)
    if mapping is not None:
        mapping.w_avg.copy_(mean_w(mapping, settings.latent_dim, run.stream("w_avg")))
    return {**losses, "augmentation": float(augment.probability)}


def mixed_latents(count: int, layers: int, latent_dim: int, rng: Generator, device: str) -> Tensor:
    """Latents [B, L, Z]: one for all layers, or (in `MIXING` of the images) another from a random layer >= 1 on."""
    first, second = torch.randn(2, count, 1, latent_dim, generator=rng, device=device)
    cut = torch.randint(1, layers, (count, 1), generator=rng, device=device)
    mixes = torch.rand(count, 1, generator=rng, device=device) < MIXING
    takes_second = mixes & (torch.arange(layers, device=device) >= cut)
    return torch.where(takes_second[:, :, None], second, first)


def resized_8_bits(images: Tensor, px: int) -> Tensor:
    """Images [N, 3, H, H] uint8 to px by antialiased bilinear weights, in parts."""
    if images.shape[-1] == px:
        return images

    from midef.nn.resize import resized

    def made(part: Tensor) -> Tensor:
        return resized(part, px).round().clamp(0, 255).to(torch.uint8)

    return torch.cat([made(part) for part in images.split(256)])


def mean_w(mapping: nn.Module, latent_dim: int, rng: Generator, count: int = 100_000) -> Tensor:
    """The mean w [Z] of so many latents, towards which truncation pulls.

    We differ: the published training keeps a running average of the w of its batches, which is noisier.
    """
    with torch.no_grad():
        parts = [
            mapping(torch.randn(count // 100, latent_dim, generator=rng, device=rng.device)).mean(dim=0)
            for _ in range(100)
        ]
    return torch.stack(parts).mean(dim=0)


def slope_penalty(scores: Tensor, images: Tensor) -> Tensor:
    """R1: the mean squared length of the slope of the scores [B] at the images [B, C, H, W] they were given to."""
    (slope,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    penalty: Tensor = slope.square().sum(dim=(1, 2, 3)).mean()
    return penalty


def ema_weight(step: int, batch_size: int, half_life: int) -> float:
    """Weight of the new generator in the running average after this step (0-based); 1 copies it."""
    so_far = (step + 1) * batch_size
    return float(1 - 0.5 ** (batch_size / min(half_life, so_far * RAMP_UP)))


def keep_average_(average: nn.Module, current: nn.Module, weight: float) -> None:
    """Move the running average towards the current weights by this share of the way."""
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(current.parameters()), weight)
