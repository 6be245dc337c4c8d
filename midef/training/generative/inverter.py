"""Training of inversion networks on (answer of the target, public image) pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from midef.core.lazy import F, torch
from midef.core.position import steps
from midef.training.finite import check_losses
from midef.training.generative.loop import Losses, TrainingRun, shuffled

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class InverterSettings:
    """The fields of `Tcnn` that its training reads.

    Args:
        checkpoint: which epoch's weights the network ends with: the `last`, or the first with the smallest error on the
            held-out pairs, which are public.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    checkpoint: Literal["last", "best_held_out"]


@dataclass(frozen=True, kw_only=True)
class AnsweredImages:
    """Public images and what a target answered to them, to train on and to measure by.

    Args:
        answers: [N, K], as the network is fed.
        images: [N, 3, H, W] uint8.
        held_answers, held_images: the same of images that are not trained on.
    """

    answers: Tensor
    images: Tensor
    held_answers: Tensor
    held_images: Tensor


def fit_inverter(
    network: nn.Module,
    pairs: AnsweredImages,
    settings: InverterSettings,
    run: TrainingRun,
    *,
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> dict[str, Any]:
    """Train in place to draw images from features of the answers, by mean squared error.

    Adam, betas (0.5, 0.999), amsgrad. The released code keeps the epoch that is best on private images, which no
    attacker has.

    Args:
        loss: a scalar for drawn images and images, instead of the mean squared error.

    Returns:
        The error of these weights on the held-out pairs (where it chose the epoch, it flatters), the 1-based epoch, and
        that error after each epoch: an attacker whose error still falls at the end was trained too briefly.
    """
    network.to(run.device).train()
    run.watch(network)
    data, features = pairs.images.to(run.device), pairs.answers.to(run.device)
    rate, betas = settings.learning_rate, (0.5, 0.999)
    adam = run.optimizer(torch.optim.Adam, network, lr=rate, betas=betas, amsgrad=True)
    best = _Best(float("inf"), settings.epochs, None)
    errors: list[float] = []

    def error_of(index: Tensor) -> tuple[Tensor, ...]:
        return ((loss or F.mse_loss)(network(features[index]).float(), data[index].float() / 255),)

    teach = run.update(adam, error_of)

    def epoch(number: int) -> Losses:
        nonlocal best
        for index in steps(shuffled(len(data), run.stream("inverter", number)).split(settings.batch_size)):
            if len(index) < 2 <= len(data):
                continue  # BatchNorm cannot train on one image
            (error,) = teach(index)
        errors.append(held_out_error(network, pairs, run.device))
        if settings.checkpoint == "best_held_out" and errors[-1] < best.error:
            best = _Best(errors[-1], number + 1, {k: v.clone() for k, v in network.state_dict().items()})
        return {"loss": error}

    run.epochs(settings.epochs, epoch)
    if best.weights is not None:
        network.load_state_dict(best.weights)
    network.eval()
    error = errors[best.epoch - 1]
    check_losses({"held-out error": error}, "the kept epoch")
    return {"held_out_mse": error, "kept_epoch": best.epoch, "held_out_mse_by_epoch": errors}


class _Best(NamedTuple):
    """The weights a network ends with; without, those of the last epoch."""

    error: float
    epoch: int
    weights: dict[str, Tensor] | None


def held_out_error(network: nn.Module, pairs: AnsweredImages, device: str) -> float:
    """Mean squared error over all pixels of the held-out images; the network's mode is left as it was."""
    was_training = network.training
    network.eval()
    with torch.no_grad():
        errors = [
            F.mse_loss(network(a.to(device)), x.to(device).float() / 255, reduction="sum")
            for a, x in zip(pairs.held_answers.split(256), pairs.held_images.split(256), strict=True)
        ]
    network.train(was_training)
    return float(sum(errors)) / pairs.held_images.numel()
