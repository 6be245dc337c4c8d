"""`midef status`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from midef.core import Failure
from midef.storage import Store
from midef.sweep.catalogue import read_spec
from midef.sweep.execution.prepare import prepare
from midef.sweep.execution.result_rows import lost_rows
from midef.sweep.spec.resolve import resolve

Midef = Callable[..., tuple[int, str, str]]


def test_status_counts_cells_and_artifacts(midef: Midef, finished: Path, store: Store) -> None:
    planned = resolve(read_spec(finished)).cells[1]
    store.results.write(planned.cell.digest, lost_rows("small", planned, Failure("bug", "it broke")))
    code, out, _ = midef("status", "--store", "store")
    assert code == 0
    assert out.splitlines()[0].endswith(
        "store: 2 cells, 1 evaluator, 1 prior, 2 reconstructions, 1 regressor, 2 scores, 2 split, 2 target"
    )
    assert re.search(r"^[0-9a-f]{10}  small: 1 failed, 1 ok$", out, re.M)
    assert re.search(
        r"  failed: 1 cells \(faces\), bug: it broke\n  next: midef retry small@[0-9a-f]{10} --store ", out
    )
    found = json.loads(midef("status", "--store", "store", "--json")[1])["sweeps"][0]
    assert found["cells"] == {"ok": 1, "failed": 1} and found["driver"] is None
    assert found["causes"] == [{"cells": 1, "example": "it broke", "setups": ["faces"], "failure": "bug"}]


def test_status_counts_what_is_missing(midef: Midef, small: Path, store: Store) -> None:
    prepare(resolve(read_spec(small)), store)
    assert "small: 2 missing" in midef("status", "--store", "store")[1]
