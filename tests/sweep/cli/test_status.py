"""`midef status`."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from midef.core import Failure
from midef.storage import Store
from midef.sweep.catalogue import read_spec
from midef.sweep.cli import waiting
from midef.sweep.execution.prepare import prepare
from midef.sweep.execution.result_rows import lost_rows
from midef.sweep.spec.resolve import resolve

Midef = Callable[..., tuple[int, str, str]]


def test_status_counts_cells_and_artifacts(midef: Midef, finished: Path, store: Store) -> None:
    planned = resolve(read_spec(finished)).cells[1]
    store.results.write(planned.cell.digest, lost_rows("small", planned, Failure("bug", "it broke")))
    code, out, _ = midef("status", "--store", "store")
    assert code == 0
    assert max(map(len, out.splitlines()[:2])) <= 100
    assert (
        out.replace("\n    ", " ")
        .splitlines()[0]
        .endswith("store: 2 cells, 1 evaluator, 1 prior, 2 reconstructions, 1 regressor, 2 scores, 2 split, 2 target")
    )
    assert re.search(r"^[0-9a-f]{10}  small: 1 failed, 1 ok$", out, re.M)
    assert re.search(r"  failed: 1 cell \(faces\), bug: it broke\n  next: midef retry small@[0-9a-f]{10} --store ", out)
    found = json.loads(midef("status", "--store", "store", "--json")[1])["sweeps"][0]
    assert found["cells"] == {"ok": 1, "failed": 1} and found["driver"] is None
    assert found["causes"] == [{"cells": 1, "example": "it broke", "setups": ["faces"], "failure": "bug"}]


def test_status_counts_what_is_missing(midef: Midef, small: Path, store: Store) -> None:
    prepare(resolve(read_spec(small)), store)
    assert "small: 2 missing" in midef("status", "--store", "store")[1]


def test_watching_waits_for_a_plan_and_for_the_start_of_its_run(
    midef: Midef, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, waits = resolve(read_spec(small)), []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 1:
            prepare(sweep, Store.open(tmp_path / "later"))
        elif len(waits) == 3:
            monkeypatch.setattr(waiting, "STARTING_S", 0.0)

    monkeypatch.setattr(time, "sleep", wait)
    code, out, _ = midef("status", "--watch", "--store", tmp_path / "later")
    assert code == 0 and len(waits) == 3 and out.count("small: 2 missing") == 3
    assert out.startswith(f"no store at {tmp_path / 'later'} yet; waiting for `midef run` to plan it")
    assert midef("status", "--store", tmp_path / "nowhere")[0] == 3, "without --watch nothing waits"
