"""Arrays of stored .npz files."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midef.core.errors import DamagedArtifact

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read_arrays(path: Path, names: Sequence[str], *, optional: bool = False) -> dict[str, NDArray[Any]]:
    """Arrays of an .npz file by name; no pickles, and no more memory than the file says that it unpacks to.

    Args:
        optional: what the file does not hold is left out.

    Raises:
        DamagedArtifact: if it is damaged, lacks one, or one announces another size than it has.
    """
    import numpy as np

    try:
        with zipfile.ZipFile(path) as archive:
            if optional:
                held = set(archive.namelist())
                names = [name for name in names if f"{name}.npy" in held]
            for name in names:
                _check_size(archive, f"{name}.npy")
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in names}
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise DamagedArtifact(f"{path} cannot be read: {error}; run the sweep again to build it anew") from error


def _check_size(archive: zipfile.ZipFile, name: str) -> None:
    """Compare what an array's header announces with the bytes that follow it.

    Raises:
        ValueError: if they differ, or the header is none.
    """
    from numpy.lib import format as npy

    with archive.open(name) as stream:
        read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(stream)]
        shape, _, dtype = read_header(stream)
        held = archive.getinfo(name).file_size - stream.tell()
    announced = math.prod(shape) * dtype.itemsize
    if announced != held:
        raise ValueError(f"{name} announces {announced} bytes and has {held}")
