"""Fronts of the trade-off plot: the staircase of the means, and over seeds the attained line with its band."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from midef.dashboards.figures.places import Places, Point
from midef.dashboards.figures.style import ATTAINED, ATTAINED_BAND

FRONT = "#9A9A9A"


def add_fronts(figure: Any, places: Places) -> None:
    """What is dominated, the bands, the lines that half of the seeds attain, and the front of the means above them."""
    for front in places.fronts:
        (left, _), (bottom, _) = places.x_range, places.y_range
        figure.add_scatter(
            **_columns([*_stairs(front, places), (left, bottom)]), mode="lines", line={"width": 0}, fill="toself",
            fillcolor="rgba(118,118,118,0.09)", hoverinfo="skip", name="dominated",
        )  # fmt: skip
    for one in places.attained:
        figure.add_scatter(
            **_columns([*_stairs(one.best, places), *reversed(_stairs(one.worst, places))]), mode="lines",
            line={"width": 0}, fill="toself", fillcolor=ATTAINED_BAND, hoverinfo="skip", name="attained, 20 to 80 %",
        )  # fmt: skip
        figure.add_scatter(
            **_columns(_stairs(one.median, places)), mode="lines", hoverinfo="skip", name="attained, 50 %",
            line={"width": 1.5, "color": ATTAINED, "dash": "5px,3px"},
        )  # fmt: skip
    for front in places.fronts:
        figure.add_scatter(
            **_columns(_stairs(front, places)), mode="lines", line={"width": 1.5, "color": FRONT}, hoverinfo="skip",
            name="front",
        )  # fmt: skip


def _stairs(front: Sequence[Point], places: Places) -> list[Point]:
    """The staircase: what is below and to the left of it is beaten by a point of the front."""
    (left, _), (bottom, _) = places.x_range, places.y_range
    steps = [(left, front[0][1])]
    for x, y in front:
        steps += [(steps[-1][0], y), (x, y)]
    steps.append((front[-1][0], bottom))
    return steps


def _columns(points: Sequence[Point]) -> dict[str, list[float]]:
    return {"x": [x for x, _ in points], "y": [y for _, y in points]}


def half_disc(point: Point, radius_px: float, colour: str) -> dict[str, Any]:
    """Shape that fills the left half of a round marker: Plotly has no symbol that is half full.

    Args:
        point: centre of the marker.
        radius_px: of the disc.
        colour: of the disc.
    """
    r, k = radius_px, 0.5523 * radius_px  # control points of a quarter of a circle
    return {
        "type": "path", "xsizemode": "pixel", "ysizemode": "pixel", "xanchor": point[0], "yanchor": point[1],
        "path": f"M0,{r:g} C{-k:g},{r:g} {-r:g},{k:g} {-r:g},0 C{-r:g},{-k:g} {-k:g},{-r:g} 0,{-r:g} Z",
        "fillcolor": colour, "line": {"width": 0}, "layer": "above",
    }  # fmt: skip
