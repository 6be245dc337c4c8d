"""Training of LOKT's GAN: a conditional generator whose classes are the labels a target gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from midef.core.in_step import in_step
from midef.core.lazy import F, torch
from midef.training.generative.loop import PROBED, Losses, ShuffledPasses, TrainingRun, frozen
from midef.training.numerics import around_networks

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

FROZEN_FROM = 1000
"""The iteration from which the released code no longer updates spectral norms."""

Ask = Callable[["Tensor"], "Tensor"]
"""Hard labels [B] a target gives images [B, 3, H, W] in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class TAcganSettings:
    """The fields of `TAcgan` that its training reads."""

    latent_dim: int
    iterations: int
    warm_up: int
    discriminator_steps: int
    batch_size: int
    learning_rate: float
    class_weight: float
    sn_freeze_after_eval: bool


def generator_loss(realness: Tensor, classes: Tensor, drawn_for: Tensor, *, class_weight: float) -> Tensor:
    """-log P(real) + class_weight * CE(classes, drawn_for), the mean over rows.

    Args:
        realness: logits [B] of the drawn images.
        classes: the discriminator's class logits [B, K] of them.
        drawn_for: classes they were drawn for [B].
    """
    loss = F.softplus(-realness).mean()
    return loss + class_weight * F.cross_entropy(classes, drawn_for) if class_weight else loss


def discriminator_loss(
    real: Tensor, fake: Tensor, classes: Tensor, answered: Tensor | None, *, class_weight: float
) -> Tensor:
    """-log P(real) of real images - log P(fake) of drawn ones + class_weight * CE(classes, answered), means over rows.

    Args:
        real, fake: logits [B] of being real.
        classes: class logits [B, K] of the drawn images.
        answered: labels [B] the target gave them, None before it is asked. Real images have no label and no such term.
    """
    loss = F.softplus(-real).mean() + F.softplus(fake).mean()
    return loss if answered is None else loss + class_weight * F.cross_entropy(classes, answered)


def fit_t_acgan(
    generator: nn.Module,
    discriminator: nn.Module,
    images: Tensor,
    ask: Ask,
    n_classes: int,
    settings: TAcganSettings,
    run: TrainingRun,
) -> dict[str, float]:
    """Train both in place on images [N, 3, H, W] uint8 by Adam, betas (0, 0.9).

    An iteration is one generator step, then `discriminator_steps` steps with fresh latents, classes and real images.
    The first `warm_up` iterations have no class terms and ask nothing. `ask` sees drawn images clamped to [0, 1].

    Returns:
        Means over the last tenth: both losses; label_match, the share of drawn images the target gives the class they
        were drawn for; class_agreement, the share where the discriminator names the class the target does.
    """
    run.prepare_(generator, discriminator)
    data = images.to(run.device)
    rng = run.stream("t_acgan")
    passes = ShuffledPasses(len(data), settings.batch_size, rng)
    adam = {"lr": settings.learning_rate, "betas": (0.0, 0.9)}
    adam_g, adam_d = (run.optimizer(torch.optim.Adam, network, **adam) for network in (generator, discriminator))

    def latents_and_classes(count: int = settings.batch_size, stream: Generator = rng) -> tuple[Tensor, Tensor]:
        latents = torch.randn(count, settings.latent_dim, generator=stream, device=run.device)
        return latents, torch.randint(n_classes, (count,), generator=stream, device=run.device)

    def probe() -> tuple[Tensor, ...]:
        drawn = generator(*latents_and_classes(PROBED, run.stream("probe")))
        return drawn, *discriminator(drawn)

    def judged(index: Tensor, fake: Tensor, answered: Tensor | None) -> tuple[Tensor, Tensor]:
        """The discriminator's loss, and its classes of the drawn images."""
        realness, _ = discriminator(data[index].float() / 255)
        fakeness, classes = discriminator(fake)
        weight = settings.class_weight
        loss = discriminator_loss(realness.float(), fakeness.float(), classes.float(), answered, class_weight=weight)
        return loss, classes

    def loss_unasked(index: Tensor, fake: Tensor) -> tuple[Tensor, ...]:
        loss, _ = judged(index, fake, None)
        return loss, torch.zeros_like(loss), torch.zeros_like(loss)

    def loss_asked(index: Tensor, fake: Tensor, drawn_for: Tensor, answered: Tensor) -> tuple[Tensor, ...]:
        loss, classes = judged(index, fake, answered)
        agreed = (classes.argmax(dim=1) == answered).float().mean()
        return loss, (answered == drawn_for).float().mean(), agreed

    def loss_of_generator(*, class_weight: float) -> tuple[Tensor, ...]:
        latents, drawn_for = latents_and_classes()
        with frozen(discriminator):
            realness, classes = discriminator(generator(latents, drawn_for))
        return (generator_loss(realness.float(), classes.float(), drawn_for, class_weight=class_weight),)

    def warming_up() -> tuple[Tensor, ...]:
        return loss_of_generator(class_weight=0.0)

    def with_classes() -> tuple[Tensor, ...]:
        return loss_of_generator(class_weight=settings.class_weight)

    teach_unasked, teach_asked = run.update(adam_d, loss_unasked), run.update(adam_d, loss_asked)
    draw_warming_up, draw_with_classes = run.update(adam_g, warming_up, rng), run.update(adam_g, with_classes, rng)

    @in_step
    def discriminator_step(*, is_asked: bool) -> Tensor:
        """The loss, label_match and class_agreement."""
        index = passes.next()
        latents, drawn_for = latents_and_classes()
        with torch.no_grad(), around_networks(run.precision, run.device):
            fake = generator(latents, drawn_for).float()
        if not is_asked:
            return torch.stack(teach_unasked(index, fake))
        return torch.stack(teach_asked(index, fake, drawn_for, ask(fake.clamp(0, 1))))

    def iteration(number: int) -> Losses:
        if settings.sn_freeze_after_eval and number == FROZEN_FROM:
            discriminator.eval()
            for update in (teach_unasked, teach_asked, draw_warming_up, draw_with_classes):
                update.forget()
        is_asked = number >= settings.warm_up
        (loss_g,) = draw_with_classes() if is_asked else draw_warming_up()
        seen = [discriminator_step(is_asked=is_asked) for _ in range(settings.discriminator_steps)]
        loss_d, label_match, class_agreement = torch.stack(seen).mean(dim=0)
        return {
            "generator_loss": loss_g,
            "discriminator_loss": loss_d,
            "label_match": label_match,
            "class_agreement": class_agreement,
        }

    return run.steps(settings.iterations, iteration, probe=probe)
