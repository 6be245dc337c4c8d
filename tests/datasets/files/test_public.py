"""Sets of public images: whole, of one size, in any nesting."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from midef.datasets import DATASETS
from midef.datasets.base import Dataset

SIZES = {"ffhq": 1024, "metfaces": 1024, "afhq_dogs": 512}


@pytest.fixture(params=SIZES)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """Name of a set and a folder with 8 of its images, in one colour each; cats are beside the dogs."""
    name, root = request.param, tmp_path / request.param
    for i in range(8):
        path = root / ("train" if i < 5 else "val") / "dog" / f"{i:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (SIZES[name],) * 2, (0, 0, i)).save(path, compress_level=1)
    if name == "afhq_dogs":
        (root / "train" / "cat").mkdir()
        Image.new("RGB", (512, 512), (255, 0, 99)).save(root / "train" / "cat" / "0.png", compress_level=1)
    return name, root


def shown(dataset: Dataset) -> list[int]:
    return sorted(i for part in dataset.load(8).parts.values() for i in part.images[:, 2, 0, 0].tolist())


def test_all_images_are_public_and_nobody_else_is(made: tuple[str, Path], pack: Callable[..., Path]) -> None:
    name, root = made
    dataset = DATASETS.make(name, {"path": str(root)})
    assert dataset.problems() == [] and not dataset.is_labelled and dataset.n_identities() == 0
    assert shown(dataset) == list(range(8)) and dataset.load(8).class_names == ()
    assert sum(len(part) for part in dataset.file_lists().values()) == 8
    packed = DATASETS.make(name, {"path": str(pack(root))})
    assert packed.fingerprint() == dataset.fingerprint()
    few = [shown(DATASETS.make(name, {"path": str(root), "max_images": 4, "seed": seed})) for seed in (0, 0, 1)]
    assert few[0] == few[1] != few[2] and len(few[2]) == 4


def test_how_many_of_the_release_are_here_is_said(made: tuple[str, Path]) -> None:
    name, root = made
    notes = " ".join(DATASETS.make(name, {"path": str(root)}).examine().notes)
    released = {"ffhq": "70,000", "metfaces": "1,336"}.get(name)
    assert (f"8 images here, {released} in the release" in notes) == (released is not None)


def test_images_of_another_size_are_refused(made: tuple[str, Path]) -> None:
    name, root = made
    for path in root.rglob("*.png"):
        Image.new("RGB", (256, 256)).save(path)
    (problem,) = DATASETS.make(name, {"path": str(root)}).problems()
    side = SIZES[name]
    assert problem.startswith(f"{name}: ") and f"has 256x256 pixels, {side}x{side} expected" in problem
    if name == "ffhq":
        assert DATASETS.make("ffhq", {"path": str(root), "stored_px": 256}).problems() == []


def test_what_is_missing_says_where_to_get_it_and_on_which_terms(tmp_path: Path) -> None:
    for name in SIZES:
        (problem,) = DATASETS.make(name, {"path": str(tmp_path / name)}).problems()
        assert problem.startswith(f"{name}: no such file or folder {tmp_path / name}; get it from https://github.com/")
        assert "; licence: CC BY-NC" in problem and "; consent: " in problem
