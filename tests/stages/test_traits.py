"""Traits of reconstructions in the scores: those an attack knows are judged exactly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from typing_extensions import override

from midef.core import Inputs, Recipe
from midef.datasets import DATASETS, ImageFormation
from midef.stages.scores import build
from midef.stages.traits import drawn_dataset, trait_weights


class Flat(ImageFormation):
    """An image of one grey: the first latent times 0.3 plus the third times 0.1; the second moves nothing."""

    latent_dim, n_traits = 4, 3

    @override
    def images(self, latents: Tensor, resolution_px: int) -> Tensor:
        grey = 0.5 + 0.3 * latents[:, 0] + 0.1 * latents[:, 2] + 5 * latents[:, 3]
        return grey[:, None, None, None].expand(-1, 3, resolution_px, resolution_px)


def test_a_trait_weighs_as_much_as_it_moves_the_image() -> None:
    assert trait_weights(Flat(), 8) == pytest.approx([0.3, 0.0, 0.1], abs=1e-5)


def test_weights_repeat_and_are_those_of_other_images_of_the_population() -> None:
    formation = DATASETS.make("synthetic_faces", {"difficulty": 0.2}).formation()
    assert formation is not None
    weights = trait_weights(formation, 16)
    assert np.array_equal(weights, trait_weights(formation, 16))
    latents = torch.randn(256, formation.latent_dim, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    squares = []
    for trait in (0, 1, 9):
        moved = latents.clone()
        moved[:, trait] += 1e-4
        slope = (formation.images(moved, 16) - formation.images(latents, 16)) / 1e-4
        squares.append(float(slope.square().mean()) ** 0.5)
    assert weights[[0, 1, 9]] == pytest.approx(squares, rel=0.2)


def test_only_data_that_is_drawn_from_traits_has_them(tmp_path: Path) -> None:
    folder = Recipe("split", "image_folder", {"params": {"fingerprint": "a1"}, "resolution_px": 32})
    assert drawn_dataset(folder) is None, "asked without its files"
    faces = Recipe("split", "synthetic_faces", {"params": {"identities": 3}, "resolution_px": 32})
    assert drawn_dataset(faces) == DATASETS.make("synthetic_faces", {"identities": 3})


def rescored(cell: Any, tmp_path: Path, **arrays: np.ndarray) -> dict[str, dict[str, Any]]:
    """Measurements of the cell, had its attack stored other arrays."""
    scores = cell.recipes.scores
    inputs = Inputs(scores.inputs, lambda needed: cell.context.store.artifacts.fetch(needed.key))
    stored = dict(np.load(inputs.path("reconstructions") / "images.npz", allow_pickle=False))
    changed = tmp_path / "reconstructions"
    changed.mkdir()
    np.savez_compressed(changed / "images.npz", **{**stored, **arrays})
    elsewhere = {scores.inputs["reconstructions"].key: changed}
    inputs = Inputs(
        scores.inputs, lambda needed: elsewhere.get(needed.key) or cell.context.store.artifacts.fetch(needed.key)
    )
    folder = tmp_path / "scores"
    folder.mkdir()
    build(replace(scores), inputs, cell.context, folder)
    return {entry["metric"]: entry for entry in json.loads((folder / "measurements.json").read_text())}


def test_traits_that_the_attack_knows_are_judged_exactly(cell: Any, tmp_path: Path) -> None:
    people = DATASETS.make("synthetic_faces", {"identities": 8}).identity_latents()
    assert people is not None
    with np.load(cell.folder("reconstructions") / "images.npz", allow_pickle=False) as stored:
        labels, restarts = stored["labels"], stored["restarts"]
    found = people[np.where(restarts == 1, (labels + 1) % 8, labels)]
    measured = rescored(cell, tmp_path, traits=found)["trait_accuracy"]
    assert measured["value"] == pytest.approx(100 * 2 / 3), "one of three restarts shows somebody else"
    assert (measured["ceiling"], measured["is_estimate"], measured["n"]) == (100.0, False, 18)
    with np.load(tmp_path / "scores" / "traits.npz", allow_pickle=False) as kept:
        assert np.array_equal(kept["identity_traits"], people) and np.array_equal(kept["traits"], found)
        assert kept["trait_weights"].shape == (people.shape[1],) and (kept["trait_weights"] > 0).all()
