"""Reads NVIDIA's pickles of networks without running anything that is in them.

A pickle names functions that are called while it is read, and NVIDIA's hold the source of their classes, which the
usual reader executes. Here a handful of names is known, each to a stand-in that keeps tensors and plain values; any
other name is refused before it is looked up.

Source: github NVlabs/stylegan2-ada-pytorch @d72cc7d, torch_utils/persistence.py, for what a pickled network holds.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from typing_extensions import override

from midef.core.errors import DataError
from midef.core.lazy import torch

_DEEPEST = 12


@dataclass(frozen=True)
class Module:
    """What is kept of a pickled network or layer: its class's name, and its attributes."""

    class_name: str
    state: Mapping[str, Any] = field(default_factory=dict)

    def child(self, *path: str) -> Module | None:
        """A layer inside, by names; None where there is none."""
        here: Module = self
        for name in path:
            inside = _mapping(here.state.get("_modules"))
            if not isinstance(inside.get(name), Module):
                return None
            here = inside[name]
        return here

    def tensors(self) -> dict[str, Any]:
        """Parameters and buffers of it and of all layers inside, by dotted name.

        Raises:
            DataError: if a layer stands in several places, or in itself.
        """
        return dict(self._walk("", 0, set()))

    def _walk(self, begin: str, depth: int, met: set[int]) -> Iterator[tuple[str, Any]]:
        if id(self) in met:
            raise DataError("a layer stands in several places; this is no network")
        if depth > _DEEPEST:
            raise DataError("layers lie deeper in each other than in any network")
        met.add(id(self))
        for kind in ("_parameters", "_buffers"):
            for name, value in _mapping(self.state.get(kind)).items():
                if isinstance(value, torch.Tensor):
                    yield f"{begin}{name}", value
        for name, value in _mapping(self.state.get("_modules")).items():
            if isinstance(value, Module):
                yield from value._walk(f"{begin}{name}.", depth + 1, met)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


class _Known:
    """A function that a pickle may name. It has no attributes a pickle could set."""

    __slots__ = ("_does",)
    _does: Callable[..., Any]

    def __init__(self, does: Callable[..., Any]) -> None:
        object.__setattr__(self, "_does", does)

    @override
    def __setattr__(self, name: str, value: object) -> None:
        raise pickle.UnpicklingError("it sets attributes of functions")

    def __call__(self, *args: Any) -> Any:
        return self._does(*args)


class _Ignored:
    """In place of a value nobody needs, such as a NumPy number; whatever it is given is dropped."""

    __slots__ = ()

    def __init__(self, *args: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _network(meta: Any) -> Module:
    """In place of the hook that would execute the source held in `meta`."""
    meta = _mapping(meta)
    return Module(str(meta.get("class_name", "")), dict(_mapping(meta.get("state"))))


def _storage(content: Any) -> Any:
    if not isinstance(content, bytes | bytearray):  # bytes(n) would take n bytes of memory
        raise pickle.UnpicklingError(f"bytes of a storage are expected, it holds {type(content).__name__}")
    loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if not isinstance(loaded, torch.storage.TypedStorage):
        raise pickle.UnpicklingError(f"a storage of tensors is expected, it holds {type(loaded).__name__}")
    return loaded


def _tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Any:
    """A tensor of a storage, a copy of its own; the storage must hold all of it."""
    if not isinstance(storage, torch.storage.TypedStorage):
        raise pickle.UnpicklingError(f"a tensor of a storage is expected, it is of {type(storage).__name__}")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    count = storage._untyped_storage.nbytes() // storage.dtype.itemsize
    if min((offset, *size, *stride)) < 0 or prod(size) > count or (0 not in size and last >= count):
        raise pickle.UnpicklingError(f"a tensor {list(size)} is larger than its storage of {count} numbers")
    whole = torch.tensor([], dtype=storage.dtype).set_(storage._untyped_storage)
    return whole.as_strided(tuple(size), tuple(stride), offset).clone()


def _parameter(data: Any, *_: Any) -> Any:
    return data


_NUMPY = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
_KNOWN: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("dnnlib.util", "EasyDict"): dict,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _Known(_network),
    ("torch._utils", "_rebuild_tensor"): _Known(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Known(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Known(_parameter),
    ("torch.storage", "_load_from_bytes"): _Known(_storage),
    **{(module, name): _Ignored for module in _NUMPY for name in ("_reconstruct", "scalar", "ndarray", "dtype")},
}


class _Forbidden(pickle.UnpicklingError):
    """A name that is not known; carries it."""

    def __init__(self, module: str, name: str) -> None:
        super().__init__(f"{module}.{name}")
        self.module = module


class _Reader(pickle.Unpickler):
    @override
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return _KNOWN[module_name, global_name]
        except KeyError:
            raise _Forbidden(module_name, global_name) from None


def read_networks(path: Path) -> dict[str, Module]:
    """The networks of a pickle by NVIDIA, by name (`G`, `D`, `G_ema`); nothing in the file runs.

    Raises:
        DataError: if it names anything but tensors and networks, saying what, or is no such pickle.
    """
    try:
        with path.open("rb") as file:
            content = _Reader(file).load()
    except _Forbidden as error:
        if error.module.startswith("dnnlib.tflib"):
            raise DataError(
                f"{path} is a network of TensorFlow, which is not supported; take the file of the PyTorch version"
            ) from error
        raise DataError(
            f"{path} names {error}, which is none of the names a published network needs; nothing of it was run. Take "
            "the file from its publisher"
        ) from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error}") from error
    except Exception as error:  # a damaged pickle may end in any of them
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{path} cannot be read as a pickle of networks: {reason}; fetch it again") from error
    networks = {name: value for name, value in _mapping(content).items() if isinstance(value, Module)}
    if "G_ema" not in networks or "D" not in networks:
        held = ", ".join(map(str, _mapping(content))) or type(content).__name__
        raise DataError(f"{path} holds {held} where the networks G_ema and D are expected")
    return networks
