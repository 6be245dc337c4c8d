"""`midef retry`: the commands it prints, and those of `midef status`, can be pasted into a shell."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from midef.core import Failure
from midef.storage import Store
from midef.sweep.catalogue import read_spec
from midef.sweep.execution import tune_run
from midef.sweep.execution.outcome import Outcome
from midef.sweep.execution.prepare import prepare
from midef.sweep.execution.result_rows import lost_rows
from midef.sweep.spec.resolve import resolve

Midef = Callable[..., tuple[int, str, str]]


@pytest.fixture
def failed(spec: Callable[..., dict[str, Any]], write_yaml: Callable[..., Path], tmp_path: Path) -> Path:
    """A sweep in a file and a store with blanks and quotes in their names; one cell ran out of memory, one broke."""
    path = write_yaml(spec(defenses=["none", "midre"]), "my 'own' sweep.yaml")
    store = Store.open(tmp_path / "a store; $HOME")
    sweep = resolve(read_spec(path))
    prepare(sweep, store)
    for planned, failure in zip(sweep.cells, (Failure("oom", "no memory"), Failure("bug", "it broke")), strict=True):
        store.results.write(planned.cell.digest, lost_rows("small", planned, failure))
    return path


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Cells of every plan that is run; nothing is built."""
    plans: list[list[str]] = []

    def run_plan(plan: Any, *args: Any, **given: Any) -> Outcome:
        plans.append([c.cell.defense.name for node in plan.nodes.values() for c in node.cells])
        return Outcome()

    monkeypatch.setattr(tune_run, "run_plan", run_plan)
    return plans


def pasted(text: str) -> list[list[str]]:
    """Words of the commands in a text, as a shell reads them, without the name of the program."""
    lines = [line.strip().removeprefix("next: ") for line in text.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("midef ")]


def test_each_cell_has_a_command_that_runs_it_alone(midef: Midef, failed: Path, built: list[list[str]]) -> None:
    words = [failed, "--store", "a store; $HOME", "--set", "profile=smoke"]
    code, out, _ = midef("retry", *words, "--failed", "--dry-run")
    assert code == 0 and out.startswith("would retry 2 cells; ") and built == []
    commands = pasted(out)
    assert len(commands) == 2 and all("profile=smoke" in command for command in commands)
    for command in commands:
        midef(*command)
    assert built == [["none"], ["midre"]]


def test_the_hints_of_status_run(midef: Midef, failed: Path, built: list[list[str]]) -> None:
    commands = pasted(midef("status", "--store", "a store; $HOME")[1])
    assert len(commands) == 3, "all, those that broke, those out of memory"
    for command in commands:
        _, out, err = midef(*command)
        assert "retrying" in out, err
    assert built == [["none", "midre"], ["midre"], ["none"]]


def test_nothing_to_retry_and_wrong_filters(midef: Midef, failed: Path, built: list[list[str]]) -> None:
    words = [failed, "--store", "a store; $HOME", "--failed"]
    code, out, _ = midef("retry", *words, "--filter", "error=hung")
    assert code == 0 and out.startswith("nothing to retry: no failed cell") and built == []
    code, _, err = midef("retry", *words, "--filter", "defense=midr")
    assert code == 2 and "did you mean 'midre'" in err
    assert midef("retry", failed, "--store", "nowhere", "--failed")[0] == 3
