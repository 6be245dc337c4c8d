"""Paths of data sets: those in a file are relative to its folder, all others to the folder a command runs in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from midef.core.errors import SpecError
from midef.sweep.spec.values import ComponentSpec

ROLES = ("private", "public", "pretraining")
"""Fields of a specification that hold a data set."""


def absolute_in(data: dict[str, Any], folder: Path) -> None:
    """Make the paths of data sets in unchecked plain data absolute, of the sweep and of its setups, in place."""
    setups = data.get("setups")
    for holder in (data, *(setups if isinstance(setups, list) else ())):
        for role in ROLES if isinstance(holder, dict) else ():
            if isinstance(holder.get(role), str | dict):
                holder[role] = with_absolute_paths(holder[role], folder)


def with_absolute_paths(written: ComponentSpec, folder: Path) -> ComponentSpec:
    """A data set as written, its relative paths made absolute; what cannot be read is returned as it is.

    Args:
        written: unchecked.
        folder: that the paths are relative to.
    """
    if isinstance(written, str) and "(" not in written:
        return written
    from midef.datasets import DATASETS  # here: a named sweep is read without a component
    from midef.datasets.base import PATHS
    from midef.sweep.spec.datasets import location_fields

    try:
        name, preset, params = DATASETS.parse(written)
    except SpecError:
        return written  # reported with its place when the specification is resolved
    changed = {
        key: str(absolute(params[key], folder))
        for key in location_fields(name) & PATHS
        if isinstance(params.get(key), str) and params[key]
    }
    if all(params[key] == path for key, path in changed.items()):
        return written
    return cast(ComponentSpec, {"name": name, **({"preset": preset} if preset else {}), **params, **changed})


def absolute(path: str, folder: Path) -> Path:
    """A path, from a folder where it is relative; `~` is a home."""
    try:
        return (folder / Path(path).expanduser()).resolve()
    except (OSError, RuntimeError, ValueError):  # no such user, links in a circle, a null byte
        return folder / path
