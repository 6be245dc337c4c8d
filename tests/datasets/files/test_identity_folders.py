"""The order of classes and files: that of torchvision's ImageFolder, which published splits are drawn over."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

from torchvision.datasets import ImageFolder

from midef.datasets.files.folders import list_images
from midef.datasets.files.identity_folders import class_folders


def ours(root: Path, above: str) -> list[tuple[str, int]]:
    folders = class_folders(list_images(root, levels=3), above)
    return [(file.name, label) for label, files in enumerate(folders.values()) for file in files]


def torchvisions(root: Path, above: str) -> list[tuple[str, int]]:
    found = ImageFolder(str(root / above)).samples
    return [(Path(path).relative_to(root).as_posix(), label) for path, label in found]


def test_names_that_begin_with_one_another(tmp_path: Path) -> None:
    for name in ("Ann", "Ann-Lee", "Ann Lee", "Ann_Lee", "ann", "Zoé"):
        for file in ("10.jpg", "2.jpg", "a.PNG", "B.jpeg"):
            path = tmp_path / "all" / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "1.jpg").write_bytes(b"x")
    assert ours(tmp_path, "all") == torchvisions(tmp_path, "all")


def test_the_people_of_lfw(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    with zipfile.ZipFile(real_data("lfw/lfw_private.zip")) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
    for name in names:  # names alone decide
        path = tmp_path / "all" / "/".join(name.split("/")[-2:])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "1.jpg").write_bytes(b"x")
    assert len(ours(tmp_path, "all")) == len(names) > 3000
    assert ours(tmp_path, "all") == torchvisions(tmp_path, "all")
