"""The version beside results names the commit, and says where the code differs from it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import midef
from midef.core.code_version import code_version


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that stands for the installed package, with one file."""
    folder = tmp_path / "midef"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.setattr(midef, "__file__", str(folder / "__init__.py"))
    code_version.cache_clear()
    yield folder
    code_version.cache_clear()


def git(folder: Path, *words: str) -> str:
    author = ("-c", "user.name=someone", "-c", "user.email=someone@example.org")
    return subprocess.run(["git", *author, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_an_installed_package_has_its_number_only(package: Path) -> None:
    assert code_version() == midef.__version__


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_checkout_names_its_commit_and_whether_its_code_was_changed(package: Path) -> None:
    root = package.parent
    (root / "README.md").write_text("one")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    commit = git(root, "rev-parse", "--short=8", "HEAD").strip()
    (root / "README.md").write_text("two")
    assert code_version() == f"{midef.__version__}+{commit}"
    (package / "__init__.py").write_text("changed = True")
    code_version.cache_clear()
    assert code_version() == f"{midef.__version__}+{commit}.changed"
