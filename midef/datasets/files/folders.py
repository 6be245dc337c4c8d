"""Image files below a folder or inside a zip archive, listed and read alike. Nothing is ever extracted or written."""

from __future__ import annotations

import hashlib
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from midef.core.errors import DataError, few
from midef.datasets.files.left_out import LeftOut, counted, is_system_folder, printable
from midef.datasets.files.limits import (
    MOST_AGAIN,
    MOST_ENTRIES,
    MOST_FOLDERS,
    double_names,
    packing_problems,
    size_problems,
    unpacked,
)

SUFFIXES = (".jpg", ".jpeg", ".png", ".pgm", ".ppm", ".webp", ".bmp")

NAMED = 10  # so many names in an error

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


class Listing(NamedTuple):
    """What a folder or zip holds.

    Args:
        files: image files that are read, sorted by name.
        left_out: what is not read.
    """

    files: list[ImageFile]
    left_out: LeftOut


def list_folder(path: Path, *, levels: int) -> Listing:
    """The image files of a folder or zip, and what else it holds.

    A zip is opened once as long as it does not change: it can have 200,000 members, and is listed for every question
    about a data set. Hidden files, folders of the operating system and files that are no images by their suffix are
    left out. Folders that hold everything are dropped from the names as long as `levels` parts remain (2: identity and
    file; 1: file).

    Raises:
        DataError: if `path` is neither a folder nor a readable zip, a folder in it cannot be read, a name in it is
            not UTF-8, a member lies outside the archive, or a file is larger than any image.
    """
    if path.is_dir():
        left_out = LeftOut()
        return _without_common_folders(_walk(path, left_out), left_out, levels)
    if not path.is_file():
        raise DataError(f"no such file or folder {path}; give a folder of images or a .zip of one")
    status = path.stat()
    return _list_archive(path, levels, (status.st_size, status.st_mtime_ns, status.st_ctime_ns))


@lru_cache(maxsize=4)
def _list_archive(path: Path, levels: int, times: tuple[int, ...]) -> Listing:
    """As `list_folder`; another size or other times of change are another archive."""
    left_out = LeftOut()
    return _without_common_folders(_members(path, left_out), left_out, levels)


def _without_common_folders(files: list[ImageFile], left_out: LeftOut, levels: int) -> Listing:
    dropped = _common_folders([f.name.split("/") for f in files], levels)
    if dropped:
        top = "/".join(files[0].name.split("/")[:dropped]) + "/"
        files = [f._replace(name=f.name.removeprefix(top)) for f in files]
        left_out.unread = [name.removeprefix(top) for name in left_out.unread]
    return Listing(sorted(files, key=lambda f: f.name), left_out)


def list_images(path: Path, *, levels: int) -> list[ImageFile]:
    """The image files of a folder or zip, sorted by name, as in `list_folder`.

    Raises:
        DataError: as `list_folder`.
    """
    return list_folder(path, levels=levels).files


@contextmanager
def reader(path: Path) -> Iterator[Reader]:
    """Make a function that returns the bytes of an `ImageFile` of this folder or zip."""
    if path.is_dir():
        yield lambda file: (path / file.place).read_bytes()
    else:
        with zipfile.ZipFile(path) as archive:
            yield lambda file: unpacked(archive, file.place)


def with_checksums(path: Path, files: Sequence[ImageFile]) -> list[ImageFile]:
    """The same files, each with its crc32; reads those for which no archive directory tells it.

    Raises:
        DataError: naming the files that cannot be read.
    """
    if all(f.crc32 is not None for f in files):
        return list(files)
    summed, failures = [], []
    with reader(path) as read:
        for f in files:
            try:
                summed.append(f if f.crc32 is not None else f._replace(crc32=zlib.crc32(read(f))))
            except OSError as error:
                failures.append(f"{f.name}: {error.strerror or error}")
    if failures:
        raise DataError(unreadable(failures, len(files), path))
    return summed


def unreadable(failures: Sequence[str], total: int, path: Path) -> str:
    """A problem that names images which cannot be read, the first ten of them.

    Args:
        failures: a line for each image, `name: reason`.
        total: images that were to be read.
        path: folder or archive that holds them.
    """
    kind = "archive" if path.is_file() else "folder"
    cure = f"replace them or take them out of the {kind} {path}"
    failures = sorted(failures)
    if len(failures) == 1:
        return f"1 of {total} images cannot be read: {failures[0]}; {cure}"
    lines = "".join(f"\n  {failure}" for failure in failures[:NAMED])
    more = f"\n  and {len(failures) - NAMED} more" if len(failures) > NAMED else ""
    return f"{len(failures)} of {total} images cannot be read; {cure}:{lines}{more}"


def content_hash(files: Sequence[ImageFile], lists: Mapping[str, bytes]) -> str:
    """sha256 over name, size and crc32 of files that have their checksums, and over the split lists."""
    total = hashlib.sha256()
    for f in sorted(files, key=lambda f: f.name):
        total.update(f"{f.name}\0{f.size}\0{f.crc32:08x}\n".encode())
    for role, content in sorted(lists.items()):
        total.update(f"{role}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return total.hexdigest()


class _Visit(NamedTuple):
    """A folder to be walked: its path, the start of the names in it, the real folders above it."""

    here: Path
    prefix: str
    above: frozenset[Path]


def _walk(folder: Path, left_out: LeftOut) -> list[ImageFile]:
    """Every image file below a folder; follows links to folders, but never in a circle.

    A folder to which several links lead is listed under each of them, so that images under two identities are found.

    Raises:
        DataError: naming all folders that cannot be read, and all names that are not UTF-8; or that there is no end.
    """
    files: list[ImageFile] = []
    blocked: list[str] = []
    todo = [_Visit(folder, "", frozenset())]
    visited: set[Path] = set()
    folders = entries = again = 0
    while todo:
        visit = todo.pop()
        name = visit.prefix.rstrip("/") or str(folder)
        try:
            real = visit.here.resolve()
            if real in visit.above:
                continue
            if real == real.parent and visit.prefix:
                raise DataError(
                    f"the link {printable(name)} in {folder} leads to {real}, which holds all files; take it out"
                )
            folders, again = folders + 1, again + (real in visited and visit.here.is_symlink())
            visited.add(real)
            if folders > MOST_FOLDERS or again > MOST_AGAIN:
                raise DataError(_endless(folder, name, again))
            for entry in visit.here.iterdir():
                entries += 1
                if entries > MOST_ENTRIES:
                    raise DataError(_endless(folder, name, again))
                try:
                    if _is_to_be_walked(entry, visit.prefix + entry.name, files, left_out):
                        todo.append(_Visit(entry, f"{visit.prefix}{entry.name}/", visit.above | {real}))
                except OSError as error:
                    blocked.append(_blocked(visit.prefix + entry.name, error))
        except OSError as error:
            blocked.append(_blocked(name, error))
    problems = _not_utf8([f.name for f in files], folder)
    problems += size_problems([(f.name, f.size) for f in files], folder)
    if blocked:
        problems.append(f"parts of {folder} cannot be read: {few(sorted(blocked))}; grant access or take them out")
    if problems:
        raise DataError("\n".join(problems))
    return files


def _is_to_be_walked(entry: Path, name: str, files: list[ImageFile], left_out: LeftOut) -> bool:
    """True for a folder that may hold images; everything else goes where it belongs."""
    if entry.is_dir():
        if not is_system_folder(entry.name):
            return True
        left_out.system.append(name)
    elif not name.lower().endswith(SUFFIXES):
        left_out.add_unread(name)
    elif not entry.is_file():
        left_out.no_files.append(name)
    elif entry.name.startswith("."):
        left_out.hidden.append(name)
    else:
        files.append(ImageFile(name, name, entry.stat().st_size))
    return False


def _blocked(name: str, error: OSError) -> str:
    """A line for what cannot be read; an error that is not of the system is none of the folder's."""
    if error.errno is None:
        raise error
    return f"{printable(name)}: {error.strerror}"


def _endless(folder: Path, name: str, again: int) -> str:
    """A problem with a folder that is too large for a data set, or that links make so."""
    if again > MOST_AGAIN:
        why = f"links in {folder} lead more than {MOST_AGAIN:,} times to folders that are in it already"
        return f"{why}, for example {printable(name)}; take these links out"
    most = f"more than {MOST_FOLDERS:,} folders or {MOST_ENTRIES:,} files"
    return f"{folder} has {most} in it, for example {printable(name)}; name a folder of images, without links out of it"


def _not_utf8(names: Sequence[str], folder: Path) -> list[str]:
    """A problem that names files whose path is not UTF-8: seeds, tables and pages are made from these names."""
    wrong = sorted(name for name in names if not name.isascii() and any("\udc80" <= c <= "\udcff" for c in name))
    if not wrong:
        return []
    places = dict.fromkeys(printable(name.rpartition("/")[0] or name) for name in wrong)
    return [
        f"{counted(wrong, 'image')} in {folder} with a path that is not UTF-8: {few(list(places))}; rename these "
        "folders or files (`convmv -r -f latin1 -t utf8` does it for names of older systems)"
    ]


def _members(path: Path, left_out: LeftOut) -> list[ImageFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [i for i in archive.infolist() if not i.is_dir()]
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path} is not a readable zip ({error}); give a folder of images or a .zip of one") from error
    infos = {i.filename: i for i in members}
    names = {}
    for place in infos:
        name = place.replace("\\", "/").removeprefix("./")
        *folders, last = name.split("/")
        system = [i for i, folder in enumerate(folders) if folder not in ("", ".", "..") and is_system_folder(folder)]
        if system:
            left_out.system.append("/".join(folders[: system[0] + 1]))
        elif not last.lower().endswith(SUFFIXES):
            left_out.add_unread(name)
        elif last.startswith("."):
            left_out.hidden.append(name)
        else:
            names[place] = name
    left_out.system = list(dict.fromkeys(left_out.system))
    outside = sorted(p for p, n in names.items() if n[:1] == "/" or n[1:2] == ":" or ".." in n.split("/"))
    if outside:
        raise DataError(f"{path} has members outside itself ({few(outside)}); pack it again with relative paths")
    problems = packing_problems([infos[place] for place in names], path)
    problems += double_names([info for info in members if info.filename in names], path)
    if problems:
        raise DataError("\n".join(problems))
    return [ImageFile(n, p, infos[p].file_size, infos[p].CRC) for p, n in names.items()]


def _common_folders(parts: Sequence[list[str]], levels: int) -> int:
    """How many leading folders all files share while each keeps `levels` parts."""
    shared = 0
    while parts and all(len(p) - shared > levels for p in parts) and len({p[shared] for p in parts}) == 1:
        shared += 1
    return shared


def same_name(name: str) -> str:
    """A file name in the one form of Unicode in which names are compared: macOS writes accents as letters of their own.

    >>> same_name("Jose\u0301") == same_name("Jos\u00e9")
    True
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)
