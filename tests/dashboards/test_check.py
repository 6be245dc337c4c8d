"""`check` and the exports, in a real browser that is driven without any package."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from midef.core import ArtifactKey, PreflightError, ResultRow, SpecError
from midef.dashboards.build import build_page
from midef.dashboards.check import SHOW, check_page, check_text
from midef.dashboards.chromium import Browser, browser, find_browser

pytestmark = pytest.mark.browser
UGLY = '=cmd|"<b>&_%$#{x}~^\\'
SAVED = """(async (click) => {
    const blobs = [];
    URL.createObjectURL = (blob) => { blobs.push(blob); return "#"; };
    HTMLAnchorElement.prototype.click = function () {};
    document.querySelector(click).click();
    const bytes = new Uint8Array(await blobs[0].arrayBuffer());
    let text = "";
    for (const byte of bytes) text += String.fromCharCode(byte);
    return btoa(text);
})"""


@pytest.fixture(scope="module")
def program() -> str:
    try:
        return find_browser()
    except PreflightError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{error}; CI must check the page in a browser")
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def index(row: Callable[..., ResultRow], publication: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of three cells, one of which failed, with two published numbers."""
    ok = {"profile": "paper", "low": 45.0, "high": 55.0}
    rows = [row("attack_accuracy_at_1", 50.125, **ok), row("natural_accuracy", 90.0, profile="paper")]
    bad = {"defense": UGLY, "defense_name": "bido", "defense_params": "b", "profile": "paper"}
    rows.append(row("natural_accuracy", None, **bad, status="failed", failure="oom", reason="a | b\nc"))
    papers = [publication("attack_accuracy_at_1", value, setup="faces32-gmi") for value in (46.0, 60.0)]
    return build_page(rows, no_pictures, tmp_path_factory.mktemp("page"), store_name="store", published=papers).index


def no_pictures(key: ArtifactKey) -> Path:
    raise AssertionError(f"no pictures are stored, {key} was asked for")


def test_a_built_page_keeps_every_rule_and_a_spoilt_one_breaks_each(program: str, index: Path, tmp_path: Path) -> None:
    assert [rule.problems for rule in check_page(index)] == [()] * 7
    assert not list(tmp_path.iterdir()), "pictures are made on request"
    index = Path(shutil.copytree(index.parent, tmp_path / "spoilt")) / "index.html"
    text = index.read_text()
    spoilt = text.replace("http-equiv", "data-was").replace(
        "</body>",
        """<div style="width: 5000px">.</div><a class="modebar-btn" data-title="Share chart...">.</a>
        <script>console.error("it broke"); new Image().src = "http://cdn.plot.ly/x.png";</script></body>""",
    )
    index.write_text(spoilt)
    (index.parent / "data" / "overview.js").unlink()
    results = check_page(index)
    assert all(rule.problems for rule in results), check_text(results)
    assert check_text(results).count("fail  ") == 7 and "http://cdn.plot.ly/x.png" in check_text(results)


def test_pictures_of_every_view_at_every_width(program: str, index: Path, tmp_path: Path) -> None:
    check_page(index, widths=(800, 390), pictures=tmp_path / "shots")
    found = {path.name: Image.open(path).size for path in (tmp_path / "shots").iterdir()}
    text = (index.parent / "data.js").read_text()
    views = [
        one["name"] for one in json.loads(text.removeprefix("window.MIDEF = ").rstrip().removesuffix(";"))["views"]
    ]
    assert set(found) == {f"{view}-{width}.png" for view in views for width in (800, 390)} and len(views) > 3
    assert all(size[0] == int(name.split("-")[-1].removesuffix(".png")) for name, size in found.items())
    assert found["published-390.png"][1] > found["published-800.png"][1] >= 900, "the same text is higher on a phone"


@pytest.fixture(scope="module")
def tab(program: str, index: Path) -> Iterator[Browser]:
    with browser(program) as tab:
        tab.call("Page.navigate", url=index.as_uri())
        tab.evaluate("new Promise(done => addEventListener('load', done))")
        yield tab


def test_exports_hold_exactly_what_is_shown(tab: Browser) -> None:
    def saved(fragment: str, click: str) -> bytes:
        assert tab.evaluate(f"{SHOW}({fragment!r})")["trouble"] == ""
        return base64.b64decode(tab.evaluate(f"{SAVED}({click!r})"))

    published = "#view=published&pub_sort=-published"
    text = saved(published, "#pubsheet [data-format=csv]").decode()
    head, *lines = list(csv.reader(io.StringIO(text)))
    shown = tab.evaluate(
        "[...document.querySelectorAll('#pubsheet tr')].map(tr => [...tr.cells].map(td => td.textContent))"
    )
    assert [head, *lines] == [[cell.replace("–", "") for cell in line] for line in shown]
    assert [line[head.index("published")] for line in lines] == ["60.00", "46.00"]
    table = pq.read_table(io.BytesIO(saved(published, "#pubsheet [data-format=parquet]")))
    assert table["published"].to_pylist() == [60.0, 46.0] and table["measured"].to_pylist() == [50.125] * 2
    assert table["verdict"].to_pylist() == ["differs", "agrees"] and table["setup"].to_pylist() == ["faces32-gmi"] * 2
    only = saved("#view=published&pub_verdict=agrees", "#pubsheet [data-format=md]").decode().splitlines()
    assert len(only) == 3 and "46.00" in only[2] and "---:" in only[1]

    runs = saved("#view=runs&run_state=failed", "#runsheet [data-format=md]").decode()
    assert "a \\| b c" in runs and runs.count("\n") == 3
    assert (
        f"'{UGLY}"
        in next(
            csv.DictReader(io.StringIO(saved("#view=runs&run_state=failed", "#runsheet [data-format=csv]").decode()))
        )["defense"]
    )
    tex = saved("#view=runs&run_state=failed", "#runsheet [data-format=tex]").decode()
    assert r"\textless{}b\textgreater{}\&\_\%\$\#\{x\}\textasciitilde{}\textasciicircum{}\textbackslash{}" in tex

    setup = pq.read_table(io.BytesIO(saved("#view=setup", "#table + .exportline [data-format=parquet]")))
    assert setup["attack_accuracy_at_1"].to_pylist() == [50.125, None]
    assert setup["attack_accuracy_at_1_interval"].to_pylist() == ["[45.0, 55.0]", None]


def test_no_rows_are_a_sentence_and_unknown_words_in_a_link_are_dropped(tab: Browser) -> None:
    assert tab.evaluate(f"{SHOW}('#view=runs&run_text=zzz&bogus=1')")["trouble"] == ""
    assert "no rows: no cell has this" in tab.evaluate("document.getElementById('runsheet').textContent")
    tab.evaluate(f"{SHOW}('#view=published&pub_sort=nothing&pub_verdict=what')")
    assert "no rows: no published number fits" in tab.evaluate("document.getElementById('pubsheet').textContent")
    assert tab.evaluate("document.querySelector('#nodumbbells').hidden") is False


def test_without_a_page_or_a_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match=r"no page at .*: build it first"):
        check_page(tmp_path / "index.html")
    monkeypatch.setenv("BROWSER_PATH", "/no/such/program")
    with pytest.raises(PreflightError, match="set BROWSER_PATH to Chromium or Chrome"):
        find_browser()
    assert PreflightError.exit_code == 3
