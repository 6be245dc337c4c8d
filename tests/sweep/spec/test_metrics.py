"""Metrics of a sweep: the standard ones, those it names, and files they need."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from midef.core import SpecError
from midef.metrics import METRICS, chosen_metrics, standard_metrics
from midef.metrics.base import groups
from midef.results.compare import COMPARED
from midef.sweep.spec.resolve import resolve
from midef.sweep.spec.schema import SweepSpec

Spec = Callable[..., dict[str, Any]]


@pytest.fixture
def written(spec: Spec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., SweepSpec]:
    """The specification of these tests with other fields, where no weights are."""
    monkeypatch.setenv("MIDEF_WEIGHTS", str(tmp_path))
    return lambda **changes: SweepSpec.model_validate(spec(**changes))


def measured(planned: Any) -> list[str]:
    return sorted(planned.recipes.scores.params["metrics"])


def test_without_a_word_the_standard_ones_are_measured(written: Callable[..., SweepSpec]) -> None:
    sweep = resolve(written())
    assert measured(sweep.cells[0]) == standard_metrics()
    assert not any("metrics" in note for note in sweep.notes)
    kinds = {recipe.kind for recipe in sweep.cells[0].recipes.scores.walk()}
    assert not kinds & {"extractor", "student"}


def test_groups_and_names_are_measured_and_missing_files_noted_once(
    written: Callable[..., SweepSpec], tmp_path: Path
) -> None:
    sweep = resolve(written(metrics=["images", "coverage"]))
    assert measured(sweep.cells[0]) == sorted(["coverage", *COMPARED, *groups()["images"]])
    notes = [note for note in sweep.notes if note.startswith("metrics: ")]
    assert len(notes) == 2, "one line per file, whatever the number of setups and metrics"
    assert notes[0].startswith("metrics: ") and "fid, fid_ppa, kid" in notes[0]
    assert f"no file weights-inception-2015-12-05-6726825d.pth in {tmp_path}; get it from https://" in notes[0]
    assert "lpips, lpips_nearest will be refused: no file alexnet-owt-7be5be79.pth" in notes[1]


def test_students_are_planned_by_the_profile(written: Callable[..., SweepSpec]) -> None:
    cell = resolve(written(metrics=["extraction"])).cells[0]
    students = [recipe for recipe in cell.recipes.scores.walk() if recipe.kind == "student"]
    assert len(students) == 4 and {s.params["architecture"]["name"] for s in students} == {"resnet18_tiny"}
    assert {s.params["training"]["epochs"] for s in students} == {20}


def test_an_unknown_metric_is_answered_with_the_nearest(written: Callable[..., SweepSpec]) -> None:
    with pytest.raises(SpecError, match=r"metrics: no metric or group of metrics is called 'fidd'; did you mean 'fid'"):
        resolve(written(metrics="fidd"))


def test_all_means_every_metric_and_a_group_is_no_metric() -> None:
    assert chosen_metrics(["all"]) == METRICS.names()
    assert chosen_metrics(["standard", "queries", "faces"]) == sorted([*standard_metrics(), *groups()["faces"]])
    assert not set(groups()) & set(METRICS.names())
