"""What holds of every view: nothing leaves the disk, exports are what is shown, odd links do no harm."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from midef.core import ResultRow
from midef.dashboards.views.order import VIEWS
from tests.dashboards.full_page import full_index

pytestmark = pytest.mark.browser

NAMES = [view.name for view in VIEWS]
UNFILTERED = ("definitions",)
"""Views that no filter has a meaning in."""
SEEN = "tbody tr:not(.worsttries):not(.worsttries *)"


@pytest.fixture(scope="session")
def index(row: Any, publication: Any, report: Any, shared: Any, make_cell: Any, tmp_path_factory: Any) -> Path:
    return full_index(row, make_cell, publication, report, shared[0], tmp_path_factory.mktemp("full"))


@pytest.fixture
def full(open_page: Callable[[Path], Any], index: Path) -> Iterator[Any]:
    watched = open_page(index)
    yield watched
    watched.check()


def shown_in(page: Any, name: str) -> None:
    page.wait_for_selector("main:not([aria-busy])", state="attached")
    assert page.is_visible(f"#view-{name}"), page.inner_text("#trouble")
    assert page.is_hidden("#trouble")


@pytest.mark.parametrize("name", NAMES)
def test_a_view_is_drawn_asks_for_nothing_and_shares_nothing(full: Any, name: str) -> None:
    page = full.open(f"#view={name}")
    shown_in(page, name)
    titles = page.eval_on_selector_all(".modebar-btn", "found => found.map(b => b.dataset.title || '')")
    assert not [title for title in titles if "share" in title.lower() or "cloud" in title.lower()]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("#views a[aria-current=page]").get_attribute("data-view") == name


@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_no_view_is_wider_than_its_window(full: Any, width: int) -> None:
    page = full.open("#view=overview")
    page.set_viewport_size({"width": width, "height": 900})
    try:
        for name in NAMES:
            full.open(f"#view={name}")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    finally:
        page.set_viewport_size({"width": 1400, "height": 900})


@pytest.mark.parametrize("name", NAMES)
def test_odd_links_show_the_view_all_the_same(full: Any, name: str) -> None:
    odd = (
        "metric=nothing&interval=90&published=maybe&family=nobody&data=none&seeds=some&only=x&sort=no&strength_setup=x"
    )
    more = (
        "arch_place=x&match_sweep=x&match=x&worst=x&analysis=x&run_state=x&setup=nowhere&defense=nobody&colour=red&&=&"
    )
    page = full.open(f"#view={name}&{odd}&{more}")
    shown_in(page, name)
    unfiltered = full.open(f"#view={name}")
    shown_in(unfiltered, name)


@pytest.mark.parametrize("name", NAMES)
def test_a_filter_that_leaves_nothing_says_no_rows(full: Any, name: str) -> None:
    page = full.open(f"#view={name}&find=nobody-has-this-name")
    page.wait_for_selector("main:not([aria-busy])", state="attached")
    assert page.is_hidden("#trouble")
    if name in UNFILTERED:
        shown_in(page, name)
        assert page.locator("#filterfields :enabled").count() == 0
        return
    assert "no rows" in page.inner_text("main")
    assert page.locator("main .main-svg:visible").count() == 0, "no broken plot"


@pytest.mark.parametrize("name", NAMES)
def test_a_filter_that_does_nothing_in_a_view_says_why(full: Any, name: str) -> None:
    page = full.open(f"#view={name}")
    fields = page.eval_on_selector_all(
        "#filterfields [data-filter]",
        "found => found.map(f => [f.dataset.filter, f.disabled, f.nextElementSibling.textContent])",
    )
    assert {f for f, _, _ in fields} == {
        *("data", "arch", "attack", "family", "named", "seeds", "only", "metric", "interval", "published", "find")
    }
    for _, is_idle, reason in fields:
        assert is_idle == bool(reason)


CAPTURE = """(button) => {
    const real = URL.createObjectURL, click = HTMLAnchorElement.prototype.click;
    let blob = null;
    URL.createObjectURL = (made) => { blob = made; return real.call(URL, made); };
    HTMLAnchorElement.prototype.click = () => {};
    try { button.click(); } finally { URL.createObjectURL = real; HTMLAnchorElement.prototype.click = click; }
    return blob.arrayBuffer().then((bytes) => [...new Uint8Array(bytes)]);
}"""
"""What a button would save, without the browser's handling of downloads."""


def parquet_of(button: Any) -> Any:
    return pq.read_table(io.BytesIO(bytes(button.evaluate(CAPTURE))))


def csv_of(button: Any) -> list[list[str]]:
    return list(csv.reader(io.StringIO(bytes(button.evaluate(CAPTURE)).decode())))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fragment", ["", "&named=bido"])
def test_exports_hold_what_is_shown_and_parquet_what_was_measured(full: Any, name: str, fragment: str) -> None:
    """CSV has the rows and texts of the table on the screen, and Parquet the same numbers, not rounded."""
    page = full.open(f"#view={name}&setup=vgg-gmi{fragment}")
    shown_in(page, name)
    boxes = page.locator(f"#view-{name} .exports:visible")
    for i in range(boxes.count()):
        box = boxes.nth(i)
        table = box.evaluate_handle(
            "box => box.closest('.exportline')?.previousElementSibling "
            "|| box.closest('.sheetbox').querySelector('table')"
        )
        rows = table.evaluate("t => [...t.tBodies[0].rows].map(tr => [...tr.cells].map(td => td.textContent))")
        header, *lines = csv_of(box.locator("[data-format=csv]"))
        stored = parquet_of(box.locator("[data-format=parquet]"))
        assert len(lines) == len(rows) == stored.num_rows, "the rows that are shown"
        assert len(header) == stored.num_columns
        for at, column in enumerate(stored.column_names):
            values = stored.column(column).to_pylist()
            for value, line in zip(values, lines, strict=True):
                text = line[at].replace(",", "").lstrip("~").replace("\u2212", "-")
                if isinstance(value, int | float) and text:
                    digits = len(text.partition(".")[2])
                    assert abs(float(text) - value) <= 0.5000001 * 10**-digits, (column, text, value)
                elif value is None:
                    assert text in ("", "–")
                elif text:
                    assert value == line[at].removeprefix("'")
        for cells, line in zip(rows, lines, strict=True):
            said = "".join("".join(cells).split())
            assert all("".join(text.removeprefix("'").split()) in said for text in line if text)


def test_numbers_of_the_architectures_are_those_of_the_rows(full: Any) -> None:
    page = full.open("#view=architectures")
    box = page.locator("#archsheet .exports")
    stored = parquet_of(box.locator("[data-format=parquet]")).to_pylist()
    found = {(one["defense"], one["architecture"]): one for one in stored}
    assert set(found) == {
        *((d, "tiny_vgg16") for d in ("bido", "midre(area_high=0.2)", "midre(area_high=0.4)")),
        *((d, "tiny_ir") for d in ("bido", "midre(area_high=0.4)", "lpa")),
    }
    assert found["bido", "tiny_vgg16"]["accuracy"] == pytest.approx(93.0 - 95.0)
    assert found["bido", "tiny_ir"]["attack"] == pytest.approx(60.0 - 90.0)
    assert found["lpa", "tiny_ir"]["attack"] is None and found["lpa", "tiny_ir"]["why"]


def test_a_page_of_one_architecture_says_that_there_is_nothing_to_compare(realistic_page: Any) -> None:
    page = realistic_page.open("#view=architectures")
    assert "one architecture, tiny_vgg16: there is nothing to compare" in page.inner_text("#archnone")
    assert page.is_hidden("#archsheet")


def heat_state(page: Any, setup: str, defense: str) -> str:
    cell = page.locator(f"#heat tr[data-setup='{setup}'] td[data-defense='{defense}']")
    return f"{cell.get_attribute('data-state')}: {cell.get_attribute('title').partition(': ')[2]}"


def test_a_cell_that_was_never_planned_is_not_missing(full: Any, realistic_page: Any) -> None:
    page = full.open("#view=overview")
    assert heat_state(page, "ir-gmi", "midre(area_high=0.2)") == "missing: planned, no result yet"
    assert heat_state(page, "vgg-gmi", "lpa") == "unplanned: not planned in this setup"
    without = realistic_page.open("#view=overview")
    assert heat_state(without, "faces32-gmi", "tl_dmi") == "absent: no result here; no plan of its sweep is stored"


def test_every_matching_of_the_page_can_be_chosen(full: Any) -> None:
    page = full.open("#view=matching")
    assert page.locator("#matchsweep option").all_inner_texts() == ["first-look", "second"]
    page.select_option("#matchsweep", "second")
    page.wait_for_selector("main:not([aria-busy])", state="attached")
    assert "match_sweep=second" in page.evaluate("location.hash")
    again = full.open("#view=matching&match_sweep=second")
    assert again.input_value("#matchsweep") == "second"


def drawn(page: Any) -> list[str]:
    points = "document.getElementById('plot').data.filter(t => t.name === 'defenses')"
    found: list[str] = page.evaluate(f"{points}.flatMap(t => t.text)")
    return found


def test_filters_act_on_the_plot_the_table_and_the_reconstructions(full: Any) -> None:
    page = full.open("#view=setup&setup=vgg-gmi")
    everything = ["none", "midre(area_high=0.4)", "bido", "midre(area_high=0.2)"]
    assert sorted(drawn(page)) == sorted(everything)
    page = full.open("#view=setup&setup=vgg-gmi&family=midre")
    kept = ["midre(area_high=0.2)", "midre(area_high=0.4)", "none"]
    assert sorted(drawn(page)) == kept
    assert sorted(page.locator("#table tbody td:first-child .value").all_inner_texts()) == kept
    seeds = "document.getElementById('plot').data.find(t => t.name === 'seeds').x.length"
    assert page.evaluate(seeds) == 3 * len(kept), "three seeds each"
    names = page.eval_on_selector_all("#plot .annotation-text", "found => found.map(t => t.textContent)")
    assert "bido" not in names
    published = "document.getElementById('plot').data.find(t => t.name === 'published').customdata.length"
    assert page.evaluate(published) == 1, "that of the undefended model"
    assert page.inner_text("#filteredrows").startswith("1 of 4 defenses are hidden by the filters")
    page = full.open("#view=setup&setup=pictures&named=bido")
    assert page.locator("#grid tbody th").all_inner_texts()[0].startswith("private")
    assert page.locator("#grid tbody tr").count() == 3
    page = full.open("#view=setup&setup=pictures&find=bido")
    assert page.locator("#grid tbody tr").count() == 2, "the undefended model has not the text"


def bars(page: Any) -> list[Any]:
    one = "document.getElementById('plot').data.find(t => t.text && t.text.includes('bido'))"
    bar = f"(t => [t.error_y.visible, t.error_y.array && [t.error_y.array[t.text.indexOf('bido')]]])({one})"
    found: list[Any] = page.evaluate(bar)
    return found


def test_the_interval_can_be_chosen(full: Any) -> None:
    """bido: attack accuracies 60, 60.5 and 61; each run says from 1 below to 2 above."""
    page = full.open("#view=setup&setup=vgg-gmi&interval=none")
    assert page.locator("#table tbody td small").all_inner_texts() == [] and bars(page)[0] is False
    assert page.inner_text("#legend") == "no intervals are shown"
    page = full.open("#view=setup&setup=vgg-gmi&interval=cluster")
    line = page.locator("#table tbody tr", has_text="bido")
    assert line.locator("td[data-key=attack_accuracy_at_1] small").inner_text() == "[59.5, 62.5]"
    assert bars(page)[1] == pytest.approx([2.0])
    assert "interval within a run" in page.inner_text("#legend")
    page = full.open("#view=setup&setup=vgg-gmi&interval=t")
    low, high = (60.5 - x for x in (bars(page)[1][0], -bars(page)[1][0]))
    assert low < 59.5 and high > 62.5, "over seeds and identities is wider than within a run"
    line = page.locator("#table tbody tr", has_text="bido")
    said = line.locator("td[data-key=attack_accuracy_at_1] small").inner_text()
    assert said.endswith(f"{high:.1f}]")


def test_published_numbers_can_be_hidden(full: Any) -> None:
    page = full.open("#view=setup&setup=vgg-gmi")
    published = "document.getElementById('plot').data.some(t => t.name === 'published')"
    assert page.evaluate(published) and page.locator("#table th[data-key=published]").count() == 1
    page.select_option("[data-filter=published]", "hide")
    full.settle()
    assert "published=hide" in page.evaluate("location.hash")
    assert not page.evaluate(published) and page.locator("#table th[data-key=published]").count() == 0
    assert page.is_hidden("#diamond")


@pytest.mark.parametrize(
    ("name", "fragment", "rows", "expected"),
    [
        ("runs", "family=midre&attack=brep_mi", "#runsheet tbody td[data-key=defense]",
         ["midre(area_high=0.2)", "midre(area_high=0.4)", "none"]),
        ("runs", "arch=tiny_ir&named=lpa", "#runsheet tbody td[data-key=defense]", ["lpa", "none"]),
        ("published", "named=bido", "#pubsheet tbody td[data-key=defense]", ["bido", "none"]),
        ("published", "arch=tiny_ir", "#pubsheet tbody td",
         ["no rows: no published number fits these choices and the filters"]),
        ("matching", "family=midre", "#matchtable tbody td[data-key=defense]", ["midre(match)"]),
        ("matching", "only=matched", "#matchtable tbody td[data-key=defense]", ["bido(match)"]),
        ("worst", "family=bido&arch=tiny_vgg16", "#worsttargets tbody td[data-key=defense]", ["bido", "none"]),
        ("strengths", "attack=brep_mi", "#strengthssetup option", ["vgg-brep"]),
        ("strengths", "arch=tiny_vgg16&family=bido", "#strengthstable tbody tr", []),
        ("architectures", "arch=tiny_ir", "#archsheet tbody td[data-key=architecture]", ["tiny_ir"]),
        ("analyses", "attack=brep_mi", "#ananone", ["no rows: no analysis passes the filters"]),
    ],
)  # fmt: skip
def test_filters_act_on_what_a_view_lists(full: Any, name: str, fragment: str, rows: str, expected: list[str]) -> None:
    page = full.open(f"#view={name}&{fragment}")
    shown_in(page, name)
    assert sorted(set(page.eval_on_selector_all(rows, "found => found.map(c => c.textContent)"))) == expected


def test_a_metric_is_chosen_in_the_rail_for_views_that_can_show_it(full: Any) -> None:
    page = full.open("#view=overview")
    page.select_option("[data-filter=metric]", "knn_distance")
    full.settle()
    assert page.input_value("#heatmetric") == "knn_distance"
    page = full.open("#view=published&metric=knn_distance")
    assert "no rows" in page.inner_text("#pubsheet")


def test_only_matched_rows_of_a_setup_that_was_matched(show: Any, matched_rows: list[ResultRow], shared: Any) -> None:
    page = show([row for row in matched_rows if "brep" not in row.setup]).open("#view=setup&only=matched")
    names = page.locator("#table tbody td:first-child .value").all_inner_texts()
    assert sorted(names) == ["midre(area_high=0.4)", "nls(alpha=-0.05)", "none"]
