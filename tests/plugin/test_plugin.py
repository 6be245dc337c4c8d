"""A package of somebody else, installed in an environment of its own: listed, asked by the suites, run in a sweep."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import pytest
import yaml

from midef.core import PreflightError, Recipe
from midef.core.recipe import each_once
from midef.stages import BuildContext, build_recipe
from midef.storage import Store

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tests" / "plugin"
ADDED = {
    "defenses": "temperature",
    "attacks": "lucky_draw",
    "priors": "pixel_gaussian",
    "metrics": "confidence",
    "datasets": "stripes",
    "architectures": "shallow_cnn",
}
OWN = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MIDEF_", "RAY_"))}
ENVIRONMENT = {**OWN, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}
FEW = {"train_images": 4, "select_images": 1, "report_images": 1}
SPEC: dict[str, Any] = {
    "name": "strange",
    "setups": [
        {
            "id": "stripes",
            "attack": {"name": "lucky_draw", "tries": 3, "prior": {"steps": 4, "width": 8}},
            "architecture": "shallow_cnn",
            "private": {"name": "stripes", "identities": 6, **FEW},
            "public": {"name": "stripes", "identities": 12, "labelled": False, "seed": 1, **FEW},
            "protocol": {"identities": 3, "images_per_identity": 2},
        }
    ],
    "defenses": ["none", "temperature(tau=8)"],
    "training": {"epochs": 1, "batch_size": 16},
    "evaluator_training": {"epochs": 1, "batch_size": 16},
}
RECIPES = """
import json, sys
from midef.sweep.catalogue import read_spec
from midef.sweep.spec.resolve import resolve
sweep = resolve(read_spec(sys.argv[1]))
print(json.dumps([planned.recipes.scores.as_plain() for planned in sweep.cells]))
"""


def run(*command: str | Path, cwd: Path, timeout_s: float = 280) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=timeout_s
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the package, and what is installed here."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
    (packages / "here.pth").write_text("\n".join(path for path in sys.path if "site-packages" in path))
    source = tmp_path_factory.mktemp("source") / "extras"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__", "test_*"))
    python = folder / "bin" / "python"
    options = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation")
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, source, cwd=folder)
    return python


@pytest.fixture(scope="session")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spec") / "strange.yaml"
    path.write_text(yaml.safe_dump(SPEC, sort_keys=False))
    return path


@pytest.fixture(scope="session")
def recipes(python: Path, spec: Path) -> list[Recipe]:
    """The scores of both cells, as the environment with the package plans them."""
    return [Recipe.from_plain(plain) for plain in json.loads(run(python, "-c", RECIPES, spec, cwd=spec.parent))]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ADDED)
def test_the_list_marks_what_the_package_adds(kind: str, python: Path, tmp_path: Path) -> None:
    entries = {e["name"]: e for e in json.loads(run(python, "-m", "midef", "list", kind, "--json", cwd=tmp_path))}
    assert entries.pop(ADDED[kind])["package"] == "midef-extras 0.1.0"
    assert entries and {entry["package"] for entry in entries.values()} == {"midef"}


@pytest.mark.slow
def test_pages_made_where_it_is_installed_hold_what_is_of_midef_only(python: Path, tmp_path: Path) -> None:
    run(python, ROOT / "docs" / "make.py", "--check", cwd=tmp_path)


@pytest.mark.slow
def test_its_components_pass_the_suites(python: Path, tmp_path: Path) -> None:
    shutil.copy(PACKAGE / "suites.py", tmp_path / "test_suites.py")
    out = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", tmp_path, cwd=tmp_path)
    assert re.search(r"\d{2,} passed", out) and "failed" not in out, out[-2000:]


@pytest.mark.slow
def test_recipes_hold_package_and_version_where_its_components_take_part(recipes: list[Recipe]) -> None:
    by_key = {recipe.key: recipe for recipe in each_once(recipes)}.values()
    version = "1 of midef-extras 0.1.0"
    assert {r.params["component_version"] for r in by_key if r.kind == "split"} == {version}
    assert {r.params["attack"]["version"] for r in by_key if r.kind == "reconstructions"} == {version}
    assert {r.params["architecture"]["version"] for r in by_key if r.kind == "target"} == {version}
    defenses = [r.params["defense"] for r in by_key if r.kind == "target"]
    assert sorted((d["name"], d["version"]) for d in defenses) == [("none", 1), ("temperature", version)]
    metrics = recipes[0].params["metrics"]
    assert metrics["confidence"] == version and metrics["queries"] == 1
    (prior,) = (recipe for recipe in by_key if recipe.kind == "prior")
    assert prior.version == 1


@pytest.mark.slow
def test_a_node_without_the_package_says_so_before_it_builds(recipes: list[Recipe], tmp_path: Path) -> None:
    context = BuildContext(store=Store.open(tmp_path / "store"))
    for recipe in each_once(recipes):
        with pytest.raises(PreflightError) as caught:
            build_recipe(recipe, context)
        for part in ("'stripes'", "midef-extras 0.1.0", f"not installed on {socket.gethostname()}"):
            assert part in str(caught.value)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
def test_a_sweep_runs_them_and_finds_everything_stored_the_second_time(
    python: Path, spec: Path, tmp_path: Path
) -> None:
    command = (python, "-m", "midef", "run", spec, "--store", tmp_path / "store")
    run(*command, cwd=tmp_path, timeout_s=600)
    rows = Store.open(tmp_path / "store", create=False).results.read()
    metrics = {row.metric: row for row in rows if row.defense == "temperature(tau=8)"}
    assert metrics["confidence"].status == "ok" and metrics["confidence"].value is not None
    assert metrics["queries"].value == 3 * 6
    assert {row.attack for row in rows} == {"lucky_draw(tries=3)"}
    assert "nothing to do" in run(*command, cwd=tmp_path)
    table = run(python, "-m", "midef", "table", "--store", tmp_path / "store", "--format", "md", cwd=tmp_path)
    assert "conf. %" in table


def test_the_page_shows_the_files_as_they_are() -> None:
    page = (ROOT / "docs" / "add_a_method.md").read_text(encoding="utf-8")
    for path in (
        *sorted((PACKAGE / "midef_extras").glob("[a-z]*.py")),
        PACKAGE / "pyproject.toml",
        PACKAGE / "suites.py",
    ):
        text = path.read_text(encoding="utf-8")
        kind = "toml" if path.suffix == ".toml" else "python"
        assert f"```{kind}\n{text}```" in page, f"paste {path.relative_to(ROOT)} into docs/add_a_method.md"
