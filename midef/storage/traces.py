"""Stored traces: `traces.npz` beside the reconstructions of one attack; those of an older midef have none."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from midef.core.errors import DamagedArtifact
from midef.core.traces import SERIES, Traces
from midef.storage.arrays import read_arrays

NAME = "traces.npz"
_AXES = ("steps", "labels", "restarts")


def write_traces(folder: Path, traces: Traces) -> None:
    """Write them into the folder of reconstructions that is being made."""
    import numpy as np

    arrays: dict[str, Any] = {name: getattr(traces, name) for name in _AXES}
    arrays |= {name: values.astype(np.float32) for name, values in traces.series.items()}
    np.savez_compressed(folder / NAME, **arrays)


def read_traces(folder: Path) -> Traces | None:
    """Traces in a folder of reconstructions; None where none are stored.

    Raises:
        DamagedArtifact: if the file is damaged, or its arrays do not fit each other.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            held = {name.removesuffix(".npy") for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile) as error:
        raise DamagedArtifact(f"{path} cannot be read: {error}; run the sweep again to build it anew") from error
    arrays = read_arrays(path, [*_AXES, *(name for name in SERIES if name in held)])
    steps, labels, restarts = (arrays.pop(name) for name in _AXES)
    expected = (len(labels), len(steps))
    wrong = [f"{name} {values.shape}" for name, values in arrays.items() if values.shape != expected]
    if wrong or restarts.shape != labels.shape:
        found = ", ".join(wrong) or f"restarts {restarts.shape}"
        raise DamagedArtifact(f"{path}: expected series of shape {expected}, found {found}")
    return Traces(steps, arrays, labels, restarts)
