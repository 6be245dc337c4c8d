"""stanford_dogs: the order of the lists, the published permutation, boxes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from midef.core.errors import DataError
from midef.datasets import DATASETS
from midef.datasets.stanford_dogs import StanfordDogs, first_box

BREEDS = ("n02-Chihuahua", "n03-Japanese_spaniel", "n04-Maltese")
SIZE = (50, 40)
XML = "<annotation><size><width>50</width></size><object>{}</object><object>{}</object></annotation>"
BOX = "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"


def write_list(path: Path, entries: Sequence[tuple[str, int]]) -> None:
    """As the release has it: a column of arrays of one string, a column of numbers from 1."""
    files = np.empty((len(entries), 1), dtype=object)
    for i, (name, _) in enumerate(entries):
        files[i, 0] = name
    labels = np.array([[label] for _, label in entries], np.uint8)
    savemat(path, {"file_list": files, "labels": labels, "annotation_list": files})


@pytest.fixture
def entries() -> list[tuple[str, int]]:
    """Path and label of 45 images; the last 12 are those of the test list. Neither is sorted."""
    made = [(f"{breed}/{breed[:3]}_{i * 7 % 15}.jpg", k + 1) for i in range(15) for k, breed in enumerate(BREEDS)]
    return made[::-1]


@pytest.fixture
def dogs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entries: list[tuple[str, int]]) -> Path:
    """Photographs whose red is x and green y; blue tells them apart. The first box of each begins at (i % 9, 4)."""
    monkeypatch.setattr(StanfordDogs, "breeds", 3)
    root = tmp_path / "dogs"
    x, y = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    for i, (name, _) in enumerate(entries):
        image, note = root / "Images" / name, root / "Annotation" / name.removesuffix(".jpg")
        image.parent.mkdir(parents=True, exist_ok=True)
        note.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.stack([x, y, np.full_like(x, i)], axis=2).astype(np.uint8)
        Image.fromarray(pixels).save(image, format="PNG")
        note.write_text(XML.format(BOX.format(i % 9, 4, i % 9 + 20, 34), BOX.format(0, 0, 50, 40)))
    write_list(root / "train_list.mat", entries[:33])
    write_list(root / "test_list.mat", entries[33:])
    return root


def test_nine_of_ten_of_both_lists_train(
    dogs: Path, entries: list[tuple[str, int]], published_order: Callable[[int], list[int]]
) -> None:
    dataset = DATASETS.make("stanford_dogs", {"root": str(dogs)})
    order = published_order(45)
    lists = dataset.file_lists()
    zero_based = [(name, label - 1) for name, label in entries]
    assert sorted(lists["report"]) == sorted(zero_based[i] for i in order[40:])
    assert sorted([*lists["train"], *lists["select"]]) == sorted(zero_based[i] for i in order[:40])
    trained = [zero_based[i][1] for i in order[:40]]
    tenths = [int(trained.count(label) / 10 + 0.5) for label in range(3)]
    assert [[label for _, label in lists["select"]].count(label) for label in range(3)] == tenths == [1, 1, 2]
    assert dataset.load(8).class_names == BREEDS
    assert dataset.problems() == [] and dataset.examine().problems == ()


def test_photographs_are_whole_or_cut_to_their_first_box(dogs: Path, entries: list[tuple[str, int]]) -> None:
    whole = np.asarray(Image.open(dogs / "Images" / entries[0][0]).resize((20, 20), Image.Resampling.BILINEAR))
    for image in DATASETS.make("stanford_dogs", {"root": str(dogs)}).load(20).train.images.numpy():
        assert np.array_equal(image[:2], whole.transpose(2, 0, 1)[:2]), "both sides resized, nothing cut off"
    cropped = DATASETS.make("stanford_dogs", {"root": str(dogs), **StanfordDogs.presets["cropped"]})
    for image in cropped.load(20).train.images.numpy():
        i = int(image[2, 0, 0])
        photo = Image.open(dogs / "Images" / entries[i][0]).crop((i % 9, 4, i % 9 + 20, 34))
        expected = np.asarray(photo.resize((20, 20), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
        assert np.array_equal(image, expected)
    assert cropped.examine().problems == ()


def test_boxes_and_lists_are_in_the_key(dogs: Path, entries: list[tuple[str, int]]) -> None:
    def fingerprints() -> tuple[str, str]:
        made = (StanfordDogs(root=str(dogs), cropped=cropped) for cropped in (False, True))
        whole, cut = (dataset.fingerprint() for dataset in made)
        return whole, cut

    before = fingerprints()
    (dogs / "lists").mkdir()
    for name in ("train_list.mat", "test_list.mat"):
        (dogs / name).rename(dogs / "lists" / name)
    assert fingerprints() == before, "where a list lies is no matter"
    note = dogs / "Annotation" / entries[3][0].removesuffix(".jpg")
    note.write_text(note.read_text().replace("<ymin>4<", "<ymin>5<"))
    moved = fingerprints()
    assert moved[0] == before[0] and moved[1] != before[1]
    write_list(dogs / "lists" / "train_list.mat", entries[1:33] + entries[:1])
    assert fingerprints()[0] != before[0], "the order of the list decides the split"


def test_what_lacks_is_said_at_once(dogs: Path, entries: list[tuple[str, int]]) -> None:
    (dogs / "Images" / entries[5][0]).unlink()
    (problem,) = StanfordDogs(root=str(dogs)).problems()
    assert f"1 of the 45 images of the lists are not in {dogs / 'Images'}: {entries[5][0]}; get it from http" in problem
    shutil.rmtree(dogs / "Images")
    (dogs / "test_list.mat").unlink()
    (dogs / "train_list.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    problems = StanfordDogs(root=str(dogs)).problems()
    assert [p.split(" ")[1] for p in problems] == [str(dogs / "train_list.mat"), "no", "no"]
    assert "cannot be read as a MATLAB file with file_list, labels" in problems[0]
    assert f"no such file or folder {dogs / 'test_list.mat'}, nor in its lists/; get it from" in problems[1]
    assert f"no such file or folder {dogs / 'Images'}; get it from" in problems[2]
    assert all(" licence: images of ImageNet" in p and "consent: dogs" in p for p in problems[1:])


@pytest.mark.parametrize("content", [b"", b"no list", bytes(range(256)) * 8])
def test_a_list_that_is_none_is_named(dogs: Path, content: bytes) -> None:
    (dogs / "train_list.mat").write_bytes(content)
    (problem,) = StanfordDogs(root=str(dogs)).problems()
    assert problem.startswith(f"stanford_dogs: {dogs / 'train_list.mat'} cannot be read as a MATLAB file")


def test_another_number_of_breeds_and_an_image_listed_twice_are_refused(
    dogs: Path, entries: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_list(dogs / "test_list.mat", [*entries[33:], entries[0]])
    (problem,) = StanfordDogs(root=str(dogs)).problems()
    assert "1 images are twice in the lists" in problem
    write_list(dogs / "test_list.mat", entries[33:])
    monkeypatch.setattr(StanfordDogs, "breeds", 120)
    (problem,) = StanfordDogs(root=str(dogs)).problems()
    assert problem == f"stanford_dogs: 3 breeds in the lists of {dogs}, 120 needed"


def test_annotations_that_are_missing_or_of_other_images_are_named(dogs: Path, entries: list[tuple[str, int]]) -> None:
    dataset = StanfordDogs(root=str(dogs), cropped=True)
    note = dogs / "Annotation" / entries[4][0].removesuffix(".jpg")
    text = note.read_text()
    note.write_text(text.replace("<ymax>34<", "<ymax>41<"))
    assert f"the annotated box reaches outside 1 images in {dogs / 'Images'}: {entries[4][0]} 50x40" in (
        " ".join(dataset.examine().problems)
    )
    with pytest.raises(DataError, match="reaches outside an image of 50x40"):
        dataset.load(8)
    note.write_text("<annotation></annotation>")
    (problem,) = dataset.problems()
    assert f"1 of 45 annotations cannot be read in {dogs / 'Annotation'}: {note.parent.name}/{note.name}" in problem
    note.unlink()
    assert "No such file or directory" in dataset.problems()[0]
    assert StanfordDogs(root=str(dogs)).problems() == [], "whole photographs need none"


def test_the_first_box_counts() -> None:
    assert first_box((BOX.format(1, 2, 30, 40) + BOX.format(0, 0, 9, 9)).encode()) == (1, 2, 30, 40)
    for wrong in (BOX.format(5, 2, 5, 40), "<bndbox><xmin>1</xmin></bndbox>"):
        with pytest.raises(ValueError, match="no box in it"):
            first_box(wrong.encode())


def test_a_zip_of_the_images_has_the_same_key(dogs: Path, pack: Callable[..., Path]) -> None:
    before, lists = StanfordDogs(root=str(dogs)).fingerprint(), StanfordDogs(root=str(dogs)).file_lists()
    packed = pack(dogs / "Images", prefix="Images/")
    shutil.rmtree(dogs / "Images")
    packed.rename(dogs / "Images.zip")
    assert StanfordDogs(root=str(dogs)).fingerprint() == before and StanfordDogs(root=str(dogs)).file_lists() == lists
