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
        "ppa": ("private", 0, None, False),
        "mibench": ("private", 0, None, True),
    }


# ---------------------------------------------------------------- the published 90/10 split

GENDERS = {"actors": ("Ann-Lee B", "Ann", "Zed Z"), "actresses": ("Ada A", "Bea B")}
SORTED = ("Ann", "Ann-Lee B", "Zed Z", "Ada A", "Bea B")
"""Folders in plain order, actors first; whole paths would put `Ann-Lee B/` before `Ann/`."""


@pytest.fixture
def genders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three actors and two actresses with 8 to 12 square crops each, and photographs that are not used."""
    monkeypatch.setattr(Facescrub, "people", {"actors": 3, "actresses": 2})
    blue = 0
    for gender, names in GENDERS.items():
        for k, name in enumerate(names):
            for i in range(8 + k * 2):
                for kind, size in (("faces", (90, 70)), ("images", (9, 9))):
                    path = tmp_path / "scrub" / gender / kind / name / f"{i}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.new("RGB", size, (3 * i, 100 * (kind == "faces"), blue)).save(path)
                blue += 1
    return tmp_path / "scrub"


def expected_split(root: Path, order: list[int]) -> tuple[list[str], list[str]]:
    """Lines `path label` of train and report, as the published code makes them, written out."""
    samples = []
    for gender in ("actors", "actresses"):
        first = len({label for _, label in samples})
        for label, folder in enumerate(sorted(p.name for p in (root / gender / "faces").iterdir())):
            for file in sorted(p.name for p in (root / gender / "faces" / folder).iterdir()):
                samples.append((f"{gender}/faces/{folder}/{file}", first + label))
    lines = [f"{samples[i][0]} {samples[i][1]}" for i in order]
    return sorted(lines[: int(0.9 * len(lines))]), sorted(lines[int(0.9 * len(lines)) :])


def lines_of(dataset: Facescrub, *splits: str) -> list[str]:
    lists = dataset.file_lists()
    return sorted(f"{name} {label}" for split in splits for name, label in lists[split])


def test_ppa_reports_a_tenth_of_all_by_the_published_permutation(
    genders: Path, published_order: Callable[[int], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = DATASETS.make("facescrub", {"path": str(genders), **Facescrub.presets["ppa"]})
    assert isinstance(dataset, Facescrub) and dataset.problems() == []
    count = 8 + 10 + 12 + 8 + 10
    train, report = expected_split(genders, published_order(count))
    assert len(report) == 5 and lines_of(dataset, "report") == report
    assert lines_of(dataset, "train", "select") == train
    assert not set(lines_of(dataset, "select")) & set(report), "what picks a checkpoint is never reported"
    assert dataset.load(8).class_names == SORTED
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(sorted(listed(self), reverse=True)))
    assert lines_of(dataset, "report") == report, "whatever order the file system has"


def test_ppa_in_a_zip_and_behind_another_seed(genders: Path, pack: Callable[..., Path]) -> None:
    folder, packed = (Facescrub(path=str(p), split="ppa") for p in (genders, pack(genders, prefix="facescrub/")))
    assert folder.fingerprint() == packed.fingerprint() and folder.file_lists() == packed.file_lists()
    other = Facescrub(path=str(genders), split="ppa", seed=1)
    assert lines_of(other, "report") == lines_of(folder, "report"), "the published seed is no parameter"
    assert lines_of(other, "select") != lines_of(folder, "select")
    assert other.fingerprint() != folder.fingerprint(), "the lists are part of it"


def test_a_dead_link_makes_another_split_and_another_key(
    genders: Path, published_order: Callable[[int], list[int]]
) -> None:
    dataset = Facescrub(path=str(genders), split="ppa")
    before, fingerprint = dataset.file_lists(), dataset.fingerprint()
    (genders / "actors" / "faces" / "Zed Z" / "11.png").unlink()  # one file of 48
    assert lines_of(dataset, "report") == expected_split(genders, published_order(47))[1]
    assert dataset.fingerprint() != fingerprint and dataset.problems() == []
    assert set(lines_of(dataset, "report")) != {f"{name} {label}" for name, label in before["report"]}


def test_ppa_needs_all_identities_of_both_lists(genders: Path) -> None:
    shutil.rmtree(genders / "actresses" / "faces" / "Ada A")
    (problem,) = Facescrub(path=str(genders), split="ppa").problems()
    assert problem == f"facescrub: 1 folders actresses/faces/<name>/ with images in {genders}, 2 needed"
    shutil.rmtree(genders / "actresses")
    (problem,) = Facescrub(path=str(genders), split="ppa").problems()
    assert "0 folders actresses/faces/<name>/" in problem
    for wrong in ({"role": "public"}, {"start": 1}, {"identities": 5}):
        with pytest.raises(SpecError, match="split ppa is of all 530 identities, role private"):
            DATASETS.make("facescrub", {"path": "x", "split": "ppa", **wrong})


def test_530_folders_are_enough_and_529_are_not(tmp_path: Path) -> None:
    for gender in ("actors", "actresses"):
        for k in range(265):
            folder = tmp_path / gender / "faces" / f"p{k:03}"
            folder.mkdir(parents=True)
            for i in range(3):
                (folder / f"{i}.ppm").write_bytes(b"P6 1 1 255 " + bytes((k % 256, i, gender == "actors")))
    dataset = Facescrub(path=str(tmp_path), split="ppa")
    arrangement = dataset._arrange()
    assert len(arrangement.names) == 530 and len(arrangement.splits["report"]) == 159
    shutil.rmtree(tmp_path / "actors" / "faces" / "p264")
    assert dataset.problems() == [
        f"facescrub: 264 folders actors/faces/<name>/ with images in {tmp_path}, 265 needed",
    ]


def test_someone_with_no_image_to_train_on_is_a_problem(genders: Path) -> None:
    folder = genders / "actors" / "faces" / "Ann"
    dataset = Facescrub(path=str(genders), split="ppa")
    for kept in range(8):  # alone, one of them falls to the reported tenth
        moved = [p.rename(genders / p.name) for p in sorted(folder.iterdir()) if p.name != f"{kept}.png"]
        found = [n for n, _ in dataset._arrange().splits["report"] if n.name.startswith("actors/faces/Ann/")]
        (said,) = dataset.problems() or [""]
        assert bool(found) == ("no image to train on" in said and said.endswith("of Ann; add images"))
        for path in moved:
            path.rename(folder / path.name)


@pytest.mark.parametrize("px", [24, 64, 112])
def test_ppa_resizes_both_sides_and_mibench_cuts_the_inner_54_of_64(genders: Path, px: int) -> None:
    x, y = np.meshgrid(np.arange(90), np.arange(70))
    for path in genders.rglob("faces/*/*.png"):
        number = int(path.stem) + 20 * len(path.parent.name)
        Image.fromarray(np.stack([2 * x, 3 * y, 0 * x + number], axis=2).astype(np.uint8)).save(path)
    whole = Image.fromarray(np.stack([2 * x, 3 * y, 0 * x], axis=2).astype(np.uint8)).resize(
        (px, px), Image.Resampling.BILINEAR
    )
    found = DATASETS.make("facescrub", {"path": str(genders), **Facescrub.presets["ppa"]}).load(px)
    assert np.array_equal(found.train.images[0, :2].numpy(), np.asarray(whole).transpose(2, 0, 1)[:2])
    side = int(54 * px / 64)
    offset = (px - side) // 2
    inner = whole.crop((offset, offset, offset + side, offset + side)).resize((px, px), Image.Resampling.BILINEAR)
    found = DATASETS.make("facescrub", {"path": str(genders), **Facescrub.presets["mibench"]}).load(px)
    assert np.array_equal(found.train.images[0, :2].numpy(), np.asarray(inner).transpose(2, 0, 1)[:2])


def test_a_damaged_crop_is_named_before_it_is_trained_on(genders: Path) -> None:
    (genders / "actors" / "faces" / "Ann" / "3.png").write_bytes(b"no image")
    dataset = Facescrub(path=str(genders), split="ppa")
    assert "1 of 48 images cannot be read: actors/faces/Ann/3.png" in dataset.examine().problems[0]
    with pytest.raises(DataError, match=r"facescrub: 1 of 48 images cannot be read: actors/faces/Ann/3\.png"):
        dataset.load(8)


def test_what_is_missing_says_where_to_get_it_and_on_which_terms(tmp_path: Path) -> None:
    (problem,) = Facescrub(path=str(tmp_path / "scrub"), split="ppa").problems()
    assert problem.startswith(f"facescrub: no such file or folder {tmp_path / 'scrub'}; get it from the authors' list")
    assert "; licence: addresses of images for research" in problem and "; consent: pictures of celebrities" in problem
