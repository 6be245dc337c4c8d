"""What the one training loop promises to every defense."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typing_extensions import override

from midef.core.errors import TrainingDiverged
from midef.datasets import Images, Splits
from midef.defenses import DEFENSES, Batch, Defense
from midef.defenses.stack import choose_defense, remake_defense
from midef.nn.network import Forward, TargetModel
from midef.testing.positions import positions, rises_to_the_end
from midef.training import TrainingRecipe
from midef.training.checkpoint import Checkpointer
from midef.training.classifier import fit as training
from midef.training.classifier.evaluate import accuracy
from midef.training.classifier.fit import FitReport

Fit = Callable[..., tuple[TargetModel, FitReport]]
Network = Callable[[int], TargetModel]


def weights_of(model: TargetModel) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


# --- learning ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_learns_the_identities(optimizer: str, fit: Fit, faces: Splits) -> None:
    rate = 0.05 if optimizer == "sgd" else 3e-3
    model, done = fit(optimizer=optimizer, learning_rate=rate, epochs=20)
    assert done.loss[-1] < 0.3 * done.loss[0]
    assert accuracy(model, faces.train, device="cpu") > 40  # chance is 12.5
    assert not model.training


def test_tells_how_far_it_is_after_every_step(fit: Fit) -> None:
    with positions() as told:
        fit(epochs=2, batch_size=16)
    rises_to_the_end(told)
    learned = 3 * 64 / (3 * 64 + 16)  # 64 images to learn, 16 to select by
    assert set(told) >= {round(number / 4 * learned / 2, 9) for number in range(4)}


def test_gradients_are_clipped_after_backward_and_before_the_step(fit: Fit, network: Network) -> None:
    """One step of plain SGD then moves the weights by exactly rate * clip_norm, if the raw gradient is longer."""
    model = network(0)
    before = [p.detach().clone() for p in model.parameters()]
    fit(model, epochs=1, batch_size=64, momentum=0.0, weight_decay=0.0, learning_rate=0.5, clip_norm=1e-2)
    moved = torch.cat([(p.detach() - b).flatten() for p, b in zip(model.parameters(), before, strict=True)]).double()
    assert moved.norm().item() == pytest.approx(0.5 * 1e-2, rel=1e-3)


def test_the_optimizer_follows_the_schedule(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    make = training.make_optimizer

    def spied(parameters: Any, recipe: TrainingRecipe) -> torch.optim.Optimizer:
        optimizer = make(parameters, recipe)
        optimizer.register_step_pre_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
        return optimizer

    monkeypatch.setattr(training, "make_optimizer", spied)
    fit(epochs=2, batch_size=16, schedule="multistep", milestones=(0.5, 0.75), gamma=0.1, learning_rate=0.02)
    assert rates == pytest.approx([0.02] * 4 + [0.002] * 2 + [0.0002] * 2)


def test_frozen_weights_do_not_move(fit: Fit, network: Network) -> None:
    model = network(0)
    for block in (model.blocks.block1, model.blocks.block3):
        block.requires_grad_(False)
    before = weights_of(model)
    fit(model, weight_decay=0.1)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert "blocks.embedding.1.bias" in frozen and not moved & frozen
    assert {"blocks.block2.0.weight", "head.weight"} <= moved


def test_the_seed_decides_everything(fit: Fit, network: Network) -> None:
    torch.manual_seed(1)
    first, _ = fit(network(0), epochs=1)
    torch.manual_seed(2)
    second, _ = fit(network(0), epochs=1)
    assert same(weights_of(first), weights_of(second))


def test_a_loss_that_is_no_number_stops_with_advice(fit: Fit) -> None:
    with pytest.raises(TrainingDiverged) as caught:
        fit(learning_rate=1e30, epochs=3)
    message = str(caught.value)
    assert "the loss became nan in epoch" in message or "the loss became inf in epoch" in message
    assert "of 3; lower learning_rate (now 1e+30), set clip_norm, or weaken the defense" in message


def test_a_diverging_penalty_stops_with_the_same_advice(fit: Fit) -> None:
    with pytest.raises(TrainingDiverged, match="weaken the defense"):
        fit(defense=DEFENSES.make("bido"), learning_rate=1e30, epochs=3)


@pytest.mark.parametrize("checkpoint", ["last", "best_select"])
@pytest.mark.parametrize("rate", [1e20, 1e38])
def test_weights_ruined_by_the_last_step_are_no_success(rate: float, checkpoint: str, fit: Fit) -> None:
    """One batch, one epoch: its loss was computed before the step, and no loss comes after it."""
    with pytest.raises(TrainingDiverged, match=r"not finite; lower learning_rate.* set clip_norm, or weaken the defen"):
        fit(learning_rate=rate, epochs=1, batch_size=64, checkpoint=checkpoint)


def test_a_buffer_that_no_answer_shows_is_checked_too(fit: Fit, network: Network) -> None:
    model = network(0)
    model.head.register_buffer("scale", torch.tensor([1.0, float("inf")]))
    with pytest.raises(
        TrainingDiverged, match=r"after the last step head\.scale holds numbers that are not finite; low"
    ):
        fit(model, epochs=1)


# --- which epoch is kept ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("checkpoint", "judged", "kept"),
    [("last", [10.0, 90.0, 20.0], 2), ("best_select", [10.0, 90.0, 20.0], 1), ("best_select", [50.0, 50.0, 20.0], 1)],
    ids=["last", "best", "later of two equal"],
)
def test_the_kept_epoch(
    checkpoint: str, judged: list[float], kept: int, fit: Fit, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, answers, seen = network(0), iter(judged), []
    monkeypatch.setattr(training, "accuracy", lambda *_, **__: next(answers))
    _, done = fit(model, epochs=3, checkpoint=checkpoint, report=lambda _: seen.append(weights_of(model)))
    assert done.kept_epoch == kept and done.select_accuracy == judged
    assert same(weights_of(model), seen[kept])
    assert not same(seen[0], seen[1]) and not same(seen[1], seen[2])


def test_a_checkpoint_is_picked_by_the_select_split_only(
    fit: Fit, faces: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[Images] = []
    measure = training.accuracy

    def spied(model: TargetModel, part: Images, **rest: Any) -> float:
        judged.append(part)
        return measure(model, part, **rest)

    monkeypatch.setattr(training, "accuracy", spied)
    poison = Images(torch.zeros_like(faces.report.images), torch.full_like(faces.report.labels, 10**6))
    model, done = fit(splits=replace(faces, report=poison), checkpoint="best_select", epochs=4)
    assert len(judged) == 4 and all(part is faces.select for part in judged)
    assert measure(model, faces.select, device="cpu") == max(done.select_accuracy)


def test_reports_after_every_epoch(fit: Fit) -> None:
    said: list[dict[str, Any]] = []
    _, done = fit(epochs=2, report=said.append)
    assert [(s["epoch"], s["epochs"]) for s in said] == [(1, 2), (2, 2)]
    assert [s["loss"] for s in said] == done.loss
    assert [s["select_accuracy"] for s in said] == done.select_accuracy


# --- hooks ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Recording(Defense):
    """Notes what the loop hands to each hook, in order."""

    seen: list[tuple[str, Any]]

    @override
    def transform_batch(self, batch: Batch, progress: float, rng: torch.Generator) -> Batch:
        self.seen.append(("batch", (progress, batch)))
        return batch.with_images(torch.full_like(batch.images, 0.5))

    @override
    def criterion(self, forward: Forward, batch: Batch, progress: float) -> Tensor | None:
        self.seen.append(("criterion", (progress, batch)))
        return None

    @override
    def penalties(self, forward: Forward, batch: Batch, progress: float) -> dict[str, Tensor]:
        self.seen.append(("penalties", (progress, batch)))
        return {"a": torch.tensor(100.0), "b": torch.tensor(20.0)}


def test_hooks_see_the_same_batch_and_the_share_of_training_done(fit: Fit, faces: Splits) -> None:
    seen: list[tuple[str, Any]] = []
    _, done = fit(defense=Recording(seen=seen), epochs=2, batch_size=32, flip=0.0)
    assert [name for name, _ in seen] == ["batch", "criterion", "penalties"] * 4
    assert [value[0] for name, value in seen if name == "batch"] == [0.0, 0.25, 0.5, 0.75]
    assert all((value[1].images == 0.5).all() for name, value in seen if name != "batch")
    for name, (_, batch) in seen:
        assert torch.equal(batch.labels, faces.train.labels[batch.indices])
        if name == "batch":
            assert torch.equal(batch.images, faces.train.images[batch.indices].float() / 255)
    assert done.loss[0] == pytest.approx(120 + 2.1, abs=1.5), "cross entropy plus both penalties"


# --- resuming ---------------------------------------------------------------------------------------------------------


class Killed(Exception):
    """Stands for a machine that went away."""


def kill_after(epoch: int) -> Callable[[dict[str, Any]], None]:
    def report(said: dict[str, Any]) -> None:
        if said["epoch"] == epoch:
            raise Killed

    return report


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints after every epoch, not once a minute."""
    monkeypatch.setattr(training, "Checkpointer", partial(Checkpointer, every_s=0.0))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    ("optimizer", "defense", "checkpoint"),
    [("sgd", "midre+nls", "last"), ("adam", "midre+bido", "best_select")],
    ids=["sgd", "adam"],
)
def test_a_resumed_training_ends_like_an_uninterrupted_one(
    optimizer: str, defense: str, checkpoint: str, fit: Fit, network: Network, tmp_path: Path
) -> None:
    how: dict[str, Any] = {"epochs": 4, "optimizer": optimizer, "checkpoint": checkpoint, "learning_rate": 1e-3}
    how |= {"jitter_px": 2, "schedule": "cosine", "defense": remake_defense(choose_defense(defense))}
    straight, expected = fit(network(0), **how)
    for attempt, epoch in enumerate((1, 3)):
        with pytest.raises(Killed):
            fit(network(attempt), checkpoint_folder=tmp_path, report=kill_after(epoch), **how)
    with positions() as told:
        resumed, done = fit(network(9), checkpoint_folder=tmp_path, **how)
    assert min(told) == 0.75, "epochs of the processes before count as done"
    assert same(weights_of(resumed), weights_of(straight))
    assert done == replace(expected, resumed_at=3)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x04N."], ids=["empty", "text", "pickle"])
def test_an_unreadable_checkpoint_is_told_and_ignored(
    content: bytes, fit: Fit, network: Network, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    straight, expected = fit(network(0), epochs=2)
    (tmp_path / "state.pt").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        again, done = fit(network(0), epochs=2, checkpoint_folder=tmp_path)
    assert "cannot be read" in caplog.text and "starts from the beginning" in caplog.text
    assert done == expected and same(weights_of(again), weights_of(straight))


@pytest.mark.usefixtures("eager")
def test_clearing_removes_the_folder(fit: Fit, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    fit(epochs=2, checkpoint_folder=folder)
    assert [path.name for path in folder.iterdir()] == ["state.pt"]
    Checkpointer(folder).clear()
    assert not folder.exists()
    Checkpointer(folder).clear()


def test_checkpoints_are_not_written_more_often_than_asked(fit: Fit, tmp_path: Path) -> None:
    fit(epochs=2, checkpoint_folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
