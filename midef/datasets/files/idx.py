"""The idx files of MNIST and its siblings: 8-bit grey images in four files, plain or gzipped.

We read them ourselves: torchvision wants unpacked files below a folder it may write to, and prefers `processed/*.pt`
to the files we fingerprint. The tests hold our pixels against torchvision's.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.core.errors import DataError
from midef.core.lazy import torch
from midef.core.position import steps
from midef.datasets.base import Images, Splits
from midef.datasets.files.classes import ClassesDataset
from midef.datasets.files.limits import check_array
from midef.datasets.files.pixels import resize
from midef.datasets.files.places import whereabouts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@dataclass(frozen=True, kw_only=True)
class IdxDataset(ClassesDataset):
    """Ten classes of 28x28 grey images, as RGB. Test images are the report split; of the others 10 % pick checkpoints.

    Args:
        root: the folder that holds `<folder>/raw/` (torchvision's layout), or the files themselves; it is never written
            to.
        classes: which of the ten are used; labels are positions in this list.
        labelled: False for public data: labels are -1, no identities.
        images_per_class: at most so many of each class from the training files and as many from the test files, drawn
            by `seed`; >= 2.
    """

    folder: ClassVar[str]
    test_part: ClassVar[str] = "t10k"
    registered_name: ClassVar[str]

    @override
    def problems(self) -> list[str]:
        problems = []
        for name in FILES:
            try:
                _locate(self._places, name)
            except DataError as error:
                problems.append(str(error))
        if not problems:
            try:
                self.drawn()
            except DataError as error:
                problems += str(error).splitlines()
        return [f"{self.registered_name}: {problem}" for problem in dict.fromkeys(problems)]

    @override
    def fingerprint(self) -> str:
        """sha256 over name, size and crc32 of the four unpacked files; equal for plain and gzipped ones."""
        lines = (f"{name}\0{size}\0{crc:08x}\n" for name, (crc, size) in ((n, _checksum(self._find(n))) for n in FILES))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @override
    def load(self, resolution_px: int) -> Splits:
        if problems := self.problems():
            raise DataError("\n".join(problems))
        drawn = self.drawn()
        parts = {}
        for split, (indices, labels) in steps(drawn.items(), weights=[len(part) for part, _ in drawn.values()]):
            path = self._find(FILES[2] if split == "report" else FILES[0])
            grey = _read_idx(path, dimensions=3)[indices]
            parts[split] = Images(_as_rgb(grey, resolution_px), torch.tensor(labels, dtype=torch.int64))
        return Splits(**parts, class_names=self.names)

    @override
    def file_pixels(self) -> Mapping[str, NDArray[np.uint8]]:
        import numpy as np

        grey = {part: _read_idx(self._find(FILES[i]), dimensions=3) for part, i in (("train", 0), ("report", 2))}
        return {part: np.broadcast_to(pixels[..., None], (*pixels.shape, 3)) for part, pixels in grey.items()}

    @property
    def _places(self) -> tuple[Path, ...]:
        root = whereabouts(self.root)
        return (root / self.folder / "raw", root)

    def _find(self, name: str) -> Path:
        try:
            return _locate(self._places, name)
        except DataError as error:
            raise DataError(f"{self.registered_name}: {error}") from None

    @override
    def file_labels(self) -> Mapping[str, Sequence[int]]:
        held = {"train": FILES[:2], "report": FILES[2:]}
        labels = {part: _read_idx(self._find(names[1]), dimensions=1).tolist() for part, names in held.items()}
        problems = []
        for part, (images, _) in held.items():
            n_images = _header(self._find(images), dimensions=3)[0]
            if n_images != len(labels[part]):
                problems.append(f"{self._find(images)} has {n_images} images but there are {len(labels[part])} labels")
        if problems:
            raise DataError("\n".join(problems))
        return labels


def _locate(places: Sequence[Path], name: str) -> Path:
    """The first of `name` and `name.gz` in these folders.

    Raises:
        DataError: naming each path looked at.
    """
    candidates = [place / (name + suffix) for place in places for suffix in ("", ".gz")]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise DataError(f"no such file {candidates[0]}; also looked for {', '.join(map(str, candidates[1:]))}")


def _checksum(path: Path) -> tuple[int, int]:
    """crc32 and size of the unpacked file; a gzip file tells both in its last eight bytes."""
    if path.suffix == ".gz":
        with path.open("rb") as stream:
            stream.seek(-8, 2)
            end = stream.read()
        return int.from_bytes(end[:4], "little"), int.from_bytes(end[4:], "little")
    crc, size = 0, 0
    with path.open("rb") as stream:
        while part := stream.read(2**20):
            crc, size = zlib.crc32(part, crc), size + len(part)
    return crc, size


def _header(path: Path, *, dimensions: int) -> tuple[int, ...]:
    """The sizes an idx file announces.

    Raises:
        DataError: if it is no idx file of bytes with so many dimensions.
    """
    content = _content(path, 4 + 4 * dimensions)
    if len(content) < 4 + 4 * dimensions or content[:4] != bytes([0, 0, 8, dimensions]):
        raise DataError(f"{path} is no idx file of bytes with {dimensions} dimensions; fetch it again")
    return tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, len(content), 4))


def _read_idx(path: Path, *, dimensions: int) -> NDArray[np.uint8]:
    """The array in an idx file.

    Raises:
        DataError: if the file is damaged, or shorter or longer than it announces.
    """
    import numpy as np

    shape = _header(path, dimensions=dimensions)
    check_array(path, math.prod(shape))
    start = 4 + 4 * dimensions
    content = _content(path, start + math.prod(shape) + 1)  # one more: a longer file is another one
    if len(content) - start != math.prod(shape):
        more = " or more" if len(content) - start > math.prod(shape) else ""
        raise DataError(
            f"{path} has {len(content) - start}{more} bytes of data, {math.prod(shape)} expected; fetch it again"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _content(path: Path, size: int) -> bytes:
    """At most so many bytes of the unpacked file."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            return stream.read(size)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}; fetch it again") from error


def _as_rgb(grey: NDArray[np.uint8], resolution_px: int) -> torch.Tensor:
    """[N, h, w] -> [N, 3, resolution_px, resolution_px]."""
    import numpy as np
    from PIL.Image import fromarray

    pixels = np.empty((len(grey), 3, resolution_px, resolution_px), np.uint8)
    for i, image in enumerate(steps(grey)):
        pixels[i] = resize(fromarray(image), resolution_px)
    return torch.from_numpy(pixels)
