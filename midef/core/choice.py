"""A component by name, with all its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from typing_extensions import override

from midef.core.canonical import json_of_plain, plain


@dataclass(frozen=True)
class Choice:
    """A registered component with its parameters, defaults included, and the version of its maths.

    Parameters `ADDED_LATER` that have their default are left out.

    The version is a number; of a component from a package of others, `1 of NAME VERSION` names that package.
    Made by `Registry.choose`, so values already have their declared type: `1` and `1.0` give the same key.
    `label` is for people (`midre(area_high=0.8)`) and takes no part in equality or keys.
    """

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    version: int | str = 1
    label: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "params", plain(self.params))
        object.__setattr__(self, "label", self.label or self.name)

    @override
    def __hash__(self) -> int:
        return hash(self.keyed_json)

    @property
    def keyed(self) -> dict[str, Any]:
        """Name, parameters and version, as they enter a recipe."""
        return {"name": self.name, "params": self.params, "version": self.version}

    @cached_property
    def keyed_json(self) -> str:
        return json_of_plain(self.keyed)

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Choice:
        """Inverse of `keyed`."""
        return cls(name=data["name"], params=data["params"], version=data["version"])
