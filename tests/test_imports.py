"""Imports point one way; a folder sees only what stands to its left."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# core < storage < datasets | models < defenses < training < attacks | metrics < stages < analysis < sweep
LAYERS = {
    "midef": 0,  # the version only
    "midef.core": 1,
    "midef.storage": 2,
    "midef.datasets": 3,
    "midef.models": 3,
    "midef.defenses": 4,
    "midef.training": 5,
    "midef.attacks": 6,
    "midef.metrics": 6,
    "midef.stages": 7,
    "midef.analysis": 8,
    "sweep": 9,
}
DASHBOARDS = {"midef", "midef.core", "midef.storage", "dashboards"}
OURS = re.compile(r"(midef|sweep|dashboards)(\.\w+)+")


def area_of(module: str) -> str:
    """`midef.attacks.priors.tcnn` -> `midef.attacks`; `sweep.plan` -> `sweep`; outside midef the first word."""
    words = module.split(".")
    return ".".join(words[:2]) if words[0] == "midef" else words[0]


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
    wanted = area_of(target)
    if target.split(".")[0] == "ray" and area != "sweep":
        return "only sweep may import ray"
    if wanted == area or wanted.split(".")[0] not in ("midef", "sweep", "dashboards"):
        return None
    if area == "dashboards":
        return None if wanted in DASHBOARDS else "dashboards see only midef.core and midef.storage"
    if wanted == "dashboards":
        return None if area == "sweep" else "only sweep's command line may start a dashboard"
    if wanted not in LAYERS:  # `from midef import __version__`
        return None
    return None if LAYERS[wanted] < LAYERS[area] else f"{wanted} does not stand to the left of {area}"


def files() -> list[Path]:
    found = [path for folder in ("midef", "sweep", "dashboards") for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if area_of(".".join(path.relative_to(ROOT).with_suffix("").parts)) in known()]


def known() -> set[str]:
    return {*LAYERS, "dashboards"}


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_to_the_left(path: Path) -> None:
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    wrong = [
        f"line {line}: {target} ({reason})"
        for line, target in imported(tree, module, is_package=path.name == "__init__.py")
        if (reason := forbidden(area_of(module), target))
    ]
    assert wrong == []


def test_every_folder_of_midef_has_its_place() -> None:
    folders = {f"midef.{path.parent.name}" for path in (ROOT / "midef").glob("*/__init__.py")}
    assert folders == {name for name in LAYERS if "." in name}


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
        ("sweep", "from ray import tune", False),
        ("sweep", "from midef.stages import ensure", False),
        ("midef.stages", "from sweep import plan", True),
        ("dashboards", "from midef.core import ResultRow", False),
        ("dashboards", "from midef.metrics import METRICS", True),
        ("dashboards", "from sweep.spec import Sweep", True),
        ("midef.storage", "import dashboards.build", True),
    ],
)
def test_the_rule_itself(area: str, line: str, is_wrong: bool) -> None:
    found = imported(ast.parse(line), f"{area}.some_file", is_package=False)
    assert any(forbidden(area, target) for _, target in found) == is_wrong
