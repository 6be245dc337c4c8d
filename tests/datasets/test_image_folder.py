"""image_folder: what is read, how it is split, what is said when it cannot be."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from midef.core.errors import DataError, SpecError
from midef.datasets import DATASETS, Splits
from midef.datasets.image_folder import ImageFolder

Pack = Callable[..., Path]


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def rows(splits: Splits) -> dict[str, set[bytes]]:
    """The images of each split, as bytes; random images are all different."""
    return {name: {image.numpy().tobytes() for image in part.images} for name, part in splits.parts.items()}


def assert_equal(a: Splits, b: Splits) -> None:
    assert a.class_names == b.class_names
    for name, part in a.parts.items():
        assert torch.equal(part.images, b.parts[name].images) and torch.equal(part.labels, b.parts[name].labels)


# ---------------------------------------------------------------- splits


def test_every_identity_is_in_every_split_and_no_image_in_two(faces: Path) -> None:
    splits = ImageFolder(path=str(faces)).load(12)
    assert splits.class_names == ("ada", "bob", "cyd")
    counts = {name: Counter(part.labels.tolist()) for name, part in splits.parts.items()}
    assert counts == {
        "train": {0: 7, 1: 4, 2: 14},
        "select": {0: 1, 1: 1, 2: 2},
        "report": {0: 2, 1: 1, 2: 4},
    }
    assert len(set.union(*rows(splits).values())) == 36  # 10 + 6 + 20: all there, none twice


def test_images_carry_the_label_of_their_folder(faces: Path) -> None:
    splits = ImageFolder(path=str(faces)).load(12)
    for part in splits.parts.values():
        for image, label in zip(part.images, part.labels.tolist(), strict=True):
            folder = faces / splits.class_names[label]
            own = [np.asarray(Image.open(p)).transpose(2, 0, 1) for p in folder.iterdir()]
            assert any(np.array_equal(image.numpy(), p) for p in own)


def test_splits_repeat_with_the_seed_and_change_with_it(faces: Path) -> None:
    first = ImageFolder(path=str(faces)).load(12)
    assert_equal(first, ImageFolder(path=str(faces)).load(12))
    assert rows(first)["report"] != rows(ImageFolder(path=str(faces), seed=1).load(12))["report"]


def test_another_identity_does_not_move_the_images_of_the_others(faces: Path) -> None:
    before = ImageFolder(path=str(faces), min_images=10).load(12)
    after = ImageFolder(path=str(faces), min_images=6).load(12)
    assert rows(before)["report"] < rows(after)["report"]


@pytest.mark.parametrize(("select", "report"), [(0.7, 0.2), (0.2, 0.7)], ids=["much select", "much report"])
def test_three_images_are_one_for_each_split(faces: Path, select: float, report: float) -> None:
    shutil.rmtree(faces / "dot")
    for path in sorted((faces / "bob").iterdir())[3:]:
        path.unlink()
    splits = ImageFolder(path=str(faces), min_images=1, select_fraction=select, report_fraction=report).load(12)
    assert [part.labels.tolist().count(1) for part in splits.parts.values()] == [1, 1, 1]


def test_max_images_balances_and_identities_takes_the_first(faces: Path) -> None:
    capped = ImageFolder(path=str(faces), max_images=6)
    splits = capped.load(12)
    labels = torch.cat([part.labels for part in splits.parts.values()])
    assert labels.bincount().tolist() == [6, 6, 6]
    assert_equal(splits, ImageFolder(path=str(faces), max_images=6).load(12))
    assert ImageFolder(path=str(faces), identities=2).load(12).class_names == ("ada", "bob")


def test_unlabelled_images_flat_or_nested(faces: Path, tmp_path: Path) -> None:
    nested = ImageFolder(path=str(faces), labelled=False)
    assert not nested.is_labelled and nested.n_identities() == 0 and nested.problems() == []
    splits = nested.load(12)
    assert splits.class_names == ()
    assert [len(part) for part in splits.parts.values()] == [26, 4, 7]  # 10 % and 20 % of 37
    assert all((part.labels == -1).all() for part in splits.parts.values())
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in faces.rglob("*.png"):
        shutil.copy(path, flat / f"{path.parent.name}{path.name}")
    loaded = ImageFolder(path=str(flat), labelled=False, max_images=10).load(12)
    assert sum(map(len, loaded.parts.values())) == 10


# ---------------------------------------------------------------- split lists


@pytest.fixture
def lists(faces: Path) -> dict[str, str]:
    """Lists that report images 00 and 01 of ada, bob and cyd and train on the others but 05; dot is in neither."""
    chosen: dict[str, list[str]] = {"train_list": [], "report_list": []}
    for label, name in enumerate(("ada", "bob", "cyd")):
        for path in sorted((faces / name).iterdir()):
            if path.stem != "05":
                role = "report_list" if path.stem in ("00", "01") else "train_list"
                chosen[role].append(f"{name}/{path.name} {label}\n")
    for role, lines in chosen.items():
        (faces.parent / f"{role}.txt").write_text("".join(lines))
    return {role: str(faces.parent / f"{role}.txt") for role in chosen}


def test_lists_are_respected(faces: Path, lists: dict[str, str]) -> None:
    dataset = ImageFolder(path=str(faces), **lists)
    assert dataset.problems() == []
    splits = dataset.load(12)
    expected = {
        np.asarray(Image.open(faces / name / f"0{i}.png")).transpose(2, 0, 1).tobytes()
        for name in ("ada", "bob", "cyd")
        for i in (0, 1)
    }
    found = rows(splits)
    assert found["report"] == expected
    assert not found["train"] & found["select"]
    assert len(found["train"] | found["select"]) == 7 + 3 + 17
    assert splits.select.labels.tolist() == [0, 1, 2, 2]


def test_lists_without_labels_or_with_spaces_in_names(faces: Path, lists: dict[str, str]) -> None:
    (faces / "ada").rename(faces / "a da 7")
    for path in lists.values():
        Path(path).write_text(Path(path).read_text().replace("ada/", "./a da 7/").replace(".png 1\n", ".png\r\n"))
    assert ImageFolder(path=str(faces), **lists).load(12).class_names == ("a da 7", "bob", "cyd")


def test_capped_lists_keep_their_proportion(faces: Path, lists: dict[str, str]) -> None:
    splits = ImageFolder(path=str(faces), **lists, max_images=9).load(12)
    assert [part.labels.tolist().count(2) for part in splits.parts.values()] == [7, 1, 1]  # of 17 and 2


def test_wrong_lists_are_all_reported(faces: Path, lists: dict[str, str]) -> None:
    train, report = (Path(lists[role]) for role in ("train_list", "report_list"))
    train.write_text(train.read_text() + "ada/99.png 0\nada/00.png 0\n")
    report.write_text(report.read_text().replace("bob/01.png 1", "bob/01.png 3"))
    found = "\n".join(ImageFolder(path=str(faces), **lists).problems())
    assert f"train_list {train} names images that are not in {faces}: ada/99.png" in found
    assert "bob/01.png has label 3, expected 1" in found
    assert "images are in train_list and in report_list: ada/00.png" in found
    assert len(ImageFolder(path=str(faces), **lists).problems()) == 3


def test_an_identity_missing_from_a_list_is_named(faces: Path, lists: dict[str, str]) -> None:
    report = Path(lists["report_list"])
    report.write_text("".join(line for line in report.read_text().splitlines(True) if "bob" not in line))
    (problem,) = ImageFolder(path=str(faces), **lists).problems()
    assert "an image in each list needed: bob (3 in train_list, 0 in report_list); raise min_images" in problem


def test_a_missing_list_is_one_problem(faces: Path, lists: dict[str, str]) -> None:
    Path(lists["train_list"]).unlink()
    (problem,) = ImageFolder(path=str(faces), **lists).problems()
    assert problem.startswith(f"image_folder: train_list {lists['train_list']} cannot be read: no such file")


def test_lists_that_leave_nothing_to_select_are_refused(faces: Path, lists: dict[str, str]) -> None:
    Path(lists["train_list"]).write_text("ada/02.png\nada/03.png\nbob/02.png\ncyd/02.png\n")
    (problem,) = ImageFolder(path=str(faces), **lists).problems()
    assert "leaves no image to pick checkpoints" in problem


# ---------------------------------------------------------------- folders and zips


@pytest.mark.parametrize("prefix", ["", "faces/", "a/b/"], ids=["as is", "one top folder", "two top folders"])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
@pytest.mark.parametrize("labelled", [True, False], ids=["labelled", "unlabelled"])
def test_folder_and_zip_are_the_same(faces: Path, pack: Pack, prefix: str, compression: int, labelled: bool) -> None:
    (faces / "notes.txt").write_text("no image")
    (faces / "ada" / ".hidden.png").write_bytes(b"no image")
    (faces / "__MACOSX").mkdir()
    (faces / "__MACOSX" / "00.png").write_bytes(b"no image")
    folder = ImageFolder(path=str(faces), labelled=labelled)
    packed = ImageFolder(path=str(pack(faces, compression=compression, prefix=prefix)), labelled=labelled)
    assert folder.fingerprint() == packed.fingerprint()
    assert folder.members() == packed.members()
    assert_equal(folder.load(8), packed.load(8))


def test_a_moved_folder_keeps_its_fingerprint(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = ImageFolder(path=str(faces)).fingerprint()
    faces.rename(faces.parent / "elsewhere")
    monkeypatch.chdir(faces.parent)
    assert ImageFolder(path="elsewhere").fingerprint() == before


def test_the_fingerprint_follows_what_matters(faces: Path, lists: dict[str, str]) -> None:
    before = ImageFolder(path=str(faces)).fingerprint()
    listed = ImageFolder(path=str(faces), **lists).fingerprint()
    shutil.copy(faces / "ada" / "00.png", faces / "dot" / "01.png")  # dot stays below min_images
    assert ImageFolder(path=str(faces)).fingerprint() == before != listed
    for role, line in (("report_list", "cyd/00.png 2\n"), ("train_list", "cyd/02.png 2\n")):  # 00 and 02 change places
        other = "cyd/02.png 2\n" if role == "report_list" else "cyd/00.png 2\n"
        Path(lists[role]).write_text(Path(lists[role]).read_text().replace(line, other))
    assert ImageFolder(path=str(faces), **lists).fingerprint() != listed
    pixels = np.asarray(Image.open(faces / "bob" / "00.png")).copy()
    pixels[0, 0, 0] ^= 1
    save(faces / "bob" / "00.png", pixels)
    changed = ImageFolder(path=str(faces)).fingerprint()
    assert changed != before
    (faces / "bob" / "05.png").rename(faces / "bob" / "06.png")  # the order of the files stays
    assert ImageFolder(path=str(faces)).fingerprint() not in (before, changed)


def test_members_find_shared_images(faces: Path, tmp_path: Path) -> None:
    for i in range(3):
        shutil.copy(faces / "ada" / f"0{i}.png", tmp_path / f"public{i}.png")
    shutil.move(faces, tmp_path / ".faces")  # hidden: not among the public images
    public = ImageFolder(path=str(tmp_path), labelled=False)
    private = ImageFolder(path=str(tmp_path / ".faces"))
    assert len(public.members()) == 3 and public.members() < private.members()
    assert len(private.members()) == 36


@pytest.mark.parametrize("name", ["../bob/evil.png", "/etc/evil.png", "C:/evil.png", "..\\evil.png"])
def test_members_outside_the_archive_are_refused(faces: Path, pack: Pack, name: str) -> None:
    path = pack(faces)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, (faces / "dot" / "00.png").read_bytes())
    (problem,) = ImageFolder(path=str(path)).problems()
    assert f"{path} has members outside itself" in problem and "evil.png" in problem


def test_links_in_a_circle_end(faces: Path) -> None:
    (faces / "ada" / "again").symlink_to(faces, target_is_directory=True)
    assert len(ImageFolder(path=str(faces)).members()) == 36


# ---------------------------------------------------------------- pixels


def unlabelled(folder: Path, resolution_px: int, **params: object) -> torch.Tensor:
    """All pixels of a small unlabelled set of equal images."""
    splits = ImageFolder(path=str(folder), labelled=False, **params).load(resolution_px)  # type: ignore[arg-type]
    return torch.cat([part.images for part in splits.parts.values()])


def three(folder: Path, pixels: np.ndarray, suffix: str = ".png") -> Path:
    for i in range(3):
        save(folder / f"{i}{suffix}", pixels)
    return folder


def test_crop_is_in_pixels_of_the_file(tmp_path: Path) -> None:
    pixels = np.arange(20 * 10 * 3, dtype=np.uint8).reshape(20, 10, 3)
    folder = three(tmp_path / "x", pixels)
    found = unlabelled(folder, 4, crop=(1, 2, 5, 6))
    assert torch.equal(found[0], torch.from_numpy(pixels[2:6, 1:5].transpose(2, 0, 1).copy()))


@pytest.mark.parametrize("shape", [(20, 10, 3), (10, 20, 3)], ids=["tall", "wide"])
def test_without_crop_the_centred_square_is_taken(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found = unlabelled(three(tmp_path / "x", pixels), 10)
    centre = pixels[5:15] if shape[0] == 20 else pixels[:, 5:15]
    assert torch.equal(found[0], torch.from_numpy(centre.transpose(2, 0, 1).copy()))


def test_a_crop_outside_the_image_is_an_error(tmp_path: Path) -> None:
    folder = three(tmp_path / "x", np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(DataError, match=r"0.png: crop \(0, 0, 12, 10\) reaches outside an image of 10x10 pixels"):
        unlabelled(folder, 10, crop=(0, 0, 12, 10))


def test_shrinking_is_antialiased(tmp_path: Path) -> None:
    checkers = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    found = unlabelled(three(tmp_path / "x", checkers), 8)
    assert found.float().sub(127.5).abs().max() < 3  # without antialias it would be 0, 255 or stripes


@pytest.mark.parametrize("suffix", [".png", ".pgm", ".bmp", ".JPG", ".jpeg", ".webp"])
def test_formats_and_grey(tmp_path: Path, suffix: str) -> None:
    found = unlabelled(three(tmp_path / "x", np.full((6, 6), 90, np.uint8), suffix), 6)
    assert found.shape == (3, 3, 6, 6) and found.dtype == torch.uint8
    assert (found.float() - 90).abs().max() <= 1


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    grey = (np.arange(36, dtype=np.uint16) * 1800).reshape(6, 6)
    found = unlabelled(three(tmp_path / "x", grey), 6)
    assert np.abs(found[0, 0].numpy() - grey / 257).max() <= 0.5


def test_a_photo_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    for i in range(3):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png", exif=exif)
    assert torch.equal(unlabelled(tmp_path, 6)[0], torch.from_numpy(pixels[::-1, ::-1].transpose(2, 0, 1).copy()))


# ---------------------------------------------------------------- what is said when it cannot be read


def test_unreadable_images_are_all_named(faces: Path, pack: Pack) -> None:
    (faces / "ada" / "00.png").write_bytes(b"this is no image")
    (faces / "cyd" / "03.png").write_bytes((faces / "cyd" / "03.png").read_bytes()[:100])
    (faces / "cyd" / "04.png").write_bytes(b"")
    for path, kind in ((faces, "folder"), (pack(faces), "archive")):
        dataset = ImageFolder(path=str(path))
        assert dataset.problems() == []  # cheap: nothing is decoded
        with pytest.raises(DataError) as caught:
            dataset.load(12)
        said = str(caught.value)
        assert f"3 of 36 images cannot be read; replace them or take them out of the {kind} {path}:\n" in said
        assert dataset.examine().problems == (said,)
        assert "ada/00.png: cannot identify image file\n" in said
        assert "cyd/03.png: " in said and "cyd/04.png: cannot identify image file" in said


def test_more_than_ten_unreadable_images_are_counted(faces: Path) -> None:
    for path in (faces / "cyd").iterdir():
        path.write_bytes(b"no")
    with pytest.raises(DataError, match=r"20 of 36 images(?s:.)*and 10 more$") as caught:
        ImageFolder(path=str(faces)).load(12)
    assert str(caught.value).count(".png: ") == 10


def test_a_damaged_archive_member_is_named(faces: Path, pack: Pack) -> None:
    path = pack(faces)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("ada/00.png").header_offset
    data[start + 80] ^= 255
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"1 of 36 images(?s:.)*ada/00.png: Bad CRC-32"):
        ImageFolder(path=str(path)).load(12)


def test_a_missing_path(tmp_path: Path) -> None:
    dataset = ImageFolder(path=str(tmp_path / "nowhere"))
    (problem,) = dataset.problems()
    assert problem.startswith(f"image_folder: no such file or folder {tmp_path / 'nowhere'}; give")
    for ask in (dataset.fingerprint, dataset.members, dataset.n_identities, dataset.card, lambda: dataset.load(8)):
        with pytest.raises(DataError, match="no such file or folder"):
            ask()


def test_a_file_that_is_no_zip_and_a_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"no zip")
    (problem,) = ImageFolder(path=str(tmp_path / "x.zip")).problems()
    assert f"{tmp_path / 'x.zip'} is not a readable zip" in problem
    (problem,) = ImageFolder(path=str(tmp_path)).problems()
    assert f"no images in {tmp_path}" in problem


def test_flat_images_are_no_labelled_set(faces: Path) -> None:
    (problem,) = ImageFolder(path=str(faces / "cyd")).problems()
    assert "0 identity folder in" in problem and "labelled=False" in problem


def test_an_identity_with_one_image_is_named(faces: Path) -> None:
    (problem,) = ImageFolder(path=str(faces), min_images=1).problems()
    assert "3 images, one for each split needed: dot (1); raise min_images to leave them out" in problem
    with pytest.raises(DataError, match=r"dot \(1\)"):
        ImageFolder(path=str(faces), min_images=1).load(8)
    assert ImageFolder(path=str(faces), min_images=2).problems() == []


def test_too_few_identities_left(faces: Path) -> None:
    (problem,) = ImageFolder(path=str(faces), min_images=15).problems()
    assert "1 of the 4 identities" in problem and "the largest has 20), at least 2 needed; lower min_images" in problem
    (problem,) = ImageFolder(path=str(faces), identities=4).problems()
    assert "3 of the 4 identities" in problem and "4 needed; lower min_images or identities" in problem


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"min_images": 0}, "min_images must be at least 1"),
        ({"max_images": 2}, "max_images must be at least 3"),
        ({"identities": 1}, "identities must be at least 2"),
        ({"identities": 5, "labelled": False}, "of a labelled set"),
        ({"train_list": "a.txt"}, "give both train_list and report_list"),
        ({"select_fraction": 0.0}, "select_fraction must lie between 0 and 1"),
        ({"report_fraction": 0.9}, "must leave something to train on"),
        ({"crop": [5, 0, 5, 8]}, "crop must be left < right"),
        ({"min_image": 3}, "did you mean 'min_images'"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_wrong_parameters_are_refused(params: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        DATASETS.make("image_folder", {"path": "x", **params})


# ---------------------------------------------------------------- card, registry


def test_card_counts(faces: Path) -> None:
    dataset = ImageFolder(path=str(faces), licence="CC0", title="Faces")
    card = dataset.card()
    assert card.counts == {"identities": 3, "train": 25, "select": 4, "report": 7}
    assert (card.title, card.licence, card.consent) == ("Faces", "CC0", "unknown")
    assert card.fingerprint == dataset.fingerprint()
    assert ImageFolder(path=str(faces)).card().title == "faces"


def test_where_files_lie_is_not_shown(faces: Path) -> None:
    dataset = ImageFolder(path=str(faces), min_images=20, licence="CC0", train_list="a", report_list="b")
    assert DATASETS.describe(dataset).label == "image_folder(min_images=20)"
    assert DATASETS.remake(DATASETS.describe(dataset)) == dataset


def test_planning_loads_no_torch(faces: Path) -> None:
    code = (
        "import sys; from midef.datasets.image_folder import ImageFolder; import midef.datasets.mnist; "
        "assert not {'torch', 'PIL', 'numpy'} & set(sys.modules); "
        f"d = ImageFolder(path={str(faces)!r}); d.problems(); d.fingerprint(); d.members(); d.card(); "
        "assert not {'torch', 'torchvision'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------- real data

Real = Callable[[str], Path]


def test_lfw_private_with_its_lists(real_data: Real) -> None:
    lists = {"train_list": "lfw/lfw_private_train.txt", "report_list": "lfw/lfw_private_test.txt"}
    dataset = ImageFolder(
        path=str(real_data("lfw/lfw_private.zip")),
        min_images=20,
        train_list=str(real_data(lists["train_list"])),
        report_list=str(real_data(lists["report_list"])),
    )
    assert dataset.problems() == []
    assert dataset.n_identities() == 42 and len(dataset.members()) == 2228
    splits = dataset.load(16)
    report = Counter(line.split("/")[0] for line in real_data(lists["report_list"]).read_text().splitlines())
    found = Counter(splits.class_names[i] for i in splits.report.labels.tolist())
    assert found == {name: report[name] for name in splits.class_names}
    counts = dataset.card().counts
    assert counts["train"] + counts["select"] + counts["report"] == 2228
    assert set(splits.train.labels.tolist()) == set(splits.select.labels.tolist()) == set(range(42))


def test_lfw_public_shares_no_image_with_private(real_data: Real) -> None:
    public = ImageFolder(path=str(real_data("lfw/lfw_public.zip")), labelled=False)
    private = ImageFolder(path=str(real_data("lfw/lfw_private.zip")), min_images=1)
    counts = public.card().counts
    assert sum(counts.values()) == 8851 and private.n_identities() == 106
    assert not public.members() & private.members()


def test_att_faces(real_data: Real) -> None:
    dataset = ImageFolder(path=str(real_data("att_faces/att_faces.zip")))
    splits = dataset.load(32)
    assert dataset.n_identities() == 40
    assert [part.labels.bincount().tolist() for part in splits.parts.values()] == [[7] * 40, [1] * 40, [2] * 40]
    assert torch.equal(splits.train.images[:, 0], splits.train.images[:, 2])
