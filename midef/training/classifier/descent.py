"""Gradient of a batch: loss under a defense, micro-batches, auxiliary images, precision; and the optimizer."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from midef.core.in_step import in_step
from midef.defenses import Batch, Defense
from midef.defenses.training_state import AuxiliaryBatch
from midef.nn.network import Forward, TargetModel
from midef.training.data_parallel import World, gathered, parts
from midef.training.recipe import TrainingRecipe

log = logging.getLogger(__name__)


def make_optimizer(parameters: Iterable[Tensor], recipe: TrainingRecipe) -> torch.optim.Optimizer:
    """The recipe's optimizer; fused on a GPU where the recipe is `compiled`."""
    parameters = list(parameters)
    rate, decay = recipe.learning_rate, recipe.weight_decay
    fused = True if recipe.compiled and all(weight.is_cuda for weight in parameters) else None
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=rate, momentum=recipe.momentum, nesterov=recipe.nesterov, weight_decay=decay, fused=fused
        )
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, lr=rate, betas=recipe.betas, weight_decay=decay, fused=fused)


def compiled(network: nn.Module, device: str) -> nn.Module:
    """The network with compiled passes, for batches of one size; weights and modes stay those of the network itself.

    On a GPU passes are captured as CUDA graphs. That was not run on a GPU yet: what is tested is that every family is
    one graph without breaks, and that a training through such graphs moves the same weights.
    """
    # the compiler gives up on a function after some networks; this process may have trained others before
    torch.compiler.reset()
    mode = "reduce-overhead" if torch.device(device).type == "cuda" else "default"
    return cast("nn.Module", torch.compile(network, mode=mode, dynamic=False))


def loss_of(defense: Defense, forward: Forward, batch: Batch, progress: float) -> Tensor:
    """The loss of a batch under a defense: its criterion or cross entropy, of every head alike, plus its penalties."""
    loss = _of_head(defense, forward, batch, progress)
    for logits in forward.side_logits:
        loss = loss + _of_head(defense, forward._replace(logits=logits), batch, progress)
    for term in defense.penalties(forward, batch, progress).values():
        loss = loss + term
    return loss


def _of_head(defense: Defense, forward: Forward, batch: Batch, progress: float) -> Tensor:
    loss = defense.criterion(forward, batch, progress)
    return F.cross_entropy(forward.logits.float(), batch.labels) if loss is None else loss


@dataclass(frozen=True, kw_only=True)
class Descent:
    """Adds the gradient of a batch's loss to the weights; returns the loss.

    Args:
        run: the network, or what averages its gradients over the workers.
        taps: blocks whose outputs the defense's loss reads.
        micro_batches: passes of a batch (of each worker's share) whose gradients are added up.
        precision: of the pass, as in `TrainingRecipe`.
    """

    run: nn.Module
    defense: Defense
    taps: tuple[str, ...]
    world: World
    micro_batches: int
    device: str
    precision: str

    @in_step
    def __call__(self, batch: Batch, auxiliary: AuxiliaryBatch | None, progress: float) -> Tensor:
        """
        Args:
            auxiliary: other images that go through the network in the same pass.
        """
        if auxiliary is not None:
            return self._with_auxiliary(auxiliary, batch, progress)
        count = len(batch.labels)
        pieces = parts(count, self.world, micro_batches=self.micro_batches, device=self.device)
        total: Tensor | None = None
        for piece in pieces:
            with self._averaged(piece is pieces[-1]):
                forward = gathered(self._passed(piece.images_of(batch)), piece, self.world)
                loss = loss_of(self.defense, forward, piece.of(batch), progress)
                if len(pieces) > 1:
                    loss = loss * (sum(piece.sizes) / count)
                loss.backward()
            total = loss.detach() if total is None else total + loss.detach()
        assert total is not None
        return total

    def _with_auxiliary(self, auxiliary: AuxiliaryBatch, batch: Batch, progress: float) -> Tensor:
        """The batch and the auxiliary images in one pass."""
        forward = self._passed(torch.cat([batch.images, auxiliary.images]))
        forward_of_batch, others = _divide(forward, len(batch.labels))
        beside = F.cross_entropy(others.logits.float(), auxiliary.labels)
        loss_of_batch = loss_of(self.defense, forward_of_batch, batch, progress)
        loss = (1 - auxiliary.weight) * loss_of_batch + auxiliary.weight * beside
        loss.backward()
        return loss.detach()

    def _passed(self, images: Tensor) -> Forward:
        with (
            nullcontext()
            if self.precision != "bfloat16"
            else torch.autocast(self.device.partition(":")[0], torch.bfloat16)
        ):
            forward: Forward = self.run(images, self.taps)
        return forward

    def _averaged(self, last: bool) -> AbstractContextManager[None]:
        """Gradients are averaged over the workers once, with the last micro-batch."""
        if last or not isinstance(self.run, nn.parallel.DistributedDataParallel):
            return nullcontext()
        return self.run.no_sync()


def _divide(forward: Forward, count: int) -> tuple[Forward, Forward]:
    """The first `count` images of a pass, and the others."""
    first = {name: tap[:count] for name, tap in forward.taps.items()}
    others = {name: tap[count:] for name, tap in forward.taps.items()}
    return (
        Forward(forward.logits[:count], forward.features[:count], first, tuple(s[:count] for s in forward.side_logits)),
        Forward(
            forward.logits[count:], forward.features[count:], others, tuple(s[count:] for s in forward.side_logits)
        ),
    )


def warn_of_micro_batches(model: TargetModel, defense: Defense, micro_batches: int) -> None:
    """Warn of what makes the sum of micro-batches differ from the batch. `model` is in train mode."""
    norms = sum(isinstance(module, _BatchNorm) and module.training for module in model.modules())
    # A defense that couples images by changing the batch does so before it is divided.
    coupled = [
        f"the loss of {type(part).__name__}"
        for part in defense.parts()
        if part.couples_images and type(part).transform_batch is Defense.transform_batch
    ]
    seen = [*([f"{norms} batch norms"] if norms else []), *coupled]
    if seen:
        log.warning(
            "a batch is worked through in %d micro-batches to save memory; these see a micro-batch instead of the "
            "batch, so that the result is not exactly that of whole batches: %s",
            micro_batches,
            " and ".join(seen),
        )
