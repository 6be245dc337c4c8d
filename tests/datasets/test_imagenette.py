"""imagenette: the folders of its authors."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from midef.datasets.imagenette import Imagenette


@pytest.fixture
def nette(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three classes with 12 training and 4 validation images; red tells the part, blue the class."""
    monkeypatch.setattr(Imagenette, "classes", 3)
    for part, count in (("train", 12), ("val", 4)):
        for k in range(3):
            folder = tmp_path / "imagenette2-160" / part / f"n0{k}"
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (24, 16), (255 * (part == "val"), 9 * i, k)).save(folder / f"{i}.JPEG", format="PNG")
    return tmp_path / "imagenette2-160"


def test_the_validation_images_are_reported(nette: Path, pack: Callable[..., Path]) -> None:
    dataset = Imagenette(path=str(nette))
    assert dataset.problems() == [] and dataset.examine().problems == ()
    splits = dataset.load(8)
    assert splits.class_names == ("n00", "n01", "n02")
    assert {name: part.labels.bincount().tolist() for name, part in splits.parts.items()} == {
        "train": [11, 11, 11],
        "select": [1, 1, 1],
        "report": [4, 4, 4],
    }
    for name, part in splits.parts.items():
        assert (part.images[:, 0, 0, 0] == (255 if name == "report" else 0)).all()
        assert (part.images[:, 2, 0, 0] == part.labels).all()
    packed = Imagenette(path=str(pack(nette, prefix="imagenette2-160/")))
    assert packed.fingerprint() == dataset.fingerprint() and packed.file_lists() == dataset.file_lists()


def test_missing_classes_are_named(nette: Path, tmp_path: Path) -> None:
    shutil.rmtree(nette / "val" / "n01")
    (problem,) = Imagenette(path=str(nette)).problems()
    assert f"3 folders train/<class>/ and 2 folders val/<class>/ in {nette}, 3 of the same names needed" in problem
    (problem,) = Imagenette(path=str(tmp_path / "nowhere")).problems()
    assert problem.startswith(f"imagenette: no such file or folder {tmp_path / 'nowhere'}; get it from https://github")
