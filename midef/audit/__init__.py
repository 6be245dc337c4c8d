"""Attacks on a model that somebody has: a network, a function or an endpoint. Imports no Ray.

`midef.audit(model, private=..., public=...)` is `midef.audit.run.audit`: this package can be called.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from midef.audit.run import Audited


class _Callable(ModuleType):
    """A package that is also its one function."""

    def __call__(self, *args: Any, **options: Any) -> Audited:
        from midef.audit.run import audit

        return audit(*args, **options)


sys.modules[__name__].__class__ = _Callable
