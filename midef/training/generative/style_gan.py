"""Training of style-based generators on public images, with adaptive augmentation."""

from __future__ import annotations

import copy
from collections.abc import Callable
from math import pi
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from midef.core.seeds import derive_seed

PENALTY_EVERY = 16
ADAPT_EVERY = 4
MIXING = 0.9
"""Share of generated images whose later layers take another latent than the first ones."""
RAMP_UP = 0.05
"""The average forgets half within this share of the images seen so far, while that is less than its half-life."""

Draw = Callable[[nn.Module, Tensor, Generator], Tensor]


def fit_style_gan(
    generator: nn.Module,
    discriminator: nn.Module,
    images: Tensor,
    *,
    draw: Draw,
    layers: int,
    latent_dim: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
    r1: float,
    ada_target: float,
    ada_images: int,
    ema_images: int,
    seed: int,
    device: str,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, float]:
    """Train in place on images [N, 3, H, W] uint8; the generator ends as its running average.

    A step is one of the discriminator and one of the generator, with the non-saturating logistic losses and Adam, betas
    (0, 0.99). draw: images, about [-1, 1], of latents [B, layers, latent_dim], with fresh noise; r1: the discriminator
    pays r1 / 2 times the squared slope at real images, every 16th step and then 16-fold; ada_target, ada_images: see
    `adapted`; ema_images: images after which the average has forgotten half.

    Source: Karras et al., NeurIPS 2020 (StyleGAN2-ADA), its `auto` configuration. We differ: no path-length penalty of
    the generator; the slope penalty joins the step of the logistic loss, where they take a step of its own.

    Returns:
        The mean discriminator (without penalty) and generator losses of the last tenth, and the last augmentation
        probability.
    """
    generator.to(device).to(memory_format=torch.channels_last).train()
    discriminator.to(device).to(memory_format=torch.channels_last).train()
    average = copy.deepcopy(generator)
    data = images.to(device)
    rng = Generator(device).manual_seed(derive_seed(seed, "style_gan"))
    adam_g = torch.optim.Adam(generator.parameters(), lr=learning_rate, betas=(0.0, 0.99))
    adam_d = torch.optim.Adam(discriminator.parameters(), lr=learning_rate, betas=(0.0, 0.99))
    tail = max(1, steps // 10)
    losses = torch.zeros(2, device=device)
    probability = torch.zeros((), device=device)
    sureness = torch.zeros((), device=device)
    order = torch.empty(0, dtype=torch.long, device=device)
    for step in range(steps):
        while len(order) < batch_size:
            order = torch.cat([order, torch.randperm(len(data), generator=rng, device=device)])
        index, order = order[:batch_size], order[batch_size:]
        real = data[index].float() / 127.5 - 1
        with torch.no_grad():
            fake = draw(generator, mixed_latents(batch_size, layers, latent_dim, rng, device), rng)
        real.requires_grad_(step % PENALTY_EVERY == 0)
        of_real = discriminator(augmented(real, probability, rng))
        of_fake = discriminator(augmented(fake, probability, rng))
        logistic = F.softplus(of_fake).mean() + F.softplus(-of_real).mean()
        loss_d = logistic
        if real.requires_grad:
            loss_d = logistic + PENALTY_EVERY * r1 / 2 * slope_penalty(of_real, real)
        adam_d.zero_grad(set_to_none=True)
        loss_d.backward()
        adam_d.step()

        discriminator.requires_grad_(False)
        fake = draw(generator, mixed_latents(batch_size, layers, latent_dim, rng, device), rng)
        loss_g = F.softplus(-discriminator(augmented(fake, probability, rng))).mean()
        discriminator.requires_grad_(True)
        adam_g.zero_grad(set_to_none=True)
        loss_g.backward()
        adam_g.step()

        keep_average_(average, generator, ema_weight(step, batch_size, ema_images))
        sureness += of_real.detach().sign().mean() / ADAPT_EVERY
        if (step + 1) % ADAPT_EVERY == 0:
            seen = ADAPT_EVERY * batch_size
            probability = adapted(probability, sureness, target=ada_target, share=seen / ada_images)
            sureness = torch.zeros_like(sureness)
        if step >= steps - tail:
            losses += torch.stack([logistic.detach(), loss_g.detach()]) / tail
        if report is not None and (step + 1) % max(1, steps // 20) == 0:
            report({"step": step + 1, "steps": steps})
    generator.load_state_dict(average.state_dict())
    return {
        "discriminator_loss": float(losses[0]),
        "generator_loss": float(losses[1]),
        "augmentation": float(probability),
    }


def mixed_latents(count: int, layers: int, latent_dim: int, rng: Generator, device: str) -> Tensor:
    """Latents [B, L, Z]: one for all layers, or (in `MIXING` of the images) another from a random layer >= 1 on."""
    first, second = torch.randn(2, count, 1, latent_dim, generator=rng, device=device)
    cut = torch.randint(1, layers, (count, 1), generator=rng, device=device)
    mixes = torch.rand(count, 1, generator=rng, device=device) < MIXING
    takes_second = mixes & (torch.arange(layers, device=device) >= cut)
    return torch.where(takes_second[:, :, None], second, first)


def slope_penalty(scores: Tensor, images: Tensor) -> Tensor:
    """R1: the mean squared length of the slope of the scores [B] at the images [B, C, H, W] they were given to."""
    (slope,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    penalty: Tensor = slope.square().sum(dim=(1, 2, 3)).mean()
    return penalty


def ema_weight(step: int, batch_size: int, half_life: int) -> float:
    """Weight of the new generator in the running average after this step (0-based); 1 copies it."""
    so_far = (step + 1) * batch_size
    return float(1 - 0.5 ** (batch_size / min(half_life, so_far * RAMP_UP)))


@torch.no_grad()
def keep_average_(average: nn.Module, current: nn.Module, weight: float) -> None:
    for mean, new in zip(average.parameters(), current.parameters(), strict=True):
        mean.lerp_(new, weight)


def adapted(probability: Tensor, sureness: Tensor, *, target: float, share: float) -> Tensor:
    """The augmentation probability after one adjustment, in [0, 1].

    It grows by `share` where the discriminator is surer than the target and falls where it is not. sureness: mean sign
    of the scores of real images, 0 at chance and 1 where every one is believed.
    """
    return (probability + share * (sureness - target).sign()).clamp(0, 1)


# ---------------------------------------------------------------- augmentation


def augmented(images: Tensor, probability: Tensor, rng: Generator) -> Tensor:
    """Images [B, 3, H, W] in [-1, 1], each changed in up to seven ways, each way with this probability.

    90-degree turns, shifts by up to an eighth (mirrored at the border), brightness, contrast, inverted luma, hue and
    saturation. Gradients pass. Source: Karras et al., NeurIPS 2020, appendix B: pixel blitting without mirroring, and
    colour. We differ: their general geometric changes (scaling, free rotation, fractional shifts) are left out.
    """
    count = len(images)

    def happens() -> Tensor:
        return torch.rand(count, generator=rng, device=images.device) < probability

    def normal(scale: float) -> Tensor:
        return scale * torch.randn(count, generator=rng, device=images.device)

    def uniform() -> Tensor:
        return torch.rand(count, generator=rng, device=images.device)

    turns = torch.where(happens(), (uniform() * 4).long(), 0)
    moves = happens()
    down, right = (torch.where(moves, (uniform() - 0.5) * (images.shape[2] / 4), 0).round().long() for _ in range(2))
    brightness = torch.where(happens(), normal(0.2), 0)
    contrast = torch.where(happens(), 2 ** normal(0.5), 1)
    inverts = happens() & (uniform() < 0.5)
    hue = torch.where(happens(), (uniform() * 2 - 1) * pi, 0)
    saturation = torch.where(happens(), 2 ** normal(1.0), 1)
    matrix = colour_matrix(contrast=contrast, inverts=inverts, hue=hue, saturation=saturation)
    moved = turned_and_shifted(images, turns=turns, down=down, right=right)
    # brightness comes before the others, so contrast scales it, too; being grey, it is untouched by hue and saturation
    return torch.einsum("bij,bjhw->bihw", matrix, moved + brightness[:, None, None, None])


def turned_and_shifted(images: Tensor, *, turns: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Square images [B, C, R, R], turned counter-clockwise by 90 degrees `turns` times, then shifted by whole pixels.

    turns: [B] in 0..3; down, right: [B], between -R and R. What enters from outside is the image mirrored at its border
    pixels.
    """
    size = images.shape[2]
    places = torch.arange(size, device=images.device)
    row = _mirrored(places[None] - down[:, None], size)[:, :, None].expand(-1, size, size)
    column = _mirrored(places[None] - right[:, None], size)[:, None, :].expand(-1, size, size)
    last = size - 1
    index = torch.stack(
        [
            row * size + column,
            column * size + last - row,
            (last - row) * size + last - column,
            (last - column) * size + row,
        ]
    )[turns, torch.arange(len(images), device=images.device)]
    return images.flatten(2).gather(2, index.flatten(1)[:, None].expand(-1, images.shape[1], -1)).view_as(images)


def _mirrored(places: Tensor, size: int) -> Tensor:
    inside = places.abs()
    return torch.where(inside >= size, 2 * (size - 1) - inside, inside)


def colour_matrix(*, contrast: Tensor, inverts: Tensor, hue: Tensor, saturation: Tensor) -> Tensor:
    """[B, 3, 3] for colours (r, g, b) in [-1, 1]; all arguments [B].

    contrast, saturation: factors > 0; inverts: luma is negated, chroma stays; hue: turn around the grey axis, radians.
    """
    grey = contrast.new_full((3, 3), 1 / 3)  # projection on the grey axis
    chroma = torch.eye(3, device=contrast.device) - grey
    side = 3**-0.5
    cross = contrast.new_tensor([[0, -side, side], [side, 0, -side], [-side, side, 0]])  # v -> grey axis x v
    luma = torch.where(inverts, -1.0, 1.0)
    turned = hue.cos()[:, None, None] * chroma + hue.sin()[:, None, None] * cross
    return contrast[:, None, None] * (luma[:, None, None] * grey + saturation[:, None, None] * turned)
