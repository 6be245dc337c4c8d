"""What one training under a defense keeps beside the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from torch.optim import Optimizer

    from midef.defenses.base import Batch
    from midef.nn.network import Forward, TargetModel


@dataclass(frozen=True)
class TrainingFacts:
    """What a defense may know of the training it accompanies.

    images: size of the train split; resolution_px; device: `cpu`, `cuda:0`; batch_size, epochs: of the recipe;
    optimizer: makes the recipe's optimizer for a list of parameters; seed: of this training.
    """

    images: int
    resolution_px: int
    batch_size: int
    epochs: int
    device: str
    seed: int
    optimizer: Callable[[list[Tensor]], Optimizer]


@dataclass(frozen=True)
class Ride:
    """Images that ride along in the pass of a batch: [M, 3, H, W] with labels [M].

    weight: the loss becomes (1 - weight) * (loss of the batch) + weight * (cross entropy of these).
    """

    images: Tensor
    labels: Tensor
    weight: float


class Companion:
    """Base of what a defense keeps during one training. Every step starts as "no change".

    The loop calls `optimizer` once, then per epoch `batches`, then per batch `before_step`, the pass, the loss,
    backward and `Optimizer.step`. One process only: a training with several workers refuses a companion.
    """

    def optimizer(self, optimizer: Optimizer) -> Optimizer:
        """The optimizer that steps the network."""
        return optimizer

    def batches(self, count: int, rng: Generator) -> list[Tensor] | None:
        """Positions among `count` images, batch by batch, of one epoch; None keeps the usual batches."""
        return None

    def before_step(
        self, model: TargetModel, batch: Batch, progress: float, rng: Generator
    ) -> tuple[Batch, Ride | None]:
        """Called in train mode before the pass; leaves the network's weights and mode as they were."""
        return batch, None

    def mark_best(self) -> None:
        """This epoch's weights are the best so far: unless a better one comes, `kept` and `facts` speak of it."""

    def finish(self) -> None:
        """The training is over: take everything off the network that is not part of it."""

    def state(self) -> dict[str, Any]:
        """Tensors, numbers and nested dicts of them, from which a killed training goes on."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""

    def kept(self) -> dict[str, Tensor]:
        """Tensors stored beside the weights."""
        return {}

    def facts(self, run: Callable[[Tensor], Forward], images: Tensor) -> dict[str, float]:
        """Numbers worth recording of the finished training (epsilon, success of a trapdoor).

        run: the trained network in eval mode; images: [N, 3, H, W] uint8 of the select split.
        """
        return {}
