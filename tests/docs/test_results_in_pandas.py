"""The notebook about results in pandas runs from its first cell to its last, on a store of made-up rows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy import stats

from midef.core.rows import ResultRow
from midef.storage import Store
from midef.storage.published import write_published

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "results_in_pandas.ipynb"
ATTACKED = {"none": [60.0, 70.0, 80.0], "midre": [30.0, 50.0, 40.0]}


def row(defense: str, seed: int, metric: str, value: float | None, **more: Any) -> ResultRow:
    name = f"{defense}{seed}"
    labels = dict.fromkeys(("defense_params", "attack", "attack_name", "access", "architecture", "public"), "x")
    return ResultRow(
        **{
            "sweep": "tiny",
            "profile": "smoke",
            "cell": name,
            "setup": "s",
            "defense": defense,
            "defense_name": defense,
        },
        **{**labels, "private": "p", "evaluator": "e", "resolution_px": 32, "identities": 4, "images_per_identity": 1},
        **{"seed": seed, "metric": metric, "value": value, "unit": "percent", "larger_is": "less private", **more},
    )


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the cells of the notebook left, one after another."""
    monkeypatch.chdir(tmp_path)
    store = Store.open("midef-store")
    cells = []
    for defense, values in ATTACKED.items():
        for seed, value in enumerate(values):
            lost = {"status": "failed", "reason": "TooFewSamples: needs 2 images"} if seed == 2 else {}
            rows = [
                row(defense, seed, "attack_accuracy_at_1", value),
                row(defense, seed, "natural_accuracy", 90.0),
                row(defense, seed, "fid", None if lost else 12.0, **lost),
            ]
            store.results.write(rows[0].cell, rows)
            cells.append({"cell": rows[0].cell})
    store.sweeps.write_manifest("abcd", cells, '{"name": "tiny"}')
    paper = replace(row("midre", 0, "attack_accuracy_at_1", 38.2), origin="published", source="Table 3", seed=None)
    write_published(store, [paper])
    names: dict[str, Any] = {}
    for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    return names


def test_every_cell_runs_and_says_what_the_page_says(ran: dict[str, Any], tmp_path: Path) -> None:
    assert len(ran["rows"]) == 18 and ran["states"].loc["fid"].to_dict() == {"failed": 2, "ok": 4}
    assert set(ran["lost"].reason) == {"TooFewSamples: needs 2 images"}
    summary = ran["summary"].loc[("s", "midre")]
    assert (summary["mean"], summary["count"]) == (40.0, 3)
    assert summary["half_width"] == pytest.approx(stats.t.interval(0.95, 2, 40.0, 10.0 / 3**0.5)[1] - 40.0)
    assert ran["drop"]["midre"].tolist() == [30.0, 20.0, 40.0]  # none minus midre, seed by seed
    assert ran["beside"]["value_published"].tolist() == [38.2] * 3
    assert len(pd.read_csv(tmp_path / "tiny.csv")) == 18


def test_it_is_a_notebook_without_results_of_one_machine() -> None:
    made = json.loads(NOTEBOOK.read_text("utf-8"))
    assert (made["nbformat"], made["nbformat_minor"]) == (4, 5)
    assert all(cell["outputs"] == [] for cell in made["cells"] if cell["cell_type"] == "code")
    assert len({cell["id"] for cell in made["cells"]}) == len(made["cells"])
