"""Rows say which cell they are of; what could not be measured is a row with a reason."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest

from midef.core import Failure, MissingArtifact, StoreError
from midef.core.code_version import code_version
from midef.core.match import Match
from midef.metrics import METRICS, standard_metrics
from midef.storage import Store
from midef.sweep.execution import result_rows
from midef.sweep.execution.outcome import Outcome
from midef.sweep.execution.result_rows import RowWriter, lost_rows, measured_rows, refused_rows
from midef.sweep.spec.planned_cell import PlannedCell
from midef.sweep.spec.resolve import Sweep


@pytest.fixture
def planned(sweep_of: Callable[..., Sweep]) -> PlannedCell:
    sweep = sweep_of({"attack": {"name": "brep_mi", "patience": 10}}, defenses=["midre(area_high=0.3)+nls"], seeds=[4])
    return sweep.cells[0]


IDENTITY = {
    "sweep": "mine",
    "profile": "smoke",
    "setup": "faces",
    "defense": "midre(area_high=0.3)+nls",
    "defense_name": "stack",
    "attack": "brep_mi(patience=10)",
    "attack_name": "brep_mi",
    "access": "labels only",
    "architecture": "vgg16_tiny",
    "private": "synthetic_faces(identities=12,train_images=4)",
    "private_is_generated": True,
    "public": "synthetic_faces(population=public,identities=20,train_images=4)",
    "evaluator": "resnet18_tiny",
    "resolution_px": 32,
    "identities": 4,
    "images_per_identity": 2,
    "seed": 4,
    "origin": "measured",
    "code_version": code_version(),
}


def test_measured_rows_name_their_cell_and_its_artifacts(
    planned: PlannedCell, store: Store, publish_cell: Callable[..., None]
) -> None:
    publish_cell(planned)
    rows = measured_rows("mine", planned, store)
    assert [row.metric for row in rows] == standard_metrics()
    for row in rows:
        assert {name: getattr(row, name) for name in IDENTITY} == IDENTITY
        assert row.cell == planned.cell.digest
        assert row.target_key == str(planned.recipes.target.key)
        assert row.reconstructions_key == str(planned.recipes.reconstructions.key)
        assert row.scores_key == str(planned.recipes.scores.key)
        assert (row.evaluator_accuracy, row.queries, row.device) == (91.0, 24, "cpu test")
        assert (row.evaluator_low, row.evaluator_high) == (84.5, 95.0)
        assert row.select_images == 40
        assert (row.confidence_end, row.confidence_rise) == (0.4, None), "what the reconstructions know of the search"
        assert (row.wall_s, row.peak_memory_mb) == (1.0, 12.5)
    members = json.loads(rows[0].defense_params)["members"]
    assert [(m["name"], m["params"].get("area_high")) for m in members] == [("midre", 0.3), ("nls", None)]


@pytest.mark.parametrize(
    ("attack", "written", "said"),
    [
        ("brep_mi", {"victims": "train"}, ""),
        ("inversion_model", {}, "report"),
        ("inversion_model", {"victims": "train"}, "train"),
    ],
)
def test_rows_say_whose_observed_answers_are_inverted(
    attack: str, written: dict[str, str], said: str, sweep_of: Callable[..., Sweep]
) -> None:
    protocol = {"identities": 4, "images_per_identity": 2, **written}
    (cell,) = sweep_of({"attack": attack, "protocol": protocol}, defenses=["none"], seeds=[0]).cells
    assert {row.victims for row in lost_rows("mine", cell, Failure("bug", "lost"))} == {said}


def test_a_failed_metric_is_a_row_with_its_reason(
    planned: PlannedCell, store: Store, publish_cell: Callable[..., None]
) -> None:
    publish_cell(planned, failed="knn_distance")
    rows = {row.metric: row for row in measured_rows("mine", planned, store)}
    failed = rows.pop("knn_distance")
    assert (failed.status, failed.value, failed.reason) == ("failed", None, "TooFewSamples: needs 2 images")
    assert {(row.status, row.value, row.n) for row in rows.values()} == {("ok", 50.0, 8)}


def test_rows_of_a_cell_that_is_not_stored(planned: PlannedCell, store: Store) -> None:
    with pytest.raises(MissingArtifact, match=f"no complete artifact {planned.recipes.scores.key.short}"):
        measured_rows("mine", planned, store)


@pytest.mark.parametrize("status", ["failed", "refused"])
def test_a_lost_cell_has_every_metric_with_the_reason(
    planned: PlannedCell, status: Literal["failed", "refused"]
) -> None:
    rows = lost_rows("mine", planned, Failure("diverged", "target/12 failed: the loss became nan"), status=status)
    assert [row.metric for row in rows] == standard_metrics()
    for row in rows:
        said = (row.status, row.failure, row.reason)
        assert said == (status, "diverged", "target/12 failed: the loss became nan")
        assert row.value is None and row.cell == planned.cell.digest
        assert {name: getattr(row, name) for name in IDENTITY} == IDENTITY
        assert (row.unit, row.larger_is) == (METRICS.get(row.metric).unit, METRICS.get(row.metric).larger_is)
        assert row.column == METRICS.get(row.metric).column


MATCH = Match(target=88.2, tolerance=0.5, accuracy=88.4, seeds=3, is_matched=True)
MATCHINGS = {
    "nothing asked": (None, (False, None, None, None, None)),
    "matched": (MATCH, (True, 88.2, 0.5, 88.4, 3)),
    "not within the tolerance": (replace(MATCH, accuracy=84.1, is_matched=False), (False, 88.2, 0.5, 84.1, 3)),
}


@pytest.mark.parametrize(("match", "expected"), MATCHINGS.values(), ids=MATCHINGS)
def test_every_row_says_what_the_cell_was_matched_to(
    planned: PlannedCell,
    store: Store,
    publish_cell: Callable[..., None],
    match: Match | None,
    expected: tuple[Any, ...],
) -> None:
    matched = replace(planned, cell=replace(planned.cell, match=match))
    publish_cell(matched)
    rows = measured_rows("mine", matched, store)
    rows += lost_rows("mine", matched, Failure("bug", "broke"))
    rows += refused_rows("mine", replace(matched, refused="cannot work"))
    assert {row.status for row in rows} == {"ok", "failed", "refused"}
    for row in rows:
        said = (row.matched, row.match_target, row.match_tolerance, row.match_accuracy, row.match_seeds)
        assert said == expected
        assert row.cell == matched.cell.digest
    assert (matched.cell.digest == planned.cell.digest) == (match is None)


def test_rows_survive_the_store(planned: PlannedCell, store: Store) -> None:
    rows = lost_rows("mine", planned, Failure("bug", "broke"))
    store.results.write(planned.cell.digest, rows)
    assert store.results.read() == rows
    assert store.results.cells() == {planned.cell.digest: "failed"}


def some_cells(planned: PlannedCell, count: int) -> list[PlannedCell]:
    return [replace(planned, cell=replace(planned.cell, seed=100 + i)) for i in range(count)]


def files_of(store: Store) -> list[str]:
    return [path.split("/")[1].split("-")[0].removesuffix(".parquet")[:7] for path in store.location.files("results")]


def test_a_run_merges_the_files_of_many_cells(
    planned: PlannedCell, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_rows, "MOST_LOOSE", 3)
    monkeypatch.setattr(result_rows, "LOOSE_AFTER_RUN", 1)
    writer, cells = RowWriter("mine", store, Outcome()), some_cells(planned, 9)
    writer.write_lost(cells[:4], Failure("bug", "broke"))
    assert files_of(store).count("compact") == 0 and len(files_of(store)) == 4, "three, when it looked"
    writer.write_lost(cells[4:], Failure("bug", "broke"))
    assert files_of(store).count("compact") == 1 and len(files_of(store)) == 4, "six of them are merged"
    writer.end()
    assert files_of(store) == ["compact"] * 2
    assert sorted(store.results.cells()) == sorted(one.cell.digest for one in cells)


def test_a_run_that_cannot_merge_says_so_and_ends(
    planned: PlannedCell, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(most: int) -> int:
        raise StoreError("the disk is full")

    monkeypatch.setattr(store.results, "compact_when_many", full)
    RowWriter("mine", store, Outcome()).end()
    assert "the result files are not merged: the disk is full; `midef compact` does it" in caplog.text


def slow_rows(monkeypatch: pytest.MonkeyPatch, wait: threading.Event) -> None:
    """Rows are there once the store answers; those of seed 101 cannot be made, for seed 102 the store is full."""

    def read(sweep_name: str, planned: PlannedCell, store: Store) -> list[Any]:
        wait.wait(20)
        if planned.cell.seed == 101:
            raise ValueError("no such metric")
        if planned.cell.seed == 102:
            raise StoreError("store is full")
        return lost_rows(sweep_name, planned, Failure("bug", "none"))

    monkeypatch.setattr(result_rows, "measured_rows", read)


def test_rows_are_written_beside_who_asks(
    planned: PlannedCell, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The store answers only after all was asked for: whoever waited would wait for ever."""
    answers, outcome = threading.Event(), Outcome()
    slow_rows(monkeypatch, answers)
    monkeypatch.setattr(result_rows, "MOST_LOOSE", 7)
    writer, cells = RowWriter("mine", store, outcome, beside=True), some_cells(planned, 40)
    for cell in cells:
        writer.write_measured([cell])
    assert outcome.rows == 0 and not store.results.cells()
    answers.set()
    writer.end()
    assert outcome.rows == 38
    assert store.results.cells().keys() == {cell.cell.digest for cell in cells if cell.cell.seed not in (101, 102)}
    unwritten = next(cell.cell.digest[:10] for cell in cells if cell.cell.seed == 101)
    said = f"the rows of cell {unwritten} are not written (no such metric); the next run writes them"
    assert sorted(outcome.environment) == ["store is full", said]
    assert said in caplog.text and "ValueError" in caplog.text


def test_rows_are_written_before_a_plan_grows(
    planned: PlannedCell, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `beside` they are there when the call returns."""
    answers = threading.Event()
    answers.set()
    slow_rows(monkeypatch, answers)
    writer, cells = RowWriter("mine", store, Outcome()), some_cells(planned, 1)
    writer.write_measured(cells)
    assert store.results.cells().keys() == {cells[0].cell.digest}
