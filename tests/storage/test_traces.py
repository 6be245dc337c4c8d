"""Stored traces come back as they were; none and damaged ones are said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from midef.core.errors import DamagedArtifact
from midef.core.traces import Traces
from midef.storage.traces import NAME, read_traces, write_traces


def traces() -> Traces:
    confidence = np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)
    return Traces(np.array([0, 5, 9]), {"confidence": confidence}, np.array([3, 4]), np.array([-1, -1]))


def test_they_come_back_as_they_were(tmp_path: Path) -> None:
    write_traces(tmp_path, traces())
    found, wrote = read_traces(tmp_path), traces()
    assert found is not None and found.series.keys() == {"confidence"}
    assert found.series["confidence"].dtype == np.float32
    assert np.array_equal(found.series["confidence"], wrote.series["confidence"])
    for name in ("steps", "labels", "restarts"):
        assert np.array_equal(getattr(found, name), getattr(wrote, name))


def test_reconstructions_of_an_older_midef_have_none(tmp_path: Path) -> None:
    assert read_traces(tmp_path) is None


def test_a_cut_file_and_arrays_that_do_not_fit_are_damage(tmp_path: Path) -> None:
    write_traces(tmp_path, traces())
    whole = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedArtifact, match="cannot be read"):
        read_traces(tmp_path)
    write_traces(tmp_path, Traces(np.array([0, 5]), traces().series, np.array([3, 4]), np.array([-1, -1])))
    with pytest.raises(DamagedArtifact, match=r"expected series of shape \(2, 2\), found confidence \(2, 3\)"):
        read_traces(tmp_path)
