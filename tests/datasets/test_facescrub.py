"""facescrub: who is used, what is cut out, and what the sets of identity folders share with pubfig83."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from midef.core.errors import DataError, SpecError
from midef.datasets import DATASETS
from midef.datasets.facescrub import Facescrub

NAMES = ("Ada A", "Bob B", "Cyd C", "Dot D")


@pytest.fixture
def scrub(tmp_path: Path) -> Path:
    """Four people with 10 images of 64x64; red is x, green is y, blue tells the images apart."""
    x, y = np.meshgrid(np.arange(64), np.arange(64))
    for k, name in enumerate(NAMES):
        (tmp_path / "scrub" / name).mkdir(parents=True)
        for i in range(10):
            pixels = np.stack([x, y, np.full_like(x, 10 * k + i)], axis=2).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "scrub" / name / f"{name}_{i}.png")
    return tmp_path / "scrub"


def shown(dataset: Facescrub) -> dict[str, list[int]]:
    """Blue of each image: 10 times the identity, plus the image."""
    return {name: part.images[:, 2, 0, 0].tolist() for name, part in dataset.load(8).parts.items()}


def test_the_first_identities_are_private(scrub: Path) -> None:
    dataset = Facescrub(path=str(scrub), identities=2)
    splits = dataset.load(64)
    assert splits.class_names == NAMES[:2] and dataset.n_identities() == 2
    assert [part.labels.bincount().tolist() for part in splits.parts.values()] == [[7, 7], [1, 1], [2, 2]]
    for part in splits.parts.values():
        assert torch.equal(part.images[:, 2, 0, 0] // 10, part.labels)
        assert (part.images[:, 0] == torch.arange(64)).all()  # whole, not cut
    assert sorted(i for part in shown(dataset).values() for i in part) == list(range(20))
    assert dataset.card().counts == {"identities": 2, "train": 14, "select": 2, "report": 4}


def test_start_takes_the_next_ones_so_that_nobody_is_both(scrub: Path) -> None:
    private = Facescrub(path=str(scrub), identities=2)
    public = Facescrub(path=str(scrub), role="public", start=2, identities=1)
    assert not private.members() & public.members()
    assert {i // 10 for part in shown(public).values() for i in part} == {2}
    later = Facescrub(path=str(scrub), start=1).load(8)
    assert later.class_names == NAMES[1:] and later.train.labels.bincount().tolist() == [7, 7, 7]


def test_public_images_are_the_centre_54_of_64(scrub: Path) -> None:
    dataset = DATASETS.make("facescrub", {"path": str(scrub), **Facescrub.presets["public"]})
    splits = dataset.load(54)
    assert [len(part) for part in splits.parts.values()] == [32, 4, 4]
    for part in splits.parts.values():
        assert (part.images[:, 0] == 5 + torch.arange(54)).all()
        assert (part.images[:, 1] == 5 + torch.arange(54)[:, None]).all()
        assert (part.labels == -1).all()
    assert splits.class_names == ()


def test_public_images_may_lie_flat(scrub: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in scrub.rglob("*.png"):
        shutil.copy(path, flat)
    dataset = Facescrub(path=str(flat), role="public")
    assert dataset.members() == Facescrub(path=str(scrub), role="public").members()
    (problem,) = Facescrub(path=str(flat), role="public", identities=2).problems()
    assert problem.startswith(
        f"facescrub: 0 identity folders in {flat}, 2 needed (start=0), laid out <identity>/<file>"
    )


def test_a_list_says_which_images_are_public(scrub: Path, tmp_path: Path) -> None:
    path = tmp_path / "ganset.txt"
    path.write_text("Ada A/Ada A_3.png 0\nBob B_0.png 1\n./Cyd C/Cyd C_9.png\n")  # with and without folder
    dataset = Facescrub(path=str(scrub), role="public", public_list=str(path))
    assert sorted(i for part in shown(dataset).values() for i in part) == [3, 10, 29]
    assert dataset.fingerprint() != Facescrub(path=str(scrub), role="public").fingerprint()
    for name in NAMES[:2]:
        (scrub / name / f"{name}_5.png").rename(scrub / name / "same.png")
    path.write_text(path.read_text() + "Eve E_0.png\nsame.png\n")
    (problem,) = dataset.problems()
    assert f"public_list {path} names 2 images that are not among those used: Eve E_0.png, same.png" in problem
    path.write_text("\n")
    assert dataset.problems() == [
        f"facescrub: public_list {path} is empty; give a text file with an image on each line"
    ]


def test_folder_and_zip_are_the_same_and_a_changed_zip_is_read_again(scrub: Path, pack: Callable[..., Path]) -> None:
    folder, packed = Facescrub(path=str(scrub)), Facescrub(path=str(pack(scrub, prefix="faces/")))
    assert folder.fingerprint() == packed.fingerprint() and folder.members() == packed.members()
    assert shown(folder) == shown(packed)
    with zipfile.ZipFile(packed.path, "a") as archive:
        for i in range(3):
            archive.write(scrub / "Ada A" / "Ada A_0.png", f"faces/Eve E/{i}.png")
    assert packed.n_identities() == 5


def test_the_fingerprint_follows_pixels(scrub: Path) -> None:
    before = Facescrub(path=str(scrub)).fingerprint()
    path = scrub / "Ada A" / "Ada A_0.png"
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)  # of the same size
    assert Facescrub(path=str(scrub)).fingerprint() != before


def test_the_seed_draws_the_splits(scrub: Path) -> None:
    assert shown(Facescrub(path=str(scrub))) == shown(Facescrub(path=str(scrub)))
    assert shown(Facescrub(path=str(scrub)))["report"] != shown(Facescrub(path=str(scrub), seed=1))["report"]


def test_problems_say_what_is_needed(scrub: Path) -> None:
    (problem,) = Facescrub(path=str(scrub), identities=5).problems()
    assert problem.startswith(f"facescrub: 4 identity folders in {scrub}, 5 needed (start=0)")
    for path in sorted((scrub / "Bob B").iterdir())[2:]:
        path.unlink()
    (problem,) = Facescrub(path=str(scrub)).problems()
    assert f"too few images in {scrub}, 3 of each identity needed, one for each split: Bob B (2)" in problem
    with pytest.raises(DataError, match="facescrub: too few images"):
        Facescrub(path=str(scrub)).load(8)
    (problem,) = Facescrub(path=str(scrub.parent / "nowhere")).problems()
    assert problem.startswith("facescrub: no such file or folder")


def test_another_size_is_a_problem_where_a_crop_is_meant_for_64_px(scrub: Path) -> None:
    for path in scrub.rglob("*.png"):
        Image.open(path).resize((80, 96)).save(path)
    assert Facescrub(path=str(scrub)).problems() == []
    cropped = Facescrub(path=str(scrub), cropped=True)
    (problem,) = cropped.problems()
    assert "Ada A/Ada A_0.png in" in problem and "has 80x96 pixels, 64x64 expected; resize the set to 64 px" in problem
    with pytest.raises(DataError, match="has 80x96 pixels, 64x64 expected"):
        cropped.load(8)


def test_an_unreadable_image_is_named(scrub: Path) -> None:
    (scrub / "Cyd C" / "Cyd C_4.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"facescrub: 1 of 40 images cannot be read: Cyd C/Cyd C_4.png: "):
        Facescrub(path=str(scrub)).load(8)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"start": -1}, "start must be at least 0"),
        ({"identities": 1}, "identities must be at least 2"),
        ({"public_list": "a"}, "public_list is for role public only"),
        ({"report_fraction": 0.5}, "report_fraction must lie between 0 and 0.5"),
        ({"select_fraction": 0.0}, "select_fraction must lie between 0 and 0.5"),
    ],
)
def test_wrong_parameters_are_refused(params: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        DATASETS.make("facescrub", {"path": "x", **params})


def test_presets_are_the_published_settings() -> None:
    made = {name: DATASETS.make("facescrub", {"path": "x", **given}) for name, given in Facescrub.presets.items()}
    found = {name: (d.role, d.start, d.identities, d.cropped) for name, d in made.items()}  # type: ignore[attr-defined]
    assert found == {
        "lokt-private": ("private", 0, 200, False),
        "public": ("public", 0, None, True),
        "lpa-private": ("private", 0, 100, False),
        "lpa-public": ("public", 100, 100, False),
    }
