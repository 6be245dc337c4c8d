"""Sweeps: which cells, in what order, on which machines. The only package that imports Ray, and only where it runs.

`midef.sweep.run`, `match` and `plan` are the command line's verbs as functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from midef.sweep.library import SweepResult, load_spec, match, plan, run

if TYPE_CHECKING:
    from midef.sweep.execution.outcome import RunOptions
    from midef.sweep.spec.schema import SweepSpec

__all__ = ["RunOptions", "SweepResult", "SweepSpec", "load_spec", "match", "plan", "run"]


def __getattr__(name: str) -> object:
    """`RunOptions` and `SweepSpec`, imported when they are asked for: their modules load pyarrow and pydantic."""
    if name == "RunOptions":
        from midef.sweep.execution.outcome import RunOptions

        return RunOptions
    if name == "SweepSpec":
        from midef.sweep.spec.schema import SweepSpec

        return SweepSpec
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
