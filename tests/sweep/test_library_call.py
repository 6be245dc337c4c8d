"""A sweep as a library call: what it takes, what it gives back, and the example of the documentation."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import midef.results
import midef.sweep
from midef.core import ResultRow, SpecError, StoreError
from midef.metrics import standard_metrics
from midef.storage import Store
from midef.sweep.execution import tune_run
from midef.sweep.execution.outcome import Outcome
from midef.sweep.result import BUDGET_REACHED
from midef.sweep.spec.resolve import resolve
from midef.sweep.spec.schema import SweepSpec

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def data(spec: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    return spec(defenses=["none", "midre"])


@pytest.fixture
def built(data: dict[str, Any], publish_cell: Callable[..., None]) -> dict[str, Any]:
    """A sweep whose artifacts are stored and whose rows are not."""
    for planned in resolve(midef.sweep.load_spec(data)).cells:
        publish_cell(planned)
    return data


# --- what is taken ----------------------------------------------------------------------------------------------------


def test_a_mapping_a_file_and_a_specification_are_the_same_sweep(
    data: dict[str, Any], write_yaml: Callable[..., Path]
) -> None:
    path = write_yaml(data)
    loaded = [midef.sweep.load_spec(source) for source in (data, path, str(path), midef.sweep.load_spec(data))]
    assert len({resolve(spec).digest for spec in loaded}) == 1


def test_a_name_is_one_of_the_catalogue() -> None:
    assert midef.sweep.load_spec("smoke").name == "smoke"
    with pytest.raises(SpecError, match="unknown sweep 'smok'; did you mean 'smoke'"):
        midef.sweep.load_spec("smok")


@pytest.mark.parametrize("call", [midef.sweep.plan, midef.sweep.run, midef.sweep.match, midef.sweep.load_spec])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (42, "got 42, of type int"),
        (None, "got None, of type NoneType"),
        (3.5, "of type float"),
        (["a"], "of type list"),
        (b"smoke", r"got b'smoke', of type bytes"),
        (SweepSpec, "of type ModelMetaclass"),
    ],
)
def test_what_is_no_sweep_is_refused_by_its_type(
    call: Callable[..., Any], given: Any, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tune_run, "run_plan", lambda *args, **options: Outcome())
    with pytest.raises(SpecError, match=rf"or a SweepSpec; .*{said}"):
        call(given)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("overrides", ["seeds=[1]", b"seeds=[1]", [3], 3])
def test_changes_are_a_list_of_texts(data: dict[str, Any], overrides: Any) -> None:
    with pytest.raises(SpecError, match=r"overrides are a list of texts such as 'seeds=\[0, 1\]'; got"):
        midef.sweep.load_spec(data, overrides)


@pytest.mark.parametrize("store", [5, None, b"st", ["st"]])
@pytest.mark.parametrize("call", [midef.sweep.plan, midef.sweep.run])
def test_what_is_no_store_is_shown(
    call: Callable[..., Any], store: Any, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tune_run, "run_plan", lambda *args, **options: Outcome())
    with pytest.raises(StoreError, match=f"cannot use {re.escape(repr(store))} as a store; give a local path"):
        call(data, store)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("inside", ["", "below"])
def test_a_plan_and_a_run_refuse_a_file_as_a_store(data: dict[str, Any], tmp_path: Path, inside: str) -> None:
    (tmp_path / "file").write_text("mine")
    store = tmp_path / "file" / inside
    for call in (midef.sweep.plan, midef.sweep.run):
        with pytest.raises(StoreError, match=re.escape(str(store))):
            call(data, store)


def test_a_plan_opens_a_folder_that_cannot_be_read(
    data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # rights hold for root, too
    with pytest.raises(StoreError, match=re.escape(str(tmp_path))):
        midef.sweep.plan(data, tmp_path)


def test_overrides_change_a_copy(data: dict[str, Any]) -> None:
    before = deepcopy(data)
    overrides = ["seeds=[3]", "training.epochs=2"]
    changed = midef.sweep.load_spec({**data, "training": {}}, overrides)
    assert (changed.seeds, changed.training) == ([3], {"epochs": 2})
    again = midef.sweep.load_spec(midef.sweep.load_spec(data), overrides)
    assert again.seeds == [3] and data == before


# --- what comes back --------------------------------------------------------------------------------------------------


def test_planning_makes_no_store(data: dict[str, Any], tmp_path: Path) -> None:
    plan = midef.sweep.plan(data, tmp_path / "none")
    assert len(plan.cells) == 2 and not plan.done and plan.nodes
    assert "2 cells: 0 done, 2 to do" in midef.sweep.plan_text(plan)
    assert len(midef.sweep.plan(data, only=["defense=midre"]).cells) == 1
    assert not (tmp_path / "none").exists()


def test_a_sweep_to_match_is_neither_planned_nor_run(data: dict[str, Any], tmp_path: Path) -> None:
    for call in (midef.sweep.plan, midef.sweep.run):
        with pytest.raises(SpecError, match="is one for `midef match`"):
            call({**data, "match": {"target": 85}}, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_finished_sweep_has_its_cells_rows_and_table(built: dict[str, Any], store: Store) -> None:
    said: list[str] = []
    result = midef.sweep.run(built, store, say=said.append)
    assert said == ["wrote the rows of 2 cells whose scores were stored"]
    assert (result.cells, result.built, result.exit_code, result.is_complete) == ({"ok": 2}, 0, 0, True)
    rows = result.rows()
    assert len(rows) == 2 * len(standard_metrics()) and set(rows.defense) == {"none", "midre"}
    assert "midre" in result.table()
    assert {row["defense"] for row in csv.DictReader(io.StringIO(result.table("csv")))} == {"none", "midre"}
    pd.testing.assert_frame_equal(midef.results.read(store.uri), rows)


def test_a_metric_that_failed_is_a_failed_cell(
    data: dict[str, Any], store: Store, publish_cell: Callable[..., None]
) -> None:
    for planned in resolve(midef.sweep.load_spec(data)).cells:
        publish_cell(planned, failed="knn_distance")
    result = midef.sweep.run(data, store)
    assert (result.cells, result.exit_code, result.is_complete) == ({"failed": 2}, 1, False)
    rows = result.rows()
    assert set(rows[rows.metric == "knn_distance"].reason) == {"TooFewSamples: needs 2 images"}


def test_a_run_that_stopped_says_so_and_what_is_missing(
    data: dict[str, Any], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = Outcome(stopped=BUDGET_REACHED, built=3, gpu_hours=0.5)
    monkeypatch.setattr(tune_run, "run_plan", lambda *args, **given: outcome)
    result = midef.sweep.run(data, store)
    assert (result.stopped, result.exit_code, result.cells) == ("budget reached", 4, {"missing": 2})
    assert (result.built, result.gpu_hours) == (3, 0.5)
    matched = midef.sweep.match(data, store, target="none - 2", attack=False)
    assert (matched.stopped, matched.exit_code, matched.cells) == ("budget reached", 4, None)
    assert matched.matching is not None and matched.matching.sweep == "small"


def test_what_match_is_told_is_checked_before_there_is_a_store(data: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"match\.tolerance: "):
        midef.sweep.match(data, tmp_path / "none", tolerance=0)
    with pytest.raises(SpecError, match=r"front\.defense: unknown defense 'midree'"):
        midef.sweep.match(data, tmp_path / "none", front="midree")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"cells": {"ok": 3, "refused": 1}}, 0),
        ({"cells": {"ok": 3, "failed": 1}}, 1),
        ({"cells": {"ok": 3, "missing": 1}}, 1),
        ({"cells": {"ok": 3}, "undecided": ["midre on vgg16_tiny: diverged"]}, 1),
        ({"cells": None}, 0),
        ({"cells": {"failed": 1}, "stopped": BUDGET_REACHED}, 4),
        ({"cells": {"missing": 1}, "stopped": "interrupted"}, 130),
    ],
    ids=str,
)
def test_exit_codes(store: Store, fields: dict[str, Any], code: int) -> None:
    assert midef.sweep.SweepResult(name="small", store=store, **fields).exit_code == code


def test_rows_of_a_store(store: Store, tmp_path: Path) -> None:
    empty = midef.results.read(store)
    assert len(empty) == 0 and list(empty.columns) == list(ResultRow.__dataclass_fields__)
    with pytest.raises(SpecError, match="this store has no sweep 'small'"):
        midef.results.read(store, "small")
    with pytest.raises(StoreError, match="no midef store at"):
        midef.results.read(tmp_path / "none")


def test_importing_it_loads_nothing_heavy() -> None:
    program = (
        "import sys, midef.sweep, midef.results\n"
        "print({'torch', 'ray', 'numpy', 'pandas', 'pyarrow', 'optuna'} & set(sys.modules))\n"
        "midef.sweep.RunOptions, midef.sweep.SweepSpec, midef.sweep.plan_text\n"
        "print({'torch', 'ray'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("set()\nset()\n", "")


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'midef\.sweep' has no attribute 'runn'"):
        _ = midef.sweep.runn  # type: ignore[attr-defined]


# --- the documentation ------------------------------------------------------------------------------------------------


@pytest.mark.ray
@pytest.mark.slow
def test_the_example_of_the_documentation(tmp_path: Path) -> None:
    """docs/library.md up to its part without Ray, pasted into one notebook."""
    text = (ROOT / "docs" / "library.md").read_text(encoding="utf-8").split("## One cell, without Ray")[0]
    program = "\n".join(re.findall(r"```python\n(.*?)```", text, re.S))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "MIDEF_"))}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**environment, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert "2 cells: 0 done, 2 to do" in done.stdout and "{'ok': 2}" in done.stdout
    assert re.search(
        r"^none +\d+\.\d+\nmidre\(area_high=0.3\) +\d+\.\d+$|^midre\(area_high=0.3\) +\d+\.\d+\nnone", done.stdout, re.M
    )
    assert len(midef.results.read(tmp_path / "notebook-store")) == 2 * len(standard_metrics())
