"""What is recorded of a sweep before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from midef.storage import Store
from midef.sweep.execution.prepare import prepare
from midef.sweep.planning.plan import Plan

SweepOf = Callable[..., Any]
States = Callable[[Plan], dict[str, str]]


def test_the_manifest_is_written_before_anything_runs(sweep_of: SweepOf, store: Store, extra_defenses: None) -> None:
    sweep = sweep_of(defenses=["none", "not_here"], seeds=[0, 1])
    prepare(sweep, store)
    manifest = store.sweeps.read_manifest(sweep.digest)
    assert {str(row["cell"]) for row in manifest.rows} == {c.cell.digest for c in sweep.cells}
    assert {row["refused"] for row in manifest.rows if row["defense"] == "not_here"} == {
        "needs a residual block; choose resnet18_tiny"
    }
    refused = [r for r in store.results.read() if r.status == "refused"]
    assert {r.defense for r in refused} == {"not_here"} and refused[0].reason.startswith("needs a residual block")
    assert '"seeds": [0, 1]' in manifest.spec_json


def test_damaged_scores_are_set_aside_and_planned_again(
    sweep_of: SweepOf, store: Store, publish_cell: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    sweep = sweep_of()
    publish_cell(sweep.cells[0])
    key = sweep.cells[0].recipes.scores.key
    folder = store.artifacts.fetch(key)
    (folder / "measurements.json").write_text("[]")
    plan = prepare(sweep, store)
    assert list(plan.nodes) == [key] and plan.rows_only == []
    assert f"artifact {key.short} is set aside" in caplog.text and "measurements.json" in caplog.text


def test_scores_whose_reconstructions_are_gone_are_planned_again(
    sweep_of: SweepOf, store: Store, publish_cell: Callable[..., None]
) -> None:
    import shutil

    sweep = sweep_of()
    publish_cell(sweep.cells[0])
    recipes = sweep.cells[0].recipes
    shutil.rmtree(store.artifacts.fetch(recipes.reconstructions.key))
    plan = prepare(sweep, store)
    assert set(plan.nodes) == {recipes.reconstructions.key, recipes.scores.key}
