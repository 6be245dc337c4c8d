"""Image files below a folder or inside a zip archive, listed and read alike. Nothing is ever extracted or written."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from midef.core.errors import DataError
from midef.core.errors import few as few

SUFFIXES = (".jpg", ".jpeg", ".png", ".pgm", ".ppm", ".webp", ".bmp")

Reader = Callable[["ImageFile"], bytes]


class ImageFile(NamedTuple):
    """One image file.

    Args:
        name: path relative to the set, `/` between parts, without a top folder that holds everything.
        place: where `reader` finds it.
        crc32: None where only reading the file can tell (plain folders).
    """

    name: str
    place: str
    size: int
    crc32: int | None = None


def whereabouts(path: str) -> Path:
    """Absolute path of a path in a specification; relative paths start at the working directory."""
    return Path(path).expanduser().absolute()


def list_images(path: Path, *, levels: int) -> list[ImageFile]:
    """The image files of a folder or zip, sorted by name.

    Hidden files, `__MACOSX` and files that are no images by their suffix are left out. Folders that hold everything
    are dropped from the names as long as `levels` parts remain (2: identity and file; 1: file).

    Raises:
        DataError: if `path` is neither a folder nor a readable zip, or a member lies outside the archive.
    """
    if path.is_dir():
        files = [ImageFile(place, place, size) for place, size in _walk(path, "", ())]
    elif path.is_file():
        files = _members(path)
    else:
        raise DataError(f"no such file or folder {path}; give a folder of images or a .zip of one")
    dropped = _common_folders([f.name.split("/") for f in files], levels)
    if dropped:
        files = [ImageFile(f.name.split("/", dropped)[-1], f.place, f.size, f.crc32) for f in files]
    return sorted(files, key=lambda f: f.name)


@contextmanager
def reader(path: Path) -> Iterator[Reader]:
    """Make a function that returns the bytes of an `ImageFile` of this folder or zip."""
    if path.is_dir():
        yield lambda file: (path / file.place).read_bytes()
    else:
        with zipfile.ZipFile(path) as archive:
            yield lambda file: archive.read(file.place)


def with_checksums(path: Path, files: Sequence[ImageFile]) -> list[ImageFile]:
    """The same files, each with its crc32; reads those for which no archive directory tells it."""
    if all(f.crc32 is not None for f in files):
        return list(files)
    with reader(path) as read:
        return [f if f.crc32 is not None else ImageFile(f.name, f.place, f.size, zlib.crc32(read(f))) for f in files]


def file_ids(files: Sequence[ImageFile]) -> frozenset[str]:
    """`name:size`, folders left out."""
    return frozenset(f"{file.name.rpartition('/')[2]}:{file.size}" for file in files)


def content_hash(files: Sequence[ImageFile], lists: Mapping[str, bytes]) -> str:
    """sha256 over name, size and crc32 of files that have their checksums, and over the split lists."""
    total = hashlib.sha256()
    for f in sorted(files, key=lambda f: f.name):
        total.update(f"{f.name}\0{f.size}\0{f.crc32:08x}\n".encode())
    for role, content in sorted(lists.items()):
        total.update(f"{role}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return total.hexdigest()


def _is_image(name: str) -> bool:
    if not name.lower().endswith(SUFFIXES):
        return False
    return not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/") if part not in (".", ".."))


def _walk(folder: Path, prefix: str, above: tuple[Path, ...]) -> Iterator[tuple[str, int]]:
    """Relative path and size of every image file; follows links to folders, but never in a circle."""
    here = folder.resolve()
    if here in above:
        return
    for entry in folder.iterdir():
        name = prefix + entry.name
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            continue
        if entry.is_dir():
            yield from _walk(entry, f"{name}/", (*above, here))
        elif _is_image(name) and entry.is_file():
            yield name, entry.stat().st_size


def _members(path: Path) -> list[ImageFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = {i.filename: i for i in archive.infolist() if not i.is_dir()}  # of equal names the last counts
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path} is not a readable zip ({error}); give a folder of images or a .zip of one") from error
    names = {place: name for place in infos if _is_image(name := place.replace("\\", "/").removeprefix("./"))}
    outside = sorted(p for p, n in names.items() if n[:1] == "/" or n[1:2] == ":" or ".." in n.split("/"))
    if outside:
        raise DataError(f"{path} has members outside itself ({few(outside)}); pack it again with relative paths")
    return [ImageFile(n, p, infos[p].file_size, infos[p].CRC) for p, n in names.items()]


def _common_folders(parts: Sequence[list[str]], levels: int) -> int:
    """How many leading folders all files share while each keeps `levels` parts."""
    shared = 0
    while parts and all(len(p) - shared > levels for p in parts) and len({p[shared] for p in parts}) == 1:
        shared += 1
    return shared
