"""Training of generators on public images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midef.core.seeds import derive_seed


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """Mean of (|grad of the critic at mixed images|_2 - 1)^2, the norm over the flattened image.

    Args:
        real, fake: [B, 3, H, W]; mix: [B, 1, 1, 1] in [0, 1], the share of the fake image.
    """
    mixed = (real + mix * (fake - real)).requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
    penalty: Tensor = (slope.flatten(1).norm(dim=1) - 1).pow(2).mean()
    return penalty


def fit_gan(
    generator: nn.Module,
    critic: nn.Module,
    images: Tensor,
    *,
    latent_dim: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
    critic_steps: int,
    penalty: float,
    objective: str = "wasserstein",
    seed: int,
    device: str,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, float]:
    """Train in place on images [N, 3, H, W] uint8. `steps` counts critic steps.

    The generator takes one step after every `critic_steps` critic steps. Adam with betas (0.5, 0.999).
    objective: `wasserstein`, WGAN with `penalty` times the gradient penalty; `non_saturating`, the logistic losses of
    the first GAN, without a penalty.

    Returns:
        The mean critic and generator losses of the last tenth.
    """
    generator.to(device).to(memory_format=torch.channels_last).train()
    critic.to(device).to(memory_format=torch.channels_last).train()
    data = images.to(device)
    rng = torch.Generator(device).manual_seed(derive_seed(seed, "wgan_gp"))
    adam_g = torch.optim.Adam(generator.parameters(), lr=learning_rate, betas=(0.5, 0.999))
    adam_d = torch.optim.Adam(critic.parameters(), lr=learning_rate, betas=(0.5, 0.999))
    tail = max(1, steps // 10)
    critic_loss = torch.zeros((), device=device)
    generator_loss = torch.zeros((), device=device)
    order = torch.empty(0, dtype=torch.long, device=device)
    for step in range(steps):
        if len(order) < batch_size:
            order = torch.cat([order, torch.randperm(len(data), generator=rng, device=device)])
        index, order = order[:batch_size], order[batch_size:]
        real = data[index].float() / 255
        latents = torch.randn(len(real), latent_dim, generator=rng, device=device)
        with torch.no_grad():
            fake = generator(latents)
        if objective == "wasserstein":
            mix = torch.rand(len(real), 1, 1, 1, generator=rng, device=device)
            loss_d = critic(fake).mean() - critic(real).mean() + penalty * gradient_penalty(critic, real, fake, mix)
        else:
            loss_d = F.softplus(critic(fake)).mean() + F.softplus(-critic(real)).mean()
        adam_d.zero_grad(set_to_none=True)
        loss_d.backward()
        adam_d.step()
        if (step + 1) % critic_steps == 0:
            latents = torch.randn(batch_size, latent_dim, generator=rng, device=device)
            critic.requires_grad_(False)
            scores = critic(generator(latents))
            loss_g = -scores.mean() if objective == "wasserstein" else F.softplus(-scores).mean()
            critic.requires_grad_(True)
            adam_g.zero_grad(set_to_none=True)
            loss_g.backward()
            adam_g.step()
            if step >= steps - tail:
                generator_loss += loss_g.detach() * critic_steps / tail
        if step >= steps - tail:
            critic_loss += loss_d.detach() / tail
        if report is not None and (step + 1) % max(1, steps // 20) == 0:
            report({"step": step + 1, "steps": steps})
    return {"critic_loss": float(critic_loss), "generator_loss": float(generator_loss)}
