"""The idx files of MNIST and its siblings: 8-bit grey images in four files, plain or gzipped.

We read them ourselves: torchvision wants unpacked files below a folder it may write to, and prefers `processed/*.pt`
to the files we fingerprint. The tests hold our pixels against torchvision's.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.core.errors import DataError
from midef.core.lazy import torch
from midef.datasets._base import LOCATION, Card, Dataset, Images, Splits
from midef.datasets._classes import Drawn, draw_classes
from midef.datasets._files import whereabouts
from midef.datasets._pixels import resize

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
SELECT_FRACTION = 0.1


@dataclass(frozen=True, kw_only=True)
class IdxDataset(Dataset):
    """Ten classes of 28x28 grey images, as RGB. Test images are the report split; of the others 10 % pick checkpoints.

    root: the folder that holds `<folder>/raw/` (torchvision's layout), or the files themselves; it is never written to.
    classes: which of the ten are used; labels are positions in this list.
    labelled: False for public data: labels are -1, no identities.
    images_per_class: at most so many of each class from the training files and as many from the test files, drawn by
        `seed`; >= 2.
    """

    folder: ClassVar[str]
    words: ClassVar[tuple[str, ...]]
    facts: ClassVar[Card]
    registered_name: ClassVar[str]

    root: str = field(metadata=LOCATION)
    classes: tuple[int, ...] = tuple(range(10))
    labelled: bool = True
    images_per_class: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if len(set(self.classes)) != len(self.classes) or not set(self.classes) <= set(range(10)):
            raise ValueError(f"classes must be different numbers from 0 to 9, got {self.classes}")
        if len(self.classes) < (2 if self.labelled else 1):
            raise ValueError(f"classes must name at least 2, 1 without labels, got {self.classes}")
        if self.images_per_class is not None and self.images_per_class < 2:
            raise ValueError(f"images_per_class must be at least 2 (train, select), got {self.images_per_class}")

    @property
    @override
    def is_labelled(self) -> bool:
        return self.labelled

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
                self._draw()
            except DataError as error:
                problems += str(error).splitlines()
        return [f"{self.registered_name}: {problem}" for problem in problems]

    @override
    def fingerprint(self) -> str:
        """sha256 over name, size and crc32 of the four unpacked files; equal for plain and gzipped ones."""
        lines = (f"{name}\0{size}\0{crc:08x}\n" for name, (crc, size) in ((n, _checksum(self._find(n))) for n in FILES))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @override
    def members(self) -> frozenset[str]:
        """Position of each used image in the files; equal for equal files."""
        content = self.fingerprint()[:16]
        return frozenset(
            f"{content}:{'t10k' if split == 'report' else 'train'}:{i}"
            for split, (indices, _) in self._draw().items()
            for i in indices
        )

    @override
    def n_identities(self) -> int:
        return len(self.classes) if self.labelled else 0

    @override
    def load(self, resolution_px: int) -> Splits:
        if problems := self.problems():
            raise DataError("\n".join(problems))
        drawn = self._draw()
        parts = {}
        for split, (indices, labels) in drawn.items():
            path = self._find(FILES[2] if split == "report" else FILES[0])
            grey = _read_idx(path, dimensions=3)[indices]
            parts[split] = Images(_as_rgb(grey, resolution_px), torch.tensor(labels, dtype=torch.int64))
        names = tuple(self.words[c] for c in self.classes) if self.labelled else ()
        return Splits(**parts, class_names=names)

    @override
    def card(self) -> Card:
        counts = {"identities": self.n_identities(), **{s: len(i) for s, (i, _) in self._draw().items()}}
        facts = self.facts
        return Card(
            title=facts.title,
            licence=facts.licence,
            consent=facts.consent,
            source=facts.source,
            counts=counts,
            fingerprint=self.fingerprint(),
        )

    @property
    def _places(self) -> tuple[Path, ...]:
        root = whereabouts(self.root)
        return (root / self.folder / "raw", root)

    def _find(self, name: str) -> Path:
        try:
            return _locate(self._places, name)
        except DataError as error:
            raise DataError(f"{self.registered_name}: {error}") from None

    def _draw(self) -> Drawn:
        """Positions in the files and labels of each split, from the label files alone."""
        held = {"train": FILES[:2], "report": FILES[2:]}
        labels = {part: _read_idx(self._find(names[1]), dimensions=1).tolist() for part, names in held.items()}
        problems = []
        for part, (images, _) in held.items():
            n_images = _header(self._find(images), dimensions=3)[0]
            if n_images != len(labels[part]):
                problems.append(f"{self._find(images)} has {n_images} images but there are {len(labels[part])} labels")
        if problems:
            raise DataError("\n".join(problems))
        return draw_classes(
            labels,
            classes=self.classes,
            words=self.words,
            labelled=self.labelled,
            images_per_class=self.images_per_class,
            select_fraction=SELECT_FRACTION,
            seed=self.seed,
        )


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
    content = path.read_bytes()
    return zlib.crc32(content), len(content)


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
    content = _content(path)
    start = 4 + 4 * dimensions
    if len(content) - start != math.prod(shape):
        raise DataError(f"{path} has {len(content) - start} bytes of data, {math.prod(shape)} expected; fetch it again")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _content(path: Path, size: int = -1) -> bytes:
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
    for i, image in enumerate(grey):
        pixels[i] = resize(fromarray(image), resolution_px)
    return torch.from_numpy(pixels)
