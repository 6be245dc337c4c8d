"""A training goes on where another machine died: its state has a copy in the object store."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from midef.core import StoreError
from midef.datasets import Splits
from midef.defenses import DEFENSES
from midef.models import ARCHITECTURES
from midef.nn.network import TargetModel
from midef.storage.location import Location
from midef.training import TrainingRecipe
from midef.training.checkpoint import Checkpointer
from midef.training.classifier import fit
from midef.training.classifier.fit import FitReport, fit_classifier

STATE = "checkpoints/digest/state.pt"


class Lost(Exception):
    """As if the machine had burned down."""


@pytest.fixture
def home(s3_endpoint: str, tmp_path: Path) -> Location:
    options = f"endpoint_override={s3_endpoint}&scheme=http&region=us-east-1&allow_bucket_creation=true"
    location = Location.open(f"s3://bucket/{tmp_path.name}/store?{options}")
    location.create()
    return location


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "Checkpointer", partial(Checkpointer, every_s=0.0))


def train(
    faces: Splits, model: TargetModel, *, home: Location | None, folder: Path, until: int | None = None
) -> FitReport:
    def stop(said: dict[str, Any]) -> None:
        if said["epoch"] == until:
            raise Lost

    return fit_classifier(
        model,
        faces.train,
        faces.select,
        facts=ARCHITECTURES.make("vgg16_tiny").facts(),
        recipe=TrainingRecipe(epochs=3, batch_size=32),
        defense=DEFENSES.make("none"),
        seed=5,
        report=stop,
        checkpoint_folder=folder / "digest",
        checkpoint_home=home,
    )


@pytest.mark.usefixtures("eager")
def test_another_machine_goes_on(
    faces: Splits, network: Callable[[int], TargetModel], home: Location, tmp_path: Path
) -> None:
    straight, resumed = network(0), network(9)
    train(faces, straight, home=None, folder=tmp_path / "straight")
    with pytest.raises(Lost):
        train(faces, network(0), home=home, folder=tmp_path / "lost", until=2)
    done = train(faces, resumed, home=home, folder=tmp_path / "other")
    assert done.resumed_at == 2
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), resumed.parameters(), strict=True))


@pytest.fixture
def keep(network: Callable[[int], TargetModel]) -> Callable[[Checkpointer, int], None]:
    """Keeps a state of this epoch."""
    model = network(0)

    def kept(keeper: Checkpointer, epoch: int) -> None:
        keeper.save(epoch, model, torch.optim.SGD(model.parameters(), lr=0.1), None, {"loss": [float(epoch)]})

    return kept


@pytest.mark.parametrize(("here", "at_home"), [(1, 4), (4, 1), (0, 4), (4, 0)])
def test_the_state_that_is_further_counts(
    here: int, at_home: int, keep: Callable[[Checkpointer, int], None], home: Location, tmp_path: Path
) -> None:
    if at_home:
        keep(Checkpointer(tmp_path / "other" / "digest", every_s=0.0, home=home), at_home)
    if here:
        keep(Checkpointer(tmp_path / "digest", every_s=0.0), here)
    found = Checkpointer(tmp_path / "digest", home=home).load("cpu")
    assert found is not None and (found.epoch, found.report) == (4, {"loss": [4.0]})


def test_a_damaged_copy_is_told_and_passed_over(
    keep: Callable[[Checkpointer, int], None], home: Location, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep(Checkpointer(tmp_path / "digest", every_s=0.0), 2)
    home.put(STATE, b"half of a state")
    found = Checkpointer(tmp_path / "digest", home=home).load("cpu")
    assert found is not None and found.epoch == 2
    assert "store/checkpoints/digest/state.pt cannot be read" in caplog.text


def test_a_changed_weight_is_not_trained_on(
    keep: Callable[[Checkpointer, int], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """torch.load reads one without a word."""
    keeper = Checkpointer(tmp_path / "digest", every_s=0.0)
    keep(keeper, 2)
    content = keeper.path.read_bytes()
    assert keeper.load("cpu") is not None
    for position in (len(content) // 2, len(content) - 1, len(content) - 70):
        damaged = bytearray(content)
        damaged[position] ^= 1
        keeper.path.write_bytes(damaged)
        caplog.clear()
        assert keeper.load("cpu") is None
        assert "state.pt cannot be read (its c" in caplog.text and "training starts from the beginning" in caplog.text
    keeper.path.unlink()
    keeper.path.mkdir()
    assert keeper.load("cpu") is None


def test_clearing_removes_both(keep: Callable[[Checkpointer, int], None], home: Location, tmp_path: Path) -> None:
    keeper = Checkpointer(tmp_path / "digest", every_s=0.0, home=home)
    keep(keeper, 1)
    assert home.exists(STATE) and keeper.path.exists()
    keeper.clear()
    assert not home.exists(STATE) and not keeper.folder.exists()
    keeper.clear()


def test_a_store_that_takes_nothing_does_not_stop_the_training(
    keep: Callable[[Checkpointer, int], None],
    home: Location,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(self: Location, path: str, *_: bytes) -> None:
        raise StoreError("store is full")

    monkeypatch.setattr(Location, "put", refuse)
    monkeypatch.setattr(Location, "delete", refuse)
    keeper = Checkpointer(tmp_path / "digest", every_s=0.0, home=home)
    with caplog.at_level(logging.WARNING):
        keep(keeper, 1)
        assert keeper.path.exists()
        keeper.clear()
    assert "if this machine is lost, so is this training" in caplog.text and "is left behind" in caplog.text


def test_every_s_holds_for_both(keep: Callable[[Checkpointer, int], None], home: Location, tmp_path: Path) -> None:
    keep(Checkpointer(tmp_path / "digest", home=home), 1)
    assert not home.exists(STATE) and not (tmp_path / "digest").exists()
