"""Sweeps: which cells, in what order, on which machines. The only package that imports Ray, and only where it runs.

`run`, `match` and `plan` are the verbs of the command line as functions; docs/library.md shows them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from midef.sweep.library import load_spec, match, plan, run
from midef.sweep.result import SweepResult

if TYPE_CHECKING:
    from midef.sweep.execution.outcome import RunOptions
    from midef.sweep.one_cell import ensure
    from midef.sweep.planning.plan_text import plan_text
    from midef.sweep.spec.schema import SweepSpec
else:
    _MODULES = {
        "RunOptions": "midef.sweep.execution.outcome",
        "SweepSpec": "midef.sweep.spec.schema",
        "ensure": "midef.sweep.one_cell",
        "plan_text": "midef.sweep.planning.plan_text",
    }

    def __getattr__(name: str) -> object:
        """Names whose modules load pyarrow or every component, imported when they are asked for."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)


__all__ = ["RunOptions", "SweepResult", "SweepSpec", "ensure", "load_spec", "match", "plan", "plan_text", "run"]
