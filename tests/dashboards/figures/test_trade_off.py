"""The trade-off figure as data: what is drawn where."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midef.core import ResultRow
from midef.dashboards.figures.labels import Box, place_labels
from midef.dashboards.figures.places import places_of
from midef.dashboards.figures.point_names import LONGEST_LEADER_PX
from midef.dashboards.figures.style import COLOURS, GREY, WHITE
from midef.dashboards.figures.trade_off import HEIGHT_PX, MARGIN_PX, assign_colours, draw
from midef.results.published import published_of
from midef.results.summary import by_setup, summarise


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colour", [*COLOURS, GREY])
def test_colours_stand_out_from_white(colour: str) -> None:
    assert 1.05 / (luminance(colour) + 0.05) >= 3


def traces(figure: Any, name: str) -> list[Any]:
    return [trace for trace in figure.data if trace.name == name]


def test_up_is_better_and_every_point_is_where_the_table_says(realistic: list[ResultRow]) -> None:
    for group in by_setup(summarise(realistic)).values():
        figure = draw(group)
        bottom, top = figure.layout.yaxis.range
        assert bottom > top
        points = {t.customdata[0]: (t.x[0], t.y[0]) for t in figure.data if t.customdata}
        expected = {
            i: (row.natural_accuracy.mean, row.attack_accuracy_at_1.mean)
            for i, row in enumerate(group)
            if row.natural_accuracy.mean is not None
        }
        assert points == expected
        left, right = figure.layout.xaxis.range
        assert all(left < x < right and top < y < bottom for x, y in points.values())
        assert figure.data[-1].name == "selection" and not figure.data[-1].x


def test_the_front_is_a_staircase_that_no_point_lies_above(realistic: list[ResultRow]) -> None:
    group = next(iter(by_setup(summarise(realistic)).values()))
    (front,) = traces(draw(group), "front")
    steps = list(zip(front.x, front.y, strict=True))
    for (x0, y0), (x1, y1) in pairwise(steps):
        assert x0 == x1 or y0 == y1
        assert x1 >= x0 and y1 >= y0
    for row in group:
        x, y = row.natural_accuracy.mean, row.attack_accuracy_at_1.mean
        if x is not None and y is not None:
            assert (x, y) in steps if row.is_on_front else any(fx >= x and fy <= y for fx, fy in steps)


def test_reference_chance_and_stamp_are_drawn(realistic: list[ResultRow]) -> None:
    group = next(iter(by_setup(summarise(realistic)).values()))
    figure = draw(group, stamp="smoke profile")
    dashes = [shape.line.dash for shape in figure.layout.shapes]
    assert sorted(dashes) == ["dash", "dash", "dot"]
    texts = [note.text for note in figure.layout.annotations]
    assert "smoke profile" in texts and "chance 0.50 %" in texts and "undefended" in texts


def test_a_row_that_is_excluded_changes_no_interval_of_the_others(cell: Callable[..., list[ResultRow]]) -> None:
    rows = [row for defense in ("none", "bido") for seed in range(3) for row in cell(defense, seed)]
    guesses = [replace(r, value=0.1, low=0.0, high=0.6) for r in cell("loft(rank=16)") if r.unit == "percent"]
    places = places_of(summarise([*rows, *guesses]), {})
    assert places is not None
    kinds = {place.row.defense: place.utility and place.utility.kind for place in places.ours}
    over_seeds = "95 % interval over seeds and identities, 3 seeds"
    assert kinds == {"none": over_seeds, "bido": over_seeds, "loft(rank=16)": None}


def test_names_are_text_and_not_markup(cell: Callable[..., list[ResultRow]]) -> None:
    name = "<b>bold</b> & <a href='x'>link</a>"
    rows = cell("none") + [replace(r, defense=name) for r in cell("bido")]
    figure = draw(summarise(rows))
    texts = [note.text for note in figure.layout.annotations]
    assert any(text.startswith("&lt;b&gt;bold&lt;/b&gt; &amp; ") for text in texts)
    assert not any("<b>" in text or "<a" in text for text in texts)


def test_a_point_over_other_seeds_is_hollow_and_names_them(cell: Callable[..., list[ResultRow]]) -> None:
    rows = [*cell("none", 0), *cell("bido", 0), *cell("loft(rank=16)", 7)]
    figure = draw(summarise(rows))
    fills = {t.name: t.marker.color for t in figure.data if t.customdata}
    assert (fills["loft(rank=16)"], fills["bido"] == WHITE) == (WHITE, False)
    names = {note.text for note in figure.layout.annotations if note.name}
    assert names == {"undefended", "bido", "loft(rank=16) (seed 7)"}


def test_nothing_to_draw(row: Callable[..., ResultRow]) -> None:
    assert draw(summarise([row("natural_accuracy", 90.0)])) is None


def test_one_colour_for_a_defense_in_all_setups(realistic: list[ResultRow]) -> None:
    summaries = summarise(realistic)
    colours = assign_colours(summaries)
    assert set(colours) == {r.defense for r in summaries if r.is_on_front and not r.is_undefended}
    assert len(set(colours.values())) == len(colours)


def test_labels_of_a_crowd_do_not_cover_each_other() -> None:
    anchors = [(200.0 + 14 * (i % 5), 200.0 + 18 * (i // 5)) for i in range(15)]
    sizes = [(90.0, 14.0)] * 15
    obstacles = [Box.around(x, y, 16, 16, weight=6) for x, y in anchors]
    placed = place_labels(anchors, sizes, obstacles, Box(0, 0, 600, 480))
    boxes = [Box.around(x + p.dx, y + p.dy, 90, 14) for (x, y), p in zip(anchors, placed, strict=True)]
    assert all(a.overlap(b) == 0 for a, b in combinations(boxes, 2))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.floats(0, 600), st.floats(0, 480)), min_size=1, max_size=8))
def test_labels_stay_inside(anchors: list[tuple[float, float]]) -> None:
    placed = place_labels(anchors, [(80.0, 14.0)] * len(anchors), [], Box(0, 0, 600, 480))
    for (x, y), p in zip(anchors, placed, strict=True):
        assert x + p.dx - 40 >= -1 and x + p.dx + 40 <= 601
        assert y + p.dy - 7 >= -1 and y + p.dy + 7 <= 481


def test_published_points_are_diamonds_joined_to_ours(cell: Callable[..., list[ResultRow]], publication: Any) -> None:
    rows = [*cell("none"), *cell("bido"), *cell("loft(rank=16)")]
    setup = rows[0].setup
    papers = [
        publication(metric, value, setup=setup, defense=defense)
        for defense, acc, attack in (("none", 86.9, 78.47), ("bido", 79.85, 43.53), ("tts", 70.0, 20.0))
        for metric, value in (("natural_accuracy", acc), ("attack_accuracy_at_1", attack))
    ] + [publication("attack_accuracy_at_1", 3.0, setup=setup, defense="loft(rank=16)")]
    group = summarise(rows)
    figure = draw(group, published=published_of(setup, papers))
    index = {row.defense: i for i, row in enumerate(group)}
    (diamonds,) = traces(figure, "published")
    assert diamonds.marker.symbol == "diamond-open"
    drawn = dict(zip(diamonds.customdata, zip(diamonds.x, diamonds.y, strict=True), strict=True))
    # A defense that is not here has nothing to be joined to, and half a point is none.
    assert drawn == {index["none"]: (86.9, 78.47), index["bido"]: (79.85, 43.53)}
    (lines,) = traces(figure, "ours to published")
    ours = {i: (row.natural_accuracy.mean, row.attack_accuracy_at_1.mean) for i, row in enumerate(group)}
    ends = list(zip(lines.x, lines.y, strict=True))
    assert sorted(zip(ends[::3], ends[1::3], strict=True)) == sorted((ours[i], at) for i, at in drawn.items())
    assert set(ends[2::3]) == {(None, None)}
    (left, right), (bottom, top) = figure.layout.xaxis.range, figure.layout.yaxis.range
    assert all(left < x < right and top < y < bottom for x, y in drawn.values())
    assert figure.data[-1].name == "selection"


def test_without_published_numbers_nothing_is_drawn_of_them(realistic: list[ResultRow]) -> None:
    figure = draw(next(iter(by_setup(summarise(realistic)).values())))
    assert not traces(figure, "published") and not traces(figure, "ours to published")


def test_a_matched_setup_has_a_band_and_hollow_points(matched_rows: list[ResultRow]) -> None:
    group = summarise(matched_rows)
    figure = draw(group)
    (band,) = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert (band.x0, band.x1, band.yref) == (98.0, 99.0, "paper")
    left, right = figure.layout.xaxis.range
    assert left < band.x0 and band.x1 < right
    assert "target 98.5 ± 0.5 (tolerance, select split)" in [note.text for note in figure.layout.annotations]
    drawn = {group[t.customdata[0]].defense: t for t in figure.data if t.customdata}
    assert drawn["none"].marker.symbol == "x-thin"
    filled = {"nls(alpha=-0.05)", "midre(area_high=0.4)"}
    for defense in drawn.keys() - {"none"}:
        hollow = (drawn[defense].marker.color, drawn[defense].marker.line.color) == ("#FFFFFF", GREY)
        assert hollow != (defense in filled), defense
    (front,) = traces(figure, "front")
    corners = set(zip(front.x, front.y, strict=True))
    assert {row.defense for row in group if (row.natural_accuracy.mean, row.attack_accuracy_at_1.mean) in corners} <= (
        filled
    )


def test_where_nothing_is_matched_there_is_no_front(matched_rows: list[ResultRow]) -> None:
    figure = draw(summarise([replace(row, matched=False) for row in matched_rows]), stamp="smoke profile")
    assert not traces(figure, "front") and not traces(figure, "dominated")
    texts = [note.text for note in figure.layout.annotations]
    assert "<i>dominated</i>" not in texts and {"undefended", "smoke profile", "chance 0.50 %"} <= set(texts)


def test_two_targets_are_two_bands_and_two_fronts(matched_rows: list[ResultRow]) -> None:
    other = [replace(r, match_target=95.0) if r.defense.startswith("nls") else r for r in matched_rows]
    figure = draw(summarise(other))
    assert sorted(shape.x0 for shape in figure.layout.shapes if shape.type == "rect") == [94.5, 98.0]
    assert len(traces(figure, "front")) == 2


def test_a_setup_without_matching_is_drawn_without_any_of_it(realistic: list[ResultRow]) -> None:
    figure = draw(next(iter(by_setup(summarise(realistic)).values())))
    assert not [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert not [note for note in figure.layout.annotations if "target" in note.text]
    assert all(t.marker.color != "#FFFFFF" for t in figure.data if t.customdata)
    assert (figure.layout.height, figure.layout.margin.t) == (HEIGHT_PX, MARGIN_PX["t"])


def strengths(count: int, row: Callable[..., ResultRow], *, every: int = 2) -> list[ResultRow]:
    """`count` points at strengths of one defense, of which each `every`th is on the front, and the undefended model."""
    rows = [row("natural_accuracy", 95.0), row("attack_accuracy_at_1", 99.0, larger_is="less private")]
    for i in range(count):
        natural, attack = 94.0 - 2 * i, 90.0 - 4 * i + (0 if i % every == 0 else 12)
        facts = {"defense": f"bido(lambda_x={i})", "defense_name": "bido", "defense_params": f"{i}"}
        rows += [row("natural_accuracy", natural, **facts), row("attack_accuracy_at_1", attack, **facts)]
    return rows


@pytest.mark.parametrize(("count", "expected"), [(11, 12), (12, 7), (20, 11)])
def test_in_a_crowd_only_the_front_is_labelled(row: Callable[..., ResultRow], count: int, expected: int) -> None:
    group = summarise(strengths(count, row))
    names = {note.name: note.text for note in draw(group).layout.annotations if note.name}
    assert len(names) == expected
    for i, text in names.items():
        one = group[int(i)]
        assert text == ("undefended" if one.is_undefended else one.defense)
        assert count < 12 or one.is_on_front or one.is_undefended


def test_a_crowded_front_has_only_labels_that_are_near(row: Callable[..., ResultRow]) -> None:
    group = summarise(strengths(22, row, every=1))
    assert sum(one.is_on_front for one in group) >= 22
    figure = draw(group)
    named = [note for note in figure.layout.annotations if note.name]
    assert "undefended" in {note.text for note in named}
    for note in named:
        if note.showarrow and note.text != "undefended":
            beside = abs(note.ax) - (7.0 * len(note.text) + 4) / 2
            assert math.hypot(max(beside, 0), max(abs(note.ay) - 7, 0)) <= LONGEST_LEADER_PX
