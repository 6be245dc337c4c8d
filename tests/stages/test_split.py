"""Stored splits are those the plan was made with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from midef.core import DataError, Recipe
from midef.datasets import DATASETS, Dataset
from midef.stages import BuildContext, ensure, place_dataset
from midef.stages.recipes import split_recipe
from midef.stages.split import load
from midef.storage import Store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for identity in ("ada", "bob"):
        (tmp_path / "faces" / identity).mkdir(parents=True)
        for i in range(4):
            image = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
            image.save(tmp_path / "faces" / identity / f"{i}.png")
    return tmp_path / "faces"


def planned(folder: Path, store: Path) -> tuple[Dataset, Recipe, BuildContext]:
    """The dataset, its recipe, and a context that knows where the files lie."""
    dataset = DATASETS.make("image_folder", {"path": str(folder), "min_images": 3})
    keyed, places = place_dataset(DATASETS.describe(dataset))
    recipe = split_recipe(keyed, 16)
    return dataset, recipe, BuildContext(store=Store.open(store), locations={recipe.key.digest: places})


def test_the_stored_splits_are_those_of_the_dataset(folder: Path, tmp_path: Path) -> None:
    dataset, recipe, context = planned(folder, tmp_path / "store")
    stored, fresh = load(ensure(recipe, context)), dataset.load(16)
    assert stored.class_names == fresh.class_names == ("ada", "bob")
    for name, part in fresh.parts.items():
        assert torch.equal(stored.parts[name].images, part.images)
        assert torch.equal(stored.parts[name].labels, part.labels)


def test_the_card_lies_beside_them_and_no_path_does(folder: Path, tmp_path: Path) -> None:
    dataset, recipe, context = planned(folder, tmp_path / "store")
    place = ensure(recipe, context)
    card = json.loads((place / "card.json").read_text())
    assert card["fingerprint"] == dataset.fingerprint() and card["counts"]["identities"] == 2
    assert str(folder) not in (place / "recipe.json").read_text()


def test_files_that_changed_since_the_plan_are_refused(folder: Path, tmp_path: Path) -> None:
    dataset, recipe, context = planned(folder, tmp_path / "store")
    before = dataset.fingerprint()
    Image.new("RGB", (12, 12)).save(folder / "ada" / "0.png")
    with pytest.raises(DataError, match="they changed meanwhile, or this machine has others: plan again here") as error:
        ensure(recipe, context)
    assert before[:12] in str(error.value) and dataset.fingerprint()[:12] in str(error.value)
    assert not context.store.artifacts.has(recipe.key)


def test_a_computed_dataset_needs_no_place(tmp_path: Path) -> None:
    given = {"name": "synthetic_faces", "identities": 2, "train_images": 1, "select_images": 1, "report_images": 1}
    recipe = split_recipe(DATASETS.choose(given), 16)
    stored = load(ensure(recipe, BuildContext(store=Store.open(tmp_path / "store"))))
    assert [len(part) for part in stored.parts.values()] == [2, 2, 2]
