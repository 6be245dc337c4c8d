"""State of one training under a defense, apart from the network: optimizer, batches, auxiliary batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from midef.core.in_step import in_step

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from torch.optim import Optimizer

    from midef.defenses.base import Batch
    from midef.nn.network import Forward, TargetModel


@dataclass(frozen=True)
class TrainingFacts:
    """Facts of a training that a defense may use.

    Args:
        images: size of the train split.
        batch_size: of the recipe.
        epochs: of the recipe.
        device: `cpu`, `cuda:0`.
        seed: of this training.
        optimizer: makes the recipe's optimizer for a list of parameters.
    """

    images: int
    resolution_px: int
    batch_size: int
    epochs: int
    device: str
    seed: int
    optimizer: Callable[[list[Tensor]], Optimizer]


@dataclass(frozen=True)
class AuxiliaryBatch:
    """Images that go through the network in one pass with a training batch.

    Args:
        images: [M, 3, H, W] float32 in [0, 1].
        labels: [M] int64.
        weight: in [0, 1]; the loss becomes (1 - weight) * (loss of the batch) + weight * (cross entropy of these).
    """

    images: Tensor
    labels: Tensor
    weight: float


class TrainingState:
    """Base of the state a defense needs during one training. Every method starts as "no change".

    The loop calls `optimizer` once, then per epoch `batches`, then per batch `before_step`, the pass, the loss,
    backward and `Optimizer.step`. One process only: a training with several workers refuses it.
    """

    def optimizer(self, optimizer: Optimizer) -> Optimizer:
        """The optimizer that steps the network."""
        return optimizer

    def batches(self, count: int, rng: Generator) -> list[Tensor] | None:
        """Batches of one epoch, as positions among `count` images; None keeps the usual batches."""
        return None

    @in_step
    def before_step(
        self, model: TargetModel, batch: Batch, progress: float, rng: Generator
    ) -> tuple[Batch, AuxiliaryBatch | None]:
        """Called in train mode before the pass; leaves the network's weights and mode as they were."""
        return batch, None

    def mark_best(self) -> None:
        """Note that this epoch's weights are the best so far; `stored_tensors` and `facts` describe these."""

    def finish(self) -> None:
        """Remove from the trained network whatever is not part of it."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers and nested dicts of them, from which a killed training resumes."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from what `state_dict` returned."""

    def stored_tensors(self) -> dict[str, Tensor]:
        """Tensors stored beside the weights."""
        return {}

    def facts(self, run: Callable[[Tensor], Forward], images: Tensor) -> dict[str, float]:
        """Measurements of the finished training (epsilon, success of a trapdoor).

        Args:
            run: the trained network in eval mode.
            images: [N, 3, H, W] uint8 of the select split.
        """
        return {}
