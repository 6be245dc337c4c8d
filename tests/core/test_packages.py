"""Packages of others: found by their entry points, marked in recipes, missed where they are not installed."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from midef.core import Choice, PreflightError, Recipe, Registry, SpecError, packages
from midef.core.errors import NameClash

OWN, OTHER = "toy_tools_of_test_packages", "toy_tools_of_somebody"


class Tool:
    """What the toy registry holds."""


TOOLS: Registry[Tool]
PLAIN = """
from dataclasses import dataclass
from tests.core import test_packages

@test_packages.TOOLS.add({name!r})
@dataclass(frozen=True)
class {cls}(test_packages.Tool):
    teeth: int = 3
"""


@pytest.fixture(autouse=True)
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry[Tool]]:
    """A registry with one tool of its own; this test's folder is where packages are installed."""
    global TOOLS
    (tmp_path / OWN).mkdir()
    (tmp_path / OWN / "__init__.py").touch()
    (tmp_path / OWN / "saw.py").write_text(PLAIN.format(name="saw", cls="Saw"))
    monkeypatch.syspath_prepend(str(tmp_path))
    forget()
    TOOLS = Registry("tool", OWN)
    yield TOOLS
    forget()


def forget() -> None:
    packages._packages.cache_clear()
    packages._installed.cache_clear()
    packages._loaded.clear()
    for name in [name for name in sys.modules if name.split(".")[0] in (OWN, OTHER)]:
        del sys.modules[name]


@pytest.fixture
def install(tmp_path: Path) -> Callable[..., None]:
    """Installs a package of somebody: its module's text, and the metadata a wheel leaves behind."""

    def install(text: str, *, version: str = "0.2", points: str = f"tools = {OTHER}") -> None:
        (tmp_path / f"{OTHER}.py").write_text(text)
        folder = tmp_path / f"midef_tools-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: midef-tools\nVersion: {version}\n")
        (folder / "entry_points.txt").write_text(f"[midef.components]\n{points}\n")
        forget()

    return install


def test_a_package_adds_components_marked_with_it(tools: Registry[Tool], install: Callable[..., None]) -> None:
    install(PLAIN.format(name="plane", cls="Plane"))
    assert tools.names() == ["plane", "saw"]
    assert str(tools.origin("plane")) == "midef-tools 0.2" and tools.origin("saw") is None
    assert tools.choose("plane").keyed == {"name": "plane", "params": {"teeth": 3}, "version": "1 of midef-tools 0.2"}
    assert tools.choose("saw").keyed == {"name": "saw", "params": {"teeth": 3}, "version": 1}
    assert tools.remake(tools.choose("plane(teeth=4)")).teeth == 4  # type: ignore[attr-defined]


def test_packages_with_components_are_known_by_name_and_version(install: Callable[..., None]) -> None:
    before = packages.component_packages()
    install(PLAIN.format(name="plane", cls="Plane"), points=f"a = {OTHER}\nb = {OTHER}")
    added = [package for package in packages.component_packages() if package not in before]
    assert added == [packages.Package("midef-tools", "0.2")]


def test_another_version_of_the_package_is_another_key(tools: Registry[Tool], install: Callable[..., None]) -> None:
    install(PLAIN.format(name="plane", cls="Plane"))
    choice = tools.choose("plane")
    older = Choice("plane", choice.params, "1 of midef-tools 0.1")
    assert choice != older
    with pytest.raises(PreflightError) as caught:
        tools.remake(older)
    for part in ("tool 'plane'", "midef-tools 0.1", "is installed in version 0.2 on", "pip install midef-tools==0.1"):
        assert part in str(caught.value)


def test_a_machine_without_the_package_says_which_and_where(tools: Registry[Tool]) -> None:
    with pytest.raises(PreflightError) as caught:
        tools.remake(Choice("plane", {}, "1 of midef-tools 0.2"))
    where = f"is not installed on {socket.gethostname()}; install it on every node (pip install midef-tools==0.2)"
    assert f"tool 'plane' comes from the package midef-tools 0.2, which {where}" in str(caught.value)


def test_a_name_of_ours_is_refused_naming_both(tools: Registry[Tool], install: Callable[..., None]) -> None:
    install(PLAIN.format(name="saw", cls="Saw"))
    for _ in range(2):
        with pytest.raises(PreflightError) as caught:
            tools.names()
        for part in ("package midef-tools 0.2, entry point tools", "two tools are registered as 'saw'", f"{OWN}.saw"):
            assert part in str(caught.value)


def test_a_clash_is_told_also_where_the_package_came_first(tools: Registry[Tool], install: Callable[..., None]) -> None:
    install(PLAIN.format(name="saw", cls="Saw"))
    with pytest.raises(NameClash, match=rf"{OTHER} \(package midef-tools 0.2\) and {OWN}.saw; rename one"):
        __import__(OTHER)
        tools.names()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_broken_package_is_named(tools: Registry[Tool], install: Callable[..., None], text: str, said: str) -> None:
    install(text)
    with pytest.raises(PreflightError) as caught:
        tools.get("saw")
    assert f"package midef-tools 0.2, entry point tools = {OTHER}, cannot be loaded: {said}" in str(caught.value)
    assert caught.value.exit_code == 3


def recipe_with(version: int | str) -> Recipe:
    """Scores of a target whose defense, inside a stack, has this version."""
    inner = {"name": "plane", "params": {}, "version": version}
    target = Recipe(
        "target", "classifier", {"defense": {"name": "stack", "params": {"members": [inner]}, "version": 1}}
    )
    return Recipe("scores", "metrics", {"metrics": {"queries": 1}}, {"target": target})


@pytest.mark.parametrize(
    "recipe",
    [
        recipe_with("1 of midef-tools 0.2"),
        Recipe("prior", "plane", {}, version="1 of midef-tools 0.2"),
        Recipe("split", "plane", {"component_version": "1 of midef-tools 0.2"}),
        Recipe("scores", "metrics", {"metrics": {"plane": "1 of midef-tools 0.2"}}),
    ],
    ids=["defense in a stack of an input", "prior", "dataset", "metric"],
)
def test_what_a_recipe_needs_is_looked_for_before_it_is_built(
    recipe: Recipe, tools: Registry[Tool], install: Callable[..., None]
) -> None:
    with pytest.raises(
        PreflightError, match=r"'plane' comes from the package midef-tools 0\.2, which is not installed"
    ):
        packages.check_packages(recipe)
    install(PLAIN.format(name="plane", cls="Plane"))
    packages.check_packages(recipe)


def test_recipes_of_midef_alone_need_nothing() -> None:
    packages.check_packages(recipe_with(1))


def test_an_unknown_name_without_a_package_stays_a_mistake(tools: Registry[Tool]) -> None:
    with pytest.raises(SpecError, match="unknown tool 'plane'"):
        tools.remake(Choice("plane", {}, 1))
