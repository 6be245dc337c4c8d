"""The one training loop for classifiers: every defense, with or without several processes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from midef.core.errors import SpecError, TrainingDiverged
from midef.core.seeds import derive_seed
from midef.datasets import Images
from midef.datasets.files.augment import color_jitter, flip, resized_crop, shift
from midef.defenses import Batch, Defense
from midef.defenses.training_state import AuxiliaryBatch, TrainingFacts, TrainingState
from midef.models import ModelFacts
from midef.nn.network import Forward, TargetModel
from midef.storage.location import Location
from midef.training.checkpoint import Checkpointer
from midef.training.data_parallel import World, gathered, norms_over_all, parts, summed
from midef.training.recipe import TrainingRecipe

log = logging.getLogger(__name__)

EVALUATED_AT_ONCE = 512
"""Images whose accuracy is taken together. Changes memory and speed, not results."""


@dataclass
class FitReport:
    """What a training did. loss: mean per epoch; select_accuracy: percent per epoch; kept_epoch: 0-based.

    defense: what the defense's training state recorded (epsilon, success of a trapdoor).
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
    kept: dict[str, Tensor] | None = None,
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
        kept: filled with what the defense's training state keeps beside the weights.
        micro_batches: above 1, passes of a batch (of each process's share) whose gradients are added up, to save
            memory. Batch norms, and losses that couple images, then see a micro-batch, which a warning tells.

    Raises:
        TrainingDiverged: if the loss is not finite.
        SpecError: if the defense has a training state and several processes train or `micro_batches` is above 1; if a
            batch has fewer images than there are processes.
    """
    world = World.current()
    model.to(device)
    images, labels = train.images.to(device), train.labels.to(device)
    taps = defense.taps(facts)
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = _optimizer(trainable, recipe)
    state = _training_state(
        defense, model, train, recipe, seed=seed, device=device, world=world, micro_batches=micro_batches
    )
    optimizer = state.optimizer(optimizer)
    done = FitReport()
    best: dict[str, Tensor] | None = None
    keeper = None
    if checkpoint_folder is not None:
        keeper = Checkpointer(checkpoint_folder, home=checkpoint_home)
    start = 0
    if keeper is not None and (found := keeper.load(device, world)) is not None:
        start, best = found.epoch, found.best
        model.load_state_dict(found.model)
        optimizer.load_state_dict(found.optimizer)
        state.load_state_dict(found.training_state)
        done = FitReport(**{**found.report, "resumed_at": start})
    at_once = max(1, EVALUATED_AT_ONCE // micro_batches)
    with norms_over_all(model, world):
        descend = _Descent(
            run=model if world.size == 1 else nn.parallel.DistributedDataParallel(model),
            defense=defense,
            taps=taps,
            world=world,
            micro_batches=micro_batches,
            device=device,
            precision=recipe.precision,
        )
        if micro_batches > 1:
            _tell_what_sees_micro_batches(model.train(), defense, micro_batches)
        for epoch in range(start, recipe.epochs):
            model.train()
            order_rng = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
            rng = torch.Generator(device).manual_seed(
                derive_seed(seed, "augment", epoch, 0)
            )  # the same for all workers
            torch.manual_seed(
                derive_seed(seed, "noise", epoch, world.rank) % 2**63
            )  # dropout and other layers that draw
            batches = _batches_of_epoch(train.labels, recipe, defense, state, order_rng)
            total = torch.zeros((), device=device)
            for step, picked in enumerate(batches):
                progress = (epoch + step / len(batches)) / recipe.epochs
                for group in optimizer.param_groups:
                    group["lr"] = recipe.rate_at(progress)
                index = picked.to(device)
                batch = Batch(_augment(images[index].float() / 255, recipe, rng), labels[index], index)
                batch = defense.transform_batch(batch, progress, rng)
                batch, auxiliary = state.before_step(model, batch, progress, rng)
                optimizer.zero_grad(set_to_none=True)
                loss = (
                    descend(batch, progress)
                    if auxiliary is None
                    else descend.with_auxiliary(auxiliary, batch, progress)
                )
                if recipe.clip_norm:
                    nn.utils.clip_grad_norm_(trainable, recipe.clip_norm)
                optimizer.step()
                total += loss
            mean_loss = float(total) / len(batches)  # the only wait for the device in an epoch
            if not torch.isfinite(torch.tensor(mean_loss)):
                raise TrainingDiverged(
                    f"the loss became {mean_loss} in epoch {epoch + 1} of {recipe.epochs}; lower learning_rate "
                    f"(now {recipe.learning_rate:g}), set clip_norm, or weaken the defense"
                )
            done.loss.append(mean_loss)
            done.select_accuracy.append(accuracy(model, select, device=device, batch_size=at_once, world=world))
            if recipe.checkpoint == "best_select" and done.select_accuracy[-1] >= max(done.select_accuracy):
                best = {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}
                done.kept_epoch = epoch
                state.mark_best()
            if keeper is not None and world.rank == 0 and epoch + 1 < recipe.epochs:
                keeper.save(epoch + 1, model, optimizer, best, asdict(done), state.state_dict())
            if report is not None:
                last = {"loss": mean_loss, "select_accuracy": done.select_accuracy[-1]}
                report({"epoch": epoch + 1, "epochs": recipe.epochs, **last})
    if best is not None:
        model.load_state_dict(best)
    else:
        done.kept_epoch = recipe.epochs - 1
    state.finish()
    model.eval()
    done.defense = state.facts(model, select.images)
    if kept is not None:
        kept |= state.stored_tensors()
    return done


def loss_of(defense: Defense, forward: Forward, batch: Batch, progress: float) -> Tensor:
    """The loss of a batch under a defense: its criterion or cross entropy, plus its penalties."""
    loss = defense.criterion(forward, batch, progress)
    if loss is None:
        loss = F.cross_entropy(forward.logits.float(), batch.labels)
    for term in defense.penalties(forward, batch, progress).values():
        loss = loss + term
    return loss


@dataclass(frozen=True, kw_only=True)
class _Descent:
    """Adds the gradient of a batch's loss to the weights; returns the loss.

    run: the network, or what averages its gradients over the workers.
    """

    run: nn.Module
    defense: Defense
    taps: tuple[str, ...]
    world: World
    micro_batches: int
    device: str
    precision: str

    def __call__(self, batch: Batch, progress: float) -> Tensor:
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

    def with_auxiliary(self, auxiliary: AuxiliaryBatch, batch: Batch, progress: float) -> Tensor:
        """The batch and the auxiliary images in one pass."""
        forward = self._passed(torch.cat([batch.images, auxiliary.images]))
        own, others = _divide(forward, len(batch.labels))
        beside = F.cross_entropy(others.logits.float(), auxiliary.labels)
        loss = (1 - auxiliary.weight) * loss_of(self.defense, own, batch, progress) + auxiliary.weight * beside
        loss.backward()
        return loss.detach()

    def _passed(self, images: Tensor) -> Forward:
        with (
            nullcontext()
            if self.precision == "float32"
            else torch.autocast(self.device.partition(":")[0], torch.bfloat16)
        ):
            forward: Forward = self.run(images, self.taps)
        return forward

    def _averaged(self, last: bool) -> AbstractContextManager[None]:
        """Gradients are averaged over the workers once, with the last micro-batch."""
        if last or not isinstance(self.run, nn.parallel.DistributedDataParallel):
            return nullcontext()
        return self.run.no_sync()


def _tell_what_sees_micro_batches(model: TargetModel, defense: Defense, micro_batches: int) -> None:
    """Warn of what makes the sum of micro-batches another one than the batch. `model` is in train mode."""
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


def _divide(forward: Forward, count: int) -> tuple[Forward, Forward]:
    """The first `count` images of a pass, and the others."""
    first = {name: tap[:count] for name, tap in forward.taps.items()}
    others = {name: tap[count:] for name, tap in forward.taps.items()}
    return (
        Forward(forward.logits[:count], forward.features[:count], first),
        Forward(forward.logits[count:], forward.features[count:], others),
    )


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
        optimizer=lambda parameters: _optimizer(parameters, recipe),
    )
    found = defense.training_state(model, facts)
    if found is not None and world.size > 1:
        raise SpecError(
            f"this defense keeps state beside the network and trains in one process, not {world.size}; "
            "set train_workers of the profile to 0 or 1"
        )
    if found is not None and micro_batches > 1:
        raise SpecError(
            "this defense has a training step of its own, which cannot be worked through in parts to save memory; "
            f"lower batch_size of the training (now {recipe.batch_size})"
        )
    return TrainingState() if found is None else found


def _batches_of_epoch(
    labels: Tensor, recipe: TrainingRecipe, defense: Defense, state: TrainingState, rng: Generator
) -> list[Tensor]:
    """Positions in the train split, batch by batch."""
    kept = defense.images_of_epoch(labels, rng)
    count = len(labels) if kept is None else len(kept)
    batches = state.batches(count, rng)
    if batches is None:
        chosen = labels if kept is None else labels[kept]
        batches = _batches(chosen, recipe.batch_size, defense.images_per_identity, rng)
    return batches if kept is None else [kept[batch] for batch in batches]


@torch.no_grad()
def accuracy(
    model: TargetModel,
    part: Images,
    *,
    device: str,
    batch_size: int = EVALUATED_AT_ONCE,
    world: World | None = None,
) -> float:
    """Top-1 accuracy of the logits, in percent; leaves the model in eval mode.

    world: workers that all call this, each for its share of the images; all get the same number.
    """
    world = world or World()
    model.eval()
    hits = 0
    mine = torch.arange(len(part)).tensor_split(world.size)[world.rank]
    first, end = (int(mine[0]), int(mine[-1]) + 1) if len(mine) else (0, 0)
    for start in range(first, end, batch_size):
        stop = min(start + batch_size, end)
        images = part.images[start:stop].to(device).float() / 255
        found = model(images).logits.argmax(dim=1).cpu()
        hits += int((found == part.labels[start:stop]).sum())
    return 100.0 * summed(hits, device, world) / max(1, len(part))


def _optimizer(parameters: Iterable[Tensor], recipe: TrainingRecipe) -> torch.optim.Optimizer:
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=rate, momentum=recipe.momentum, nesterov=recipe.nesterov, weight_decay=decay
        )
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, lr=rate, betas=recipe.betas, weight_decay=decay)


def _batches(labels: Tensor, batch_size: int, images_per_identity: int, rng: Generator) -> list[Tensor]:
    """Index tensors of one epoch. The last incomplete batch is dropped, unless it is the only one."""
    n = len(labels)
    if images_per_identity:
        return _balanced_batches(labels, batch_size, images_per_identity, rng)
    order = torch.randperm(n, generator=rng)
    full = n // batch_size
    return [order] if full == 0 else list(order[: full * batch_size].view(full, batch_size))


def _balanced_batches(labels: Tensor, batch_size: int, images_per_identity: int, rng: Generator) -> list[Tensor]:
    """Batches of batch_size / images_per_identity identities, with that many images of each (drawn again if fewer)."""
    members = [torch.nonzero(labels == k).squeeze(1) for k in labels.unique()]
    wanted = max(1, min(len(members), batch_size // images_per_identity))
    batches: list[Tensor] = []
    queue: list[int] = []
    for _ in range(max(1, len(labels) // batch_size)):
        if len(queue) < wanted:
            queue = torch.randperm(len(members), generator=rng).tolist()
        drawn, queue = queue[:wanted], queue[wanted:]
        picked = []
        for k in drawn:
            order = torch.randperm(len(members[k]), generator=rng)
            picked.append(members[k][order.repeat(images_per_identity)[:images_per_identity]])
        batches.append(torch.cat(picked))
    return batches


def _augment(images: Tensor, recipe: TrainingRecipe, rng: Generator) -> Tensor:
    """The recipe's random changes of images [B, 3, H, W], each image on its own, on the device."""
    if recipe.crop_scale is not None:
        images = resized_crop(images, rng, scale=recipe.crop_scale)
    if any(recipe.color_jitter):
        brightness, contrast, saturation, hue = recipe.color_jitter
        images = color_jitter(images, rng, brightness=brightness, contrast=contrast, saturation=saturation, hue=hue)
    if recipe.flip:
        images = flip(images, rng, p=recipe.flip)
    if recipe.jitter_px:
        images = shift(images, rng, pixels=recipe.jitter_px)
    return images
