"""Small trees of images and idx files, and the real data where this machine has it."""

from __future__ import annotations

import gzip
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from midef.datasets.files import survey
from midef.datasets.files.idx import FILES


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was seen of images is kept in a folder of the test, and nothing is remembered from the test before."""
    monkeypatch.setattr(survey, "_recent", {})
    monkeypatch.setattr(survey, "cache_file", lambda root: tmp_path / "cache" / f"{root.name}.json")


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Finds a file of the real data sets: below $MIDEF_DATA, or beside the repository; skips where it is not."""
    repository = Path(__file__).parents[2]
    folder = Path(os.environ.get("MIDEF_DATA") or repository.parent / "shared" / "data")

    def find(name: str) -> Path:
        if not (folder / name).exists():
            pytest.skip(f"real data {name} is not here; set MIDEF_DATA to the folder that holds it")
        return folder / name

    return find


def save_image(path: Path, seed: int, size: tuple[int, int] = (12, 12), mode: str = "RGB") -> None:
    """A random image; PNG, JPEG or PGM by the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(path)


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Identities ada (10 images), bob (6), cyd (20), dot (1), as <identity>/<number>.png."""
    folder = tmp_path / "faces"
    for k, (name, count) in enumerate({"ada": 10, "bob": 6, "cyd": 20, "dot": 1}.items()):
        for i in range(count):
            save_image(folder / name / f"{i:02d}.png", seed=100 * k + i)
    return folder


@pytest.fixture
def pack(tmp_path: Path) -> Callable[..., Path]:
    """Zips a folder: `pack(folder, name, compression, prefix)`."""

    def zip_folder(
        folder: Path, name: str = "packed.zip", compression: int = zipfile.ZIP_STORED, prefix: str = ""
    ) -> Path:
        with zipfile.ZipFile(tmp_path / name, "w", compression) as archive:
            for path in sorted(folder.rglob("*"), reverse=True):  # another order than the folder's
                if path.is_file():
                    archive.write(path, prefix + path.relative_to(folder).as_posix())
        return tmp_path / name

    return zip_folder


def write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    content = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def idx_root(tmp_path: Path) -> Callable[..., Path]:
    """Writes random 28x28 images in torchvision's layout: 20 training and 5 test images of each class."""

    def write(folder: str, suffix: str = "", counts: Mapping[str, int] | None = None) -> Path:
        root = tmp_path / f"root{suffix}"
        rng = np.random.default_rng(0)
        for part, count in (counts or {"train": 20, "t10k": 5}).items():
            labels = rng.permutation(np.repeat(np.arange(10), count))
            images = rng.integers(0, 256, (len(labels), 28, 28))
            for name in FILES:
                if name.startswith(part):
                    write_idx(root / folder / "raw" / (name + suffix), images if "images" in name else labels)
        return root

    return write


@pytest.fixture(scope="session")
def published_order() -> Callable[[int], list[int]]:
    """The positions 0 to n-1 as the published code shuffles them: the generator and the shuffle written out.

    MT19937 (Matsumoto and Nishimura, 1998), seeded with 42 by their init_genrand; then, from the last position down,
    each is exchanged with one not after it, drawn by masking 32 bits until they are not too large.
    """

    def numbers() -> Iterator[int]:
        state = [42]
        for i in range(1, 624):
            state.append((1812433253 * (state[-1] ^ state[-1] >> 30) + i) & 0xFFFFFFFF)
        while True:
            for i in range(624):
                joined = state[i] & 0x80000000 | state[(i + 1) % 624] & 0x7FFFFFFF
                state[i] = state[(i + 397) % 624] ^ joined >> 1 ^ (0x9908B0DF if joined & 1 else 0)
            for y in state:
                y ^= y >> 11
                y ^= y << 7 & 0x9D2C5680
                y ^= y << 15 & 0xEFC60000
                yield y ^ y >> 18

    def shuffle(n: int) -> list[int]:
        order, draw = list(range(n)), numbers()
        for last in range(n - 1, 0, -1):
            mask = 2 ** last.bit_length() - 1
            while (other := next(draw) & mask) > last:
                pass
            order[last], order[other] = order[other], order[last]
        return order

    return shuffle
