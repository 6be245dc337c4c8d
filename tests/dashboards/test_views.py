"""Data of the views: published numbers, runs, analyses, definitions; and pages over several stores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from midef.core import ResultRow, SpecError
from midef.core.recipe import ArtifactKey
from midef.dashboards.build import build, build_page
from midef.dashboards.reference import Reference
from midef.dashboards.sources import read_sources
from midef.dashboards.views.base import Plan, Shown
from midef.dashboards.views.definitions import as_yaml, definitions_data
from midef.dashboards.views.published import published_data
from midef.dashboards.views.runs import runs_data
from midef.dashboards.views.sheet import Sheet, SheetColumn, numbers, words
from midef.results.findings import Drawing, Findings, Panel, Series
from midef.results.stored_findings import StoredFindings, write_findings
from midef.results.summary import summarise
from midef.storage import Store
from midef.storage.logs import PieceLog
from midef.storage.published import write_published
from midef.storage.results import ResultStore

Row = Callable[..., ResultRow]
Cell = Callable[..., list[ResultRow]]
KEY = ArtifactKey("target", "ab" * 32)


def shown(rows: list[ResultRow], **given: Any) -> Shown:
    facts: dict[str, Any] = {"rows": rows, "summaries": summarise(rows), "names": {}, "setups": [], "published": []}
    facts |= {
        "header": None,
        "matchings": (),
        "store_name": "my store",
        "stores": [],
        "fetch": None,
        "out": Path(),
        "utility": "",
    }
    return Shown(**{**facts, "with_private_exemplars": False, **given})


def by_key(sheet: Sheet) -> dict[str, list[Any]]:
    """Values of each column, words that repeat put back."""
    return {
        column.key: [column.texts[value] if column.texts and value is not None else value for value in column.values]  # type: ignore[index]
        for column in sheet.columns
    }


def failed(row: Row, cell: str, failure: str, reason: str, **changes: Any) -> ResultRow:
    return row("natural_accuracy", None, cell=cell, status="failed", failure=failure, reason=reason, **changes)


def test_words_that_repeat_are_written_once() -> None:
    column = words("a", "a", ["x", "y", None, "x", "y", "x"])
    assert (column.values, column.texts) == ((0, 1, None, 0, 1, 0), ("x", "y"))
    assert words("a", "a", ["x", "y", "z"]).texts == ()
    with pytest.raises(ValueError, match="one length"):
        Sheet(name="n", caption="c", columns=(numbers("a", "a", [1.0]), SheetColumn(key="b", header="b", values=())))


def test_every_cell_is_listed_and_what_failed_comes_first(row: Row) -> None:
    rows = [
        row("natural_accuracy", 90.0, cell="c" * 64, wall_s=12.0),
        failed(row, "f" * 64, "oom", "no memory", seed=1),
    ]
    cells = [{"cell": "d" * 64, "setup": "faces32-gmi", "defense": "bido", "seed": 4}]
    data = runs_data(shown(rows, plans=[Plan("first-look", "{}", cells, "its store")]))
    assert data.counts == (("failed", 1), ("missing", 1), ("ok", 1))
    table = by_key(data.sheet)
    assert table["cell"] == ["f" * 10, "d" * 10, "c" * 10]
    assert (table["seed"], table["attack_s"]) == ([1, 4, 0], [None, None, 12.0])
    again = f"midef retry first-look --store 'its store' --failed --filter cell={'f' * 10}"
    assert table["retry"] == [again, None, None]
    assert by_key(data.causes)["retry"] == [again]
    assert [kind for kind, _ in data.kinds] == ["oom"]


def test_many_cells_of_one_kind_are_retried_by_their_kind(row: Row) -> None:
    rows = [failed(row, f"{i:064x}", "died", "the process died", seed=i) for i in range(25)]
    (command,) = by_key(runs_data(shown(rows)).causes)["retry"]
    assert command == "midef retry first-look --store 'my store' --failed --filter error=died"


def test_a_failed_cell_has_the_end_of_its_log(row: Row, tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    for attempt in range(2):
        log = PieceLog(store.location, KEY, what="target none", device="cpu")
        with pytest.raises(ValueError, match="got 3"), log:
            raise ValueError(f"got 3 of {attempt}")
    rows = [failed(row, "f" * 64, "bug", f"{KEY.short} failed: ValueError: got 3")]
    data = runs_data(shown(rows, stores=[store]))
    assert "ValueError: got 3 of 1" in data.logs["f" * 10] and "Traceback" in data.logs["f" * 10]
    table = by_key(data.sheet)
    assert (table["stage"], table["retries"]) == (["target"], [1]) and table["node"][0]


def test_published_numbers_are_counted_by_verdict(row: Row, publication: Row) -> None:
    rows = [row("attack_accuracy_at_1", 50.0, profile="paper", low=45.0, high=55.0)]
    papers = [
        publication("attack_accuracy_at_1", value, setup="faces32-gmi", source="MIDRE, Tab.B.2")
        for value in (46.0, 60.0)
    ]
    papers += [publication("trade_off_delta", 1.0, setup="faces32-gmi"), publication("fid", 1.0, setup="elsewhere")]
    data = published_data(shown(rows, published=papers))
    counts = {name: count for name, _, count in data.verdicts}
    assert counts == {"agrees": 1, "differs": 1, "not comparable": 0, "not run": 0}
    table = by_key(data.sheet)
    assert table["verdict"] == ["agrees", "differs"] and table["source"] == ["MIDRE, Tab.B.2"] * 2
    assert "1 published values that follow from others" in data.notes[0] and "1 published numbers are" in data.notes[1]


def test_a_specification_says_no_folder_of_the_machine() -> None:
    spec = {"name": "mine", "private": {"path": "/home/ada/faces.zip", "title": "a/b", "licence": ""}, "seeds": [0, 1]}
    text = as_yaml(spec)
    assert "/home" not in text and "ada" not in text
    assert yaml.safe_load(text) == {
        "name": "mine",
        "private": {"path": ".../faces.zip", "title": "a/b"},
        "seeds": [0, 1],
    }


def test_definitions_name_what_is_on_the_page(row: Row) -> None:
    spec = {
        "name": "s",
        "profile": "mini",
        "setups": [{"private": {"name": "image_folder", "title": "Us", "consent": "all"}}],
    }
    rows = [row("natural_accuracy", 9.0, private="image_folder(path=a)", reconstructions_key=str(KEY), device="cpu")]
    data = definitions_data(shown(rows, plans=[Plan("s", json.dumps(spec), [], "")], reference=Reference()))
    assert by_key(data.metrics)["metric"] == ["natural_accuracy"]
    table = by_key(data.datasets)
    assert dict(zip(table["title"], table["consent"], strict=True)) == {"Us": "all", "synthetic_faces": "unknown"}
    assert "evaluator_accuracy" in by_key(data.dictionary)["name"]
    assert by_key(data.provenance)["cells"] == ["1"] and data.specifications[0][0] == "s, profile mini"


def test_the_page_has_the_bibtex_of_what_it_shows_and_of_nothing_else(row: Row, publication: Row) -> None:
    papers = {kind: {} for kind in ("attack", "prior", "defense", "architecture", "dataset", "metric")}
    papers["defense"] = {"bido": "Peng et al., KDD 2022", "midre": "MIDRE", "none": "baseline", "tl_dmi": "TL-DMI"}
    papers["prior"] = {"dcgan": "A and B, XYZ 2031"}
    rows = [row("natural_accuracy", 9.0, defense="stack(bido, midre)", attack="gmi(prior=dcgan)", defense_name="stack")]
    theirs = [
        publication("natural_accuracy", 1.0, setup="faces32-gmi", defense_name="stack", source="C and D, 2033, Tab. 1"),
        publication("natural_accuracy", 1.0, setup="elsewhere", defense_name="stack", source="E and F, 2034, Tab. 1"),
    ]
    text = definitions_data(shown(rows, published=theirs, reference=Reference(papers=papers))).bibtex
    for key in ("peng2022bido", "tran2025midre", "a-and-b-xyz-2031", "c-and-d-2033-tab-1", "midef"):
        assert f"{{{key},\n" in text
    assert "ho2024tldmi" not in text and "2034" not in text


def a_store(root: Path, rows: list[ResultRow], sweep: str) -> Store:
    store = Store.open(root)
    by_cell: dict[str, list[ResultRow]] = {}
    for one in rows:
        by_cell.setdefault(one.cell, []).append(one)
    for cell, of_cell in by_cell.items():
        store.results.write(cell, of_cell)
    store.sweeps.write_manifest(f"digest{sweep}", [{"cell": cell} for cell in by_cell], json.dumps({"name": sweep}))
    return store


def test_a_page_over_stores_and_sweeps_tells_them_apart(
    row: Row, publication: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = a_store(tmp_path / "one", [row("natural_accuracy", 90.0, cell="aa", sweep="x")], "x")
    a_store(tmp_path / "two", [row("natural_accuracy", 80.0, cell="bb", sweep="x")], "x")
    a_store(tmp_path / "three", [row("natural_accuracy", 70.0, cell="cc", sweep="y")], "y")
    write_published(one, [publication("natural_accuracy", 86.9)])
    uris = [str(tmp_path / name) for name in ("one", "two", "three")]
    reads: list[Any] = []
    real = ResultStore.read_encoded
    monkeypatch.setattr(ResultStore, "read_encoded", lambda *given: (reads.append(given[1]), real(*given))[1])
    found = read_sources(uris)
    assert reads == [{"aa"}, {"bb"}, {"cc"}], "only the rows of the sweep are made into objects, and once"
    assert [(r.sweep, r.value) for r in found.rows] == [("x (one)", 90.0), ("x (two)", 80.0), ("y", 70.0)]
    assert [plan.sweep for plan in found.plans] == ["x (one)", "x (two)", "y"]
    assert (found.name, found.unfinished, len(found.published)) == ("one, two, three", 0, 1)
    assert [r.sweep for r in read_sources(uris, ["y"]).rows] == ["y"]
    with pytest.raises(SpecError, match="this store has no sweep 'z'"):
        read_sources(uris, ["x", "z"])


def test_analyses_of_the_store_are_a_view(cell: Cell, shelf: Any, tmp_path: Path) -> None:
    store = a_store(tmp_path / "store", cell("none"), "first-look")
    without = build_page(cell("none"), shelf.fetch, tmp_path / "without", store_name="s", stores=[store])
    assert not (without.index.parent / "data" / "analyses.js").exists()
    line = Series(name="<b>a</b>", x=[1, 2], y=[3.0, 4.0])
    drawing = Drawing(title="t", panels=[Panel(series=[line], x_title="x", y_title="y")])
    findings = Findings(rows=[{"rank": 1, "error": 0.25, "head": None}], verdict="half.", drawing=drawing)
    about: dict[str, Any] = {"name": "rank", "params": {"points": 3}, "sweep": "first-look", "sweep_digest": "d"}
    about |= {"profile": "mini", "setup": "gmi", "seed": 0, "stand_ins": "a for b"}
    write_findings(store, StoredFindings(**about, findings=findings))
    page = build(str(tmp_path / "store"), tmp_path / "page")
    text = (page.index.parent / "data" / "analyses.js").read_text()
    (one,) = json.loads(text.removeprefix('MIDEF.put("analyses", ').removesuffix(");\n"))["analyses"]
    assert (one["title"], one["verdict"]) == ("rank(points=3)", "half.") and "stands in: a for b" in one["stamp"]
    assert one["command"] == "midef analyse 'rank(points=3)' first-look"
    assert [(c["key"], c["digits"], c["values"]) for c in one["sheet"]["columns"]] == [
        ("rank", 0, [1]),
        ("error", 4, [0.25]),
        ("head", None, [None]),
    ]
