"""stanford_cars: the official split, from MATLAB tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from midef.datasets.stanford_cars import StanfordCars

MODELS = ("Acura RL Sedan 2012", "BMW M3 Coupe 2012", "Fiat 500 Abarth 2012")


def write_table(path: Path, labels: list[int]) -> None:
    """As the devkit has it: a row of records; images are numbered from 1, labels too."""
    fields = [("bbox_x1", object), ("class", object), ("fname", object)]
    records = [(0, label, f"{i:05d}.jpg") for i, label in enumerate(labels, 1)]
    savemat(path, {"annotations": np.array([records], dtype=fields)})


@pytest.fixture
def cars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """30 training and 12 test images of three models, equal numbers in both folders."""
    monkeypatch.setattr(StanfordCars, "models", 3)
    (tmp_path / "devkit").mkdir()
    names = np.empty((1, 3), dtype=object)
    names[0] = MODELS
    savemat(tmp_path / "devkit" / "cars_meta.mat", {"class_names": names})
    for folder, count, table in (
        ("cars_train", 30, "cars_train_annos"),
        ("cars_test", 12, "cars_test_annos_withlabels"),
    ):
        (tmp_path / folder).mkdir()
        write_table(tmp_path / "devkit" / f"{table}.mat", [i % 3 + 1 for i in range(count)])
        for i in range(count):
            Image.new("RGB", (30, 20), (i * 5, 255 * (folder == "cars_test"), i % 3)).save(
                tmp_path / folder / f"{i + 1:05d}.jpg", format="PNG"
            )
    return tmp_path


def test_the_official_test_images_are_reported(cars: Path) -> None:
    dataset = StanfordCars(root=str(cars))
    assert dataset.problems() == [] and dataset.examine().problems == ()
    lists = dataset.file_lists()
    assert sorted(lists["report"]) == [(f"cars_test/{i + 1:05d}.jpg", i % 3) for i in range(12)]
    assert sorted([*lists["train"], *lists["select"]]) == [(f"cars_train/{i + 1:05d}.jpg", i % 3) for i in range(30)]
    splits = dataset.load(8)
    assert (splits.class_names == MODELS and splits.select.labels.tolist() == [0, 1, 2]) or len(splits.select) == 3
    for name, part in splits.parts.items():
        assert (part.images[:, 1, 0, 0] == (255 if name == "report" else 0)).all()
        assert (part.images[:, 2, 0, 0] == part.labels).all()


def test_what_lacks_or_disagrees_is_named(cars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = StanfordCars(root=str(cars))
    (cars / "cars_test" / "00003.jpg").unlink()
    (problem,) = dataset.problems()
    assert f"1 annotated images are not in {cars}: cars_test/00003.jpg; get it from copies of https://" in problem
    savemat(cars / "devkit" / "cars_train_annos.mat", {"annotations": np.zeros((1, 3))})
    assert "cars_train_annos.mat has no `fname` and `class` for each image" in dataset.problems()[0]
    (cars / "devkit" / "cars_test_annos_withlabels.mat").unlink()
    said = " ".join(dataset.problems())
    assert f"no such file or folder {cars / 'cars_test_annos_withlabels.mat'}, nor in its devkit/; get it" in said


def test_another_number_of_models_is_refused(cars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StanfordCars, "models", 196)
    (problem,) = StanfordCars(root=str(cars)).problems()
    assert problem == f"stanford_cars: 3 models named and 3 annotated in {cars}, 196 needed"
