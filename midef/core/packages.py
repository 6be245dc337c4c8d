"""Packages of others that add components, by the entry-point group `midef.components`.

An entry point names a module; importing it registers what it holds. The package and its version stand in the recipes
its components take part in, so a machine without it can say so before it builds.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import Any

from typing_extensions import override

from midef.core.errors import PreflightError
from midef.core.recipe import Recipe, each_once

GROUP = "midef.components"
_VERSION = re.compile(r"(?P<number>\d+) of (?P<name>[\w.-]+) (?P<version>\S+)")


@dataclass(frozen=True)
class Package:
    """An installed distribution.

    Args:
        name: as the package index knows it.
    """

    name: str
    version: str

    @override
    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def package_of(module: str) -> Package | None:
    """The package whose entry points name the top-level package of a module; None for midef's own and for scripts."""
    return _packages().get(module.partition(".")[0])


def component_packages() -> list[Package]:
    """Installed packages of others that add components, by name."""
    return sorted(set(_packages().values()), key=str)


@cache
def _packages() -> Mapping[str, Package]:
    """Packages by the top-level package of what their entry points name."""
    points = [point for point in entry_points(group=GROUP) if point.dist is not None]
    return {p.module.partition(".")[0]: Package(p.dist.name, p.dist.version) for p in points if p.dist is not None}


_loaded: set[str] = set()


def load_packages() -> None:
    """Import what the entry points name, each once.

    Raises:
        PreflightError: names the package whose module cannot be imported, and the error.
    """
    for point in entry_points(group=GROUP):
        if point.value in _loaded:
            continue
        _loaded.add(point.value)
        try:
            point.load()
        except Exception as error:
            _loaded.discard(point.value)
            what = f"package {package_of(point.module) or point.module}, entry point {point.name} = {point.value}"
            reason = str(error) if isinstance(error, PreflightError) else f"{type(error).__name__}: {error}"
            raise PreflightError(f"{what}, cannot be loaded: {reason}; mend the package or uninstall it") from error


def versioned(number: int, module: str) -> int | str:
    """The version of a component as recipes hold it: a number, and for a package of others `1 of NAME VERSION`."""
    package = package_of(module)
    return number if package is None else f"{number} of {package}"


def lacking(name: str, version: object) -> str:
    """Why a component of this version cannot be made here for want of its package; "" if it can."""
    match = _VERSION.fullmatch(version) if isinstance(version, str) else None
    if match is None:
        return ""
    asked = Package(match["name"], match["version"])
    here = _installed(asked.name)
    if here == asked.version:
        return ""
    has = "is not installed" if here is None else f"is installed in version {here}"
    return (
        f"{name!r} comes from the package {asked}, which {has} on {socket.gethostname()}; "
        f"install it on every node (pip install {asked.name}=={asked.version}), or plan again with what is there"
    )


def check_packages(recipe: Recipe) -> None:
    """Look whether this machine has the packages of everything a recipe was made with.

    Raises:
        PreflightError: names component, package, version and machine.
    """
    problems = {text: None for name, version in _components(each_once((recipe,))) if (text := lacking(name, version))}
    if problems:
        raise PreflightError(problems)


def _components(recipes: Iterable[Recipe]) -> Iterator[tuple[str, object]]:
    """Name and version of every component that recipes speak of."""
    for recipe in recipes:
        yield recipe.component, recipe.version
        yield recipe.component, recipe.params.get("component_version")
        yield from _named(recipe.params)
        metrics = recipe.params.get("metrics")
        if isinstance(metrics, Mapping):
            yield from metrics.items()


def _named(value: Any) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        if isinstance(value.get("name"), str) and "version" in value:
            yield value["name"], value["version"]
        for inner in value.values():
            yield from _named(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _named(inner)


@cache
def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
