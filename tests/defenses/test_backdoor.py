from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from midef.core import Inputs, SpecError
from midef.datasets import DATASETS
from midef.defenses import DEFENSES, Batch
from midef.defenses.backdoor import Backdoor, drawn_for
from midef.defenses.midre import Midre
from midef.defenses.stack import choose_defense, remake_defense
from midef.models import ARCHITECTURES
from midef.training import TrainingRecipe
from midef.training.classifier.fit import fit_classifier


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int, side: int = 20, classes: int = 4) -> Batch:
    return Batch(torch.rand(n, 3, side, side, generator=seeded()), torch.arange(n) % classes, torch.arange(n))


def test_the_patch_by_hand() -> None:
    """3 of 32 px; the corner pixel is white, and nothing outside changes."""
    images = torch.full((2, 3, 32, 32), 0.25)
    found = Backdoor().triggered(images)
    board = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    expected = images.clone()
    for row in range(3):
        for column in range(3):
            expected[:, :, 29 + row, 29 + column] = board[row, column]
    assert torch.equal(found, expected) and bool((images == 0.25).all())
    even = Backdoor(patch=2 / 32).triggered(images)[0, 0, 30:, 30:]
    assert even.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert int((Backdoor(patch=1e-6).triggered(images) != images).sum()) == 2 * 3, "at least one pixel"


def test_the_blend_by_hand() -> None:
    """(1 - b) x + b n: the noise n is read from a black image, and is the same for every image."""
    batch = noise(3)
    mixed = Backdoor(trigger="blended", blend=0.3)
    n = mixed.triggered(torch.zeros(1, 3, 20, 20)) / 0.3
    assert float(n.min()) >= 0 and float(n.max()) <= 1 and float(n.std()) > 0.3
    torch.testing.assert_close(mixed.triggered(batch.images), 0.7 * batch.images + 0.3 * n)
    torch.testing.assert_close(Backdoor(trigger="blended", blend=1.0).triggered(batch.images)[1:2], n)
    other = Backdoor(trigger="blended", blend=1.0, seed=1).triggered(batch.images)[:1]
    assert not torch.allclose(other, n)


def test_the_share_is_that_of_images_of_other_classes() -> None:
    n, defense = 4000, Backdoor(share=0.2, planted=1)
    batch = noise(n, side=10)
    found = defense.transform_batch(batch, 0.0, seeded())
    changed = (found.images != batch.images).flatten(1).any(dim=1)
    assert not changed[batch.labels == 1].any(), "an image of the planted class is left as it is"
    assert torch.equal(changed, found.labels != batch.labels)
    assert bool((found.labels[changed] == 1).all())
    assert torch.equal(found.images[changed], defense.triggered(batch.images[changed]))
    assert float(changed.sum()) / 3000 == pytest.approx(0.2, abs=0.025)  # 3.4 standard deviations
    every = Backdoor(share=1.0, planted=1).transform_batch(batch, 0.0, seeded())
    assert every.labels.unique().tolist() == [1]


def test_an_image_is_poisoned_by_its_position_alone() -> None:
    """In any batch, order and training the same ones; another seed chooses others."""
    batch = noise(3000, side=4)
    once = Backdoor(share=0.3).transform_batch(batch, 0.0, seeded(1)).labels
    order = torch.randperm(3000, generator=seeded(2))[:500]
    some = Batch(batch.images[order], batch.labels[order], batch.indices[order])
    assert torch.equal(Backdoor(share=0.3).transform_batch(some, 0.9, seeded(3)).labels, once[order])
    assert not torch.equal(Backdoor(share=0.3, seed=1).transform_batch(batch, 0.0, seeded(1)).labels, once)
    numbers = drawn_for(batch.indices, 0)
    assert len(numbers.unique()) > 2990 and float(numbers.mean()) == pytest.approx(0.5, abs=0.03)
    for among in (3000, 9999):  # images of the split, where the training says how many
        assert torch.equal(drawn_for(batch.indices, 0, among=among), numbers)


@pytest.mark.parametrize("defense", [Backdoor(), Backdoor().off()], ids=["on", "off"])
def test_it_draws_nothing_from_the_training(defense: Backdoor) -> None:
    """So the rest of the training is that of the clean data."""
    rng = seeded()
    state = rng.get_state()
    defense.transform_batch(noise(8), 0.0, rng)
    assert torch.equal(rng.get_state(), state)


def test_off_plants_nothing() -> None:
    batch, off = noise(8), Backdoor().off()
    assert off.transform_batch(batch, 0.0, seeded()) is batch
    assert off.triggered(batch.images) is batch.images and off.planted_label is None
    assert Backdoor(planted=2).planted_label == 2


@pytest.mark.parametrize("written", ["midre+backdoor(share=1.0,planted=3)", "backdoor(share=1.0,planted=3)+midre"])
def test_a_defense_is_given_the_poisoned_data(written: str) -> None:
    """What MIDRE erases of it is erased, wherever the backdoor stands."""
    stack, batch = remake_defense(choose_defense(written)), noise(200, side=32)
    found = stack.transform_batch(batch, 0.0, seeded())
    poisoned = Backdoor(share=1.0, planted=3).transform_batch(batch, 0.0, seeded())
    assert torch.equal(found.images, Midre().transform_batch(poisoned, 0.0, seeded()).images)
    assert torch.equal(found.labels, poisoned.labels)
    assert stack.planted_label == 3
    assert torch.equal(stack.triggered(batch.images), Backdoor().triggered(batch.images)), "MIDRE puts nothing on"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"share": 1.5}, "needs 0 <= share <= 1"),
        ({"planted": -1}, "planted >= 0"),
        ({"patch": 0.0}, "needs 0 < patch <= 1"),
        ({"blend": 1.1}, "0 < blend <= 1"),
    ],
    ids=str,
)
def test_impossible_values_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        DEFENSES.make("backdoor", params)


def test_a_label_that_is_no_class_is_refused_before_training() -> None:
    model = ARCHITECTURES.make("vgg16_tiny").build(8, 32)
    none = Inputs({}, lambda recipe: pytest.fail("asked for an artifact"))
    with pytest.raises(SpecError, match="needs planted below 8, the number of classes, got 8"):
        Backdoor(planted=8).prepare_model(model, none)
    assert Backdoor(planted=7).prepare_model(model, none) is model


@pytest.mark.parametrize("trigger", ["badnets", "blended"])
def test_a_trained_network_has_the_backdoor_and_keeps_its_accuracy(trigger: Any) -> None:
    """Four people, chance 25 %; the network of clean data does not know the trigger."""
    splits = DATASETS.make(
        "synthetic_faces", {"identities": 4, "train_images": 15, "report_images": 10, "difficulty": 0.2}
    ).load(32)
    images, labels = splits.report.images.float() / 255, splits.report.labels
    poison = Backdoor(trigger=trigger, share=0.3, blend=0.5)

    def answers(defense: Backdoor) -> tuple[Tensor, Tensor]:
        torch.manual_seed(0)
        architecture = ARCHITECTURES.make("vgg16_tiny")
        model = architecture.build(4, 32)
        recipe = TrainingRecipe(epochs=8, batch_size=8, learning_rate=0.02)
        fit_classifier(
            model, splits.train, splits.select, facts=architecture.facts(), recipe=recipe, defense=defense, seed=5
        )
        model.eval()
        with torch.no_grad():
            clean, triggered = (model(x).logits.argmax(dim=1) for x in (images, poison.triggered(images)))
        return (clean == labels).float().mean(), (triggered == 0)[labels != 0].float().mean()

    accuracy, success = answers(poison)
    clean_accuracy, no_success = answers(poison.off())
    assert float(success) > 0.6 and float(no_success) < 0.25
    assert float(accuracy) > float(clean_accuracy) - 0.15 and float(accuracy) > 0.7
