"""Imports point one way; a folder sees only what stands to its left, and nobody's private modules."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# core < storage < results; core < storage < datasets | nn < models < defenses < training < attacks | metrics < stages
# < analysis | guard < sweep. Inside sweep: spec < catalogue | planning < execution | matching < audit < cli < the entry
# scripts.
LAYERS = {
    "midef": 0,  # the version only
    "midef.core": 1,
    "midef.storage": 2,
    "midef.results": 3,
    "midef.datasets": 3,
    "midef.nn": 3,
    "midef.models": 4,
    "midef.defenses": 5,
    "midef.training": 6,
    "midef.attacks": 7,
    "midef.metrics": 7,
    "midef.stages": 8,
    "midef.analysis": 9,
    "midef.guard": 9,
    "midef.testing": 9,
    "midef.sweep.spec": 10,
    "midef.sweep.catalogue": 11,
    "midef.sweep.planning": 11,
    "midef.sweep.execution": 12,
    "midef.sweep.matching": 12,
    "midef.sweep": 13,
    "midef.audit": 13,  # plans few cells with the words of a sweep, and runs them without Ray
    "midef.sweep.cli": 14,
    "midef.sweep.full_matrix": 15,
    "midef.sweep.match_accuracy": 16,
    "midef.__main__": 15,
}
DASHBOARDS = {"midef", "midef.core", "midef.storage", "midef.results", "midef.dashboards"}
OURS = re.compile(r"midef(\.\w+)+")
TOPS = {"sweep": "midef.sweep", "dashboards": "midef.dashboards"}
"""Folders at the top that are packages of midef through links."""


def area_of(module: str) -> str:
    """`midef.attacks.priors.tcnn` -> `midef.attacks`; `midef.sweep.planning.plan` -> `midef.sweep.planning`."""
    words = module.split(".")
    room = ".".join(words[:3])
    return room if room in LAYERS else ".".join(words[:2]) if words[0] == "midef" else words[0]


def module_of(path: Path) -> str:
    """The name a file is imported by."""
    words = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join([*TOPS.get(words[0], words[0]).split("."), *words[1:]]).removesuffix(".__init__")


def imported(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[tuple[int, str]]:
    """Line and full name of every import, also inside functions, `if TYPE_CHECKING` and `import_module("midef.x")`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                home = module.split(".")[: None if is_package and node.level == 1 else is_package - node.level]
                source = ".".join([*home, *([source] if source else [])])
            named = (f"{source}.{alias.name}" for alias in node.names)
            yield from ((node.lineno, name if source in ("midef", "") else source) for name in named)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and OURS.fullmatch(node.value):
            yield node.lineno, node.value


def forbidden(area: str, target: str) -> str | None:
    """Why a file of `area` may not import `target`; None if it may."""
    asked, first = area_of(target), target.split(".")[0]
    if first == "ray" and not area.startswith("midef.sweep"):
        return "only sweep may import ray"
    if first in TOPS:
        return f"it is the package {TOPS[first]}"
    if asked == area or first != "midef":
        return None
    if any(word.startswith("_") and not word.startswith("__") for word in target.split(".")):
        return "an underscore means: only its own folder"
    if area == "midef.dashboards":
        return None if asked in DASHBOARDS else "dashboards see only core, storage and results"
    if asked == "midef.dashboards":
        return None if area in ("midef.sweep.cli", "midef.sweep") else "only the command line starts a dashboard"
    if asked not in LAYERS:  # `from midef import __version__`
        return None
    return None if LAYERS[asked] < LAYERS[area] else f"{asked} does not stand to the left of {area}"


def files() -> list[Path]:
    """Every file of the package once: the links inside `midef` are not followed."""
    return [path for folder in ("midef", *TOPS) for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_to_the_left(path: Path) -> None:
    module = module_of(path)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    wrong = [
        f"line {line}: {target} ({reason})"
        for line, target in imported(tree, module, is_package=path.name == "__init__.py")
        if (reason := forbidden(area_of(module), target))
    ]
    assert wrong == []


def test_every_package_has_its_place() -> None:
    packages = {f"midef.{path.parent.name}" for path in (ROOT / "midef").glob("*/__init__.py")}
    rooms = {f"midef.sweep.{path.parent.name}" for path in (ROOT / "sweep").glob("*/__init__.py")}
    assert packages | rooms == {name for name, layer in LAYERS.items() if 0 < layer < 15} | {"midef.dashboards"}


def runtime_imports(tree: ast.AST) -> Iterator[str]:
    """What importing or running a module loads: names from packages too, nothing that only types need."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        waiting.extend(ast.iter_child_nodes(node))


def test_no_module_is_part_of_a_circle() -> None:
    """Modules import each other one way, also where their folders allow both; imports inside functions count."""
    trees = {module_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in files()}
    waits_for = {name: {other for other in runtime_imports(tree) if other in trees} for name, tree in trees.items()}
    while free := {name for name, others in waits_for.items() if not others}:
        waits_for = {name: others - free for name, others in waits_for.items() if name not in free}
    assert waits_for == {}


@pytest.mark.parametrize(
    ("area", "line", "is_wrong"),
    [
        ("midef.core", "import torch", False),
        ("midef.core", "from midef.storage import Store", True),
        ("midef.storage", "from midef.core import Recipe", False),
        ("midef.storage", "import midef", False),
        ("midef.datasets", "from midef.models import ARCHITECTURES", True),
        ("midef.defenses", "def f():\n    from midef.training import gan", True),
        ("midef.defenses", "if TYPE_CHECKING:\n    from midef import stages", True),
        ("midef.training", "from midef.defenses import Defense", False),
        ("midef.metrics", "import_module('midef.attacks.gmi')", True),
        ("midef.stages", "import midef.storage.store", False),
        ("midef.stages", "from .. import attacks", False),
        ("midef.core", "from .. import attacks", True),
        ("midef.core", "from ..attacks import gmi", True),
        ("midef.core", "from .errors import SpecError", False),
        ("midef.stages", "import ray.tune", True),
        ("midef.sweep.execution", "from ray import tune", False),
        ("midef.sweep.cli", "from midef.stages import ensure", False),
        ("midef.stages", "from midef.sweep import planning", True),
        ("midef.sweep.cli", "from sweep.planning import plan", True),
        ("midef.sweep.cli", "import dashboards.build", True),
        ("midef.sweep.cli", "from midef.dashboards.build import build", False),
        ("midef.sweep.spec", "from midef.sweep.planning.plan import Plan", True),
        ("midef.sweep.matching", "from midef.sweep.execution.progress import Progress", True),
        ("midef.sweep.matching", "from midef.sweep.planning.plan import Plan", False),
        ("midef.stages", "from midef.attacks._private import thing", True),
        ("midef.attacks", "from midef.attacks._private import thing", False),
        ("midef.dashboards", "from midef.core import ResultRow", False),
        ("midef.dashboards", "from midef.metrics import METRICS", True),
        ("midef.dashboards", "from midef.results.summary import SummaryRow", False),
        ("midef.dashboards", "from midef.sweep.spec.resolve import Sweep", True),
        ("midef.storage", "import midef.dashboards.build", True),
    ],
)
def test_the_rule_itself(area: str, line: str, is_wrong: bool) -> None:
    found = imported(ast.parse(line), f"{area}.some_file", is_package=False)
    assert any(forbidden(area, target) for _, target in found) == is_wrong
