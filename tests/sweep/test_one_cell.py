"""Cells that the library builds one by one: their rows are stored, and whatever shows rows shows them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import midef.stages
import midef.sweep
from midef.core import Recipe
from midef.core.errors import SpecError
from midef.results import read
from midef.stages import BuildContext
from midef.storage import Store
from midef.storage.addresses import stored_sweeps
from midef.sweep.result import results_table
from midef.sweep.spec.resolve import Sweep


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch, publish: Callable[..., None]) -> list[str]:
    """Building stores made-up artifacts; a target that is to fail is put first in the list. Gains the kinds built."""
    kinds: list[str] = []

    def build(recipe: Recipe, context: BuildContext) -> Path:
        if "fail" in kinds:
            raise MemoryError("no room")
        for needed in recipe.walk():
            if not context.store.artifacts.has(needed.key):
                kinds.append(needed.kind)
                publish(needed)
        return Path()

    monkeypatch.setattr(midef.stages, "ensure", build)
    return kinds


@pytest.fixture
def call(sweep_of: Callable[..., Sweep], store: Store) -> Callable[..., Any]:
    """Builds the cell of a small setup under a defense."""
    (entry,) = sweep_of().entries

    def ensure(defense: str = "none", **more: Any) -> Any:
        training = {"training": entry.training, "evaluator_training": entry.evaluator_training}
        return midef.sweep.ensure(entry.setup, defense, **training, **{"store": store, **more})

    return ensure


def test_rows_are_stored_and_shown(call: Callable[..., Any], built: list[str], store: Store) -> None:
    rows = call()
    assert {row.status for row in rows} == {"ok"} and rows[0].sweep == "library"
    assert store.results.read() == rows and built.count("scores") == 1
    call("midre", seed=3)
    table = results_table(store, "library")
    assert "midre" in table and "none" in table
    assert sorted(read(store, "library").seed.unique()) == [0, 3]
    (plan,) = stored_sweeps(store)
    assert (plan.name, len(plan.manifest.rows)) == ("library", 2)


def test_the_same_call_builds_and_writes_nothing(call: Callable[..., Any], built: list[str], store: Store) -> None:
    first = call()
    del built[:]
    before = {path: path.stat().st_mtime_ns for path in Path(store.uri).rglob("*") if path.is_file()}
    assert call() == first and built == []
    assert before == {path: path.stat().st_mtime_ns for path in Path(store.uri).rglob("*") if path.is_file()}


def test_a_failure_is_stored_and_raised_and_mended_later(
    call: Callable[..., Any], built: list[str], store: Store
) -> None:
    built.append("fail")
    with pytest.raises(MemoryError, match="no room"):
        call()
    assert {(row.status, row.failure) for row in store.results.read()} == {("failed", "oom")}
    del built[:]
    assert {row.status for row in call()} == {"ok"} == {row.status for row in store.results.read()}


def test_a_defense_that_cannot_work_is_stored_as_refused(
    call: Callable[..., Any], built: list[str], store: Store, extra_defenses: None
) -> None:
    with pytest.raises(SpecError, match="not_here: needs a residual block"):
        call("not_here")
    assert {row.status for row in store.results.read()} == {"refused"} and built == []


def test_what_is_refused(call: Callable[..., Any], built: list[str], store: Store) -> None:
    with pytest.raises(SpecError, match=r"a name has letters, digits, \. _ and - in it, got 'a/b'"):
        call(name="a/b")
    with pytest.raises(SpecError, match="the store is given twice"):
        call(context=BuildContext(store=store))
    store.sweeps.write_manifest("abcd", [{"cell": "c"}], '{"name": "tiny"}')
    with pytest.raises(SpecError, match=r"a sweep of this store is called 'tiny' \(tiny@abcd\); give another name"):
        call(name="tiny")
    with pytest.raises(SpecError, match="unknown defense 'midree'; did you mean 'midre'"):
        call("midree")
    assert built == [] and store.results.cells() == {}
