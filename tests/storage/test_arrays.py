from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from midef.core.errors import DamagedArtifact
from midef.storage.arrays import read_arrays


def test_arrays_come_back_by_name(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {"images": np.arange(24, dtype=np.uint8).reshape(2, 3, 4), "labels": np.array([1, 0])}
    np.savez_compressed(tmp_path / "a.npz", **arrays, more=np.zeros(3))
    found = read_arrays(tmp_path / "a.npz", ["labels", "images"])
    assert list(found) == ["labels", "images"]
    assert all(np.array_equal(found[name], arrays[name]) and found[name].dtype == arrays[name].dtype for name in found)


def announcing(path: Path, shape: tuple[int, ...]) -> None:
    """An npz whose only array announces this shape and holds ten bytes."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", header.getvalue() + bytes(10))


@pytest.mark.parametrize("shape", [(2**30,), (2**20, 2**20, 2**10), (3, 3)])
def test_an_array_that_announces_another_size_takes_no_memory(shape: tuple[int, ...], tmp_path: Path) -> None:
    announcing(tmp_path / "a.npz", shape)
    tracemalloc.start()
    with pytest.raises(DamagedArtifact, match=r"a\.npz cannot be read: images\.npy announces \d+ bytes and has 10"):
        read_arrays(tmp_path / "a.npz", ["images"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**21


@pytest.mark.parametrize("damage", ["cut short", "no zip", "lacks it", "pickle"])
def test_damage_is_told_in_one_way(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, images=np.zeros(100, object if damage == "pickle" else float))
    if damage == "cut short":
        path.write_bytes(path.read_bytes()[:200])
    elif damage == "no zip":
        path.write_bytes(b"nothing")
    with pytest.raises(DamagedArtifact, match="run the sweep again to build it anew"):
        read_arrays(path, ["labels" if damage == "lacks it" else "images"])
