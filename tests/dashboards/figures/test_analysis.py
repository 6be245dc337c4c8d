"""Figures of the analyses: what is drawn, and that a small profile is named in the figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from midef.dashboards.figures.analysis import draw, write
from midef.results.findings import Drawing, Panel, Series

STAMP = "mini profile; stands in: " + "; ".join(f"network{i}_tiny for network{i}" for i in range(8)) + " <b>"
BARS = Series(name="clean", x=["block1", "head"], y=[1.0, 3.0], kind="bars")
LINE = Series(name="cosine", x=[0, 1], y=[0.5, 0.25], low=[0.4, 0.25], high=[0.75, 0.5])
POINTS = Series(name="clean", x=[2], y=[1.0], kind="points")
LIMIT = Series(name="limit", x=[0, 1], y=[1.0, 1.0], kind="dashes")


def figure(*panels: Panel, stamp: str = "") -> Any:
    return draw(Drawing(title="title", panels=panels), stamp)


def test_every_kind_of_series_is_drawn_as_it_is() -> None:
    bars, line, points, limit = figure(Panel(series=[BARS, LINE, POINTS, LIMIT], x_title="x", y_title="y")).data
    assert bars.type == "bar" and list(bars.x) == ["block1", "head"] and list(bars.y) == [1.0, 3.0]
    assert (line.mode, line.line.dash, points.mode, limit.line.dash) == ("lines", "solid", "markers", "dash")
    assert list(line.error_y.array) == [0.25, 0.25] and list(line.error_y.arrayminus) == pytest.approx([0.1, 0.0])


def test_panels_stand_beside_each_other_with_one_legend_and_one_colour_for_a_name() -> None:
    first = Panel(series=[POINTS, LIMIT], x_title="one", y_title="y", title="first", log_y=True)
    made = figure(first, Panel(series=[LIMIT, POINTS], x_title="two", y_title="y", title="second", from_zero=True))
    assert [note.text for note in made.layout.annotations] == ["first", "second"]
    assert [trace.showlegend for trace in made.data] == [True, True, False, False]
    assert made.data[0].marker.color == made.data[3].marker.color != made.data[1].line.color == made.data[2].line.color
    assert (made.data[0].xaxis, made.data[2].xaxis) == ("x", "x2") and made.layout.xaxis2.title.text == "two"
    assert made.layout.yaxis.type == "log" and made.layout.yaxis2.rangemode == "tozero"


def test_a_long_title_of_a_panel_is_broken_and_has_room() -> None:
    long = "lpa(inverter_width=16,inverter_epochs=20,inverter_batch=64,radius=0.1): AUC 0.99"
    made = figure(Panel(series=[LINE], x_title="x", y_title="y", title=long))
    (note,) = made.layout.annotations
    assert note.text.replace("<br>", "").replace(" ", "") == long.replace(" ", "")
    assert max(map(len, note.text.split("<br>"))) <= 50
    assert made.layout.margin.t > figure(Panel(series=[LINE], x_title="x", y_title="y", title="lpa")).layout.margin.t


def test_the_stamp_is_in_the_figure_as_text() -> None:
    panel = Panel(series=[LINE], x_title="x", y_title="y")
    (note,) = figure(panel, stamp=STAMP).layout.annotations
    assert note.text.replace("<br>", " ") == STAMP.replace("<b>", "&lt;b&gt;")
    assert "<br>" in note.text  # long ones are broken
    assert not figure(panel).layout.annotations


def test_a_written_figure_cannot_be_uploaded(tmp_path: Path) -> None:
    write(figure(Panel(series=[LINE], x_title="x", y_title="y")), tmp_path / "deep" / "figure.html")
    html = (tmp_path / "deep" / "figure.html").read_text()
    assert '"showSendToCloud": false' in html and '"displaylogo": false' in html


def test_names_beyond_the_colours_look_different() -> None:
    """Twelve entries: no two share colour and symbol, and points on one place are all seen."""
    series = [Series(name=f"head {i}", x=[30], y=[5.0], kind="points") for i in range(12)]
    drawn = figure(Panel(series=series, x_title="x", y_title="y")).data
    assert len({(trace.marker.color, trace.marker.symbol) for trace in drawn}) == 12
    assert all(trace.marker.symbol.endswith("-open") for trace in drawn)
    sizes = [trace.marker.size for trace in drawn[:6]]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 6
    lines = [Series(name=f"line {i}", x=[0, 1], y=[i, i]) for i in range(12)]
    looks = {(t.line.color, t.line.dash) for t in figure(Panel(series=lines, x_title="x", y_title="y")).data}
    assert len(looks) == 12
    bars = [Series(name=f"bar {i}", x=["a"], y=[i], kind="bars") for i in range(8)]
    patterns = {
        (t.marker.color, t.marker.pattern.shape) for t in figure(Panel(series=bars, x_title="", y_title="")).data
    }
    assert len(patterns) == 8


@pytest.mark.parametrize(
    ("y", "corner"),
    [
        ([50.0, 90.0], "bottom"),
        ([50.0, 10.0], "top"),
        ([90.0, 10.0], "top"),
        ([50.0, 90.0, 10.0], "middle"),
        ([50.0, 50.0, 90.0, 10.0], "top"),
    ],
    ids=["upper right", "lower right", "upper left", "both", "everywhere"],
)
@pytest.mark.parametrize("kind", ["points", "line"])
def test_the_legend_leaves_the_corner_where_points_lie(
    y: list[float], corner: str, kind: Literal["points", "line"]
) -> None:
    x = [0, *range(9, 8 + len(y))]
    points = Series(name="cells", x=x, y=y, kind=kind)
    made = figure(Panel(series=[points], x_title="x", y_title="y", from_zero=True))
    assert (made.layout.legend.yanchor, made.layout.legend.xanchor) == (corner, "right")
