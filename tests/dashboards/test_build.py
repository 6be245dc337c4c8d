"""The folder that is built: files, privacy, reconstructions, damaged input. No browser needed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from midef.core import ArtifactKey, DamagedArtifact, Recipe, ResultRow, SpecError, StoreError
from midef.core.match import MatchReport
from midef.dashboards.build import BuildReport, build, build_page
from midef.dashboards.files import PAGE, POLICY, piece, scripts
from midef.dashboards.frame_data import Head, Header, Named, Page, Tab
from midef.dashboards.page_data import (
    Column,
    Grid,
    Match,
    Matching,
    Row,
    Setup,
    Spark,
    Strip,
)
from midef.dashboards.views.base import Plan
from midef.storage import Store
from midef.storage.matches import write_match
from midef.storage.published import write_published

Cell = Callable[..., list[ResultRow]]


def pieces_of(out: Path) -> dict[str, Any]:
    """What each file of `data/` puts, by the name it has there."""
    found = {}
    for path in (out / "data").glob("*.js"):
        name, data = json.loads(f"[{path.read_text().removeprefix('MIDEF.put(').rstrip().removesuffix(');')}]")
        assert name == path.stem
        found[name] = data
    return found


def page_of(report: BuildReport) -> dict[str, Any]:
    """The page with all its pieces, as it is when everything has been shown."""
    text = (report.index.parent / "data.js").read_text()
    found: dict[str, Any] = json.loads(text.removeprefix("window.MIDEF = ").rstrip().removesuffix(";"))
    pieces = pieces_of(report.index.parent)
    for setup in found["setups"]:
        data = pieces[setup["piece"]]
        setup.update(data)
    (matching,) = pieces.get("matching", {"matchings": [None]})["matchings"]
    return {**found, **pieces, "matching": matching}


def data_of(out: Path) -> str:
    """Text of all data of a page."""
    return "".join(path.read_text() for path in (out / "data.js", *sorted((out / "data").glob("*.js"))))


def pixels(report: BuildReport, strip: dict[str, Any]) -> np.ndarray:  # type: ignore[type-arg]
    return np.asarray(Image.open(report.index.parent / strip["file"]).convert("RGB"))


def test_the_report_counts_what_is_there(shared: Any, tmp_path: Path) -> None:
    report = build_page(shared[1], shared[0].fetch, tmp_path / "page", store_name="store")
    files = [p for p in (tmp_path / "page").rglob("*") if p.is_file()]
    assert {p.name for p in files} >= {"index.html", "plotly.min.js", "data.js"}
    assert (report.files, report.bytes) == (len(files), sum(p.stat().st_size for p in files))
    assert (report.rows, report.warnings) == (len(shared[1]), ())
    assert report.index == tmp_path / "page" / "index.html"
    header = page_of(report)["header"]
    assert (header["ok"], header["failed"], header["refused"], header["missing"]) == (23, 2, 1, 2)
    assert (header["sweep"], header["profile"], header["store"]) == ("first-look", "smoke", "store")


def test_the_page_allows_nothing_from_outside(shared: Any, tmp_path: Path) -> None:
    report = build_page(shared[1], shared[0].fetch, tmp_path, store_name="store")
    html = report.index.read_text()
    assert f'http-equiv="Content-Security-Policy" content="{POLICY}"' in html
    assert "connect-src 'none'" in POLICY and "default-src 'none'" in POLICY
    for word in ("http://", "https://", "cdn.plot.ly", "jsdelivr", "unpkg", "{{"):
        assert word not in html + data_of(tmp_path)
    assert "showSendToCloud: false" in html and "displaylogo: false" in html


def test_reconstructions_are_the_first_identities_first_restart(cell: Cell, shelf: Any, tmp_path: Path) -> None:
    rows = cell("none")
    key = ArtifactKey.parse(rows[0].reconstructions_key)
    order = np.random.default_rng(0).permutation(20)  # stored in any order
    labels, restarts = np.repeat(np.arange(10) * 3, 2)[order], np.tile([4, 1], 10)[order]
    images = np.zeros((20, 3, 8, 8), np.uint8) + (labels * 4 + restarts).astype(np.uint8)[:, None, None, None]
    hits = labels % 2 == 0
    shelf.put(key, "images.npz", images=images, labels=labels, restarts=restarts)
    shelf.put(
        ArtifactKey.parse(rows[0].scores_key), "per_image.npz", labels=labels, restarts=restarts, hit_at_1=hits,
        hit_at_5=hits,
    )  # fmt: skip
    report = build_page(rows, shelf.fetch, tmp_path, store_name="store")
    grid = page_of(report)["setups"][0]["grid"]
    expected = [3 * i for i in range(8)]
    assert grid["labels"] == expected
    assert "first 8 attacked identities" in grid["rule"]
    (strip,) = grid["strips"]
    assert strip["marks"] == ["hit" if label % 2 == 0 else "miss" for label in expected]
    shown = pixels(report, strip)
    assert shown.shape == (8, 64, 3)
    assert [int(shown[4, 8 * i + 4, 0]) for i in range(8)] == [4 * label + 1 for label in expected]


def test_every_defense_shows_the_same_identities(cell: Cell, shelf: Any, tmp_path: Path) -> None:
    rows = cell("none") + cell("bido")
    few = ArtifactKey.parse(rows[-1].reconstructions_key)
    images = np.full((2, 3, 8, 8), 9, np.uint8)
    shelf.put(few, "images.npz", images=images, labels=np.array([5, 1]), restarts=np.array([0, 0]))
    report = build_page(rows, shelf.fetch, tmp_path, store_name="store")
    setup = page_of(report)["setups"][0]
    assert setup["grid"]["labels"] == list(range(8))
    marks = setup["grid"]["strips"][1]["marks"]
    # The scores still speak of the 180 images that were there before.
    assert marks == ["unknown" if label in (1, 5) else "absent" for label in range(8)]
    assert report.warnings == (
        "faces32-gmi, bido: scores are of other images than the reconstructions, successes are unknown",
    )


def test_all_defenses_show_the_seed_they_share(cell: Cell, shelf: Any, tmp_path: Path) -> None:
    rows = cell("none", 0) + cell("none", 1) + cell("bido", 1)
    report = build_page(rows, shelf.fetch, tmp_path, store_name="store")
    grid = page_of(report)["setups"][0]["grid"]
    assert "seed 1" in grid["rule"]
    assert [s["title"] for s in grid["strips"]] == ["none", "bido"]


def private_reads(shelf: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of private files read from now on."""
    seen: list[str] = []
    real = np.load

    def spy(file: Any, *args: Any, **kwargs: Any) -> Any:
        if "exemplars" in str(file):
            seen.append(str(file))
        return real(file, *args, **kwargs)

    monkeypatch.setattr(np, "load", spy)
    return seen


def test_private_images_of_people_are_not_even_read(
    cell: Cell, shelf: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = private_reads(shelf, monkeypatch)
    rows = cell("none", private="image_folder(path=synthetic_faces)")
    report = build_page(rows, shelf.fetch, tmp_path, store_name="store")
    page = page_of(report)
    assert seen == []
    assert page["setups"][0]["grid"]["private"]["file"] == ""
    assert page["setups"][0]["grid"]["private"]["reason"].startswith("withheld")
    assert not page["exposes_private"]
    assert not list(tmp_path.rglob("*private*"))


def test_private_images_are_shown_when_asked_for_and_the_page_says_so(
    cell: Cell, shelf: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = private_reads(shelf, monkeypatch)
    rows = cell("none", private="lfw")
    out = tmp_path / "page"
    report = build_page(rows, shelf.fetch, out, store_name="store", with_private_exemplars=True)
    assert len(seen) == 1
    assert page_of(report)["exposes_private"]
    assert "do not publish it" in report.warnings[0]
    assert len(list((out / "img").glob("private-*.webp"))) == 3, "three blocks of identities"
    again = build_page(rows, shelf.fetch, out, store_name="store")
    assert not list((out / "img").glob("*private*"))  # a later public build leaves nothing behind
    assert again.warnings == ()


def test_a_rebuild_leaves_files_of_others_alone(cell: Cell, shelf: Any, tmp_path: Path) -> None:
    mine = tmp_path / "img" / "holiday.webp"
    mine.parent.mkdir()
    mine.write_bytes(b"x")
    build_page(cell("none"), shelf.fetch, tmp_path, store_name="store")
    assert mine.read_bytes() == b"x"


@pytest.mark.parametrize(
    "private", ["synthetic_faces", "synthetic_faces(identities=200)", "synthetic_faces:easy(difficulty=0.1)"]
)
def test_generated_faces_are_nobody(cell: Cell, shelf: Any, tmp_path: Path, private: str) -> None:
    report = build_page(cell("none", private=private), shelf.fetch, tmp_path, store_name="store")
    page = page_of(report)
    assert page["setups"][0]["grid"]["private"]["marks"] == ["private"] * 8
    assert not page["exposes_private"]


@pytest.mark.parametrize(
    ("private", "is_generated", "is_shown"),
    [("somebodys_drawings", True, True), ("synthetic_faces", False, False), ("somebodys_photos", None, False)],
    ids=["drawn", "photos", "not told"],
)
def test_rows_tell_whether_private_images_show_nobody(
    cell: Cell, shelf: Any, tmp_path: Path, private: str, is_generated: bool | None, is_shown: bool
) -> None:
    rows = cell("none", private=private, private_is_generated=is_generated)
    report = build_page(rows, shelf.fetch, tmp_path, store_name="store")
    assert bool(page_of(report)["setups"][0]["grid"]["private"]["file"]) is is_shown


@pytest.mark.parametrize("how", ["missing", "damaged", "not an archive", "wrong arrays"])
def test_unreadable_reconstructions_are_a_reason_and_a_warning(
    cell: Cell, shelf: Any, tmp_path: Path, how: str
) -> None:
    rows = cell("none") + cell("bido")
    key = ArtifactKey.parse(rows[-1].reconstructions_key)

    def fetch(wanted: ArtifactKey) -> Path:
        if how == "damaged" and wanted == key:
            raise DamagedArtifact("checksum of images.npz differs")
        return Path(shelf.fetch(wanted))

    if how == "missing":
        (shelf.fetch(key) / "images.npz").unlink()
    elif how == "not an archive":
        (shelf.fetch(key) / "images.npz").write_bytes(b"PK\x03\x04 not really")
    elif how == "wrong arrays":
        shelf.put(key, "images.npz", images=np.zeros((2, 3, 4, 4), np.uint8))
    report = build_page(rows, fetch, tmp_path / "page", store_name="store")
    strips = page_of(report)["setups"][0]["grid"]["strips"]
    assert strips[0]["file"] and not strips[1]["file"]
    assert strips[1]["reason"].startswith("cannot be read")
    assert "bido: reconstructions cannot be read" in report.warnings[0]


def test_large_images_are_reduced(cell: Cell, shelf: Any, tmp_path: Path) -> None:
    rows = cell("none")
    images = np.random.default_rng(0).integers(0, 255, (2, 3, 224, 224), np.uint8)
    key = ArtifactKey.parse(rows[0].reconstructions_key)
    shelf.put(key, "images.npz", images=images, labels=np.array([0, 1]), restarts=np.array([0, 0]))
    report = build_page(rows, shelf.fetch, tmp_path, store_name="store")
    assert pixels(report, page_of(report)["setups"][0]["grid"]["strips"][0]).shape == (112, 224, 3)


def test_setups_of_one_id_get_different_names(cell: Cell, shelf: Any, tmp_path: Path) -> None:
    rows = cell("none") + cell("none", profile="paper")
    setups = page_of(build_page(rows, shelf.fetch, tmp_path, store_name="store"))["setups"]
    assert [s["name"] for s in setups] == ["first-look/paper/faces32-gmi", "first-look/smoke/faces32-gmi"]
    assert [bool(s["stamp"]) for s in setups] == [False, True]


def test_build_from_a_store(cell: Cell, shelf: Any, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    recipes = {k: Recipe(k, "made_by_hand") for k in ("reconstructions", "scores")}
    rows = cell("none", reconstructions_key=str(recipes["reconstructions"].key), scores_key=str(recipes["scores"].key))
    for kind, recipe in recipes.items():
        with store.artifacts.workspace() as work:
            source = shelf.root / kind
            for file in next(iter(source.iterdir())).iterdir():
                (work / file.name).write_bytes(file.read_bytes())
            store.artifacts.publish(recipe, work, wall_s=1.0)
    store.results.write(rows[0].cell, rows)
    store.sweeps.write_manifest(
        "abc", [{"cell": rows[0].cell}, {"cell": "later1"}, {"cell": "later2"}], '{"name": "nightly"}'
    )
    report = build(str(tmp_path / "store"), tmp_path / "page")
    page = page_of(report)
    assert report.warnings == ()
    assert (page["header"]["ok"], page["header"]["missing"], page["header"]["store"]) == (1, 2, "store")
    assert page["setups"][0]["grid"]["strips"][0]["file"]
    assert str(tmp_path) not in data_of(tmp_path / "page")
    assert page["header"]["sweep"] == "nightly", "the plan's name, also for a cell another sweep measured first"
    with pytest.raises(SpecError, match=r"this store has no sweep 'weekly'; .*Known: nightly"):
        build(str(tmp_path / "store"), tmp_path / "other", sweep="weekly")


def test_a_matrix_names_its_stand_ins_certainty_and_refusals(matrix_report: BuildReport) -> None:
    setups = {s["name"]: s for s in page_of(matrix_report)["setups"]}
    assert len(setups) == 37
    assert (setups["S01"]["label"], setups["S37"]["label"]) == (
        "S01 (row certain, settings 1 of 2)",
        "S37 (row inferred, settings 1 of 2)",
    )
    assert setups["S01"]["title"].startswith("S01 (row certain, settings 1 of 2): gmi")
    assert setups["S01"]["stand_ins"] == [
        ["vgg16_tiny", "vgg16"],
        ["synthetic_faces", "celeba (private)"],
        ["32 px", "64 px"],
        ["training and attacks at the budget of mini", ""],
    ]
    assert setups["S01"]["stamp"].startswith("mini profile, not comparable with published numbers; stands in: vgg16_t")
    assert setups["S01"]["refused"] == ""
    refused = setups["S37"]
    assert refused["refused"] == "attack not registered: ppa (12 cells)"
    assert refused["figure"] is None
    assert [c["key"] for c in refused["columns"]] == ["defense", "published"]
    assert refused["problems"] == ["refused: attack not registered: ppa (12 cells)"]
    assert refused["counts"] == [0, 0, 12, 0]
    assert len(data_of(matrix_report.index.parent)) < 2 * 2**20
    assert (matrix_report.index.parent / "data.js").stat().st_size < 40_000, (
        "figures and tables wait until they are shown"
    )


def test_published_numbers_of_the_store_are_shown(cell: Cell, publication: Any, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    rows = [replace(r, reconstructions_key="", scores_key="") for r in cell("none")]
    store.results.write(rows[0].cell, rows)
    papers = [
        publication("natural_accuracy", 86.9, setup=rows[0].setup),
        publication("attack_accuracy_at_1", 78.47, setup=rows[0].setup, spread=4.6, remark="the text says 78.1"),
    ]
    write_published(store, papers)
    (setup,) = page_of(build(str(tmp_path / "store"), tmp_path / "page"))["setups"]
    assert setup["columns"][-1]["key"] == "published"
    assert setup["rows"][0]["cells"][-1] == {"text": "86.90 / 78.47", "interval": "± 4.60 †", "number": 78.47}
    assert ["published attack accuracy@1", "78.47 ± 4.60 %, not measured here"] in setup["rows"][0]["details"]
    assert ["source", "Table B.2"] in setup["rows"][0]["details"]
    assert ["remark", "the text says 78.1"] in setup["rows"][0]["details"]
    assert "† none: the text says 78.1" in setup["footnotes"]


def a_store(cell: Cell, root: Path) -> Store:
    """One measured cell of a sweep called nightly."""
    store = Store.open(root)
    rows = [replace(r, reconstructions_key="", scores_key="") for r in cell("none")]
    store.results.write(rows[0].cell, rows)
    store.sweeps.write_manifest("abc", [{"cell": rows[0].cell}], '{"name": "nightly"}')
    return store


def test_cells_that_only_another_sweep_planned_are_not_missing(cell: Cell, tmp_path: Path) -> None:
    store = a_store(cell, tmp_path / "store")
    measured = next(iter(store.results.cells()))
    store.sweeps.write_manifest("def", [{"cell": measured}, {"cell": "a"}, {"cell": "b"}], '{"name": "weekly"}')
    missing = {
        sweep: page_of(build(str(tmp_path / "store"), tmp_path / sweep, sweep))["header"]["missing"]
        for sweep in ("nightly", "weekly")
    }
    assert missing == {"nightly": 0, "weekly": 2}


def test_the_matching_of_the_sweep_is_shown(cell: Cell, report: Callable[..., MatchReport], tmp_path: Path) -> None:
    store = a_store(cell, tmp_path / "store")
    write_match(store, report(sweep="nightly", digest="1" * 64, trained=5))
    write_match(store, report(sweep="weekly", digest="2" * 64, trained=6))
    built = build(str(tmp_path / "store"), tmp_path / "page")
    assert built.warnings == ()
    matching = page_of(built)["matching"]
    assert matching["sweep"] == "nightly" and "5 of them done by the last run" in matching["counts"]
    assert matching["command"] == "optuna-dashboard store/studies/journal.log"
    assert str(tmp_path) not in data_of(tmp_path / "page")
    assert "onerror" not in built.index.read_text(), "names are data, not markup"
    assert "<img" not in data_of(tmp_path / "page")


def test_without_a_report_of_the_sweep_the_page_says_nothing_of_matching(
    cell: Cell, report: Callable[..., MatchReport], tmp_path: Path
) -> None:
    store = a_store(cell, tmp_path / "store")
    write_match(store, report(sweep="weekly"))
    assert page_of(build(str(tmp_path / "store"), tmp_path / "page"))["matching"] is None


def test_before_anything_is_measured_the_header_names_the_planned_sweep(tmp_path: Path) -> None:
    plan = Plan("people", json.dumps({"name": "people", "profile": "mini"}), [], "its store")
    header = page_of(
        build_page([], lambda key: tmp_path, tmp_path / "page", store_name="store", unfinished=4, plans=[plan])
    )["header"]
    assert (header["sweep"], header["profile"], header["missing"]) == ("people", "mini", 4)


def test_a_matching_is_shown_before_anything_is_attacked(report: Callable[..., MatchReport], tmp_path: Path) -> None:
    write_match(Store.open(tmp_path / "store"), report())
    page = page_of(build(str(tmp_path / "store"), tmp_path / "page"))
    assert page["setups"] == [] and len(page["matching"]["rows"]) == 5


def test_a_damaged_report_is_a_warning(cell: Cell, report: Callable[..., MatchReport], tmp_path: Path) -> None:
    store = a_store(cell, tmp_path / "store")
    write_match(store, report(sweep="nightly"))
    (path,) = (tmp_path / "store" / "matches").glob("*.json")
    path.write_text("{")
    built = build(str(tmp_path / "store"), tmp_path / "page")
    (warning,) = built.warnings
    assert warning.startswith("accuracy matching is not shown: matches/") and "run `midef match` again" in warning
    page = page_of(built)
    assert page["matching"] is None and page["warnings"] == [warning] and len(page["setups"]) == 1


def said_against_none(row: dict[str, Any]) -> list[list[str]]:
    """Lines of the overlay of a row from "against none" to the next that is neither a part of it nor Delta."""
    details = row["details"]
    first = next(i for i, (name, _) in enumerate(details) if name == "against none")
    last = next(i for i in range(first + 1, len(details)) if details[i][0] not in ("", "Delta"))
    return list(details[first:last])


def test_the_overlay_of_a_matched_row_says_how_near_it_is(
    matched_rows: list[ResultRow], shared: Any, tmp_path: Path
) -> None:
    (setup,) = page_of(build_page(matched_rows, shared[0].fetch, tmp_path, store_name="store"))["setups"]
    rows = {row["defense"]: row for row in setup["rows"]}
    assert setup["has_targets"] is True
    assert [d for d, row in rows.items() if not row["is_unmatched"]] == [
        "none",
        "midre(area_high=0.4)",
        "nls(alpha=-0.05)",
    ]
    said = rows["bido"]["details"]
    at = said.index(["matched", "no"])
    assert said[at + 1] == ["", "95.20 % on the select split, mean of 2 seeds; target 98.50 ± 0.5"]
    assert ["matched", "yes"] in rows["nls(alpha=-0.05)"]["details"]
    assert not [name for name, _ in rows["none"]["details"] if name == "matched"]
    against = {defense: said_against_none(row) for defense, row in rows.items()}
    assert against["bido"] == [["against none", "not matched"]]
    (words, attack) = against["nls(alpha=-0.05)"]
    assert words[0] == "against none" and "acc" not in words[1]
    assert attack[0] == "" and attack[1].startswith("att ")
    assert not [row for row in rows.values() if "Delta" in dict(row["details"])]


def test_a_metric_nobody_here_knows_is_in_the_table_and_the_overlay(row: Any, shelf: Any, tmp_path: Path) -> None:
    new = row("mutual_information", 1.23456, column="leak nats", unit="nats", larger_is="less private")
    report = build_page([row("natural_accuracy", 90.0), new], shelf.fetch, tmp_path, store_name="store")
    (setup,) = page_of(report)["setups"]
    (at,) = [i for i, column in enumerate(setup["columns"]) if column["header"] == "leak nats"]
    assert setup["columns"][at] == {
        **{"key": "mutual_information", "header": "leak nats", "is_plain": True, "is_text": False}
    }
    assert setup["rows"][0]["cells"][at] == {"text": "1.23", "interval": "", "number": 1.23456}
    assert ["leak nats", "1.235 nats"] in setup["rows"][0]["details"]


def test_an_estimate_is_marked_in_the_overlay_and_has_its_ceiling(row: Any, shelf: Any, tmp_path: Path) -> None:
    judged = {"column": "trait@1 %", "larger_is": "less private", "ceiling": 92.8}
    rows = [row("natural_accuracy", 90.0), row("trait_accuracy", 40.0, is_estimate=True, **judged)]
    (setup,) = page_of(build_page(rows, shelf.fetch, tmp_path, store_name="store"))["setups"]
    details = setup["rows"][0]["details"]
    at = details.index(["trait@1", "~40.00 %"])
    assert details[at + 1] == ["", "ceiling 92.8 %"]


def test_the_scripts_read_only_what_the_schema_has(shared: Any, tmp_path: Path) -> None:
    """A field that was renamed on one side only would be undefined on the page."""
    build_page(shared[1], shared[0].fetch, tmp_path, store_name="store")
    code = "\n".join(path.read_text() for path in scripts())
    classes = (Page, Header, Head, Named, Tab, Setup, Row, Column, Grid, Strip, Matching, Match, Spark)
    schema = {field.name for one in classes for field in fields(one)}
    for variable, one in (("s", (Setup, Head)), ("row", (Row, Match)), ("strip", Strip), ("grid", Grid), ("PAGE", Page),
                          ("match.data", Matching), ("h", Header)):  # fmt: skip
        known = {field.name for each in (one if isinstance(one, tuple) else (one,)) for field in fields(each)}
        read = set(re.findall(rf"(?<![\w.]){re.escape(variable)}\.(\w+)", code)) - {"length", "put"}
        assert read and read <= known, variable
    unread = {name for name in schema if not re.search(rf"\b{name}\b", code)}
    assert unread == set(), "nothing is written that no script reads"
    assert set(PAGE.rglob("*.js")) == set(scripts())


def test_a_rebuild_removes_the_pieces_of_an_earlier_build_and_no_others(cell: Cell, shelf: Any, tmp_path: Path) -> None:
    build_page(cell("none") + cell("none", setup="other"), shelf.fetch, tmp_path, store_name="store")
    theirs = tmp_path / "data" / "mine.js"
    theirs.write_text("alert(1)")
    names = {path.name for path in (tmp_path / "data").iterdir()}
    assert names >= {"overview.js", "setup-00.js", "setup-01.js", "mine.js"}
    report = build_page(cell("none"), shelf.fetch, tmp_path, store_name="store")
    left = {path.name for path in (tmp_path / "data").iterdir()}
    assert names - left == {"setup-01.js"} and left <= names
    pictures = len(list((tmp_path / "img").iterdir()))
    assert report.files == len(left) - 1 + pictures + 3, "its own pieces and pictures, data.js, plotly and the page"


def test_a_piece_is_safe_in_a_script_and_named_for_any_disk() -> None:
    written = piece("runs-1", {"name": "</script><b>&"})
    assert written == 'MIDEF.put("runs-1", {"name":"\\u003c/script\\u003e\\u003cb\\u003e\\u0026"});\n'
    for name in ("", "../x", "A", "a b", "-a", 'x"'):
        with pytest.raises(ValueError, match="named in small letters"):
            piece(name, {})


def guessing(rows: list[ResultRow], judge: float) -> list[ResultRow]:
    """The rows with an evaluator of this accuracy on four people."""
    return [replace(row, evaluator_accuracy=judge, chance=25.0 if row.chance is not None else None) for row in rows]


def test_what_is_no_result_has_no_tick_no_colour_and_its_reason(cell: Cell, shelf: Any, tmp_path: Path) -> None:
    rows = guessing([row for d in ("none", "bido") for row in cell(d)], 25.0)
    (setup,) = page_of(build_page(rows, shelf.fetch, tmp_path, store_name="store"))["setups"]
    why = "the evaluator has 25.0 % where chance is 25.0 %: it cannot judge"
    for shown, strip in zip(setup["rows"], setup["grid"]["strips"], strict=True):
        assert set(strip["marks"]) == {"excluded"} and strip["file"], "the pictures are shown"
        assert shown["excluded"] == why and not shown["is_on_front"] and shown["colour"] is None
        assert ["excluded", why] in shown["details"]
    assert setup["excluded"] == why
    traces = {trace.get("name"): trace for trace in setup["figure"]["data"]}
    assert "front" not in traces and traces["bido"]["marker"]["color"] == "#FFFFFF"
    assert not any(shape.get("line", {}).get("dash") == "dash" for shape in setup["figure"]["layout"]["shapes"])


def test_a_weak_judge_ticks_with_a_mark(cell: Cell, shelf: Any, tmp_path: Path) -> None:
    rows = guessing([row for d in ("none", "bido") for row in cell(d)], 79.79)
    (setup,) = page_of(build_page(rows, shelf.fetch, tmp_path, store_name="store"))["setups"]
    assert setup["excluded"] == "" and all("weak judge" in shown["noted"] for shown in setup["rows"])
    assert {mark for strip in setup["grid"]["strips"] for mark in strip["marks"]} <= {"hit", "miss"}
    assert any(shown["is_on_front"] for shown in setup["rows"])


def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        build(str(tmp_path / "nowhere"), tmp_path / "page")
    assert not (tmp_path / "nowhere").exists()


def test_building_loads_neither_torch_nor_ray(tmp_path: Path) -> None:
    code = (
        "import sys; from midef.dashboards.build import build; from midef.storage import Store; "
        f"Store.open({str(tmp_path / 's')!r}); build({str(tmp_path / 's')!r}, {str(tmp_path / 'p')!r}); "
        "print([m for m in ('torch', 'ray') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def distorting(cell: Cell, none: float, bido: float) -> list[ResultRow]:
    """The rows of two defenses with the confidence distortion of each."""
    rows = [*cell("none"), *cell("bido")]
    told = {"unit": "distance of scores", "larger_is": "less useful", "column": "conf dist"}
    return rows + [
        replace(one, metric="confidence_distortion", value=value, low=None, high=None, outcomes="", **told)  # type: ignore[arg-type]
        for value, one in zip((none, bido), (rows[0], rows[-1]), strict=True)
    ]


def test_the_page_plots_against_the_utility_that_was_chosen(cell: Cell, shelf: Any, tmp_path: Path) -> None:
    rows = distorting(cell, 0.0, 0.02)
    report = build_page(rows, shelf.fetch, tmp_path, store_name="store", utility="confidence_distortion")
    (setup,) = page_of(report)["setups"]
    shown = {row["defense"]: row["x"] for row in setup["rows"]}
    assert shown == {"none": 0.0, "bido": 0.02}
    assert "conf dist" in setup["figure"]["layout"]["xaxis"]["title"]["text"]
    plain = page_of(build_page(rows, shelf.fetch, tmp_path, store_name="store"))["setups"][0]
    assert (
        all(row["x"] > 1 for row in plain["rows"]) and "accuracy" in plain["figure"]["layout"]["xaxis"]["title"]["text"]
    )


def test_pointing_at_a_defense_tells_the_front_that_is_drawn(cell: Cell, shelf: Any, tmp_path: Path) -> None:
    """The undefended model is the most accurate one, and here distorts more than a defense that is attacked less."""
    rows = distorting(cell, 0.02, 0.0)
    report = build_page(rows, shelf.fetch, tmp_path, store_name="store", utility="confidence_distortion")
    (setup,) = page_of(report)["setups"]
    (front,) = (trace for trace in setup["figure"]["data"] if trace["name"] == "front")
    assert 0.0 in front["x"] and 0.02 not in front["x"], "steps end at the edge of the plot"
    assert {row["defense"]: row["is_on_plotted_front"] for row in setup["rows"]} == {"none": False, "bido": True}
    assert {row["defense"]: row["is_on_front"] for row in setup["rows"]} == {"none": True, "bido": True}, "the table's"
