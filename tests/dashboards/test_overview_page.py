"""Overview and filters in a real browser."""

from __future__ import annotations

from typing import Any

import pytest

from midef.core import ResultRow
from midef.results.summary import by_setup, summarise

pytestmark = pytest.mark.browser


def heat(page: Any) -> dict[tuple[str, str], tuple[str, str]]:
    """(state, text) of each cell, by setup and defense."""
    script = "cells => cells.map(c => [c.parentNode.dataset.setup, c.dataset.defense, c.dataset.state, c.textContent])"
    return {(s, d): (state, text) for s, d, state, text in page.eval_on_selector_all("#heat tbody td", script)}


def test_the_first_view_says_everything_at_a_glance(realistic_page: Any, realistic: list[ResultRow]) -> None:
    page = realistic_page.open()
    assert page.is_visible("#view-overview") and page.is_hidden("#view-setup")
    assert page.locator(".tile h3").all_inner_texts() == [
        *("runs done", "setups complete", "defenses at matched accuracy", "cost so far"),
    ]
    assert page.locator(".tile .value").first.inner_text() == "23 of 28"
    found = heat(page)
    for key, group in by_setup(summarise(realistic)).items():
        none = next(row for row in group if row.is_undefended).attack_accuracy_at_1.mean
        for row in group:
            mean, (state, text) = row.attack_accuracy_at_1.mean, found.get((key[2], row.defense), ("", ""))
            if row.is_undefended:
                assert state == ""
            elif state == "unmatched":
                assert none is not None and mean is not None and text == f"{none - mean:.1f}"
            else:
                assert text == "" and state in ("failed", "refused", "excluded")
    assert page.locator("#multiples a").count() == 2
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_cell_leads_to_its_setup_by_mouse_and_by_keyboard(realistic_page: Any) -> None:
    page = realistic_page.open()
    page.click("#heat tr[data-setup=faces32-gmi] td[data-defense=bido]")
    realistic_page.settle()
    assert page.inner_text("#title").startswith("faces32-gmi")
    assert page.locator("#table tr[aria-selected=true]").inner_text().startswith("bido")
    page.go_back()
    realistic_page.settle()
    assert page.is_visible("#heat")
    page.locator("#heat tbody td").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    realistic_page.settle()
    assert page.inner_text("#title").startswith("faces32-gmi")


@pytest.mark.parametrize(
    ("fragment", "setups"),
    [
        ("#attack=gmi", ["faces32-gmi"]),
        ("#attack=nobody&data=nothing&seeds=some&only=x", ["faces32-brep-mi", "faces32-gmi"]),
        ("#find=brep+bido", ["faces32-brep-mi"]),
        ("#family=stack", ["faces32-gmi"]),
    ],
)
def test_filters_are_read_from_the_link(realistic_page: Any, fragment: str, setups: list[str]) -> None:
    page = realistic_page.open(fragment)
    rows = page.eval_on_selector_all("#heat tbody tr", "found => found.map(tr => tr.dataset.setup)")
    assert rows == setups


def test_filters_are_in_the_link_and_hold_in_every_view(realistic_page: Any) -> None:
    page = realistic_page.open()
    page.select_option("[data-filter=family]", "midre")
    realistic_page.settle()
    assert "family=midre" in page.evaluate("location.hash")
    assert {defense for _, defense in heat(page)} == {"midre(area_high=0.4)", "midre(area_high=0.8)"}
    page.click("#views a >> text=Setup")
    realistic_page.settle()
    names = page.locator("#table tbody tr td:first-child .value").all_inner_texts()
    assert {name for name in names if name != "none"} == {"midre(area_high=0.8)"}
    page.click("#resetfilters")
    realistic_page.settle()
    assert "family" not in page.evaluate("location.hash")
    assert page.locator("#table tbody tr").count() == 6


def test_a_filter_that_leaves_nothing_says_no_rows(realistic_page: Any) -> None:
    page = realistic_page.open("#find=nobody-has-this-name")
    assert page.inner_text("#norows h2") == "no rows" and page.is_hidden("#view-overview")
    page.click("#views a >> text=Setup")
    realistic_page.settle()
    assert page.is_visible("#norows") and page.is_hidden("#view-setup")
    page.click("#resethere")
    realistic_page.settle()
    assert page.is_hidden("#norows") and page.is_visible("#view-setup")


def test_stand_ins_of_several_setups_do_not_fill_the_window(show: Any, row: Any) -> None:
    names = {"a": "tiny_vgg16 for vgg16", "b": "32 px for 64 px"}
    page = show([row("natural_accuracy", 90.0, setup=s, profile="mini", stand_ins=names[s]) for s in names]).open()
    common = "mini profile, not comparable with published numbers"
    assert page.inner_text("#stamp") == f"{common}; each setup names what stands in for what"
    assert page.locator(".tile .value").nth(1).inner_text() == "2 of 2"
    page.goto(page.url.partition("#")[0] + "#setup=b")
    page.wait_for_selector("#view-setup:not([hidden])")
    assert page.inner_text("#stamp") == f"{common}; stands in: 32 px for 64 px"
