"""Lint, format and types are part of the tests."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from midef.sweep.cli.app import main

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["ruff", "check", "."], id="lint"),
        pytest.param(["ruff", "format", "--check", "."], id="format"),
        pytest.param(["mypy"], id="types", marks=pytest.mark.slow),
    ],
)
def test_the_code_is_clean(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_loads_code_from_files() -> None:
    """No pickle, and torch.load with weights_only alone."""
    for path in [p for folder in ("midef", "sweep", "dashboards") for p in (ROOT / folder).rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"pickle\.loads?\(|from pickle|allow_pickle=True", text), path
        for call in re.findall(r"torch\.load\([^\n]*", text):
            assert "weights_only=True" in call, f"{path}: {call}"
        for call in re.findall(r"np\.load\([^\n]*", text):
            assert "allow_pickle=False" in call, f"{path}: {call}"


@pytest.mark.parametrize("what", ["defenses", "attacks"])
def test_readme_lists_them_as_the_command_does(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    written = text.split(f"<!-- {what} -->\n")[1].split(f"<!-- end of {what} -->")[0]
    new_files = ["git", "ls-files", "--others", "--exclude-standard", "midef"]
    if subprocess.run(new_files, cwd=ROOT, capture_output=True, check=False).stdout:
        pytest.skip("a component that is not committed yet need not be in README.md")
    assert main(["list", what, "--markdown"]) == 0
    assert written == capsys.readouterr().out, f"paste the output of `midef list {what} --markdown` into README.md"


@pytest.mark.slow
def test_readme_library_example_runs(tmp_path: Path) -> None:
    """As written, with smaller numbers."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("## Use it as a library")[1].split("```python\n")[1].split("```")[0]
    for written, small in (
        ('"steps": 200', '"steps": 2'),
        ('"iterations": 50', '"iterations": 2'),
        ("epochs=4", "epochs=1"),
        ("(population=public)", "(population=public,identities=20)"),
    ):
        assert written in section, f"the README's example changed: {written}"
        section = section.replace(written, small)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", section], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    measured = {entry["metric"]: entry for entry in json.loads(done.stdout)}
    assert measured["attack_accuracy_at_1"]["n"] == 20
