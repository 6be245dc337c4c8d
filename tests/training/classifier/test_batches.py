"""Batches of an epoch, and the random changes of their images."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from midef.training import TrainingRecipe
from midef.training.classifier.batches import augment, batches_of


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_an_epoch_shows_every_image_once_but_for_the_last_incomplete_batch() -> None:
    batches = batches_of(torch.zeros(70), 16, 0, seeded())
    assert [len(batch) for batch in batches] == [16] * 4
    assert len(torch.cat(batches).unique()) == 64
    (only,) = batches_of(torch.zeros(7), 16, 0, seeded())
    assert sorted(only.tolist()) == list(range(7))
    assert not torch.equal(batches_of(torch.zeros(70), 16, 0, seeded(1))[0], batches[0])


def test_balanced_batches_with_few_images_repeat_them() -> None:
    labels = torch.tensor([0] * 9 + [1] * 2 + [2] * 9)
    (batch, *_) = batches_of(labels, 12, 4, seeded())
    assert torch.bincount(labels[batch]).tolist() == [4, 4, 4]
    assert len(batch[labels[batch] == 1].unique()) == 2


def test_balanced_batches_with_few_identities_take_them_all() -> None:
    labels = torch.arange(5).repeat_interleave(20)
    batches = batches_of(labels, 64, 4, seeded())
    assert len(batches) == 1 and torch.bincount(labels[batches[0]]).tolist() == [4] * 5


def test_balanced_batches_go_through_all_identities_before_they_repeat() -> None:
    labels = torch.arange(32).repeat_interleave(8)
    first, second = (set(labels[b].tolist()) for b in batches_of(labels, 64, 4, seeded())[:2])
    assert len(first) == len(second) == 16 and not first & second


@pytest.mark.parametrize(
    ("recipe", "kinds"),
    [({"flip": 0.5}, 2), ({"flip": 0.0, "jitter_px": 1}, 9), ({"flip": 0.5, "jitter_px": 1}, 18)],
    ids=["flip", "shift", "both"],
)
def test_augmentation_keeps_shape_and_range_and_treats_each_image_on_its_own(
    recipe: dict[str, Any], kinds: int
) -> None:
    one = torch.rand(1, 3, 12, 10, generator=seeded())
    images = one.expand(300, -1, -1, -1)
    found = augment(images, TrainingRecipe(**recipe), seeded(1))
    assert found.shape == images.shape and found.dtype == torch.float32
    assert found.min() >= one.min() and found.max() <= one.max()
    assert len({tuple(image.flatten().tolist()) for image in found}) == kinds
    assert torch.equal(augment(images, TrainingRecipe(**recipe), seeded(1)), found)


def test_flip_mirrors_columns_with_its_probability() -> None:
    images = torch.rand(1000, 3, 4, 5, generator=seeded())
    assert torch.equal(augment(images, TrainingRecipe(flip=1.0), seeded()), images.flip(3))
    assert torch.equal(augment(images, TrainingRecipe(flip=0.0), seeded()), images)
    some = augment(images, TrainingRecipe(flip=0.3), seeded())
    mirrored = (some == images.flip(3)).flatten(1).all(dim=1)
    assert torch.equal(some[~mirrored], images[~mirrored])
    assert float(mirrored.float().mean()) == pytest.approx(0.3, abs=0.05)


def test_a_shift_moves_the_image_and_repeats_its_edge() -> None:
    rows, columns = torch.meshgrid(torch.arange(9.0), torch.arange(7.0), indexing="ij")
    images = torch.stack([rows, columns, rows]).expand(200, -1, -1, -1)
    found = augment(images, TrainingRecipe(flip=0.0, jitter_px=2), seeded())
    shifts = set()
    for image in found:
        down, right = int(image[0, 4, 3]) - 4, int(image[1, 4, 3]) - 3
        assert torch.equal(image[0], (rows + down).clamp(0, 8)) and torch.equal(image[1], (columns + right).clamp(0, 6))
        shifts.add((down, right))
    assert shifts == {(down, right) for down in range(-2, 3) for right in range(-2, 3)}
