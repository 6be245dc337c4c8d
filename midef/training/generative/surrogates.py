"""Training of LOKT's surrogates: classifiers that learn a label-only target from the images of its GAN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi
from typing import TYPE_CHECKING

from midef.core.lazy import F, torch
from midef.core.position import steps
from midef.training.generative.loop import PROBED, Losses, ShuffledPasses, TrainingRun

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from midef.training.generative.t_acgan import Ask


@dataclass(frozen=True, kw_only=True)
class SurrogateSettings:
    """The fields of `LoktSurrogates` that the training of one surrogate reads."""

    steps: int
    batch_size: int
    learning_rate: float
    momentum: float
    weight_decay: float


def draw_labelled(
    generator: nn.Module,
    ask: Ask,
    *,
    latent_dim: int,
    n_classes: int,
    latents_per_class: int,
    resolution_px: int,
    chunk: int,
    run: TrainingRun,
) -> tuple[Tensor, Tensor, float]:
    """Images drawn for every class, and the labels the target gives them.

    Args:
        chunk: images drawn and asked about at once, which changes speed, not results.

    Returns:
        images [K * latents_per_class, 3, H, W] uint8, labels [K * latents_per_class], and the share whose label is the
        class it was drawn for. The target is asked about the 8-bit images, so labels and images belong together.
    """
    generator.eval()
    rng = run.stream("surrogate latents")
    drawn_for = torch.arange(n_classes, device=run.device).repeat_interleave(latents_per_class)
    latents = torch.randn(len(drawn_for), latent_dim, generator=rng, device=run.device)
    shape = (len(drawn_for), 3, resolution_px, resolution_px)
    images = torch.empty(shape, dtype=torch.uint8, device=run.device)
    answered = torch.empty_like(drawn_for)
    with torch.no_grad():
        for start in steps(range(0, len(drawn_for), chunk)):
            rows = slice(start, start + chunk)
            drawn = generator(latents[rows], drawn_for[rows]).float().clamp(0, 1)
            images[rows] = (drawn * 255).round().to(torch.uint8)
            answered[rows] = ask(images[rows].float() / 255)
    return images, answered, float((answered == drawn_for).float().mean())


def surrogate_loss(plain: Tensor, changed: Tensor, labels: Tensor) -> Tensor:
    """Half the cross entropy of the logits [B, K] of the images, half that of their changed copies, means over rows."""
    return 0.5 * F.cross_entropy(plain, labels) + 0.5 * F.cross_entropy(changed, labels)


def fit_surrogate(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    change: Callable[[Tensor, Generator], Tensor],
    settings: SurrogateSettings,
    run: TrainingRun,
) -> dict[str, float]:
    """Train in place on images [N, 3, H, W] uint8 and hard labels [N], by SGD; the rate falls along a cosine to 0.

    Args:
        change: a random change of images [B, 3, H, W] in [0, 1], drawn from the generator given.

    Returns:
        Means over the last tenth: loss, and agreement, the share of unchanged images given their label.
    """
    run.prepare_(network)
    data, answers = images.to(run.device), labels.to(run.device)
    rng = run.stream("surrogate")
    passes = ShuffledPasses(len(data), min(settings.batch_size, len(data)), rng)
    sgd = run.optimizer(
        torch.optim.SGD,
        network,
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )

    def loss_of(index: Tensor) -> tuple[Tensor, ...]:
        shown = data[index].float() / 255
        plain = network(shown).float()
        loss = surrogate_loss(plain, network(change(shown, rng)).float(), answers[index])
        return loss, (plain.argmax(dim=1) == answers[index]).float().mean()

    teach = run.update(sgd, loss_of, rng)

    def step(number: int) -> Losses:
        index = passes.next()
        sgd.param_groups[0]["lr"] = settings.learning_rate * (1 + cos(pi * number / settings.steps)) / 2
        loss, agreement = teach(index)
        return {"loss": loss, "agreement": agreement}

    with run.seeded_layers():
        return run.steps(settings.steps, step, probe=lambda: (network(data[:PROBED].float() / 255),))
