"""The library page's example runs as written, with smaller numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from midef.storage import Store
from midef.sweep.result import results_table

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_cell_without_ray(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    section = text.split("## One cell, without Ray")[1].split("```python\n")[1].split("```")[0]
    for written, small in (
        ('"steps": 200', '"steps": 2'),
        ('"iterations": 50', '"iterations": 2'),
        ("epochs=4", "epochs=1"),
        ("regressor_images=2000", "regressor_images=64"),
        ("(population=public)", "(population=public,identities=20)"),
    ):
        assert written in section, f"the example changed: {written}"
        section = section.replace(written, small)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", section], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    measured = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert (measured["attack_accuracy_at_1"][0], measured["attack_accuracy_at_1"][2]) == ("ok", "20")
    table = results_table(Store.open(tmp_path / "my-store", create=False), "library")
    assert "midre+nls" in table and "mine" in table
