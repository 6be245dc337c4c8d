"""What the loop does with a defense's training state, and with images that are passed along."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from typing_extensions import override

from midef.core import SpecError
from midef.datasets import Splits
from midef.defenses import Batch, Defense
from midef.defenses.training_state import AuxiliaryBatch, TrainingFacts, TrainingState
from midef.models import ARCHITECTURES
from midef.nn.network import Forward, TargetModel
from midef.training import TrainingRecipe
from midef.training.checkpoint import Checkpointer
from midef.training.classifier import fit as training
from midef.training.classifier.fit import fit_classifier
from midef.training.data_parallel import World

Fit = Callable[..., Any]


class BlackImages(TrainingState):
    """Passes black images of class 0 along with each batch; remembers calls."""

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self.calls: list[str] = []
        self.level = 0.0

    @override
    def optimizer(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        self.calls.append("optimizer")
        return optimizer

    @override
    def batches(self, count: int, rng: Generator) -> list[Tensor] | None:
        self.calls.append(f"batches {count}")
        return None

    @override
    def before_step(
        self, model: TargetModel, batch: Batch, progress: float, rng: Generator
    ) -> tuple[Batch, AuxiliaryBatch | None]:
        assert model.training
        self.calls.append("step")
        self.level += 1.0
        black = torch.zeros(3, *batch.images.shape[1:])
        return batch, AuxiliaryBatch(black, torch.zeros(3, dtype=torch.long), self.weight)

    @override
    def finish(self) -> None:
        self.calls.append("finish")

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"level": self.level}

    @override
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.level = state["level"]

    @override
    def facts(self, run: Callable[[Tensor], Forward], images: Tensor) -> dict[str, float]:
        return {"level": self.level}


@dataclass(frozen=True, kw_only=True)
class Accompanied(Defense):
    paper: ClassVar[str] = "test"

    state: TrainingState

    @override
    def training_state(self, model: TargetModel, facts: TrainingFacts) -> TrainingState | None:
        return self.state


@dataclass(frozen=True, kw_only=True)
class Half(Defense):
    """Trains on every second image only."""

    @override
    def images_of_epoch(self, labels: Tensor, rng: Generator) -> Tensor | None:
        return torch.arange(0, len(labels), 2)


def test_is_called_in_the_promised_order(fit: Fit) -> None:
    state = BlackImages(0.0)
    fit(defense=Accompanied(state=state))
    epoch = ["batches 64", *["step"] * 4]
    assert state.calls == ["optimizer", *epoch, *epoch, "finish"]


def test_what_it_found_is_in_the_report(fit: Fit) -> None:
    _, done = fit(defense=Accompanied(state=BlackImages(0.0)))
    assert done.defense == {"level": 8.0}


def test_the_loss_is_the_weighted_sum_of_both_parts(fit: Fit, network: Callable[[int], TargetModel]) -> None:
    """One plain step of gradient descent, written out."""
    seen: list[Batch] = []

    @dataclass(frozen=True, kw_only=True)
    class Spy(Accompanied):
        @override
        def criterion(self, forward: Forward, batch: Batch, progress: float) -> Tensor | None:
            assert len(forward.logits) == len(forward.features) == len(batch.labels) == 64
            seen.append(batch)
            return None

    model, by_hand = network(0), network(0).train()
    plain = {"epochs": 1, "batch_size": 64, "learning_rate": 0.1, "momentum": 0.0, "weight_decay": 0.0}
    fit(model, Spy(state=BlackImages(0.25)), **plain)
    logits = by_hand(torch.cat([seen[0].images, torch.zeros(3, 3, 32, 32)])).logits
    own, beside = F.cross_entropy(logits[:64], seen[0].labels), F.cross_entropy(logits[64:], torch.zeros(3).long())
    (slope,) = torch.autograd.grad(0.75 * own + 0.25 * beside, [by_hand.head.weight])
    torch.testing.assert_close(model.head.weight, by_hand.head.weight - 0.1 * slope)


def test_state_survives_a_kill(
    fit: Fit, network: Callable[[int], TargetModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "Checkpointer", partial(Checkpointer, every_s=0.0))

    class Killed(Exception):
        pass

    def kill(said: dict[str, Any]) -> None:
        if said["epoch"] == 2:
            raise Killed

    with pytest.raises(Killed):
        fit(defense=Accompanied(state=BlackImages(0.1)), epochs=3, report=kill, checkpoint_folder=tmp_path)
    _, done = fit(defense=Accompanied(state=BlackImages(0.1)), epochs=3, checkpoint_folder=tmp_path)
    assert done.resumed_at == 2
    assert done.defense == {"level": 12.0}


def test_several_processes_refuse_a_training_state(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "current", classmethod(lambda cls: World(0, 2)))
    with pytest.raises(SpecError, match="trains in one process, not 2"):
        fit(defense=Accompanied(state=BlackImages(0.0)))


def test_an_epoch_can_leave_images_out(fit: Fit) -> None:
    seen: list[int] = []

    @dataclass(frozen=True, kw_only=True)
    class Watched(Half):
        @override
        def transform_batch(self, batch: Batch, progress: float, rng: Generator) -> Batch:
            seen.extend(batch.indices.tolist())
            return batch

    fit(defense=Watched(), epochs=1, batch_size=8)
    assert sorted(seen) == list(range(0, 64, 2)), "positions are those of the whole split"


def test_a_step_of_its_own_is_not_worked_through_in_parts(faces: Splits, network: Callable[[int], TargetModel]) -> None:
    with pytest.raises(SpecError, match="lower batch_size of the training \\(now 16\\)"):
        fit_classifier(
            network(0),
            faces.train,
            faces.select,
            facts=ARCHITECTURES.make("vgg16_tiny").facts(),
            recipe=TrainingRecipe(epochs=1, batch_size=16),
            defense=Accompanied(state=BlackImages(0.0)),
            seed=5,
            micro_batches=2,
        )
