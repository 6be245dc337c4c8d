"""MATLAB lists: equal to what scipy reads, and never the end of the process."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from midef.core.errors import DataError
from midef.datasets.files.matlab import plain, read_matlab

FIELDS = [("x", object), ("fname", object)]


@pytest.fixture(params=[False, True], ids=["plain", "compressed"])
def listed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Names, numbers of several types and records, as scipy writes them."""
    names = np.empty((5, 1), dtype=object)
    names[:, 0] = ["a/b.jpg", "Zoé/1.jpg", "c", "dd", "eee"]
    records = np.array([[(1, "00001.jpg"), (2000, "00002.jpg")]], dtype=FIELDS)
    content = {
        **{"file_list": names, "labels": np.array([[1], [2], [255]], np.uint8)},
        **{"doubles": np.array([[1.5, -2e300]]), "large": np.array([[2**40]]), "annotations": records},
    }
    savemat(tmp_path / "list.mat", content, do_compression=request.param)
    return tmp_path / "list.mat"


def test_it_reads_what_scipy_reads(listed: Path) -> None:
    expected = loadmat(listed)
    names, labels, doubles, large, records = read_matlab(
        listed, ["file_list", "labels", "doubles", "large", "annotations"]
    )
    assert names == [str(entry[0][0]) for entry in expected["file_list"]]
    assert (labels, doubles, large) == ([1, 2, 255], [1.5, -2e300], [2**40])
    assert [(plain(r["x"]), r["fname"]) for r in records] == [
        (int(r["x"][0][0]), str(r["fname"][0])) for r in expected["annotations"][0]
    ]


def test_damage_is_an_error_with_the_name_of_the_file(listed: Path) -> None:
    whole, rng, refused = listed.read_bytes(), random.Random(0), 0
    for trial in range(400):
        content = bytearray(whole)
        for _ in range(rng.choice((1, 3, 20))):
            content[rng.randrange(len(content))] = rng.randrange(256)
        listed.write_bytes(content[: rng.randrange(len(content))] if trial % 5 == 0 else content)
        try:
            read_matlab(listed, ["file_list", "labels"])
        except DataError as error:
            assert str(error).startswith(f"{listed} cannot be read as a MATLAB file with file_list, labels (")
            refused += 1
    assert refused > 80


def test_other_files_and_missing_variables_are_refused(listed: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no list nothing in it"):
        read_matlab(listed, ["labels", "nothing"])
    with pytest.raises(DataError, match="No such file"):
        read_matlab(tmp_path / "no.mat", ["labels"])
    listed.write_bytes(b"\x89HDF" + bytes(200))  # MATLAB's version 7.3
    with pytest.raises(DataError, match="no MATLAB file of version 5"):
        read_matlab(listed, ["labels"])
