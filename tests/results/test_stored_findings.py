"""Findings of analyses in a store."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from midef.core.errors import DamagedFile
from midef.results.findings import Drawing, Findings, Panel, Series
from midef.results.stored_findings import StoredFindings, parse_findings, read_findings, write_findings
from midef.storage import Store


def stored(**changes: Any) -> StoredFindings:
    line = Series(name="cut", x=np.arange(2), y=[np.float64(0.5), math.nan], kind="dashes", low=(0.1, 0.2), high=(1, 2))
    drawing = Drawing(title="a<br>b", panels=[Panel(series=[line], x_title="rank", y_title="error", log_y=True)])
    findings = Findings(rows=[{"rank": np.int64(1), "error": math.nan}], verdict="half.", drawing=drawing)
    about: dict[str, Any] = {"name": "rank", "params": {"points": 3}, "sweep": "small", "sweep_digest": "a" * 64}
    about |= {"profile": "mini", "setup": "gmi", "seed": 0, "stand_ins": "", "findings": findings}
    return StoredFindings(**{**about, **changes})


def test_findings_come_back_with_their_figure(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    write_findings(store, stored())
    (found,) = read_findings(store)
    assert (found.name, found.params, found.findings.verdict) == ("rank", {"points": 3}, "half.")
    assert found.findings.rows == [{"rank": 1, "error": None}]
    assert list(found.findings.rows[0]) == ["rank", "error"], "columns keep their order"
    (panel,) = found.findings.drawing.panels
    (line,) = panel.series
    assert panel.log_y and (line.kind, line.x, line.low) == ("dashes", [0, 1], [0.1, 0.2])
    assert line.y[0] == 0.5 and math.isnan(line.y[1])


def test_the_same_question_is_stored_once_and_others_beside_it(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    for one in (stored(), stored(profile="small"), stored(params={"points": 4}), stored(sweep="b", sweep_digest="b")):
        write_findings(store, one)
    assert len(read_findings(store)) == 3
    assert [one.sweep for one in read_findings(store, "b")] == ["b"]


def test_what_is_damaged_is_named_and_passed_over(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    write_findings(store, stored())
    path = tmp_path / stored().path
    path.write_bytes(path.read_bytes().replace(b"half.", b"half!"))
    problems: list[str] = []
    assert read_findings(store, problems=problems) == []
    assert "its content does not match its checksum" in problems[0] and "run `midef analyse` again" in problems[0]


def test_findings_belong_to_their_name(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    write_findings(store, stored())
    content = store.location.get(stored().path)
    with pytest.raises(DamagedFile, match="it belongs to analyses/rank-"):
        parse_findings("analyses/other.json", content)
