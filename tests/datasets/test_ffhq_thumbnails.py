"""ffhq_thumbnails: public images, cut to their centre."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from midef.core.errors import DataError, SpecError
from midef.datasets import DATASETS
from midef.datasets.ffhq_thumbnails import FfhqThumbnails


@pytest.fixture
def thumbnails(tmp_path: Path) -> Path:
    """20 thumbnails in two folders; red is x, green is y, blue tells them apart."""
    x, y = np.meshgrid(np.arange(128), np.arange(128))
    for i in range(20):
        folder = tmp_path / "thumbnails128x128" / f"{i // 10:02d}000"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.stack([x, y, np.full_like(x, i)], axis=2).astype(np.uint8)).save(folder / f"{i:05d}.png")
    return tmp_path / "thumbnails128x128"


def shown(dataset: FfhqThumbnails) -> list[int]:
    return sorted(i for part in dataset.load(8).parts.values() for i in part.images[:, 2, 0, 0].tolist())


def test_all_are_public_and_cut_to_the_centre_88_of_128(thumbnails: Path) -> None:
    dataset = FfhqThumbnails(path=str(thumbnails))
    assert dataset.problems() == [] and not dataset.is_labelled and dataset.n_identities() == 0
    splits = dataset.load(88)
    assert [len(part) for part in splits.parts.values()] == [16, 2, 2] and splits.class_names == ()
    for part in splits.parts.values():
        assert (part.images[:, 0] == 20 + torch.arange(88)).all()
        assert (part.images[:, 1] == 20 + torch.arange(88)[:, None]).all()
        assert (part.labels == -1).all()
    assert shown(dataset) == list(range(20))
    assert dataset.members() == {f"ffhq:{i:05d}" for i in range(20)}


def test_max_images_are_drawn_by_the_seed(thumbnails: Path) -> None:
    few = [shown(FfhqThumbnails(path=str(thumbnails), max_images=8, seed=seed)) for seed in (0, 0, 1)]
    assert few[0] == few[1] != few[2] and len(few[0]) == len(few[2]) == 8
    assert sum(FfhqThumbnails(path=str(thumbnails), max_images=8).card().counts.values()) == 8


def test_folder_and_zip_are_the_same(thumbnails: Path, pack: Callable[..., Path]) -> None:
    folder, packed = (FfhqThumbnails(path=str(p)) for p in (thumbnails, pack(thumbnails, prefix="thumbnails128x128/")))
    assert folder.fingerprint() == packed.fingerprint()
    assert torch.equal(folder.load(16).train.images, packed.load(16).train.images)
    with (thumbnails / "00000" / "00003.png").open("ab") as stream:
        stream.write(b"\0")
    assert folder.fingerprint() != packed.fingerprint()


def test_the_large_images_are_refused(thumbnails: Path) -> None:
    for path in thumbnails.rglob("*.png"):
        Image.new("RGB", (256, 256)).save(path)
    (problem,) = FfhqThumbnails(path=str(thumbnails)).problems()
    assert problem.startswith("ffhq_thumbnails: ")
    assert "has 256x256 pixels, 128x128 expected; take the thumbnails128x128" in problem


def test_missing_or_too_few_images_are_a_problem(thumbnails: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert FfhqThumbnails(path=str(empty)).problems()[0].startswith(f"ffhq_thumbnails: no images in {empty}")
    for path in sorted(thumbnails.rglob("*.png"))[2:]:
        path.unlink()
    (problem,) = FfhqThumbnails(path=str(thumbnails)).problems()
    assert f"2 public images in {thumbnails}, at least 3 needed" in problem
    with pytest.raises(DataError, match="at least 3 needed"):
        FfhqThumbnails(path=str(thumbnails)).load(8)
    with pytest.raises(SpecError, match="max_images must be at least 3"):
        DATASETS.make("ffhq_thumbnails", {"path": "x", "max_images": 2})
