"""Both entry scripts where midef is there, but not as it should be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ("full_matrix.py", "match_accuracy.py")


def run(script: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script with no package but those of `variables`."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | variables
    return subprocess.run(
        [sys.executable, "-S", str(script)],
        cwd=script.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )


@pytest.fixture
def checkout_without_links(tmp_path: Path) -> Path:
    """A checkout whose links came as text files, as on Windows."""
    (tmp_path / "midef").mkdir()
    shutil.copy(ROOT / "midef" / "__init__.py", tmp_path / "midef")
    for name in ("sweep", "dashboards"):
        (tmp_path / name).mkdir()
        (tmp_path / "midef" / name).write_text(f"../{name}")
    return tmp_path


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_checkout_without_links_says_how_to_get_one(checkout_without_links: Path, name: str) -> None:
    done = run(Path(shutil.copy(ROOT / "sweep" / name, checkout_without_links / "sweep")))
    assert done.returncode == 3
    assert "this checkout was made without links. Clone again with `git clone -c core.symlinks=true`" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("program", ["-m midef --version", "-c 'import midef'"])
def test_so_do_the_command_and_the_import(checkout_without_links: Path, program: str) -> None:
    done = subprocess.run(
        f"{sys.executable} {program}",
        shell=True,
        cwd=checkout_without_links,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 1
    assert "this checkout was made without links. Clone again with `git clone -c core.symlinks=true`" in done.stderr


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_older_midef_that_is_installed_is_told_apart(tmp_path: Path, name: str) -> None:
    """Before `sweep` was a package of midef, it was one beside it."""
    script = Path(shutil.copy(ROOT / "sweep" / name, tmp_path))
    for package in ("midef", "sweep"):
        (tmp_path / "packages" / package).mkdir(parents=True)
        (tmp_path / "packages" / package / "__init__.py").write_text("")
    done = run(script, PYTHONPATH=str(tmp_path / "packages"))
    assert done.returncode == 3
    assert "cannot import the package midef: No module named 'midef.sweep'" in done.stderr
    assert "ray up cluster.yaml --no-restart" in done.stderr
