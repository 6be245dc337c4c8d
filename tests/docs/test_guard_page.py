"""The example of the page on guards runs as written, with smaller numbers."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guard.md"
SMALLER = (
    ("(100, 3, 64, 64)", "(16, 3, 32, 32)"),
    ("(50, 3, 64, 64)", "(8, 3, 32, 32)"),
    ("(8, 3, 64, 64)", "(3, 3, 32, 32)"),
    ("inverter_width=8, inverter_epochs=2", "inverter_width=2, inverter_epochs=1, rounds=1"),
    ("report=print", "report=None"),
)


def test_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torchvision")
    code = PAGE.read_text("utf-8").split("```python\n")[1].split("```")[0]
    for written, small in SMALLER:
        assert written in code, f"the example changed: {written}"
        code = code.replace(written, small)
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(compile(code, str(PAGE), "exec"), {"__name__": "page"})
    assert sorted(path.name for path in (tmp_path / "my-guard").iterdir()) == ["artifacts", "guard.json", "secret.json"]
