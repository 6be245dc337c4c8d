"""torch, loaded at first use.

A component file declares its parameters (read while planning, which must answer at once on a laptop) and does maths
(needed later, on the machine that trains). `from midef.core.lazy import torch` serves both.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from typing_extensions import override


class _LazyModule(ModuleType):
    """Imports the real module when an attribute is first read, then remembers the attribute."""

    @override
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # introspection (doctest, inspect) must not load torch
        value = getattr(import_module(self.__name__), name)
        self.__dict__[name] = value
        return value


if TYPE_CHECKING:
    import torch
    import torch.nn.functional as F
    from torch import nn
else:
    torch = _LazyModule("torch")
    nn = _LazyModule("torch.nn")
    F = _LazyModule("torch.nn.functional")

__all__ = ["F", "nn", "torch"]
