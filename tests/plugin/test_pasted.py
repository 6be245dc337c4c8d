"""The same files pasted into midef's own folders, in a copy of the tree: no other file has to change."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {
    "temperature": "midef/defenses",
    "lucky_draw": "midef/attacks",
    "pixel_gaussian": "midef/attacks/priors",
    "confidence": "midef/metrics",
    "stripes": "midef/datasets",
    "shallow_cnn": "midef/models",
}


@pytest.mark.slow
def test_each_file_passes_the_contract_tests_where_midef_keeps_its_own(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "plugin", "*.png", ".git")
    for name in ("midef", "sweep", "dashboards"):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=ignored)
    shutil.copytree(ROOT / "tests" / "contracts", tmp_path / "tests" / "contracts", ignore=ignored)
    for name in ("pyproject.toml", "tests/conftest.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name, folder in FOLDERS.items():
        shutil.copy(ROOT / "tests" / "plugin" / "midef_extras" / f"{name}.py", tmp_path / folder)
    asked = " or ".join([*FOLDERS, "test_one_file"])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/contracts", "-k", asked],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert re.search(r"\d{2,} passed", done.stdout)
