"""Training of WGAN-GP on public images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from midef.core.lazy import F, torch
from midef.training.generative.loop import PROBED, Losses, ShuffledPasses, TrainingRun, frozen

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn


@dataclass(frozen=True, kw_only=True)
class GanSettings:
    """The fields of `WganGp` that its training reads."""

    latent_dim: int
    steps: int
    batch_size: int
    learning_rate: float
    critic_steps: int
    penalty: float
    objective: Literal["wasserstein", "non_saturating"]


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """Mean of (|grad of the critic at mixed images|_2 - 1)^2, the norm over the flattened image.

    Args:
        real, fake: [B, 3, H, W].
        mix: [B, 1, 1, 1] in [0, 1], the share of the fake image.
    """
    mixed = (real + mix * (fake - real)).requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
    penalty: Tensor = (slope.flatten(1).norm(dim=1) - 1).pow(2).mean()
    return penalty


def fit_gan(
    generator: nn.Module, critic: nn.Module, images: Tensor, settings: GanSettings, run: TrainingRun
) -> dict[str, float]:
    """Train both in place on images [N, 3, H, W] uint8 by Adam, betas (0.5, 0.999).

    A step is one of the critic; after every `critic_steps` of them the generator takes one. The objective `wasserstein`
    is WGAN with `penalty` times the gradient penalty; `non_saturating` the logistic losses of the first GAN, without a
    penalty.

    Returns:
        The mean critic and generator losses of the last tenth.
    """
    run.prepare_(generator, critic)
    data = images.to(run.device)
    rng = run.stream("wgan_gp")
    passes = ShuffledPasses(len(data), min(settings.batch_size, len(data)), rng)
    adam = {"lr": settings.learning_rate, "betas": (0.5, 0.999)}
    is_wasserstein = settings.objective == "wasserstein"

    def draw(count: int, stream: Generator = rng) -> Tensor:
        drawn: Tensor = generator(torch.randn(count, settings.latent_dim, generator=stream, device=run.device))
        return drawn

    def probe() -> tuple[Tensor, ...]:
        images = draw(PROBED, run.stream("probe"))
        return images, critic(images)

    def critic_loss(index: Tensor) -> tuple[Tensor, ...]:
        real = data[index].float() / 255
        with torch.no_grad():
            fake = draw(len(real))
        if is_wasserstein:
            mix = torch.rand(len(real), 1, 1, 1, generator=rng, device=run.device)
            loss = critic(fake).float().mean() - critic(real).float().mean()
            return (loss + settings.penalty * gradient_penalty(critic, real, fake, mix),)
        return (F.softplus(critic(fake).float()).mean() + F.softplus(-critic(real).float()).mean(),)

    def generator_loss() -> tuple[Tensor, ...]:
        with frozen(critic):
            scores = critic(draw(settings.batch_size)).float()
            return (-scores.mean() if is_wasserstein else F.softplus(-scores).mean(),)

    teach_critic = run.update(run.optimizer(torch.optim.Adam, critic, **adam), critic_loss, rng)
    teach_generator = run.update(run.optimizer(torch.optim.Adam, generator, **adam), generator_loss, rng)

    def step(number: int) -> Losses:
        (loss_d,) = teach_critic(passes.next())
        if (number + 1) % settings.critic_steps:
            return {"critic_loss": loss_d, "generator_loss": torch.zeros_like(loss_d)}
        (loss_g,) = teach_generator()
        # times the steps it stands for, so that its mean over all steps is that over the generator's
        return {"critic_loss": loss_d, "generator_loss": loss_g * settings.critic_steps}

    return run.steps(settings.steps, step, probe=probe)
