"""`sweep/` and `dashboards/` stand at the top of the checkout and are packages of midef: wherever code is copied to."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from ray._private.runtime_env.packaging import create_package

ROOT = Path(__file__).resolve().parents[2]
INSIDE = {"midef/__init__.py", "midef/sweep/cli/app.py", "midef/sweep/full_matrix.py", "midef/dashboards/build.py"}


@pytest.mark.parametrize("name", ["sweep", "dashboards"])
def test_the_links_are_relative_and_lead_to_the_top(name: str) -> None:
    assert (ROOT / "midef" / name).readlink() == Path("..", name)


def test_a_run_ships_midef_alone_and_ray_follows_its_links(tmp_path: Path) -> None:
    shipped = [
        ast.unparse(value)
        for path in (ROOT / "sweep" / "execution").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and key.value == "py_modules"
    ]
    assert set(shipped) == {"[str(Path(midef.__file__).parent)]"}
    package = tmp_path / "package.zip"
    create_package(str(ROOT / "midef"), package, include_gitignore=True, include_parent_dir=True)
    names = zipfile.ZipFile(package).namelist()
    assert set(names) >= INSIDE | {"midef/dashboards/page/index.html", "midef/sweep/catalogue/published/results.csv"}
    assert {name.split("/")[0] for name in names} == {"midef"}


def copy(here: Path, there: Path, options: list[str]) -> None:
    """As `ray up` copies a mount: `rsync -a`, which keeps links; the same without rsync where there is none."""
    there.parent.mkdir(parents=True, exist_ok=True)
    if shutil.which("rsync"):
        subprocess.run(["rsync", "-az", *options, f"{here}/" if here.is_dir() else here, there], check=True)
    elif here.is_dir():
        shutil.copytree(here, there, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(here, there)


@pytest.mark.parametrize("name", ["on_prem.yaml", "aws.yaml", "gcp.yaml"])
def test_what_a_cluster_file_copies_to_a_node_can_be_imported_there(name: str, tmp_path: Path) -> None:
    settings = yaml.safe_load((ROOT / "cluster" / name).read_text(encoding="utf-8"))
    options = [f"--exclude={pattern}" for pattern in settings["rsync_exclude"]]
    options += [f"--filter=dir-merge,- {file}" for file in settings["rsync_filter"]]
    for there, here in settings["file_mounts"].items():
        if there.startswith("~/midef_src/"):
            copy(ROOT / here, tmp_path / there.removeprefix("~/"), options)
    node = tmp_path / "midef_src"
    program = "import midef.sweep.cli, midef.dashboards.build, sys; sys.exit(midef.sweep.cli.main(['plan', 'smoke']))"
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(node)}, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (node / "midef" / "sweep").is_symlink() and (node / "midef" / "sweep").resolve() == node / "sweep"


def test_the_command_of_a_node_that_was_installed_before_the_links_still_works() -> None:
    """Such an editable install maps `sweep` to this folder and calls `sweep.cli:main`; it runs what lies there now."""
    program = (
        "import sys, sweep.cli; code = sweep.cli.main(['plan', 'smoke']); print(sorted(sys.modules)); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    modules = ast.literal_eval(done.stdout.splitlines()[-1])
    assert {m for m in modules if m.split(".")[0] == "sweep"} == {"sweep", "sweep.cli"}, "two copies of the code"
