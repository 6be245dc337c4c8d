"""Runs an entry script without running a sweep."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable

import pytest

from midef.sweep.cli import app


@pytest.fixture
def passed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """What `midef` is called with, for arguments of the script under test (the module's `SCRIPT`) and variables."""
    for name in ("MIDEF_SWEEP", "MIDEF_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    called: list[list[str]] = []

    def main(arguments: list[str]) -> int:
        called.append(arguments)
        return 7

    monkeypatch.setattr(app, "main", main)

    def call(*given: str, **variables: str) -> list[str]:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", [str(request.module.SCRIPT), *given])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(request.module.SCRIPT, run_name="__main__")
        assert ended.value.code == 7
        return called[-1]

    return call
