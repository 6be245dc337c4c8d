"""CIFAR-10 saved as JPEG, written as the binary files that the data set `cifar10` reads.

    python benchmarks/query_time/cifar_from_jpeg.py cifar10_jpg.zip FOLDER

The zip holds `train/CLASS/*.jpg` and `test/CLASS/*.jpg`. Pixels differ from the published ones as far as JPEG changes
them; take the published binaries where you have them. The training batches hold the images in the order of their names,
class by class in turn.
"""

from __future__ import annotations

import argparse
import io
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from midef.datasets.cifar10 import FILES, FOLDER, SIDE_PX, Cifar10

PARTS = {"train": "train", "report": "test"}


def records(source: zipfile.ZipFile, folder: str) -> bytes:
    """Label and planes of every image below `train` or `test`, the classes taking turns.

    Raises:
        ValueError: for an image of another size, or a class without images.
    """
    of_class = []
    for label, word in enumerate(Cifar10.words):
        names = sorted(name for name in source.namelist() if name.startswith(f"{folder}/{word}/") and "." in name)
        if not names:
            raise ValueError(f"no images in {folder}/{word}/ of {source.filename}")
        of_class.append([bytes([label]) + planes(source, name) for name in names])
    return b"".join(record for turn in zip(*of_class, strict=True) for record in turn)


def planes(source: zipfile.ZipFile, name: str) -> bytes:
    """Red, green and blue plane of one image."""
    pixels = np.asarray(Image.open(io.BytesIO(source.read(name))).convert("RGB"))
    if pixels.shape != (SIDE_PX, SIDE_PX, 3):
        raise ValueError(f"{name} is {pixels.shape[1]} x {pixels.shape[0]}, {SIDE_PX} x {SIDE_PX} expected")
    return pixels.transpose(2, 0, 1).tobytes()


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args(arguments)
    out = args.folder / FOLDER
    out.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(args.source) as source:
        for part, files in FILES.items():
            content = records(source, PARTS[part])
            size = len(content) // len(files)
            for i, name in enumerate(files):
                (out / name).write_bytes(content[i * size : (i + 1) * size])
    print(f"written: {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
