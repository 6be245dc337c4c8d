"""Folders and archives that are laid out to lead astray: links, names in two spellings, members that stand twice."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from midef.core.errors import DataError
from midef.datasets.files import folders
from midef.datasets.files.folders import list_folder, list_images
from midef.datasets.image_folder import ImageFolder

Pack = Callable[..., Path]


def test_folders_with_links_to_each_other_end(faces: Path) -> None:
    for i in range(9):
        (faces / f"p{i}").mkdir()
        (faces / f"p{i}" / "0.png").write_bytes(b"")
        for j in range(9):
            (faces / f"p{i}" / f"l{j}").symlink_to(f"../p{j}")
    (problem,) = ImageFolder(path=str(faces)).problems()
    assert problem.startswith(
        f"image_folder: links in {faces} lead more than 1,000 times to folders that are in it already, for example p"
    )
    assert problem.endswith("; take these links out")


def test_a_folder_that_a_link_leads_to_again_shows_its_images_under_two_identities(faces: Path) -> None:
    (faces / "bob" / "other").symlink_to("../ada")
    assert min(f.name for f in list_images(faces, levels=2) if "other" in f.name) == "bob/other/00.png"
    (problem,) = ImageFolder(path=str(faces)).examine().problems
    assert "10 images are under two identities" in problem and "ada/00.png and bob/other/00.png" in problem


def test_a_link_to_everything_is_not_followed(faces: Path) -> None:
    (faces / "bob" / "top").symlink_to("/")
    (problem,) = ImageFolder(path=str(faces)).problems()
    assert problem == f"image_folder: the link bob/top in {faces} leads to /, which holds all files; take it out"


@pytest.mark.parametrize(("limit", "most"), [("MOST_FOLDERS", 4), ("MOST_ENTRIES", 40)])
def test_a_folder_without_end_is_left(faces: Path, monkeypatch: pytest.MonkeyPatch, limit: str, most: int) -> None:
    assert len(list_images(faces, levels=2)) == 37
    monkeypatch.setattr(folders, limit, most)
    with pytest.raises(DataError, match=rf"{faces} has more than .*{most} f.*; name a folder of images, without links"):
        list_images(faces, levels=2)


@pytest.mark.parametrize("name", ["bob", "bob/03.png"], ids=["folder", "file"])
def test_an_error_that_is_not_of_the_file_system_is_raised(
    faces: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As one that a signal's handler raises; the system's own has a number and is told as a problem."""
    real, error = Path.is_dir, TimeoutError("no time left")

    def fail(self: Path) -> bool:
        if self == faces / name:
            raise error
        return real(self)

    monkeypatch.setattr(Path, "is_dir", fail)
    with pytest.raises(TimeoutError, match="no time left"):
        list_images(faces, levels=2)
    error = TimeoutError(110, "Connection timed out")
    with pytest.raises(DataError, match=f"cannot be read: {name}: Connection timed out"):
        list_images(faces, levels=2)


def zip_with(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "a") as archive:
        for name, content in members:
            info = zipfile.ZipInfo("x")
            info.filename = name  # the constructor would turn the slashes of Windows
            archive.writestr(info, content)
    return path


@pytest.mark.parametrize("spelling", ["ada\\00.png", "./ada/00.png", "ada//00.png", "ada/./00.png"])
def test_one_name_in_two_spellings_is_refused_and_both_are_named(faces: Path, pack: Pack, spelling: str) -> None:
    path = zip_with(pack(faces), [(spelling, (faces / "ada" / "00.png").read_bytes())])
    (problem,) = ImageFolder(path=str(path)).problems()
    assert f"{path} holds 1 member that would unpack onto another one: ada/00.png and {spelling}; unpack" in problem


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_stands_twice_is_refused_if_its_content_differs(faces: Path, pack: Pack) -> None:
    once = ImageFolder(path=str(faces)).fingerprint()
    path = zip_with(pack(faces), [("ada/00.png", (faces / "ada" / "00.png").read_bytes())])
    assert ImageFolder(path=str(path)).fingerprint() == once, "equal content was fine, and keeps its key"
    zip_with(
        path,
        [("ada/00.png", (faces / "ada" / "01.png").read_bytes()), ("ada/notes.txt", b"a"), ("ada/notes.txt", b"b")],
    )
    (problem,) = ImageFolder(path=str(path)).problems()
    assert "holds 1 member that would unpack onto another one: ada/00.png twice with other content; unpack" in problem


def test_names_of_windows_alone_are_fine(tmp_path: Path) -> None:
    path = zip_with(tmp_path / "windows.zip", [("faces\\ada\\0.png", b"0"), (".\\faces\\bob\\0.png", b"1")])
    assert [file.name for file in list_folder(path, levels=2).files] == ["ada/0.png", "bob/0.png"]
