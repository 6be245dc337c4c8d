"""Checks that a training ended with numbers: its last step, after the last loss, can still ruin the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from typing import TYPE_CHECKING

from midef.core.errors import TrainingDiverged
from midef.core.lazy import torch
from midef.nn.weights import not_finite, said_not_finite

if TYPE_CHECKING:
    from torch import Tensor, nn

LOWER_THE_RATE = "lower learning_rate"


def check_losses(losses: Mapping[str, Tensor | float], where: str) -> None:
    """Check that every loss is a finite number.

    Raises:
        TrainingDiverged: naming the first that is not, and where it was seen.
    """
    for name, loss in losses.items():
        if not isfinite(value := float(loss.detach() if isinstance(loss, torch.Tensor) else loss)):
            raise TrainingDiverged(f"the {name.replace('_', ' ')} became {value} in {where}; {LOWER_THE_RATE}")


def check_weights(tensors: Mapping[str, Tensor], *, advice: str = LOWER_THE_RATE) -> None:
    """Check that all weights and buffers of a trained network are finite.

    Args:
        advice: what to do.

    Raises:
        TrainingDiverged: naming the first tensors that are not.
    """
    if broken := not_finite(tensors):
        raise TrainingDiverged(f"after the last step {said_not_finite(broken)}; {advice}")


def check_answers(answers: tuple[Tensor, ...], *, whose: str, advice: str = LOWER_THE_RATE) -> None:
    """Check that everything trained networks draw or answer is finite.

    Args:
        answers: rows first.
        whose: the networks, for the message.
        advice: what to do.

    Raises:
        TrainingDiverged: with the number of rows that are not.
    """
    for tensor in answers:
        if broken := int((~tensor.isfinite()).reshape(len(tensor), -1).any(dim=1).sum()):
            raise TrainingDiverged(
                f"after the last step {broken} of {len(tensor)} answers of {whose} are not finite; {advice}"
            )


@contextmanager
def in_eval(*networks: nn.Module) -> Iterator[None]:
    """Networks are in eval mode while this lasts, and without gradients; then every module is as it was."""
    modes = [(module, module.training) for network in networks for module in network.modules()]
    for network in networks:
        network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
