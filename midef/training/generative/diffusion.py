"""Diffusion: noising, its training loop, and one step back. Images stay in [0, 1] before noise is added.

beta: share of the variance replaced by noise in one step; kept: product of (1 - beta) so far, the share that is left.
Source: Ho et al., NeurIPS 2020, equations 4, 14 and algorithms 1 and 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from midef.core.lazy import F, torch
from midef.core.position import steps
from midef.training.finite import check_losses
from midef.training.generative.inverter import AnsweredImages
from midef.training.generative.loop import Losses, TrainingRun, shuffled

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn


@dataclass(frozen=True, kw_only=True)
class DenoiserSettings:
    """The fields of `Diffusion` that its training reads."""

    drop_context: float
    epochs: int
    batch_size: int
    learning_rate: float


def kept_variance(betas: Tensor) -> Tensor:
    """Share [T] of an image's variance that is left after steps 1 to T: the product of (1 - beta)."""
    return (1 - betas).cumprod(dim=0)


def noised(images: Tensor, noise: Tensor, kept: Tensor) -> Tensor:
    """Images [B, C, H, W] after all steps up to one at once.

    Args:
        noise: standard normal, like the images.
        kept: [B], of the step each image is noised to.
    """
    share = kept[:, None, None, None]
    result: Tensor = share.sqrt() * images + (1 - share).sqrt() * noise
    return result


def step_back(images: Tensor, predicted: Tensor, noise: Tensor | None, *, beta: float, kept: float) -> Tensor:
    """Images [B, C, H, W] one step earlier, given the noise predicted in them; sigma is sqrt(beta).

    Args:
        noise: standard normal, None in the last step, which adds none.
        beta, kept: of the step that is undone.
    """
    mean: Tensor = (images - beta / (1 - kept) ** 0.5 * predicted) / (1 - beta) ** 0.5
    return mean if noise is None else mean + beta**0.5 * noise


def guided(conditional: Tensor, unconditional: Tensor, guidance: float) -> Tensor:
    """(1 + w) eps(x, c) - w eps(x, 0): the answer's effect on the predicted noise, stretched. 0 is the conditional."""
    return (1 + guidance) * conditional - guidance * unconditional


def fit_denoiser(
    network: nn.Module, pairs: AnsweredImages, betas: Tensor, settings: DenoiserSettings, run: TrainingRun
) -> dict[str, float]:
    """Train in place to predict the noise in images, given their answers, by squared error.

    Each image gets a step drawn uniformly from all of them. Adam; the learning rate falls linearly to 0 over the
    training.

    Args:
        network: (noisy images, elapsed share of the steps [B], answers) -> noise; an answer set to zero stands for
            none.
        betas: [T], share of the variance replaced in each step.

    Returns:
        The mean loss of the last epoch, and the loss on held-out pairs, whose answers are all given.
    """
    run.prepare_(network)
    data, context = pairs.images.to(run.device), pairs.answers.to(run.device)
    kept = kept_variance(betas).float().to(run.device)
    adam = run.optimizer(torch.optim.Adam, network, lr=settings.learning_rate)
    batches = -(-len(data) // settings.batch_size)

    def loss_of(index: Tensor, answers: Tensor, numbers: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        return (_loss(network, data[index], answers, kept, numbers, noise),)

    teach = run.update(adam, loss_of)

    def epoch(number: int) -> Losses:
        rng = run.stream("diffusion", number)
        mean = torch.zeros((), device=run.device)
        for done, index in enumerate(steps(shuffled(len(data), rng).split(settings.batch_size)), number * batches):
            given = torch.rand(len(index), 1, generator=rng, device=run.device) >= settings.drop_context
            numbers = _steps(rng, len(index), kept)
            noise = torch.randn((len(index), *data.shape[1:]), generator=rng, device=run.device)
            adam.param_groups[0]["lr"] = settings.learning_rate * (1 - done / (settings.epochs * batches))
            (loss,) = teach(index, context[index] * given, numbers, noise)
            mean += loss * len(index) / len(data)
        return {"loss": mean}

    facts = run.epochs(settings.epochs, epoch)
    network.eval()
    rng = run.stream("diffusion", "held out")
    held = torch.zeros((), device=run.device)
    with torch.no_grad():
        for answers, images in zip(pairs.held_answers.split(256), pairs.held_images.split(256), strict=True):
            numbers = _steps(rng, len(images), kept)
            noise = torch.randn(images.shape, generator=rng, device=run.device)
            loss = _loss(network, images.to(run.device), answers.to(run.device), kept, numbers, noise)
            held += loss * len(images) / len(pairs.held_images)
    check_losses({"held-out loss": held}, "the last epoch")
    return {**facts, "held_out_loss": float(held)}


def _steps(rng: Generator, count: int, kept: Tensor) -> Tensor:
    """0-based steps [count]."""
    return torch.randint(len(kept), (count,), generator=rng, device=kept.device)


def _loss(network: nn.Module, images: Tensor, answers: Tensor, kept: Tensor, steps: Tensor, noise: Tensor) -> Tensor:
    clean = (images.float() / 255).contiguous(memory_format=torch.channels_last)
    predicted = network(noised(clean, noise, kept[steps]), (steps + 1) / len(kept), answers)
    return F.mse_loss(predicted.float(), noise)
