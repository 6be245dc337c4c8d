"""vggface2: the people of the training part."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from midef.datasets.vggface2 import Vggface2


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three people in train/, another one in test/, ten images each."""
    monkeypatch.setattr(Vggface2, "people", 3)
    for k, folder in enumerate(("train/n000002", "train/n000003", "train/n000009", "test/n000001")):
        (tmp_path / folder).mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (20, 30), (20 * i, 0, k)).save(tmp_path / folder / f"{i:04d}_01.png")
    return tmp_path


def test_people_of_the_test_part_are_not_used(people: Path) -> None:
    dataset = Vggface2(path=str(people))
    assert dataset.problems() == [] and dataset.examine().problems == ()
    splits = dataset.load(8)
    assert splits.class_names == ("n000002", "n000003", "n000009")
    assert [part.labels.bincount().tolist() for part in splits.parts.values()] == [[7] * 3, [1] * 3, [2] * 3]
    assert all((part.images[:, 2, 0, 0] == part.labels).all() for part in splits.parts.values())
    assert Vggface2(path=str(people / "train")).fingerprint() == dataset.fingerprint()


def test_all_people_are_needed_unless_fewer_are_asked_for(people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Vggface2, "people", 8631)
    (problem,) = Vggface2(path=str(people)).problems()
    assert f"vggface2: 3 people in {people / 'train'}, 8,631 needed; get it from" in problem
    assert Vggface2(path=str(people), identities=2).problems() == []


def test_what_the_images_take_in_memory_is_said(people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Vggface2(path=str(people)).examine().notes == ()
    monkeypatch.setattr("midef.datasets.vggface2.BYTES_224", 2**31)
    (note,) = Vggface2(path=str(people)).examine().notes
    assert note == "30 images take 60 GiB of memory at 224 px"
