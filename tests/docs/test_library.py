"""The library page's example runs as written, with smaller numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
    measured = {entry["metric"]: entry for entry in json.loads(done.stdout)}
    assert measured["attack_accuracy_at_1"]["n"] == 20
