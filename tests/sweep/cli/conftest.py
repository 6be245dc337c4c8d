"""What the tests of every verb share: the command run here, a small sweep, and no Ray."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from midef.storage import Store
from midef.sweep.catalogue import read_spec
from midef.sweep.cli.app import main
from midef.sweep.execution import tune_run
from midef.sweep.execution.prepare import prepare
from midef.sweep.spec.resolve import resolve

Yaml = Callable[..., Path]


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing here may start Ray; stores are made in a folder of the test."""

    def start(*args: Any, **given: Any) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(tune_run, "start_ray", start)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def midef(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command here: exit code, standard output, standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def small(spec: Callable[..., dict[str, Any]], write_yaml: Yaml) -> Path:
    return write_yaml(spec(defenses=["none", "midre"]))


@pytest.fixture
def finished(small: Path, store: Store, publish_cell: Callable[..., None]) -> Path:
    """A sweep all of whose cells are done."""
    sweep = resolve(read_spec(small))
    for planned in sweep.cells:
        publish_cell(planned)
    prepare(sweep, store)
    return small
