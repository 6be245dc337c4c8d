"""A training that is stopped is the beginning of the whole one, to the last bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from midef.core import SpecError
from midef.datasets import Images
from midef.defenses import DEFENSES, Defense
from midef.defenses.stack import choose_defense, remake_defense
from midef.models import ARCHITECTURES
from midef.training import TrainingRecipe
from midef.training.classifier.fit import epochs_until, fit_classifier

CLASSES, RESOLUTION_PX, EPOCHS = 6, 32, 4
RECIPE = TrainingRecipe(epochs=EPOCHS, batch_size=8, learning_rate=0.05, schedule="cosine", warmup=0.2, jitter_px=1)


def courses(defense: Defense) -> list[dict[str, Tensor]]:
    """Weights after each epoch that was trained."""
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (32, 3, RESOLUTION_PX, RESOLUTION_PX), generator=rng, dtype=torch.uint8)
    split = Images(images, torch.arange(32) % CLASSES)
    torch.manual_seed(0)
    architecture = ARCHITECTURES.make("vgg16_tiny")
    model = architecture.build(CLASSES, RESOLUTION_PX)
    seen: list[dict[str, Tensor]] = []

    def keep(_: dict[str, Any]) -> None:
        seen.append({name: value.clone() for name, value in model.state_dict().items()})

    done = fit_classifier(
        model, split, split, facts=architecture.facts(), recipe=RECIPE, defense=defense, seed=1, report=keep
    )
    assert done.kept_epoch == len(seen) - 1
    return seen


@pytest.mark.parametrize(("at", "epochs"), [(0.25, 1), (0.5, 2), (0.6, 2), (0.75, 3), (1.0, 4)], ids=str)
def test_it_is_the_checkpoint_of_the_whole_training(at: float, epochs: int) -> None:
    whole, stopped = courses(DEFENSES.make("none")), courses(DEFENSES.make("early_stop", {"at": at}))
    assert len(stopped) == epochs
    assert all(torch.equal(value, whole[epochs - 1][name]) for name, value in stopped[-1].items())


def test_with_another_defense_it_is_a_checkpoint_of_that_ones_training() -> None:
    """NLS changes the loss from half of the training on, so that the share of the whole training decides."""
    whole = courses(remake_defense(choose_defense("nls")))
    stopped = courses(remake_defense(choose_defense("nls+early_stop(at=0.75)")))
    assert len(stopped) == 3
    assert all(torch.equal(value, whole[2][name]) for name, value in stopped[-1].items())
    assert any(not torch.equal(value, whole[3][name]) for name, value in stopped[-1].items())


def test_at_least_one_epoch_is_trained() -> None:
    assert [epochs_until(share, 12) for share in (0.01, 0.1, 0.125, 0.5, 1.0)] == [1, 1, 2, 6, 12]


@pytest.mark.parametrize("at", [0.0, 1.1, -0.5])
def test_impossible_shares_are_refused(at: float) -> None:
    with pytest.raises(SpecError, match=f"needs 0 < at <= 1, got {at}"):
        DEFENSES.make("early_stop", {"at": at})


@pytest.mark.parametrize("written", ["early_stop+tts", "calor+early_stop"])
def test_trainings_of_two_phases_are_refused(written: str) -> None:
    with pytest.raises(SpecError, match="a training in two phases has no one course that could be stopped"):
        choose_defense(written)
