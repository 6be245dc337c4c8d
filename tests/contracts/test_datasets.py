"""The suite of data sets, on drawn faces and on a folder of images, and what holds for ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from typing_extensions import override

from midef.datasets import DATASETS, Splits
from midef.testing import DatasetContract
from midef.testing.datasets import PX, content

FACES = {"identities": 4, "train_images": 3, "select_images": 1, "report_images": 2}
FOLDER = {"path": "{place}", "min_images": 3}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three identities with 5, 6 and 7 images."""
    folder = tmp_path_factory.mktemp("tree")
    rng = np.random.default_rng(0)
    for identity, count in {"ada": 5, "bob": 6, "cyd": 7}.items():
        (folder / identity).mkdir()
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(folder / identity / f"{i}.png")
    return folder


class TestDatasets(DatasetContract):
    samples: ClassVar[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
        "synthetic private": ("synthetic_faces", {**FACES, "population": "private"}),
        "synthetic public": ("synthetic_faces", {**FACES, "population": "public"}),
        "folder labelled": ("image_folder", {**FOLDER, "labelled": True}),
        "folder unlabelled": ("image_folder", {**FOLDER, "labelled": False}),
    }

    @override
    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, tree: Path) -> Path:
        return tree


def test_the_fingerprint_follows_the_content_and_not_the_place(tree: Path, tmp_path: Path) -> None:
    import shutil

    moved = tmp_path / "elsewhere"
    shutil.copytree(tree, moved)

    def fingerprint() -> str:
        return DATASETS.make("image_folder", {"path": str(moved), "min_images": 3}).fingerprint()

    assert fingerprint() == DATASETS.make("image_folder", {"path": str(tree), "min_images": 3}).fingerprint()
    before = fingerprint()
    Image.new("RGB", (20, 20)).save(moved / "ada" / "0.png")
    assert fingerprint() != before


def test_private_and_public_synthetic_people_are_other_people() -> None:
    small = {"identities": 6, "train_images": 2, "select_images": 1, "report_images": 1}
    private = DATASETS.make("synthetic_faces", {**small, "population": "private"})
    public = DATASETS.make("synthetic_faces", {**small, "population": "public"})
    mine, theirs = private.traits(), public.traits()  # type: ignore[attr-defined]
    assert np.abs(mine[:, None] - theirs[None]).max(axis=2).min() > 1e-3
    together = [set().union(*(content(part) for part in d.load(PX).parts.values())) for d in (private, public)]
    assert not together[0] & together[1]


def test_the_first_identities_are_the_same_whatever_their_number() -> None:
    def load(identities: int) -> Splits:
        given = {"identities": identities, "train_images": 2, "select_images": 1, "report_images": 1}
        return DATASETS.make("synthetic_faces", given).load(PX)

    few, many = load(3), load(5)
    for name, part in few.parts.items():
        assert torch.equal(part.images, many.parts[name].images[: len(part)])
