"""Names of defenses beside their points, placed so that they hide neither each other nor what is drawn."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import unescape
from itertools import pairwise
from typing import Any, NamedTuple

from midef.dashboards.figures.labels import Box, place_labels
from midef.dashboards.figures.places import Place, Places, label

LABEL_ALL_UP_TO = 12  # points; of more, only the front and the undefended model are labelled ...
LONGEST_LEADER_PX = 34  # ... and where these are more, not by long lines, which nobody could follow


class _Pixels(NamedTuple):
    """Plot area, and from accuracies to pixels of it."""

    wide: float
    high: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        return (value - self.x_range[0]) / (self.x_range[1] - self.x_range[0]) * self.wide

    def y(self, value: float) -> float:
        return (value - self.y_range[1]) / (self.y_range[0] - self.y_range[1]) * self.high


def name_notes(
    places: Places, colour_of: Callable[[Place], str], *, wide_px: float, high_px: float
) -> list[dict[str, Any]]:
    """Plotly annotations, each called by the index of its row: undefended and front first, then the rest.

    In a crowd the rest has none, and if the front is a crowd itself, neither has a point without room near it: the page
    names what is selected.
    """
    pixels = _Pixels(wide_px, high_px, places.x_range, places.y_range)
    is_crowd = len(places.ours) > LABEL_ALL_UP_TO
    named = [p for p in places.ours if not is_crowd or p.row.is_on_front or p.row.is_undefended]
    named.sort(key=lambda p: (not p.row.is_undefended, not p.row.is_on_front, p.point[1]))
    texts = [label(place.row) for place in named]
    sizes = [(7.0 * len(unescape(text)) + 4, 14.0) for text in texts]
    anchors = [(pixels.x(place.point[0]), pixels.y(place.point[1])) for place in named]
    placed = place_labels(anchors, sizes, _obstacles(places, pixels), Box(0, 0, wide_px, high_px))
    notes = []
    for place, text, at, (width, height) in zip(named, texts, placed, sizes, strict=True):
        leader = max(abs(at.dx) - width / 2, 0.0), max(abs(at.dy) - height / 2, 0.0)
        if len(named) > LABEL_ALL_UP_TO and not place.row.is_undefended and math.hypot(*leader) > LONGEST_LEADER_PX:
            continue
        colour = colour_of(place)
        note: dict[str, Any] = {
            "name": str(place.index), "x": place.point[0], "y": place.point[1], "text": text,
            "font": {"size": 12, "color": colour}, "xanchor": "center", "yanchor": "middle", "borderpad": 0,
            "captureevents": False, "bgcolor": "rgba(255,255,255,0.7)",
        }  # fmt: skip
        if at.is_near:
            note |= {"showarrow": False, "xshift": at.dx, "yshift": -at.dy}
        else:
            note |= {"showarrow": True, "arrowhead": 0, "arrowwidth": 0.8, "arrowcolor": colour, "standoff": 7,
                     "ax": at.dx, "ay": at.dy}  # fmt: skip
        notes.append(note)
    return notes


def _obstacles(places: Places, pixels: _Pixels) -> list[Box]:
    """Boxes that names should not cover: points above all, then seed dots, interval lines, reference lines."""
    wide, high = pixels.wide, pixels.high
    boxes = [Box.around(pixels.x(p.point[0]), pixels.y(p.point[1]), 16, 16, weight=6) for p in places.ours]
    boxes += [Box.around(pixels.x(x), pixels.y(y), 12, 12, weight=4) for _, (x, y) in places.published]
    for place in places.ours:
        x, y = pixels.x(place.point[0]), pixels.y(place.point[1])
        boxes += [Box.around(pixels.x(a), pixels.y(b), 7, 7, weight=3) for a, b in place.seeds]
        if place.utility:
            near, far = sorted((pixels.x(place.utility.low), pixels.x(place.utility.high)))
            boxes.append(Box(near, y - 2, far, y + 2, weight=1.5))
        if place.attack:
            boxes.append(Box(x - 2, pixels.y(place.attack.low), x + 2, pixels.y(place.attack.high), weight=1.5))
        if place.row.is_undefended:
            boxes += [Box(x - 2, 0, x + 2, high, 1.2), Box(0, y - 2, wide, y + 2, 1.2)]
    for front in places.fronts:
        corners = [(pixels.x(x), pixels.y(y)) for x, y in front]
        for (x0, y0), (x1, y1) in pairwise(corners):
            boxes += [Box(x0 - 2, min(y0, y1), x0 + 2, max(y0, y1), 0.8), Box(x0, y1 - 2, x1, y1 + 2, 0.8)]
        x, y = corners[-1]
        boxes.append(Box(x - 2, y, x + 2, high, 0.8))
    if places.chance is not None:
        y = pixels.y(places.chance)
        boxes += [Box(0, y - 2, wide, y + 2, 0.6), Box(0, y - 16, 90, y, 4)]
    boxes.append(Box(0, high - 20, 80, high, 4))
    return boxes
