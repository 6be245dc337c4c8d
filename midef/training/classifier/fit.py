"""The one training loop for classifiers: every defense, with or without several processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from midef.core.errors import SpecError, TrainingDiverged
from midef.core.in_step import in_step
from midef.core.position import share, steps
from midef.core.seeds import derive_seed
from midef.core.upload import uploaded
from midef.datasets import Images
from midef.defenses import Batch, Defense
from midef.defenses.training_state import TrainingFacts, TrainingState
from midef.models import ModelFacts
from midef.nn.network import TargetModel
from midef.storage.location import Location
from midef.training.checkpoint import Checkpointer
from midef.training.classifier.batches import augment, batches_of_epoch
from midef.training.classifier.descent import Descent, compiled, make_optimizer, warn_of_micro_batches
from midef.training.classifier.evaluate import EVALUATED_AT_ONCE, accuracy
from midef.training.data_parallel import World, norms_over_all
from midef.training.finite import check_weights
from midef.training.numerics import products
from midef.training.recipe import TrainingRecipe

TRAINING_WORK = 3
"""Work of an image in a training step, where that of an image that is classified is 1; for progress that is shown."""


@dataclass
class FitReport:
    """Record of a training.

    Args:
        loss: mean per epoch.
        select_accuracy: percent per epoch.
        kept_epoch: whose weights were kept, 0-based.
        resumed_at: epoch at which a killed training was resumed; 0 if it was not.
        defense: measurements of the defense's training state (epsilon, success of a trapdoor).
    """

    loss: list[float] = field(default_factory=list)
    select_accuracy: list[float] = field(default_factory=list)
    kept_epoch: int = -1
    resumed_at: int = 0
    defense: dict[str, float] = field(default_factory=dict)


def fit_classifier(
    model: TargetModel,
    train: Images,
    select: Images,
    *,
    facts: ModelFacts,
    recipe: TrainingRecipe,
    defense: Defense,
    seed: int,
    device: str = "cpu",
    report: Callable[[dict[str, Any]], None] | None = None,
    checkpoint_folder: Path | None = None,
    checkpoint_home: Location | None = None,
    state_tensors: dict[str, Tensor] | None = None,
    micro_batches: int = 1,
) -> FitReport:
    """Train `model` in place (already prepared by the defense) and leave the kept checkpoint's weights in it.

    Every epoch draws from a generator seeded by (seed, epoch), so a training that was killed and goes on from a
    checkpoint ends with the same weights.

    Several processes learn what one learns, but for rounding: all draw the same batch, augmentation and changes by the
    defense; each passes its share through the network, batch norms see all shares, and all compute the loss on the
    whole batch. Layers that draw while they compute (dropout, stochastic depth, MID's samples) draw in each process on
    its own, so these numbers differ from one process's. GPUs must be of one kind: others may draw other numbers.

    Args:
        train, select: images to fit and images to pick a checkpoint by.
        report: called after each epoch with `epoch`, `epochs`, `loss`, `select_accuracy`.
        checkpoint_folder: where to keep resumable state between epochs; None keeps none.
        checkpoint_home: an object store that keeps a copy of it, under the folder's name, for another machine.
        state_tensors: filled with the tensors that the defense's training state stores beside the weights.
        micro_batches: above 1, passes of a batch (of each process's share) whose gradients are added up, to save
            memory. Batch norms, and losses that couple images, then see a micro-batch, which a warning tells.

    Raises:
        TrainingDiverged: if the loss, a logit of the select split, or a weight after the last step is not finite.
        SpecError: if the defense has a training state and several processes train or `micro_batches` is above 1; if a
            batch has fewer images than there are processes; if several processes train and the recipe is `compiled`.
    """
    world = World.current()
    model.to(device)
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = make_optimizer(trainable, recipe)
    state = _training_state(
        defense, model, train, recipe, seed=seed, device=device, world=world, micro_batches=micro_batches
    )
    optimizer = state.optimizer(optimizer)
    done = FitReport()
    best: dict[str, Tensor] | None = None
    checkpointer = None if checkpoint_folder is None else Checkpointer(checkpoint_folder, home=checkpoint_home)
    start = 0
    if checkpointer is not None and (saved := checkpointer.load(device, world)) is not None:
        start, best = saved.epoch, saved.best
        model.load_state_dict(saved.model)
        optimizer.load_state_dict(saved.optimizer)
        state.load_state_dict(saved.training_state)
        done = FitReport(**{**saved.report, "resumed_at": start})
    at_once = max(1, EVALUATED_AT_ONCE // micro_batches)
    with norms_over_all(model, world), products(recipe.precision):
        descend = Descent(
            run=_run_of(model, recipe, device=device, world=world),
            defense=defense,
            taps=defense.taps(facts),
            world=world,
            micro_batches=micro_batches,
            device=device,
            precision=recipe.precision,
        )
        training = _Training(
            model=model,
            labels=train.labels,
            data=Images(train.images.to(device), train.labels.to(device)),
            recipe=recipe,
            state=state,
            optimizer=optimizer,
            trainable=trainable,
            descend=descend,
            seed=seed,
        )
        if micro_batches > 1:
            warn_of_micro_batches(model.train(), defense, micro_batches)
        learning = TRAINING_WORK * len(train) / (TRAINING_WORK * len(train) + len(select))
        epochs = epochs_until(defense.ends_at, recipe.epochs)
        for epoch in steps(range(start, epochs), first=start):
            with share(0.0, learning):
                done.loss.append(training.epoch(epoch))
            with share(learning, 1.0):
                selected = accuracy(model, select, device=device, batch_size=at_once, world=world)
            done.select_accuracy.append(selected)
            if recipe.checkpoint == "best_select" and done.select_accuracy[-1] >= max(done.select_accuracy):
                best = {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}
                done.kept_epoch = epoch
                state.mark_best()
            if checkpointer is not None and world.rank == 0 and epoch + 1 < epochs:
                checkpointer.save(epoch + 1, model, optimizer, best, asdict(done), state.state_dict())
            if report is not None:
                last = {"loss": done.loss[-1], "select_accuracy": done.select_accuracy[-1]}
                report({"epoch": epoch + 1, "epochs": epochs, **last})
    if best is not None:
        model.load_state_dict(best)
    else:
        done.kept_epoch = epochs - 1
    state.finish()
    model.eval()
    stored = state.stored_tensors()
    check_weights({**model.state_dict(), **stored}, advice=_advice(recipe))
    done.defense = state.facts(model, select.images)
    if state_tensors is not None:
        state_tensors |= stored
    return done


def epochs_until(share: float, epochs: int) -> int:
    """Whole epochs of a share of a training, at least one."""
    return max(1, round(share * epochs))


@dataclass(frozen=True, kw_only=True)
class _Training:
    """Trains a network epoch by epoch.

    Args:
        labels: [N] of the train split, in memory of the CPU, where batches are drawn.
        data: the train split on the device.
        state: of the defense.
        optimizer: steps the network.
        trainable: weights whose gradient is clipped.
        descend: adds the gradient of a batch.
    """

    model: TargetModel
    labels: Tensor
    data: Images
    recipe: TrainingRecipe
    state: TrainingState
    optimizer: torch.optim.Optimizer
    trainable: list[nn.Parameter]
    descend: Descent
    seed: int

    def epoch(self, number: int) -> float:
        """Train for one epoch, counted from 0; returns the mean loss of its batches.

        Raises:
            TrainingDiverged: if the loss is not finite.
        """
        recipe, device, rank = self.recipe, self.descend.device, self.descend.world.rank
        self.model.train()
        order_rng = torch.Generator().manual_seed(derive_seed(self.seed, "order", number))
        rng = torch.Generator(device).manual_seed(derive_seed(self.seed, "augment", number, 0))  # alike in all workers
        torch.manual_seed(derive_seed(self.seed, "noise", number, rank) % 2**63)  # dropout and other layers that draw
        drawn = batches_of_epoch(self.labels, recipe, self.descend.defense, self.state, order_rng)
        # one copy for the whole epoch: a copy in every step would make a GPU wait for the host
        batches = uploaded(torch.cat(drawn), device).split([len(batch) for batch in drawn])
        total = torch.zeros((), device=device)
        for step, positions in enumerate(steps(batches)):
            total += self._step(positions, (number + step / len(batches)) / recipe.epochs, rng)
        mean_loss = float(total) / len(batches)  # the only wait for the device in an epoch
        if not isfinite(mean_loss):
            raise TrainingDiverged(
                f"the loss became {mean_loss} in epoch {number + 1} of {recipe.epochs}; {_advice(recipe)}"
            )
        return mean_loss

    @in_step
    def _step(self, positions: Tensor, progress: float, rng: Generator) -> Tensor:
        """Train on the images at these positions; returns their loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate_at(progress)
        images = augment(self.data.images[positions].float() / 255, self.recipe, rng)
        batch = Batch(images, self.data.labels[positions], positions, train_images=len(self.labels))
        batch = self.descend.defense.transform_batch(batch, progress, rng)
        batch, auxiliary = self.state.before_step(self.model, batch, progress, rng)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.descend(batch, auxiliary, progress)
        if self.recipe.clip_norm:
            nn.utils.clip_grad_norm_(self.trainable, self.recipe.clip_norm)
        self.optimizer.step()
        return loss


def _run_of(model: TargetModel, recipe: TrainingRecipe, *, device: str, world: World) -> nn.Module:
    """What passes of the training go through: the network, compiled, or averaging its gradients over the workers."""
    if world.size == 1:
        return compiled(model, device) if recipe.compiled else model
    if recipe.compiled:
        raise SpecError(
            f"a compiled training needs one process, not {world.size}; set train_workers to 1, or leave out compiled"
        )
    return nn.parallel.DistributedDataParallel(model)


def _advice(recipe: TrainingRecipe) -> str:
    return f"lower learning_rate (now {recipe.learning_rate:g}), set clip_norm, or weaken the defense"


def _training_state(
    defense: Defense,
    model: TargetModel,
    train: Images,
    recipe: TrainingRecipe,
    *,
    seed: int,
    device: str,
    world: World,
    micro_batches: int,
) -> TrainingState:
    """The defense's training state, or one that changes nothing."""
    facts = TrainingFacts(
        images=len(train),
        resolution_px=train.images.shape[-1],
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
        device=device,
        seed=seed,
        optimizer=lambda parameters: make_optimizer(parameters, recipe),
    )
    state = defense.training_state(model, facts)
    if state is not None and world.size > 1:
        raise SpecError(
            f"this defense keeps state beside the network and trains in one process, not {world.size}; "
            "set train_workers to 0 or 1"
        )
    if state is not None and micro_batches > 1:
        raise SpecError(
            "this defense has a training step of its own, which cannot be worked through in parts to save memory; "
            f"lower batch_size of the training (now {recipe.batch_size})"
        )
    return TrainingState() if state is None else state
