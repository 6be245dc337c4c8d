"""Recipes of stored artifacts, and the keys that name them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from typing_extensions import override

from midef.core.canonical import json_of_plain, plain, quoted, sha256

KINDS = (
    *("split", "target", "evaluator", "prior", "surrogate", "inverter", "substitute", "pool"),
    *("regressor", "reconstructions", "extractor", "student", "scores"),
)


class ArtifactKey(NamedTuple):
    """Names a stored thing: kind and sha256 of its recipe. A tuple: a plan looks keys up by the million."""

    kind: str
    digest: str

    @override
    def __str__(self) -> str:
        return f"{self.kind}/{self.digest}"

    @property
    def short(self) -> str:
        return f"{self.kind}/{self.digest[:10]}"

    @classmethod
    def parse(cls, text: str) -> ArtifactKey:
        """Inverse of `str`."""
        kind, _, value = text.partition("/")
        return cls(kind, value)


@dataclass(frozen=True)
class Recipe:
    """Recipe of one stored artifact.

    GPU count, paths, worker count and time never belong in here.

    Args:
        kind: one of `KINDS`.
        component: which builder of that kind (`wgan_gp`, `classifier`).
        params: what changes the result, as JSON data.
        inputs: recipes it starts from, by role.
        version: bumped when the maths of the builder changes.
    """

    kind: str
    component: str
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Recipe] = field(default_factory=dict)
    version: int | str = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown recipe kind {self.kind!r}; expected one of {', '.join(KINDS)}")
        object.__setattr__(self, "params", plain(self.params))
        object.__setattr__(self, "inputs", dict(self.inputs))

    @override
    def __hash__(self) -> int:
        return hash(self.key)

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recipe) and self.key == other.key

    @cached_property
    def key(self) -> ArtifactKey:
        """sha256 over kind, component, parameters, version and the keys of the inputs."""
        # The canonical JSON of a mapping of these five, put together here: a large plan spends most of its time on it.
        inputs = ",".join([f'{quoted(role)}:"{self.inputs[role].name}"' for role in sorted(self.inputs)])
        text = (
            f'{{"component":{quoted(self.component)},"inputs":{{{inputs}}},"kind":"{self.kind}",'
            f'"params":{json_of_plain(self.params)},"version":{json_of_plain(self.version)}}}'
        )
        return ArtifactKey(self.kind, sha256(text))

    @cached_property
    def name(self) -> str:
        """Its key as text, put together once: what needs a recipe names it, and many need the same."""
        return str(self.key)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Keys as text of this recipe and of everything it needs, in the order of `walk`."""
        below = [self.inputs[role].names for role in sorted(self.inputs)]
        return (*dict.fromkeys(chain.from_iterable(below)), self.name)

    def walk(self) -> Iterator[Recipe]:
        """This recipe and everything it needs, inputs first, each once."""
        yield from each_once((self,))

    def as_plain(self) -> dict[str, Any]:
        """JSON data that `from_plain` reads back; inputs are nested."""
        return {
            "kind": self.kind,
            "component": self.component,
            "params": self.params,
            "inputs": {role: recipe.as_plain() for role, recipe in sorted(self.inputs.items())},
            "version": self.version,
        }

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Recipe:
        """Inverse of `as_plain`."""
        return cls(
            kind=data["kind"],
            component=data["component"],
            params=data["params"],
            inputs={role: cls.from_plain(inner) for role, inner in data["inputs"].items()},
            version=data["version"],
        )


def each_once(recipes: Iterable[Recipe]) -> Iterable[Recipe]:
    """The recipes and everything they need, inputs first, each once; what many share is looked at once."""
    by_key: dict[ArtifactKey, Recipe] = {}

    def visit(recipe: Recipe) -> None:
        if recipe.key in by_key:
            return
        for role in sorted(recipe.inputs):
            visit(recipe.inputs[role])
        by_key[recipe.key] = recipe

    for recipe in recipes:
        visit(recipe)
    return by_key.values()


class Inputs:
    """The stored inputs of a recipe, by role, as folders; fetched and verified when first asked for."""

    def __init__(self, recipes: Mapping[str, Recipe], fetch: Callable[[Recipe], Path]) -> None:
        self.recipes = dict(recipes)
        self._fetch = fetch
        self._paths: dict[str, Path] = {}

    def __contains__(self, role: str) -> bool:
        return role in self.recipes

    def path(self, role: str) -> Path:
        """The folder of the artifact in this role.

        Raises:
            KeyError: if the recipe names no such role.
        """
        if role not in self._paths:
            self._paths[role] = self._fetch(self.recipes[role])
        return self._paths[role]
