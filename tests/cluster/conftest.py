"""Calls an entry script without running anything."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable

import pytest

from midef.sweep.cli import app


@pytest.fixture
def passed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """What `midef` is called with, for arguments of the script under test (the module's `SCRIPT`) and variables."""
    path = request.module.SCRIPT
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
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
        assert script.main(given) == 7
        return called[-1]

    return call
