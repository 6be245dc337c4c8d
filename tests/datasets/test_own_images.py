"""What people's folders hold besides good images: copies, other types, splits, system folders, odd names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from midef.core.errors import DataError
from midef.datasets.facescrub import Facescrub
from midef.datasets.image_folder import ImageFolder

Pack = Callable[..., Path]


def examined(folder: Path, **params: object) -> tuple[tuple[str, ...], str]:
    """Problems, and notes as one text."""
    dataset = ImageFolder(path=str(folder), **params)  # type: ignore[arg-type]
    assert dataset.problems() == []
    found = dataset.examine()
    return found.problems, "\n".join(found.notes)


def save_again(source: Path, target: Path) -> None:
    """The same pixels in another file."""
    Image.open(source).save(target)
    assert source.read_bytes() != target.read_bytes()


# ---------------------------------------------------------------- keys


@pytest.fixture
def fixed(tmp_path: Path) -> Path:
    """Images whose bytes no library decides, with files that are left out among them."""
    for k, name in enumerate(("ada", "bob", "José")):
        for i in range(6):
            path = tmp_path / "faces" / name / f"{i}.ppm"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"P6 4 4 255\n" + bytes((97 * k + 31 * i + 7 * j) % 256 for j in range(48)))
    others = {"dot/0.ppm": b"P6 1 1 255\nabc", "ada/notes.txt": b"x", "ada/x.gif": b"GIF89a", "__MACOSX/a.ppm": b"no"}
    for name, content in others.items():
        (tmp_path / "faces" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "faces" / name).write_bytes(content)
    for role, numbers in (("train", range(4)), ("report", (4, 5))):
        lines = [f"{name}/{i}.ppm {k}\n" for k, name in enumerate(("José", "ada", "bob")) for i in numbers]
        (tmp_path / f"{role}.txt").write_text("".join(lines), encoding="utf-8")
    return tmp_path / "faces"


def test_fingerprints_are_those_of_earlier_versions(fixed: Path) -> None:
    """Computed by commit 1f4742f: a stored artifact keeps its key whatever more is looked at."""
    lists = {f"{role}_list": str(fixed.parent / f"{role}.txt") for role in ("train", "report")}
    found = [
        ImageFolder(path=str(fixed)).fingerprint(),
        ImageFolder(path=str(fixed), labelled=False).fingerprint(),
        ImageFolder(path=str(fixed), **lists).fingerprint(),
        Facescrub(path=str(fixed), identities=2).fingerprint(),
    ]
    assert found == [
        "928ed6e2bd63e0617e22ba3214b813b9f9540406fa74f858074f3e71f36766ac",
        "dfa9332870a0710419976d2996db65801bc7f217b1074f63d4fda39e3160ed52",
        "67b82d4e09aab08951884feeda6b04f44d2fe838a9e05d8a4915513810f2db2d",
        "67b55a46396132215d98e4508ffec9ead52a54254f24005375159876910daf3c",
    ]


# ---------------------------------------------------------------- copies within a set


def test_one_image_under_two_identities_is_refused_and_both_files_named(faces: Path) -> None:
    assert examined(faces)[0] == ()
    save_again(faces / "ada" / "00.png", faces / "bob" / "09.bmp")
    ((problem,), _) = examined(faces)
    assert problem == (
        "image_folder: 1 image is under two identities, so that one label is wrong: ada/00.png and bob/09.bmp are the "
        "same image; remove one of each"
    )
    with pytest.raises(DataError, match=r"ada/00.png and bob/09.bmp are the same image"):
        ImageFolder(path=str(faces)).load(8)


def test_a_copy_in_the_report_split_is_refused(faces: Path) -> None:
    for path in sorted((faces / "bob").iterdir())[1:]:
        path.unlink()
        save_again(faces / "bob" / "00.png", path.with_suffix(".bmp"))
    ((problem,), _) = examined(faces)
    assert problem.startswith("image_folder: 1 image of the report split is also in train or select: bob/0")
    assert problem.endswith("are the same image; remove the copies, they flatter the reported accuracy")
    with pytest.raises(DataError, match="1 image of the report split is also in train or select: bob/0"):
        ImageFolder(path=str(faces)).load(8)


def test_a_copy_that_only_picks_checkpoints_is_noted(faces: Path) -> None:
    lists = {}
    for role, numbers in (("train_list", range(6)), ("report_list", (6, 7))):
        path = faces.parent / f"{role}.txt"
        path.write_text("".join(f"{name}/{i:02d}.png\n" for name in ("ada", "cyd") for i in numbers))
        lists[role] = str(path)
    for path in sorted((faces / "ada").iterdir())[1:6]:
        shutil.copy(faces / "ada" / "00.png", path)
    problems, notes = examined(faces, **lists, min_images=10)
    assert problems == () and "1 image is in train and in select, for example ada/0" in notes
    assert "14 images in neither list are left out, for example ada/08.png" in notes


def test_public_copies_and_published_copies_are_no_error(faces: Path) -> None:
    for path in sorted((faces / "bob").iterdir())[1:]:
        shutil.copy(faces / "bob" / "00.png", path)
    shutil.copy(faces / "ada" / "00.png", faces / "bob" / "00.png")
    assert examined(faces, labelled=False) == ((), "")
    shutil.rmtree(faces / "dot")
    found = Facescrub(path=str(faces)).examine()
    assert (
        found.problems == ()
        and "1 image is under two identities, for example ada/00.png and bob/00.png" in " ".join(found.notes)
    )


# ---------------------------------------------------------------- folders that are no identities


@pytest.mark.parametrize(("one", "other"), [("train", "test"), ("Training", "val"), ("gallery", "probe")])
@pytest.mark.parametrize("is_zip", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("more", ["", "extra"])
def test_splits_are_not_taken_for_identities(
    faces: Path, pack: Pack, tmp_path: Path, one: str, other: str, more: str, *, is_zip: bool
) -> None:
    shutil.copytree(faces, tmp_path / "set" / one)
    shutil.move(faces, tmp_path / "set" / other)
    if more:
        shutil.copytree(tmp_path / "set" / one / "cyd", tmp_path / "set" / more)
    root = pack(tmp_path / "set") if is_zip else tmp_path / "set"
    (problem,) = ImageFolder(path=str(root)).problems()
    first, second = sorted((one, other))
    assert f"the folders {first}, {second} in {root} are splits, not identities, with identity folders" in problem
    assert "the same names in them (ada, bob, cyd and 1 more)" in problem
    assert ("pack one of them alone" if is_zip else f"name one of them (path: {root / second})") in problem
    assert problem.endswith(
        "merge them, laid out <identity>/<file>, and say by train_list and report_list which images are reported"
    )
    if not is_zip:
        assert ImageFolder(path=str(root / second)).n_identities() == 3


def test_splits_of_images_and_groups_of_people_are_no_identities_either(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    shutil.copytree(faces / "cyd", tmp_path / "set" / "train")
    shutil.copytree(faces / "ada", tmp_path / "set" / "test")
    (problem,) = ImageFolder(path=str(tmp_path / "set")).problems()
    assert "the folders test, train" in problem and "are splits, not identities; name one" in problem
    shutil.copytree(faces, tmp_path / "scrub" / "actors")
    shutil.copytree(faces / "cyd", tmp_path / "scrub" / "actresses" / "eve")
    (problem,) = Facescrub(path=str(tmp_path / "scrub")).problems()
    assert problem.startswith("facescrub: the folders actors, actresses in") and "are groups, not identities" in problem


def test_sessions_of_equal_names_and_an_identity_called_test_are_fine(faces: Path, tmp_path: Path) -> None:
    for name in ("ada", "test"):
        shutil.copytree(faces / "cyd", tmp_path / "set" / name / "session1")
    assert ImageFolder(path=str(tmp_path / "set")).problems() == []


# ---------------------------------------------------------------- what is left out is counted


def test_files_of_other_types_are_counted_and_who_is_gone_because_of_them(faces: Path) -> None:
    for path in sorted((faces / "bob").iterdir())[:4] + sorted((faces / "dot").iterdir()):
        Image.open(path).save(path.with_suffix(".tif"))
        path.unlink()
    (faces / "ada" / "x.HEIC").write_bytes(b"")
    (faces / "ada" / "notes.txt").write_text("")
    _, notes = examined(faces)
    assert notes.splitlines() == [
        "6 files of a type that is not read (.tif 5, .heic 1) are left out, for example ada/x.HEIC",
        "2 more identities have fewer than min_images=6 images and are left out, for example bob (2); 1 of them "
        "because of files of a type that is not read",
    ]
    _, notes = examined(faces, labelled=False)
    assert notes == "6 files of a type that is not read (.tif 5, .heic 1) are left out, for example ada/x.HEIC"


def test_a_folder_with_no_readable_type_says_which_types_it_has(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"")
    (problem,) = ImageFolder(path=str(tmp_path), labelled=False).problems()
    assert "no images in" in problem and "1 file of a type that is not read (.tif 1) is left out" in problem


@pytest.mark.parametrize("is_zip", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("name", ["@eaDir", "$RECYCLE.BIN", "lost+found", "__MACOSX", ".hidden"])
def test_folders_of_the_system_are_no_identities(faces: Path, pack: Pack, name: str, *, is_zip: bool) -> None:
    (faces / "cyd").rename(faces / name)
    shutil.copytree(faces / name, faces / "ada" / name)
    root = pack(faces) if is_zip else faces
    assert ImageFolder(path=str(root)).n_identities() == 2
    _, notes = examined(root)
    assert (
        f"2 folders of the operating system, or hidden, are left out, for example {min(name, f'ada/{name}')}" in notes
    )


def test_identities_and_images_that_are_not_used_are_counted(faces: Path) -> None:
    shutil.copy(faces / "ada" / "00.png", faces / "loose.png")
    (faces / "ada" / "._00.png").write_bytes(b"")
    (faces / "ada" / "gone.jpg").symlink_to("nowhere.jpg")
    _, notes = examined(faces, identities=2, max_images=6, min_images=2)
    assert notes.splitlines() == [
        "1 hidden image is left out, for example ada/._00.png",
        "1 name of images without a file, as links to nothing, is left out, for example ada/gone.jpg",
        "1 more identity has fewer than min_images=2 images and is left out, for example dot (1)",
        "1 identity folder beyond identities=2 is left out, for example cyd",
        "1 image beside the identity folders is left out, for example loose.png",
        "4 images beyond max_images=6 are left out, for example " + notes.rpartition(" ")[2],
    ]


# ---------------------------------------------------------------- files and names that are hard to read


def test_a_file_that_gives_an_error_is_named_with_it(faces: Path) -> None:
    """A link to memory that nothing is mapped to gives the error of a broken disk."""
    if not Path("/proc/self/mem").exists():
        pytest.skip("needs /proc/self/mem")
    (faces / "ada" / "bad.jpg").symlink_to("/proc/self/mem")
    dataset = ImageFolder(path=str(faces))
    expected = "1 of 37 images cannot be read: ada/bad.jpg: Input/output error; replace them or take them out"
    assert dataset.examine().problems[0].startswith(f"image_folder: {expected}")
    with pytest.raises(DataError, match=expected):
        dataset.fingerprint()
    with pytest.raises(DataError, match=expected):
        dataset.load(8)


def test_a_folder_that_must_not_be_read_is_named(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.iterdir

    def refuse(self: Path) -> object:
        if self.name == "bob":
            raise PermissionError(13, "Permission denied")
        return real(self)

    monkeypatch.setattr(Path, "iterdir", refuse)
    (problem,) = ImageFolder(path=str(faces)).problems()
    assert (
        problem
        == f"image_folder: parts of {faces} cannot be read: bob: Permission denied; grant access or take them out"
    )


def test_a_crop_outside_some_images_is_found_before_they_are_loaded(faces: Path) -> None:
    Image.new("RGB", (9, 9)).save(faces / "ada" / "00.png")
    ((problem,), _) = examined(faces, crop=(0, 0, 10, 10))
    assert problem == f"image_folder: crop (0, 0, 10, 10) reaches outside 1 images in {faces}: ada/00.png 9x9"


def test_a_name_that_is_not_utf8_is_refused_and_shown(faces: Path) -> None:
    (faces / "ada").rename(faces / os.fsdecode(b"Jos\xe9"))
    (problem,) = ImageFolder(path=str(faces)).problems()
    assert f"10 images in {faces} with a path that is not UTF-8: Jos\\xe9; rename these folders or files" in problem
    problem.encode()


@pytest.mark.parametrize("in_list", ["Jos\u00e9", "Jose\u0301"], ids=["one letter", "two"])
@pytest.mark.parametrize("on_disk", ["Jos\u00e9", "Jose\u0301"], ids=["one letter", "two"])
def test_lists_with_a_mark_in_front_and_names_in_another_form(faces: Path, in_list: str, on_disk: str) -> None:
    (faces / "ada").rename(faces / on_disk)
    lists = {}
    for role, numbers in (("train_list", range(4)), ("report_list", (4, 5))):
        path = faces.parent / f"{role}.txt"
        lines = [f"{name}/{i:02d}.png {k}\n" for k, name in enumerate((in_list, "bob", "cyd")) for i in numbers]
        path.write_text("\ufeff" + "".join(lines), encoding="utf-8")
        lists[role] = str(path)
    dataset = ImageFolder(path=str(faces), **lists)
    assert dataset.problems() == [] and dataset.n_identities() == 3
    scrub = Facescrub(path=str(faces), role="public", public_list=lists["train_list"])
    assert scrub.problems() == [] and sum(scrub.card().counts.values()) == 12


def test_one_name_in_two_forms_is_one_person(faces: Path) -> None:
    for name in ("Jos\u00e9", "Jose\u0301"):
        shutil.copytree(faces / "ada", faces / name)
    (problem,) = ImageFolder(path=str(faces)).problems()
    assert "1 identity folder" in problem and "twice, the name written in two forms of Unicode: Jos\u00e9" in problem
