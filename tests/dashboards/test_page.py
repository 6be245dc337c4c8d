"""The page in a real browser with the network off."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from midef.core import ResultRow
from midef.core.match import MatchReport
from midef.dashboards.build import BuildReport, build_page
from midef.dashboards.files import POLICY
from midef.dashboards.views.base import Matched
from midef.results.export import csv_table
from midef.results.render import text_table
from midef.results.summary import by_setup, summarise
from midef.results.table import setup_table
from midef.results.worst_targets import worst_targets

pytestmark = pytest.mark.browser

UGLY = "<img src=x onerror=\"document.title='hacked'\">&amp;<b>bold</b>"


def settle(page: Any) -> None:
    """Until the view that was asked for is drawn."""
    page.wait_for_selector("main:not([aria-busy])", state="attached")
    if page.is_visible("#view-setup"):
        page.wait_for_selector("#plot .main-svg, #noplot:not([hidden]), #empty:not([hidden])", state="attached")


def until(page: Any, condition: str) -> None:
    """Until a condition holds. Playwright waits by asking inside the page, whose policy forbids that."""
    for _ in range(600):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {condition}")


def choose(page: Any, setup: str) -> None:
    """Choose a setup from the list."""
    page.select_option("#setup", setup)
    settle(page)


def table_of(page: Any) -> list[list[tuple[str, str]]]:
    """(value, interval) of every cell, row by row, as a person reads them."""
    script = """rows => rows.map(tr => [...tr.cells].map(td =>
        [td.querySelector('.value').textContent, td.querySelector('small')?.textContent ?? '']))"""
    found = page.eval_on_selector_all("#table tbody tr", script)
    return [[(value, interval) for value, interval in row] for row in found]


def test_numbers_on_the_page_are_those_of_the_tables(realistic_page: Any, realistic: list[ResultRow]) -> None:
    watched = realistic_page
    raw = {(r["setup"], r["defense"]): r for r in csv.DictReader(io.StringIO(csv_table(summarise(realistic))))}
    checked = 0
    for key, group in by_setup(summarise(realistic)).items():
        page = watched.open(f"#setup={key[2]}")
        table, printed = setup_table(group), text_table(group).splitlines()
        shown = table_of(page)
        assert shown == [[(cell.text, cell.interval) for cell in row] for row in table.cells]
        for row, cells in zip(group, shown, strict=True):
            line = next(line for line in printed if line[3:].startswith(row.defense + " "))
            assert all(f"{value} {interval}".strip() in " ".join(line.split()) for value, interval in cells)
            assert line.startswith("●") == row.is_on_front
            checked += 1
        numbers = page.eval_on_selector_all(
            "#table tbody tr", "rows => rows.map(tr => [...tr.cells].map(td => [td.dataset.key, td.dataset.number]))"
        )
        for row, cells in zip(group, numbers, strict=True):
            for metric, number in cells:
                if metric in (
                    "natural_accuracy",
                    "attack_accuracy_at_1",
                    "attack_accuracy_at_5",
                    "knn_distance",
                    "delta",
                ):
                    expected = raw[key[2], row.defense][metric]
                    assert number is None if expected == "" else float(number) == float(expected)
        fronted = page.eval_on_selector_all("#table tr.front .value", "found => found.map(v => v.textContent)")
        assert {row.defense for row in group if row.is_on_front} <= set(fronted)
        assert page.inner_text("#legend") == table.interval_legend
        assert page.inner_text("#facts") == table.facts
    assert checked == 14


POINTS = (
    "document.getElementById('plot').data.filter(t => t.name === 'defenses')"
    ".flatMap(t => t.customdata.map((i, n) => [i, t.x[n], t.y[n]]))"
)
"""Index of its row, test and attack accuracy of every point of the trade-off plot."""


def test_points_are_drawn_where_the_table_says(realistic_page: Any) -> None:
    page = realistic_page.open("#setup=faces32-gmi")
    drawn = page.evaluate(POINTS)
    shown = table_of(page)
    assert len(drawn) == len(shown) == 8
    for index, x, y in drawn:
        assert (f"{x:.1f}", f"{y:.1f}") == (shown[index][1][0], shown[index][2][0])


def test_policy_is_present_and_nothing_can_be_shared(realistic_page: Any) -> None:
    page = realistic_page.open("#view=setup")
    assert page.get_attribute("meta[http-equiv=Content-Security-Policy]", "content") == POLICY
    page.hover("#plot .nsewdrag")
    titles = page.eval_on_selector_all("#plot .modebar-btn", "found => found.map(b => b.dataset.title ?? b.ariaLabel)")
    assert any("PNG" in title for title in titles)
    assert not [title for title in titles if "share" in title.lower() or "cloud" in title.lower()]
    assert page.query_selector("#plot .plotlyjsicon") is None


@pytest.mark.parametrize(
    ("fragment", "setup", "selected"),
    [
        ("#view=setup", "faces32-brep-mi", 0),
        ("#view=nothing&setup=faces32-gmi", "faces32-gmi", 0),
        ("#setup=faces32-gmi&defense=bido", "faces32-gmi", 1),
        ("#setup=nowhere", "faces32-brep-mi", 0),
        ("#defense=bido", "faces32-brep-mi", 1),
        ("#setup=faces32-gmi&defense=nobody&sort=nothing&colour=red", "faces32-gmi", 0),
        ("#setup", "faces32-brep-mi", 0),
        ("#view=setup&&==&%E0%A4%A", "faces32-brep-mi", 0),
        ("#setup=faces32-gmi&sort=-attack_accuracy_at_1", "faces32-gmi", 0),
    ],
)
def test_deep_links(realistic_page: Any, fragment: str, setup: str, selected: int) -> None:
    page = realistic_page.open(fragment)
    assert page.input_value("#setup") == setup
    assert page.inner_text("#title").startswith(setup)
    assert len(page.query_selector_all("#table tr[aria-selected=true]")) == selected
    if "sort=-" in fragment:
        values = [float(row[2][0]) for row in table_of(page)]
        assert values == sorted(values, reverse=True)


@pytest.mark.parametrize(
    "fragment", ["#view=setup&&==&%E0%A4%A", "#setup=faces32-gmi&defense=bido&sort=-attack_accuracy_at_1"]
)
def test_a_link_is_read_when_the_page_is_loaded(realistic_page: Any, fragment: str) -> None:
    page = realistic_page.load(fragment)
    is_broken = "%" in fragment
    assert page.input_value("#setup") == ("faces32-brep-mi" if is_broken else "faces32-gmi")
    assert len(page.query_selector_all("#table tr[aria-selected=true]")) == (0 if is_broken else 1)
    assert page.locator("#table th[aria-sort=descending]").count() == (0 if is_broken else 1)


def test_choosing_a_setup_changes_the_page_and_the_link(realistic_page: Any) -> None:
    page = realistic_page.open("#view=setup")
    choose(page, "faces32-gmi")
    assert page.inner_text("#title").startswith("faces32-gmi")
    assert page.evaluate("location.hash") == "#view=setup&setup=faces32-gmi"
    assert len(table_of(page)) == 8
    page.wait_for_selector("#plot .annotation-text >> text=nls(alpha=-0.05)")


LOOKS = """(figure) => {
    const ours = figure.data.filter(t => t.customdata && t.name !== 'published' && t.name !== 'selection');
    return Object.fromEntries(ours.flatMap(t => t.customdata.map((i, n) => {
        const of = (value) => Array.isArray(value) ? value[n] : value, { marker: m } = t;
        const bar = (e) => {
            const ends = [of(e.array ?? 0), of(e.arrayminus ?? 0)];
            return e.visible === false || !Math.max(...ends) ? null : [...ends, e.color, e.width];
        };
        const marker = [m.symbol, m.size, m.color, m.line.width, m.line.color].map(of);
        return [i, [...marker, bar(t.error_x), bar(t.error_y)]];
    })));
}"""
SEEDS = "(f) => f.data.filter(t => t.name === 'seeds').flatMap(t => [...t.x].map((x, n) => [x, t.y[n]])).sort()"


def test_points_look_as_the_figure_says_and_are_few_traces(
    realistic_page: Any, realistic_index: Path, odd_page: Any, odd_index: Path
) -> None:
    """The figure has a trace for each defense; those drawn alike are one on the page. Markers, bars and seeds stay."""
    counts = []
    pages = ((realistic_page, realistic_index), (odd_page, odd_index))
    for watched, path in ((page, path) for page, index in pages for path in (index.parent / "data").glob("setup*.js")):
        _, setup = json.loads(f"[{path.read_text().removeprefix('MIDEF.put(').rstrip().removesuffix(');')}]")
        if not (figure := setup["figure"]):
            continue
        page, on_page = watched.open(f"#setup={quote(setup['name'])}"), "document.getElementById('plot')"
        assert page.evaluate(f"({LOOKS})({on_page})") == page.evaluate(LOOKS, figure)
        assert page.evaluate(SEEDS, figure) == page.evaluate(f"({SEEDS})({on_page})")
        counts.append((page.evaluate(f"{on_page}.data.length"), len(figure["data"])))
    assert all(drawn <= meant for drawn, meant in counts) and any(drawn < meant / 1.5 for drawn, meant in counts)


def test_paper_shows_headings_and_pictures_and_no_tools(realistic_page: Any) -> None:
    page = realistic_page.open("#setup=faces32-gmi")
    until(page, "[...document.images].every(image => image.loading === 'eager' && image.complete)")
    page.emulate_media(media="print")
    try:
        assert page.is_visible("#table thead th >> text=att@1") and page.is_visible("#grid .face >> nth=0")
        assert not page.is_visible("#rail") and not page.is_visible("#copylink")
        assert page.evaluate("getComputedStyle(document.getElementById('view-setup')).breakInside") == "auto"
    finally:
        page.emulate_media(media="screen")


def test_plotly_is_read_when_a_view_first_draws_with_it(realistic_page: Any) -> None:
    page = realistic_page.load("#view=overview")
    assert page.evaluate("typeof Plotly") == "undefined"
    page.click("#views a[data-view=setup]")
    realistic_page.settle()
    assert page.evaluate("typeof Plotly") == "object"


def test_selecting_a_row_rings_its_point_and_the_reverse(realistic_page: Any) -> None:
    page = realistic_page.open("#setup=faces32-gmi")
    ring = "(() => { const t = document.getElementById('plot').data.at(-1); return [t.name, t.x[0], t.y[0]]; })()"
    row = page.locator("#table tbody tr", has_text="bido")
    row.click()
    assert row.get_attribute("aria-selected") == "true"
    keys = ("natural_accuracy", "attack_accuracy_at_1")
    number = [float(row.locator(f"td[data-key={key}]").get_attribute("data-number")) for key in keys]
    assert page.evaluate(ring) == ["selection", *number]
    assert "defense=bido" in page.evaluate("location.hash")
    page.keyboard.press("Escape")
    assert page.evaluate(ring)[1:] == [None, None]
    assert row.get_attribute("aria-selected") == "false"

    index = row.get_attribute("data-index")
    point = "(() => { const g = document.getElementById('plot'), l = g._fullLayout, b = g.getBoundingClientRect(); " \
        f"const [, x, y] = {POINTS}.find(([i]) => i === {index}); " \
        "return [b.left + l.margin.l + l.xaxis.d2p(x), b.top + l.margin.t + l.yaxis.d2p(y)]; })()"  # fmt: skip
    x, y = page.evaluate(point)
    page.mouse.move(x - 5, y - 3)
    page.mouse.move(x, y)
    page.wait_for_selector("#hover:not([hidden])")
    said = page.inner_text("#hover")
    for word in (
        "bido",
        "test accuracy",
        "95 % interval over identities, mean of 2 runs",
        "95 % interval over seeds and identities, 2 seeds",
        "2 ok",
    ):
        assert word in said
    from playwright.sync_api import TimeoutError as NotYet

    for _ in range(4):  # a busy machine may take a press for a drag
        page.mouse.click(x, y)
        with contextlib.suppress(NotYet):
            page.wait_for_selector("#table tr[aria-selected=true]", timeout=5_000)
            break
    assert page.locator("#table tr[aria-selected=true]").count() == 1
    assert row.get_attribute("aria-selected") == "true"
    page.mouse.move(x, y + 120)
    page.wait_for_selector("#hover", state="hidden")


def test_sorting_keeps_absent_numbers_last(realistic_page: Any) -> None:
    page = realistic_page.open("#setup=faces32-brep-mi")
    for _ in range(2):
        page.get_by_role("button", name="test acc %").click()
        values = [row[1][0] for row in table_of(page)]
        assert values[-2:] == ["–", "–"]
    numbers = [float(v) for v in values[:-2]]
    assert numbers == sorted(numbers, reverse=True)


def test_failed_and_refused_cells_are_named_with_reasons(realistic_page: Any) -> None:
    page = realistic_page.open("#setup=faces32-brep-mi")
    said = page.inner_text("#problems")
    assert "failed: tl_dmi, seeds 0, 1, natural_accuracy: out of memory while training" in said
    assert "refused: round(digits=1), seed 0" in said
    assert "23 ok, 2 failed, 1 refused, 2 missing" in page.inner_text("#provenance")
    assert "out of memory while training" in page.inner_text("#grid")


def test_the_profile_is_stamped(realistic_page: Any) -> None:
    page = realistic_page.open("#view=setup")
    assert page.inner_text("#stamp") == "smoke profile: stand-in data, not comparable with published numbers"
    assert page.is_hidden("#exposure")


def test_the_paper_profile_is_not_stamped_and_people_are_withheld(odd_page: Any) -> None:
    page = odd_page.open("#setup=paper")
    assert page.is_hidden("#stamp")
    assert "withheld" in page.inner_text("#grid")


def test_private_pictures_are_announced(show: Any, cell: Any) -> None:
    page = show(cell("none", private="lfw"), with_private_exemplars=True).open("#view=setup")
    assert page.inner_text("#exposure") == "This page shows private training images."
    assert len(page.query_selector_all("#grid .face.private")) == 8


def test_reconstructions_are_shown_with_their_verdicts(realistic_page: Any) -> None:
    page = realistic_page.open("#setup=faces32-gmi")
    assert len(page.query_selector_all("#grid tbody tr")) == 9  # eight defenses and the private row
    faces = page.eval_on_selector_all(
        "#grid .face:not(.private)",
        "found => found.map(f => [f.className.split(' ')[1], f.textContent, getComputedStyle(f).borderTopStyle])",
    )
    assert len(faces) == 64
    assert {tuple(face) for face in faces} == {("hit", "✓", "solid"), ("miss", "✗", "dashed")}
    assert "the first 8 attacked identities by label" in page.inner_text("#rule")
    pictures = page.eval_on_selector_all(
        "#grid .face img", "found => [...new Set(found.map(image => image.getAttribute('src')))]"
    )
    load = """sources => Promise.all(sources.map(source => new Promise(done => {
        const image = new Image();
        image.onload = image.onerror = () => done([image.naturalWidth, image.naturalHeight]);
        image.src = source;
    })))"""
    sizes = page.evaluate(load, pictures)
    assert sizes == [[256, 32]] * 9


def test_reconstructions_and_table_say_the_same_attack_accuracy(odd_page: Any) -> None:
    page = odd_page.open("#setup=wide")
    texts = page.eval_on_selector_all("#grid tbody th small", "found => found.map(t => t.textContent)")
    assert texts == ["training images", *["att@1 31.2 %"] * 3]
    assert {row[3][0] for row in table_of(page)} == {"31.2"}


def test_what_is_no_result_has_no_tick_and_says_why(show: Any, cell: Any) -> None:
    judge = {"chance": 25.0, "evaluator_accuracy": 25.0}
    rows = [replace(r, **judge) for r in cell("none")] + [replace(r, **judge) for r in cell("bido")]
    page = show(rows).open("#view=setup")
    why = "the evaluator has 25.0 % where chance is 25.0 %: it cannot judge"
    assert page.inner_text("#excluded") == f"⊘ Shown, and no result: {why}." and why in page.inner_text("#rule")
    assert "✓" not in page.inner_text("#grid") and "✗" not in page.inner_text("#grid")
    marks = page.eval_on_selector_all("#table .mark", "found => found.map(m => [m.textContent, m.title])")
    assert marks == [["⊘", why]] * 2
    assert "excluded" in page.inner_text("#table") and page.is_visible("#nothing")


def test_an_empty_store_says_no_rows(show: Any) -> None:
    page = show([], warnings=["no rows of sweep 'nightly' in this store; it holds: first-look"]).open("#view=setup")
    assert page.is_visible("#empty") and page.is_hidden("#view")
    assert "no rows" in page.inner_text("#empty")
    assert "sweep 'nightly'" in page.inner_text("#warnings")


def test_a_setup_in_which_everything_failed(odd_page: Any) -> None:
    page = odd_page.open("#setup=all-failed")
    assert page.is_visible("#noplot") and page.is_hidden("#plot")
    assert "no rows" in page.inner_text("#noplot") and "no rows" in page.inner_text("#rule")
    assert "no such data set" in page.inner_text("#problems")
    choose(page, "long")
    page.wait_for_selector("#plot .main-svg")
    assert page.is_hidden("#noplot")
    choose(page, "all-failed")
    assert page.is_hidden("#plot")


def test_markup_in_names_is_shown_as_text(odd_page: Any) -> None:
    page = odd_page.open("#setup=markup")
    assert page.title() == "midef: privacy against utility"
    assert UGLY in page.inner_text("#table")
    assert "</script><script>alert(1)" in page.inner_text("#facts")
    assert page.query_selector("main img:not(.cut img), main td b:not(.face b), #plot a") is None
    annotations = page.eval_on_selector_all("#plot .annotation-text", "found => found.map(t => t.textContent)")
    assert any(text.startswith("<img src=x onerror=") for text in annotations)
    page.locator("#table tbody tr", has_text="onerror").click()
    page.reload()
    settle(page)
    assert page.locator("#table tr[aria-selected=true]").count() == 1


def test_a_row_over_other_seeds_says_so(odd_page: Any) -> None:
    page = odd_page.open("#setup=seeds")
    assert [cells[0] for cells in table_of(page)] == [("none", ""), ("bido", "(seed 7)")]
    assert "bido: over seed 7, the others over seeds 0, 1: compared with nothing" in page.inner_text("#footnotes")
    assert page.is_visible("#ownseeds") and not page.is_visible("#hollow")
    assert odd_page.open("#setup=long").locator("#ownseeds").is_hidden()


def test_a_long_name_does_not_push_the_table_out(odd_page: Any) -> None:
    page = odd_page.open("#setup=long")
    assert max(len(name) for (name, _), *_ in table_of(page)) == 60
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_table_with_every_column_fits_the_window(odd_page: Any) -> None:
    page = odd_page.open("#setup=wide")
    headers = page.eval_on_selector_all("#table th button", "found => found.map(b => b.textContent)")
    assert headers == [
        *("defense", "test acc %", "matched", "att@1 %", "att@5 %", "found %", "KNN dist", "against none"),
        *("queries", "train s", "attack s", "ok/failed", "published acc / att@1"),
    ]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("(b => b.scrollWidth <= b.clientWidth + 1)(document.querySelector('.numbers'))"), "not cut"
    assert page.locator("#plot").bounding_box()["width"] >= 420


def test_labels_in_the_plot_do_not_cover_each_other(realistic_page: Any) -> None:
    page = realistic_page.open("#setup=faces32-gmi")
    boxes = page.eval_on_selector_all(
        "#plot .annotation-text",
        "found => found.map(t => [t.textContent, t.getBoundingClientRect()]).map(([name, b]) => "
        "[name, b.left, b.top, b.right, b.bottom])",
    )
    assert len(boxes) == 11  # eight names, dominated, chance, stamp
    for i, (one, l1, t1, r1, b1) in enumerate(boxes):
        for other, l2, t2, r2, b2 in boxes[:i]:
            assert min(r1, r2) <= max(l1, l2) + 1 or min(b1, b2) <= max(t1, t2) + 3, f"{one} covers {other}"


@pytest.fixture
def matrix_page(open_page: Callable[[Path], Any], matrix_report: BuildReport) -> Iterator[Any]:
    watched = open_page(matrix_report.index)
    yield watched
    watched.check()


def test_stand_ins_are_on_the_banner_and_in_a_table(matrix_page: Any) -> None:
    page = matrix_page.open("#setup=S03")
    stamp = page.inner_text("#stamp")
    assert stamp.startswith("mini profile, not comparable with published numbers; stands in: vgg16_tiny for vgg16; ")
    script = "rows => rows.map(tr => [...tr.cells].map(td => td.textContent))"
    assert page.eval_on_selector_all("#standins tbody tr", script) == [
        ["vgg16_tiny", "vgg16"],
        ["synthetic_faces", "celeba (private)"],
        ["32 px", "64 px"],
        ["training and attacks at the budget of mini"],
    ]
    notes = page.eval_on_selector_all("#plot .annotation-text", "found => found.map(t => t.textContent)")
    assert "mini profile with stand-ins, not the published setup" in notes


def test_certainty_is_beside_every_setup_id(matrix_page: Any) -> None:
    page = matrix_page.open("#view=setup")
    options = page.eval_on_selector_all("#setup option", "found => found.map(o => o.textContent)")
    listed = page.eval_on_selector_all("#setups tbody tr td:first-child", "found => found.map(t => t.textContent)")
    assert len(options) == len(listed) == 37
    words = ["certain"] * 31 + ["inferred"] * 6
    assert listed == [f"S{i + 1:02d} (row {word}, settings 1 of 2)" for i, word in enumerate(words)]
    assert options == [label + (" – refused" if i >= 20 else "") for i, label in enumerate(listed)]
    assert page.inner_text("#title").startswith("S01 (row certain, settings 1 of 2): ")


def test_refused_setups_are_listed_with_the_reason(matrix_page: Any) -> None:
    page = matrix_page.open("#view=setup")
    assert page.inner_text("#setups summary") == "37 setups: 20 with results, 17 refused"
    page.click("#setups summary")
    reasons = page.eval_on_selector_all("#setups tr.refused td:last-child", "found => found.map(t => t.textContent)")
    assert reasons == ["attack not registered: ppa (12 cells)"] * 17
    page.click("#setups a >> text=S33 (row inferred")
    settle(page)
    page.wait_for_selector("#refused:not([hidden])")
    assert page.input_value("#setup") == "S33"
    for place in ("#refused", "#noplot", "#problems"):
        assert "refused: attack not registered: ppa (12 cells)" in page.inner_text(place)
    assert [row[0][0] for row in table_of(page)][:1] == ["none"]
    assert {len(row) for row in table_of(page)} == {2}  # the name and what is published
    assert page.get_attribute("#setups tr[data-name=S33]", "aria-current") == "true"


def test_published_values_are_in_the_table_the_plot_and_the_overlay(matrix_page: Any) -> None:
    page = matrix_page.open("#setup=S02")
    published = {row[0][0]: row[-1] for row in table_of(page)}
    assert published["none"] == ("86.90 / 78.47", "± 4.60")
    assert published["bido"] == ("79.85 / 43.53", "†")
    assert published["tl_dmi"] == ("–", "")
    assert page.is_visible("#diamond")
    assert "† bido: text: <43.3>" in page.inner_text("#footnotes")
    place = """(() => {
        const g = document.getElementById('plot'), l = g._fullLayout, b = g.getBoundingClientRect();
        const t = g.data.find(t => t.name === 'published'), i = t.x.indexOf(79.85);
        return [b.left + l.margin.l + l.xaxis.d2p(t.x[i]), b.top + l.margin.t + l.yaxis.d2p(t.y[i])];
    })()"""
    x, y = page.evaluate(place)
    page.mouse.move(x - 5, y - 3)
    page.mouse.move(x, y)
    page.wait_for_selector("#hover:not([hidden])")
    said = page.inner_text("#hover")
    for word in ("bido", "43.53 %, not measured here", "Table B.2", "text: <43.3>"):
        assert word in said


def test_a_page_without_published_values_says_nothing_of_them(realistic_page: Any) -> None:
    page = realistic_page.open("#view=setup")
    assert page.is_hidden("#diamond") and page.is_hidden("#standins")
    assert "published acc" not in page.inner_text("main")


def test_a_matrix_fits_the_window_and_holds_the_elements_of_one_setup(matrix_page: Any) -> None:
    """37 setups drawn at once make a page slow. How fast one is drawn depends on the machine: that is not asked."""
    page = matrix_page.open("#setup=S02")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    choose(page, "S37")
    assert page.inner_text("#title").startswith("S37 (row inferred, settings 1 of 2)")
    assert page.locator("#plot .main-svg").count() <= 3, "one figure, of at most three layers"
    assert page.evaluate("document.getElementsByTagName('*').length") < 2500


def test_views_load_what_they_show_and_nothing_else(watch: Any, matrix_report: BuildReport) -> None:
    watched = watch(matrix_report.index)
    page = watched.load("#setup=S02")
    files = [url.rpartition("/")[2] for url in watched.requests if "/data/" in url]
    assert files == ["setup-01.js"]
    choose(page, "S05")
    choose(page, "S02")
    files = [url.rpartition("/")[2] for url in watched.requests if "/data/" in url]
    assert files == ["setup-01.js", "setup-04.js"], "what was loaded is kept"
    watched.check()
    page.close()


def test_a_file_that_is_gone_is_named(watch: Any, shared: Any, tmp_path: Path) -> None:
    shelf, rows = shared
    watched = watch(build_page(rows, shelf.fetch, tmp_path, store_name="store").index)
    (tmp_path / "data" / "setup-01.js").unlink()
    page = watched.load("#setup=faces32-gmi")
    assert page.inner_text("#trouble") == "data/setup-01.js cannot be read: build the page again"
    assert page.is_hidden("#view-setup")
    choose(page, "faces32-brep-mi")
    assert page.is_hidden("#trouble") and page.inner_text("#title").startswith("faces32-brep-mi")
    page.close()


def test_a_view_that_cannot_be_drawn_says_so_and_the_others_go_on(watch: Any, shared: Any, tmp_path: Path) -> None:
    shelf, rows = shared
    watched = watch(build_page(rows, shelf.fetch, tmp_path, store_name="store").index)
    (tmp_path / "data" / "setup-01.js").write_text('MIDEF.put("setup-01", { title: "cut off" });')
    page = watched.load("#setup=faces32-gmi")
    assert page.inner_text("#trouble").startswith("this view cannot be drawn: ")
    assert page.is_hidden("#view-setup")
    assert len(watched.complaints) == 1, "the console has it too"
    choose(page, "faces32-brep-mi")
    assert page.is_hidden("#trouble") and page.inner_text("#title").startswith("faces32-brep-mi")
    page.close()


@pytest.fixture(scope="session")
def matched_index(
    shared: Any,
    matched_rows: list[ResultRow],
    report: Callable[..., MatchReport],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    out = tmp_path_factory.mktemp("matched")
    return build_page(
        matched_rows, shared[0].fetch, out, store_name="store", matchings=[Matched(report(), "store")]
    ).index


@pytest.fixture
def matched_page(open_page: Callable[[Path], Any], matched_index: Path) -> Iterator[Any]:
    watched = open_page(matched_index)
    yield watched
    watched.check()


def states_of(page: Any) -> list[str]:
    script = "rows => rows.map(tr => tr.dataset.state ?? tr.textContent)"
    found: list[str] = page.eval_on_selector_all("#matchtable tbody tr", script)
    return found


STATES = ["matched", "unreachable", "fixed", "undecided", "failed"]


def test_accuracy_matching_has_its_section(matched_page: Any) -> None:
    page = matched_page.open("#view=matching")
    assert "target 88.2 % ± 0.5 points" in page.inner_text("#matchtargets")
    assert "11 trainings, 9 of them done by the last run · 1 matched, " in page.inner_text("#matchcounts")
    assert page.inner_text("#matchcommand code") == "optuna-dashboard store/studies/journal.log"
    assert states_of(page) == STATES
    said = page.inner_text("#matchtable")
    assert "no strength is near enough: at area_high 0.1: 91.2 %, at 0.8: 89.7 %" in said
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.is_hidden("#matchdetail")
    assert page.is_hidden("#view-setup")
    page.click("#views a >> text=Setup")
    settle(page)
    assert page.is_visible("#view-setup") and page.is_hidden("#matching")
    page.go_back()
    settle(page)
    assert page.is_visible("#matching")


def test_sparklines_have_a_mark_per_training(matched_page: Any) -> None:
    page = matched_page.open("#view=matching")
    counts = page.eval_on_selector_all(
        "#matchtable svg",
        "found => found.map(s => ['circle.search', 'circle.confirm', '.lost'].map(c => s.querySelectorAll(c).length))",
    )
    assert counts == [[3, 2, 1], [2, 0, 0], [1, 0, 0], [2, 0, 0], [0, 0, 0]]
    ys = page.eval_on_selector_all(
        "#matchtable tr:first-child circle", "found => found.map(c => +c.getAttribute('cy'))"
    )
    assert ys == pytest.approx([3, 3, 20.1, 15.6, 20.1]), "gaps of 2, 2, 0.1, 0.6, 0.1 points; high is far"
    band = page.eval_on_selector("#matchtable .band", "b => [+b.getAttribute('y'), +b.getAttribute('height')]")
    assert band == pytest.approx([16.5, 4.5])


def test_only_those_not_matched(matched_page: Any, show: Any, report: Any, outcome: Any) -> None:
    page = matched_page.open("#view=matching")
    page.check("#unmatched")
    assert states_of(page) == STATES[1:]
    assert "match_only=unmatched" in page.evaluate("location.hash")
    page.reload()
    settle(page)
    assert page.is_checked("#unmatched") and states_of(page) == STATES[1:]
    page.uncheck("#unmatched")
    assert states_of(page) == STATES
    all_matched = show([], matchings=[Matched(report(outcomes=(outcome(),)), "store")]).open("#match_only=unmatched")
    assert states_of(all_matched) == ["no rows: all are matched"]


def test_sorting_the_matching_table(matched_page: Any) -> None:
    page = matched_page.open("#view=matching")
    button = page.locator("#matchtable th[data-key=gap] button")
    numbers = "rows => rows.map(tr => tr.querySelector('[data-key=gap]').dataset.number ?? '–')"
    button.click()
    assert states_of(page) == ["matched", "fixed", "unreachable", "undecided", "failed"]
    button.click()
    assert states_of(page) == ["unreachable", "fixed", "matched", "undecided", "failed"], "absent ones stay last"
    assert page.eval_on_selector_all("#matchtable tbody tr", numbers)[-2:] == ["–", "–"]
    page.click("#matchtable th[data-key=parameter] button")
    names = page.eval_on_selector_all(
        "#matchtable [data-key=parameter] .value", "found => found.map(v => v.textContent)"
    )
    assert names == ["–", "area_high", "lambda_x", "lambda_x", "rank"]
    assert "match_sort=parameter" in page.evaluate("location.hash")


def drawn_in(page: Any, plot: str) -> dict[int, list[float]]:
    page.wait_for_selector(f"#{plot} .main-svg")
    found = page.evaluate(
        f"document.getElementById('{plot}').data.flatMap(t => (t.customdata ?? []).map((i, n) => [i, t.x[n], t.y[n]]))"
    )
    return {i: [x, y] for i, x, y in found}


def test_clicking_a_row_draws_its_two_figures(matched_page: Any) -> None:
    page = matched_page.open("#view=matching")
    row = page.locator("#matchtable tbody tr").first
    row.click()
    assert row.get_attribute("aria-selected") == "true"
    assert "match=bido%28match%29" in page.evaluate("location.hash")
    assert page.inner_text("#matchdetail h3") == "bido(match) / tiny_vgg16 / synthetic_faces: matched"
    assert "attacked as bido(lambda_x=0.02)" in page.inner_text("#matchwhy")
    history, curve = drawn_in(page, "history"), drawn_in(page, "curve")
    assert len(history) == len(curve) == 6
    assert history[2] == pytest.approx([3, 2.0]) and curve[2] == pytest.approx([0.05, 86.2])
    assert page.is_visible("#history .main-svg >> nth=0") and page.is_visible("#curve .main-svg >> nth=0")
    # The line of the chosen strength runs through its mark: shapes and notes count differently on a log axis.
    place = """(() => {
        const g = document.getElementById('curve'), l = g._fullLayout, b = g.getBoundingClientRect();
        const paths = [...g.querySelectorAll('.shapelayer path')].map(p => p.getBoundingClientRect());
        const line = paths.find(r => r.height > 100 && r.width < 5);
        const note = [...g.querySelectorAll('.annotation-text')].find(t => t.textContent.startsWith('chosen'));
        const box = note.getBoundingClientRect();
        const mid = r => (r.left + r.right) / 2;
        return [b.left + l.margin.l + l.xaxis.d2p(0.02), mid(line), mid(box)];
    })()"""
    mark, line, note = page.evaluate(place)
    assert line == pytest.approx(mark, abs=2) and note == pytest.approx(mark, abs=4)
    page.keyboard.press("Escape")
    assert page.is_hidden("#matchdetail") and row.get_attribute("aria-selected") == "false"


def test_choosing_from_the_list_draws_too_and_says_what_is_not_there(matched_page: Any) -> None:
    page = matched_page.open("#view=matching")
    page.select_option("#matchrow", label="round(digits=1) / tiny_vgg16 / synthetic_faces – fixed")
    assert drawn_in(page, "history") == {0: pytest.approx([1, 1.1])}
    assert page.is_hidden("#curve") and page.inner_text("#nocurve") == "no strength was searched"
    page.select_option("#matchrow", "4")
    assert page.inner_text("#nohistory") == "no trainings to compare with a target"
    assert "<b>no such data</b>" in page.inner_text("#matchwhy")
    page.select_option("#matchrow", "")
    assert page.is_hidden("#matchdetail")


def test_the_overlay_of_a_training_says_seed_and_reason(matched_page: Any) -> None:
    page = matched_page.open("#match=" + "bido(match) / tiny_vgg16 / synthetic_faces".replace(" ", "%20"))
    assert len(drawn_in(page, "history")) == 6
    page.locator("#history").scroll_into_view_if_needed()
    place = """(() => {
        const g = document.getElementById('history'), l = g._fullLayout, b = g.getBoundingClientRect();
        const t = g.data.find(t => t.name === 'lost');
        return [b.left + l.margin.l + l.xaxis.d2p(t.x[0]), b.top + l.margin.t + l.yaxis.d2p(t.y[0])];
    })()"""
    x, y = page.evaluate(place)
    page.mouse.move(x - 5, y - 3)
    page.mouse.move(x, y)
    page.wait_for_selector("#hover:not([hidden])")
    said = page.inner_text("#hover")
    for word in ("2 of 6, search", "the loss became nan at step 214", "lambda_x"):
        assert word in said


def test_markup_in_the_names_of_a_matching_is_text(matched_page: Any) -> None:
    page = matched_page.open("#view=matching")
    assert "onerror" in page.inner_text("#matchtable") and "<b>no such data</b>" in page.inner_text("#matchtable")
    assert page.query_selector("#matching img, #matchtable b") is None
    page.locator("#matchtable tbody tr", has_text="onerror").click()
    page.reload()
    settle(page)
    assert "onerror" in page.inner_text("#matchdetail h3")
    assert page.title() == "midef: privacy against utility"


def test_a_page_without_a_report_has_no_section(realistic_page: Any) -> None:
    page = realistic_page.open("#match=bido&match_sort=-gap&match_only=unmatched")
    assert page.is_hidden("#matching") and "Accuracy matching" not in page.locator("#views a").all_inner_texts()
    assert page.is_hidden("#guide") and page.is_hidden("#hollow")


def test_a_matching_is_shown_without_any_rows(show: Any, report: Any) -> None:
    page = show([], matchings=[Matched(report(), "store")]).open("#sort=x")
    assert page.is_visible("#empty")
    page.click("#views a >> text=Accuracy matching")
    settle(page)
    assert states_of(page) == STATES
    page.locator("#matchtable tbody tr").first.click()
    assert len(drawn_in(page, "curve")) == 6


def test_hollow_points_are_explained(matched_page: Any) -> None:
    page = matched_page.open("#view=setup")
    assert page.is_visible("#hollow")
    assert "select split" in page.inner_text("#guide") and "only a guide" in page.inner_text("#guide")
    soft = page.eval_on_selector_all("#table tr.unmatched", "found => found.length")
    assert soft == 5


def test_a_selected_point_of_a_crowd_gets_its_name(odd_page: Any) -> None:
    page = odd_page.open("#setup=crowd")
    names = "found => found.map(t => t.textContent)"
    before = page.eval_on_selector_all("#plot .annotation-text", names)
    assert "<b>k</b>=4" in before and "<b>k</b>=5" not in before
    page.locator("#table tbody tr", has_text="<b>k</b>=5").click()
    until(page, "document.querySelectorAll('#plot .annotation-text').length === " + str(len(before) + 1))
    after = page.eval_on_selector_all("#plot .annotation-text", names)
    assert [name for name in after if name not in before] == ["<b>k</b>=5"]
    page.locator("#table tbody tr", has_text="<b>k</b>=4").click()  # has its name already
    until(page, "document.querySelectorAll('#plot .annotation-text').length === " + str(len(before)))


def test_several_points_are_selected_and_all_are_named(odd_page: Any) -> None:
    page = odd_page.open("#setup=crowd")
    names = "found => found.map(t => t.textContent)"
    for number, keys in ((5, []), (7, ["Control"])):
        page.locator("#table tbody tr", has_text=f"<b>k</b>={number}").first.click(modifiers=keys)
    until(page, "document.getElementById('plot').data.at(-1).x.length === 2")
    shown = page.eval_on_selector_all("#plot .annotation-text", names)
    assert {"<b>k</b>=5", "<b>k</b>=7"} <= set(shown)
    assert page.locator("#table tr[aria-selected=true]").count() == 2
    fragment = page.evaluate("location.hash")
    again = odd_page.open(fragment)
    assert again.locator("#table tr[aria-selected=true]").count() == 2
    again.keyboard.press("Escape")
    assert again.locator("#table tr[aria-selected=true]").count() == 0


def test_the_papers_orientation_and_a_log_scale(realistic_page: Any) -> None:
    page = realistic_page.open("#setup=faces32-gmi")
    axis = """(() => {
        const y = document.getElementById('plot').layout.yaxis;
        return [y.type || '', ...y.range, y.title.text];
    })()"""
    drawn = page.evaluate(POINTS)
    kind, bottom, top, title = page.evaluate(axis)
    assert len(drawn) == len(table_of(page)) and bottom > top and "↑ better" in title
    page.check("#papers")
    until(page, "document.getElementById('plot').layout.yaxis.title.text.includes('↓ better')")
    assert page.evaluate(axis)[1:3] == [top, bottom]
    page.check("#logscale")
    until(page, "document.getElementById('plot').layout.yaxis.type === 'log'")
    assert "axis=papers.log" in page.evaluate("location.hash")
    assert page.evaluate(POINTS) == drawn, "the numbers stay"
    page.uncheck("#papers")
    page.uncheck("#logscale")
    until(page, "document.getElementById('plot').layout.yaxis.range[0] === " + str(bottom))
    assert page.evaluate(axis) == [kind, bottom, top, title]


def test_other_restarts_identities_and_defenses_can_be_chosen_and_enlarged(realistic_page: Any) -> None:
    page = realistic_page.open("#setup=faces32-gmi")
    sources = "found => [...new Set(found.map(image => image.getAttribute('src')))]"
    page.select_option("#gridrestart", "1")
    page.select_option("#gridblock", "1")
    chosen = page.eval_on_selector_all("#grid .face:not(.private) img", sources)
    assert len(chosen) == 8
    page.select_option("#gridrestart", "0")
    first = page.eval_on_selector_all("#grid .face:not(.private) img", sources)
    assert len(first) == 8 and not set(first) & set(chosen)
    page.select_option("#gridrestart", "1")
    assert "identities 8 to 15" in page.inner_text("#rule") and "second restart" in page.inner_text("#rule")
    assert "faces=0.1.1" in page.evaluate("location.hash")
    page.click("#griddefenses summary")
    page.locator("#griddefenses label", has_text="bido").click()
    assert len(page.query_selector_all("#grid tbody tr")) == 8
    page.locator("#grid .face:not(.private)").first.click()
    said = page.inner_text("#enlarged")
    for words in ("its five best", "which they are is not stored", "nearest private image", "not stored"):
        assert words in said
    assert len(page.query_selector_all("#enlarged figure")) == 2, "data that shows nobody: its image stands beside"
    page.keyboard.press("Escape")
    page.wait_for_selector("#enlarged", state="hidden")


def test_a_window_that_was_narrowed_in_another_view_holds_the_plot_and_the_heat_table(realistic_page: Any) -> None:
    page = realistic_page.open("#setup=faces32-gmi")
    realistic_page.open("#view=overview")
    page.set_viewport_size({"width": 390, "height": 844})
    try:
        shown = "document.querySelector('#heat tbody td').getBoundingClientRect().right <= innerWidth"
        assert page.evaluate(shown), "names of setups leave room for numbers"
        realistic_page.open("#setup=faces32-gmi")
        until(page, "document.documentElement.scrollWidth <= innerWidth")
        edges = "[...document.querySelectorAll('#plot .main-svg')].map(s => s.getBoundingClientRect().bottom)"
        below = "document.getElementById('plottools').getBoundingClientRect().top"
        assert page.evaluate(f"Math.max(...{edges}) <= {below} + 1"), "the plot covers nothing below it"
    finally:
        page.set_viewport_size({"width": 1400, "height": 900})


def test_names_of_reconstructions_stand_above_them_on_a_phone(realistic_page: Any) -> None:
    page = realistic_page.open("#setup=faces32-gmi")
    page.set_viewport_size({"width": 390, "height": 844})
    try:
        boxes = page.eval_on_selector_all("#grid tbody th", "found => found.map(t => t.getBoundingClientRect().width)")
        assert min(boxes) > 250
        heights = page.eval_on_selector_all(
            "#grid tbody th", "found => found.map(t => t.getBoundingClientRect().height)"
        )
        assert max(heights) < 90
    finally:
        page.set_viewport_size({"width": 1400, "height": 900})


def test_the_worst_case_of_a_target_names_the_attack_that_wins(realistic_page: Any, realistic: list[ResultRow]) -> None:
    page = realistic_page.open("#view=worst")
    page.wait_for_selector("#worsttargets table")
    [target] = worst_targets(realistic)
    lines = page.eval_on_selector_all(
        "#worsttargets tbody tr",
        "found => found.map(tr => [...tr.cells].map(td => td.querySelector('.value').textContent))",
    )
    assert [line[0] for line in lines] == list(target.cases)
    for name, value, by, compared, *_ in lines:
        case = target.cases[name]
        assert value == ("–" if case.value is None else f"{case.value:.1f}")
        assert by == (case.winner.attack if case.winner else "–")
        assert compared == str(len(case.measured))
    page.locator("#worsttargets tbody tr").first.click()
    tries = page.eval_on_selector_all(
        ".worsttries tbody tr td:first-child .value", "found => found.map(t => t.textContent)"
    )
    assert tries == [one.attack for one in target.cases["none"].attempts]
    page.locator("#worsttargets tbody tr").first.click()
    assert not page.query_selector_all(".worsttries")
