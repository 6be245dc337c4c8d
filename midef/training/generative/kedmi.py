"""Training of KedMI's generator, against a discriminator that also learns what the target answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from midef.core.lazy import F, torch
from midef.training.generative.loop import PROBED, Losses, ShuffledPasses, TrainingRun, frozen

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn


@dataclass(frozen=True, kw_only=True)
class KedmiSettings:
    """The fields of `KedmiGan` that its training reads."""

    latent_dim: int
    steps: int
    batch_size: int
    learning_rate: float
    discriminator_steps: int
    entropy_weight: float


def reality_loss(logits: Tensor) -> Tensor:
    """[N], -log of the probability that an image is real, from logits [N, K] of the discriminator.

    "Not real" is a class with the constant logit 0, so P(real) = Z / (Z + 1) with Z the sum of exp(logits): log 2 where
    Z is 1, smaller for images that look more real. softplus(lse) - lse = softplus(-lse), which rounds better.
    """
    return F.softplus(-logits.float().logsumexp(dim=1))


def discriminator_loss(labelled: Tensor, soft_labels: Tensor, unlabelled: Tensor, drawn: Tensor) -> Tensor:
    """Cross entropy with the target's answers, plus half of: real images are real, drawn images are not.

    Args:
        labelled, unlabelled, drawn: logits [B, K].
        soft_labels: [B, K], rows sum to 1.
    """
    each = -(soft_labels * labelled.log_softmax(dim=1)).sum(dim=1)
    not_real = F.softplus(drawn.logsumexp(dim=1))
    return each.mean() + 0.5 * (reality_loss(unlabelled).mean() + not_real.mean())


def generator_loss(drawn: Tensor, real: Tensor, logits: Tensor, *, entropy_weight: float) -> Tensor:
    """Distance of mean features, plus the entropy of the classes seen in drawn images, summed over the batch.

    Args:
        drawn, real: features [B, F].
        logits: of the drawn images [B, K].
    """
    matching = (drawn.mean(dim=0) - real.mean(dim=0)).abs().mean()
    entropy = -(logits.softmax(dim=1) * logits.log_softmax(dim=1)).sum()
    return matching + entropy_weight * entropy


def fit_kedmi(
    generator: nn.Module,
    discriminator: nn.Module,
    images: Tensor,
    soft_labels: Callable[[Tensor, Tensor], Tensor],
    settings: KedmiSettings,
    run: TrainingRun,
) -> dict[str, float]:
    """Train both in place on images [N, 3, H, W] uint8 by Adam, betas (0.5, 0.999).

    A step is one of the discriminator; after every `discriminator_steps` of them the generator takes one. Labelled
    images, unlabelled images and those whose features are matched come from three shuffled passes of their own.

    Args:
        soft_labels: (positions in `images`, these images in [0, 1]) -> probabilities [B, K] the target answers with.

    Returns:
        The mean losses of discriminator and generator of the last tenth.
    """
    run.prepare_(generator, discriminator)
    data = images.to(run.device)
    rng = run.stream("kedmi")
    labelled, unlabelled, matched = (ShuffledPasses(len(data), settings.batch_size, rng) for _ in range(3))
    adam = {"lr": settings.learning_rate, "betas": (0.5, 0.999)}

    def draw(count: int = settings.batch_size, stream: Generator = rng) -> Tensor:
        latents = torch.randn(count, settings.latent_dim, generator=stream, device=run.device)
        drawn: Tensor = generator(latents)
        return drawn

    def probe() -> tuple[Tensor, ...]:
        images = draw(PROBED, run.stream("probe"))
        return images, *discriminator(images)

    def loss_of_discriminator(real: Tensor, told: Tensor, unlabelled: Tensor) -> tuple[Tensor, ...]:
        other = data[unlabelled].float() / 255
        with torch.no_grad():
            fake = draw()
        _, logits = discriminator(torch.cat([real, other, fake]), groups=3)
        of_real, of_other, of_fake = logits.float().chunk(3)
        return (discriminator_loss(of_real, told, of_other, of_fake),)

    def loss_of_generator(matched: Tensor) -> tuple[Tensor, ...]:
        with frozen(discriminator):
            with torch.no_grad():
                real_features, _ = discriminator(data[matched].float() / 255)
            features, logits = discriminator(draw())
            weight = settings.entropy_weight
            return (generator_loss(features.float(), real_features.float(), logits.float(), entropy_weight=weight),)

    adam_d, adam_g = (run.optimizer(torch.optim.Adam, network, **adam) for network in (discriminator, generator))
    teach_discriminator = run.update(adam_d, loss_of_discriminator, rng)
    teach_generator = run.update(adam_g, loss_of_generator, rng)

    def step(number: int) -> Losses:
        index, other = labelled.next(), unlabelled.next()
        real = data[index].float() / 255
        # the target is asked outside of what may be captured: it counts its queries
        (loss_d,) = teach_discriminator(real, soft_labels(index, real), other)
        if (number + 1) % settings.discriminator_steps:
            return {"discriminator_loss": loss_d, "generator_loss": torch.zeros_like(loss_d)}
        (loss_g,) = teach_generator(matched.next())
        # times the steps it stands for, so that its mean over all steps is that over the generator's
        return {"discriminator_loss": loss_d, "generator_loss": loss_g * settings.discriminator_steps}

    return run.steps(settings.steps, step, probe=probe)
