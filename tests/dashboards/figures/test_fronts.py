"""Fronts over seeds in the trade-off figure: band, line, fill of the points, and bars that are never of zero width."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from midef.core import ResultRow
from midef.dashboards.figures.places import places_of
from midef.dashboards.figures.style import COLOURS, INK, MORE_ON_FRONT, WHITE
from midef.dashboards.figures.trade_off import assign_colours, draw
from midef.dashboards.page_data import Grid
from midef.dashboards.setup_data import equal_words, setup_data
from midef.results.attainment import attained
from midef.results.front_share import front_shares
from midef.results.summary import SummaryRow, summarise

POINTS = {  # test accuracy and attack accuracy by seed
    "none": [(95.0, 90.0), (95.5, 91.0), (94.5, 89.0)],
    "bido": [(90.0, 60.0), (91.0, 61.0), (89.0, 62.0)],
    "midre": [(90.5, 61.0), (89.5, 62.0), (89.8, 58.0)],
    "loft": [(85.0, 75.0), (86.0, 74.0), (84.0, 76.0)],
}


def group_of(row: Callable[..., ResultRow], points: dict[str, Sequence[tuple[float, float]]]) -> list[SummaryRow]:
    rows = []
    for defense, seeds in points.items():
        for seed, (natural, attack) in enumerate(seeds):
            facts = {"defense": defense, "defense_name": defense, "defense_params": defense, "seed": seed}
            rows.append(row("natural_accuracy", natural, **facts))
            rows.append(row("attack_accuracy_at_1", attack, larger_is="less private", **facts))
    return summarise(rows)


def traces(figure: Any, name: str) -> list[Any]:
    return [trace for trace in figure.data if trace.name == name]


def test_the_line_is_what_half_of_the_seeds_attain(row: Callable[..., ResultRow]) -> None:
    group = group_of(row, POINTS)
    figure = draw(group)
    sets = [[seeds[i] for seeds in POINTS.values()] for i in range(3)]
    [line] = traces(figure, "attained, 50 %")
    [band] = traces(figure, "attained, 20 to 80 %")
    assert set(attained(sets, 2)) <= set(zip(line.x, line.y, strict=True))
    drawn = set(zip(band.x, band.y, strict=True))
    assert set(attained(sets, 1)) | set(attained(sets, 3)) <= drawn
    assert band.fill == "toself"
    (left, right), (bottom, top) = figure.layout.xaxis.range, figure.layout.yaxis.range
    assert all(left <= x <= right and top <= y <= bottom for x, y in drawn)


def test_fewer_than_three_seeds_show_neither_band_nor_share(row: Callable[..., ResultRow]) -> None:
    group = group_of(row, {name: seeds[:2] for name, seeds in POINTS.items()})
    figure = draw(group)
    assert not [trace for trace in figure.data if trace.name.startswith("attained")]
    assert all(t.marker.color != WHITE for t in figure.data if t.customdata)
    data = setup_data("a", group, Grid(), {})
    assert "front_share" not in [column.key for column in data.columns]
    assert {one.front_share for one in data.rows} == {None}


def test_the_fill_of_a_point_is_how_often_it_is_on_the_front(row: Callable[..., ResultRow]) -> None:
    group = group_of(row, POINTS)
    shares = {group[i].defense: share for i, share in front_shares(group).items()}
    assert shares["none"] == 1 and shares["loft"] == 0 and 0.1 < shares["bido"] < 0.9
    figure = draw(group)
    white = {t.name for t in figure.data if t.customdata and t.marker.color == WHITE}
    assert white == {"bido", "midre", "loft"}
    discs = {(shape.xanchor, shape.yanchor) for shape in figure.layout.shapes if shape.type == "path"}
    points = {one.defense: (one.natural_accuracy.mean, one.attack_accuracy_at_1.mean) for one in group}
    assert discs == {points["bido"], points["midre"]}


def test_the_table_gives_the_number_and_says_what_it_is(row: Callable[..., ResultRow]) -> None:
    group = group_of(row, POINTS)
    data = setup_data("a", group, Grid(), {})
    keys = [column.key for column in data.columns]
    assert keys[:2] == ["defense", "front_share"]
    for index, one in enumerate(data.rows):
        share = front_shares(group)[index]
        assert (one.front_share, one.cells[1].number, one.cells[1].text) == (share, share, f"{share:.2f}")
        assert len(one.cells) == len(data.columns)
    assert any(note.startswith("P(on front): share of resamples of the 3 seeds") for note in data.footnotes)


def test_what_is_compared_with_nothing_is_a_hollow_square(row: Callable[..., ResultRow]) -> None:
    group = group_of(row, {**POINTS, "tts": [(99.0, 1.0)]})
    group = [replace(one, has_own_seeds=one.defense == "tts") for one in group]
    marker = {t.name: t.marker for t in draw(group).data if t.customdata}
    assert (marker["tts"].symbol, marker["tts"].color) == ("square", WHITE)
    assert {marker[name].symbol for name in ("bido", "midre", "loft")} == {"circle"}


@pytest.mark.parametrize("name", ["natural_accuracy", "attack_accuracy_at_1"])
def test_no_bar_has_zero_width(row: Callable[..., ResultRow], name: str) -> None:
    """A run that reports an interval without a width: nothing is drawn, and the overlay says that the seeds agree."""
    group = summarise(
        [
            row(metric, 0.0 if metric == name else 50.0, low=0.0, high=0.0 if metric == name else 60.0, seed=seed)
            for metric in ("natural_accuracy", "attack_accuracy_at_1")
            for seed in range(2)
        ]
    )
    places = places_of(group, {})
    assert places is not None
    spans = {"natural_accuracy": places.ours[0].utility, "attack_accuracy_at_1": places.ours[0].attack}
    assert spans.pop(name) is None
    assert all(span is not None and span.high > span.low for span in spans.values())


def test_equal_seeds_are_said_to_be_equal(row: Callable[..., ResultRow]) -> None:
    group = group_of(row, {"none": [(95.0, 90.0)] * 3, "bido": [(90.0, 60.0), (90.0, 61.0), (90.0, 62.0)]})
    undefended, bido = (next(one for one in group if one.defense == name) for name in ("none", "bido"))
    assert equal_words(undefended.attack_accuracy_at_1) == "equal in all 3 seeds"
    assert equal_words(bido.attack_accuracy_at_1) == ""
    details = [text for one in setup_data("a", group, Grid(), {}).rows for _, text in one.details]
    assert details.count("equal in all 3 seeds") == 3  # both of the undefended model, one of the other


def test_the_colour_beyond_six_is_not_that_of_the_undefended(row: Callable[..., ResultRow]) -> None:
    front = {f"d{i}": [(90.0 - i, 80.0 - 5 * i)] for i in range(9)}
    group = group_of(row, {"none": [(95.0, 90.0)], **front})
    used = assign_colours(group)
    assert {used[f"d{i}"] for i in range(9)} == {*COLOURS, MORE_ON_FRONT}
    pairs = zip((MORE_ON_FRONT[1:3], MORE_ON_FRONT[3:5]), (INK[1:3], INK[3:5]), strict=True)
    assert max(abs(int(a, 16) - int(b, 16)) for a, b in pairs) > 50
    undefended = next(t for t in draw(group).data if t.customdata and t.name == "none")
    assert undefended.marker.color == INK
