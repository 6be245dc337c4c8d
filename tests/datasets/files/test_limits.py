"""A small file must not fill the memory: sizes are checked before anything is read."""

from __future__ import annotations

import gzip
import re
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from midef.core.errors import DataError
from midef.datasets import DATASETS
from midef.datasets.cifar10 import RECORD, Cifar10
from midef.datasets.files import idx, limits
from midef.datasets.files.arrangement import Arrangement
from midef.datasets.files.folders import ImageFile, list_images, reader
from midef.datasets.files.listed import read_list
from midef.datasets.files.pixels import open_rgb
from midef.datasets.image_folder import ImageFolder

MIB = 2**20
Write = Callable[..., Path]


@contextmanager
def at_most(mib: float) -> Iterator[None]:
    """Fail if more memory than this is taken meanwhile."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < mib * MIB, f"{peak / MIB:.1f} MiB were taken"


@pytest.fixture
def packed(tmp_path: Path) -> Write:
    """Writes a zip that holds `eve/0.png` of so many zeros, packed."""

    def write(size: int, compression: int = zipfile.ZIP_DEFLATED) -> Path:
        path = tmp_path / "faces.zip"
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("eve/0.png", bytes(size))
        return path

    return write


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if a member of a zip is read."""
    monkeypatch.setattr(zipfile.ZipExtFile, "__init__", lambda *_, **__: pytest.fail("a member was read"))


@pytest.mark.usefixtures("unread")
def test_a_member_larger_than_any_image_is_named_unread(packed: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LARGEST_IMAGE_BYTES", 4 * MIB)
    path = packed(8 * MIB)
    assert path.stat().st_size < 10_000
    (problem,) = ImageFolder(path=str(path)).problems()
    assert f"{path} holds files too large for an image, at most 4.0 MiB are read: eve/0.png has 8.0 MiB; tak" in problem


@pytest.mark.usefixtures("unread")
def test_a_member_that_unpacks_to_a_hundred_times_its_size_is_named_unread(packed: Write) -> None:
    path = packed(2 * MIB)
    with pytest.raises(DataError, match=r"eve/0\.png has 2\.0 MiB packed into \d+ bytes; take them out"):
        list_images(path, levels=2)
    assert [file.size for file in list_images(packed(MIB), levels=2)] == [MIB], "an image of one colour is none"


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_whose_unpacking_cannot_be_bounded_is_named_unread(packed: Write, compression: int) -> None:
    with pytest.raises(DataError, match=r"packed in a rare way: eve/0\.png; pack it again with deflate"):
        list_images(packed(1000, compression), levels=2)


def test_a_member_that_is_larger_than_its_archive_says_is_read_no_further(packed: Write) -> None:
    path = packed(32 * MIB)
    content = path.read_bytes().replace(struct.pack("<L", 32 * MIB), struct.pack("<L", 1000))
    path.write_bytes(content)
    (file,) = list_images(path, levels=2)
    assert file.size == 1000
    with at_most(2), reader(path) as read, pytest.raises(zipfile.BadZipFile, match="Bad CRC-32"):
        read(file)


def test_members_of_honest_archives_are_read_whole(packed: Write) -> None:
    with reader(packed(5000)) as read:
        assert read(ImageFile("eve/0.png", "eve/0.png", 5000)) == bytes(5000)


def test_a_file_larger_than_any_image_is_named_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "eve").mkdir()
    with (tmp_path / "eve" / "0.png").open("wb") as stream:
        stream.truncate(2**30)  # takes no room on the disk
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail(f"{self} was read"))
    with pytest.raises(DataError, match=r"at most 256\.0 MiB are read: eve/0\.png has 1\.0 GiB; take them out"):
        list_images(tmp_path, levels=2)


def png(width: int, height: int) -> bytes:
    """A PNG that announces so many pixels and holds none."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))

    header = struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_image_of_too_many_pixels_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.core, "fill", lambda *_: pytest.fail("room was made for the pixels"))
    with at_most(2), pytest.raises(ValueError, match=r"10000x9000 pixels, at most 89,478,485 are read; resize it"):
        open_rgb(png(10_000, 9_000))
    with at_most(2), pytest.raises(Image.DecompressionBombError, match="400000000 pixels"):
        open_rgb(png(20_000, 20_000))


def test_an_idx_file_that_announces_too_much_is_read_no_further(
    idx_root: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = idx_root("MNIST")
    path = root / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(bytes([0, 0, 8, 3]) + struct.pack(">LLL", 200, 2**12, 2**12) + bytes(100))
    content, sizes = idx._content, []
    monkeypatch.setattr(idx, "_content", lambda at, size: sizes.append(size) or content(at, size))
    with pytest.raises(DataError, match=re.escape(f"{path} announces 3.1 GiB of data, at most 256.0 MiB are read")):
        DATASETS.make("mnist", {"root": str(root)}).load(28)
    assert max(sizes) < 1000


def test_an_idx_file_that_is_longer_than_it_announces_is_read_no_further(idx_root: Write) -> None:
    root = idx_root("MNIST", ".gz")
    path = root / "MNIST" / "raw" / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 3]) + struct.pack(">LLL", 50, 28, 28) + bytes(32 * MIB), 1))
    with at_most(2), pytest.raises(DataError, match="has 39201 or more bytes of data, 39200 expected"):
        DATASETS.make("mnist", {"root": str(root)}).load(28)


def test_a_batch_of_cifar_with_more_than_its_ten_thousand_images_is_refused(tmp_path: Path) -> None:
    for name in [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]:
        with (tmp_path / name).open("wb") as stream:
            stream.truncate(RECORD * (2_000_000 if name == "data_batch_3.bin" else 10))
    (problem,) = Cifar10(root=str(tmp_path)).problems()
    assert problem.startswith(f"cifar10: {tmp_path / 'data_batch_3.bin'} has {2_000_000 * RECORD} bytes, ")
    assert problem.endswith("at most 30730000; fetch it again")


@pytest.mark.parametrize(
    ("place", "why"), [("/dev/zero", "it is no file"), ("long.txt", "it has 65.0 MiB, at most 64.0 MiB are read")]
)
def test_a_list_without_end_is_not_read(place: str, why: str, tmp_path: Path) -> None:
    with (tmp_path / "long.txt").open("wb") as stream:
        stream.truncate(65 * MIB)
    arrangement = Arrangement()
    assert read_list(str(tmp_path / place), "train_list", arrangement) == []
    assert f"cannot be read: {why}; give a text file" in arrangement.problems[0]
