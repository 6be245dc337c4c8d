"""Weight files as people save them, and whether weights are numbers."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midef.core.errors import DataError, few
from midef.core.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

TABLES = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights")
"""Names under which training scripts keep the network's tensors, beside an epoch or an optimizer."""
WRAPPERS = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.")
"""Beginnings that a wrapper puts before every name: DataParallel, torch.compile, and networks that hold this one."""
_DEEPEST = 3
_SAVE = "save the network's tensors alone, torch.save(network.state_dict(), path)"


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or torch file by name; nothing in the file is executed.

    A table inside another one (`TABLES`) is found, and a beginning that all names share (`WRAPPERS`) is dropped.

    Raises:
        DataError: if the file cannot be read or holds no such table; one line that says what to do.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            refuse_packed(path)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's text advises to execute the file
        reason = "it holds Python objects beside tensors, or is damaged"
        raise DataError(f"{path} cannot be read as weights: {reason}; fetch it again, or {_SAVE}") from error
    except (OSError, EOFError, RuntimeError, KeyError, ValueError, SafetensorError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{path} cannot be read as weights: {reason}; fetch it again") from error
    table = _table(content, path)
    return unwrapped({str(name): tensor.detach() for name, tensor in table.items()})


def read_stored(path: Path) -> dict[str, Tensor]:
    """The tensors of an artifact's safetensors file.

    Raises:
        DataError: if one is not finite: it was stored before the end of a training was checked.
    """
    from safetensors.torch import load_file

    tensors: dict[str, Tensor] = load_file(path)
    if broken := not_finite(tensors):
        raise DataError(f"{path}: {said_not_finite(broken)}; delete the folder {path.parent} and run again")
    return tensors


def unwrapped(table: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The table without the beginnings that a wrapper put before every name.

    >>> unwrapped({"module.model.stem.weight": 1, "module.model.head.bias": 2})
    {'stem.weight': 1, 'head.bias': 2}
    """
    names = list(table)
    while begin := next((b for b in WRAPPERS if names and all(name.startswith(b) for name in names)), ""):
        names = [name.removeprefix(begin) for name in names]
    return dict(zip(names, table.values(), strict=True))


COUNTER = "num_batches_tracked"
"""Ending of a number that older files lack; only a batch norm without momentum reads it."""


def unfit(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """Why tensors are not those that a network expects: a few lines each of what lacks, differs, and is left over.

    >>> a, b = torch.zeros(2), torch.zeros(3, 1)
    >>> unfit({"x": a, "z": a}, {"x": b, "y": b, "y.num_batches_tracked": a})
    ['misses y', 'has x with 2, 3x1 is expected', 'has z, which this network has not']
    """
    missing = [f"misses {name}" for name in expected if name not in tensors and not name.endswith(COUNTER)]
    others = [
        f"has {name} with {sides(tensor)}, {sides(expected[name])} is expected"
        for name, tensor in tensors.items()
        if name in expected and tensor.shape != expected[name].shape
    ]
    unknown = [f"has {name}, which this network has not" for name in tensors if name not in expected]
    return [line for lines in (missing, others, unknown) for line in first(lines)]


def first(lines: list[str], most: int = 3) -> list[str]:
    """The first lines and, where there are more, how many.

    >>> first(["a", "b", "c"], 2)
    ['a', 'b', 'and 1 more of this kind']
    """
    return lines if len(lines) <= most else [*lines[:most], f"and {len(lines) - most} more of this kind"]


def sides(tensor: Tensor) -> str:
    """The shape of a tensor in words.

    >>> sides(torch.zeros(3, 1)), sides(torch.tensor(0.0))
    ('3x1', 'one number')
    """
    return "x".join(map(str, tensor.shape)) or "one number"


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors that hold an infinite value or none that is a number."""
    return [
        name for name, tensor in tensors.items() if tensor.is_floating_point() and not bool(tensor.isfinite().all())
    ]


def said_not_finite(names: list[str]) -> str:
    """A clause about these tensors.

    >>> said_not_finite(["stem.0.weight"]), said_not_finite(["a", "b", "c"])
    ('stem.0.weight holds numbers that are not finite', 'a holds numbers that are not finite, so do b, c')
    """
    others = f", so do {few(names[1:], 3)}" if len(names) > 1 else ""
    return f"{names[0]} holds numbers that are not finite{others}"


def _table(content: Any, path: Path, depth: int = 1) -> Mapping[Any, Tensor]:
    if isinstance(content, Mapping):
        if all(isinstance(value, torch.Tensor) for value in content.values()):
            return content
        inside = [name for name in TABLES if isinstance(content.get(name), Mapping)]
        if len(inside) > 1:
            raise DataError(f"{path} holds several tables of tensors, {', '.join(inside)}; {_SAVE}")
        if inside and depth < _DEEPEST:
            return _table(content[inside[0]], path, depth + 1)
        held = few([f"{name} ({type(value).__name__})" for name, value in content.items()])
        raise DataError(f"{path} holds no table of tensors, got {type(content).__name__} of {held}; {_SAVE}")
    raise DataError(f"{path} holds no table of tensors, got {type(content).__name__}; {_SAVE}")


def refuse_packed(path: Path) -> None:
    """Refuse a torch file that unpacks to more than it is: torch packs nothing.

    Raises:
        ValueError: naming the largest member.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda info: info.file_size, default=None)
    if largest is not None and largest.file_size > path.stat().st_size:
        raise ValueError(f"{largest.filename} unpacks to {largest.file_size} bytes, more than the file is")
