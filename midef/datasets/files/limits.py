"""Sizes up to which files are read, checked before they are: an archive of a megabyte can unpack to fill the memory."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

from midef.core.errors import DataError, few
from midef.datasets.files.left_out import counted, printable

LARGEST_IMAGE_PX = 89_478_485
"""Pillow's own limit, beyond which it suspects an attack: 256 MiB as RGB. Cameras stay below 65 million."""
LARGEST_IMAGE_BYTES = 2**28
"""256 MiB, the largest image stored without compression (BMP, PPM)."""
LARGEST_RATIO = 100
"""Unpacked to packed bytes of an archive's member. Images are compressed already (1 to 3); drawings reach 50."""
SMALL_BYTES = 2**20
"""Members up to 1 MiB may be of one colour, which packs a thousandfold."""
LARGEST_ARRAY_BYTES = 2**28
"""256 MiB of an idx file: MNIST and its siblings have 45 MiB."""
LARGEST_LIST_BYTES = 2**26
"""64 MiB of a text file of names: CelebA's 202,599 lines are 3 MiB."""
MOST_FOLDERS, MOST_ENTRIES = 1_000_000, 20_000_000
"""Folders and files that are looked through for images: Glint360K has 360,232 folders and 17 million files."""
MOST_AGAIN = 1_000
"""Links to folders that are in the set already: nine folders with a link to each other make 986,409 paths."""
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Ways a member may be packed: of the others zipfile cannot bound what it unpacks at once."""


def in_words(size: int) -> str:
    """A size for people.

    >>> in_words(300), in_words(5 * 2**20), in_words(2**30)
    ('300 bytes', '5.0 MiB', '1.0 GiB')
    """
    if size < 2**20:
        return f"{size} bytes"
    return f"{size / 2**20:.1f} MiB" if size < 2**30 else f"{size / 2**30:.1f} GiB"


def size_problems(sizes: Sequence[tuple[str, int]], where: Path) -> list[str]:
    """A problem that names files which are too large for an image; nothing of them is read.

    Args:
        sizes: name and size in bytes (unpacked) of each file.
    """
    large = [f"{name} has {in_words(size)}" for name, size in sizes if size > LARGEST_IMAGE_BYTES]
    if not large:
        return []
    limit = in_words(LARGEST_IMAGE_BYTES)
    return [f"{where} holds files too large for an image, at most {limit} are read: {few(large)}; take them out"]


def packing_problems(members: Sequence[zipfile.ZipInfo], where: Path) -> list[str]:
    """Problems with members of a zip that are not safe to unpack, told from its directory."""
    problems = size_problems([(info.filename, info.file_size) for info in members], where)
    dense = [
        f"{info.filename} has {in_words(info.file_size)} packed into {in_words(info.compress_size)}"
        for info in members
        if SMALL_BYTES < info.file_size <= LARGEST_IMAGE_BYTES
        and info.file_size > LARGEST_RATIO * max(1, info.compress_size)
    ]
    if dense:
        limit = f"more than {LARGEST_RATIO} times as large as their packed bytes"
        problems.append(f"{where} holds members that unpack to {limit}: {few(dense)}; take them out")
    strange = [info.filename for info in members if info.compress_type not in PACKINGS]
    if strange:
        problems.append(f"{where} holds members packed in a rare way: {few(strange)}; pack it again with deflate")
    return problems


def double_names(members: Sequence[zipfile.ZipInfo], where: Path) -> list[str]:
    """A problem where two members unpack to one file: one name in two spellings, or once more with other content."""
    first: dict[str, zipfile.ZipInfo] = {}
    double = []
    for info in members:
        parts = info.filename.replace("\\", "/").split("/")
        other = first.setdefault("/".join(part for part in parts if part not in ("", ".")), info)
        if other.filename != info.filename:
            double.append(f"{printable(other.filename)} and {printable(info.filename)}")
        elif (other.CRC, other.file_size) != (info.CRC, info.file_size):
            double.append(f"{printable(info.filename)} twice with other content")
    if not double:
        return []
    return [
        f"{where} holds {counted(double, 'member')} that would unpack onto another one: {few(double)}; unpack it, "
        "keep the right ones and pack it again"
    ]


def unpacked(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member's bytes, never more than the archive's directory announces, whatever it unpacks to.

    Raises:
        zipfile.BadZipFile: if it is damaged or holds something else than announced.
    """
    with archive.open(name) as stream:
        return stream.read(archive.getinfo(name).file_size)


def text_of(path: Path) -> bytes:
    """The content of a text file of names.

    Raises:
        OSError: if it cannot be read, is no regular file, or is too large for a list.
    """
    if path.exists() and not path.is_file():
        raise OSError("it is no file")
    if path.exists() and (size := path.stat().st_size) > LARGEST_LIST_BYTES:
        raise OSError(f"it has {in_words(size)}, at most {in_words(LARGEST_LIST_BYTES)} are read")
    return path.read_bytes()


def check_pixels(width: int, height: int) -> None:
    """Check an image's size, known from its header, before its pixels are decoded.

    Raises:
        ValueError: if it has too many.
    """
    if width * height > LARGEST_IMAGE_PX:
        raise ValueError(f"{width}x{height} pixels, at most {LARGEST_IMAGE_PX:,} are read; resize it or take it out")


def check_array(path: Path, announced: int) -> None:
    """Check how many bytes the header of an array file announces, before they are read.

    Raises:
        DataError: if they are too many.
    """
    if announced > LARGEST_ARRAY_BYTES:
        limit = in_words(LARGEST_ARRAY_BYTES)
        raise DataError(f"{path} announces {in_words(announced)} of data, at most {limit} are read; fetch it again")
