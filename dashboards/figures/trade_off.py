"""The trade-off plot of one setup: up and to the right is better.

`midef.results.summary.summarise(rows)` gives the table, `draw(table)` the figure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from midef.dashboards.figures.fronts import add_fronts, half_disc
from midef.dashboards.figures.places import Place, Places, Point, is_unmatched, places_of
from midef.dashboards.figures.plain import PlainFigure, as_figure
from midef.dashboards.figures.point_names import name_notes
from midef.dashboards.figures.style import (
    COLOURS,
    FONT,
    GREY,
    INK,
    LAYOUT,
    MORE_ON_FRONT,
    PALE,
    TARGET,
    WHITE,
    axis,
    band,
    line,
)
from midef.dashboards.figures.utility import utility_of, with_front
from midef.results.compare import NATURAL
from midef.results.estimates import Interval
from midef.results.front_share import HOLLOW, SOLID
from midef.results.published import Published
from midef.results.summary import SummaryRow

WIDTH_PX, HEIGHT_PX = 610, 540  # labels are placed for this size; the page keeps close to it
MARGIN_PX = {"l": 62, "r": 14, "t": 26, "b": 54}
PLOT_PX = WIDTH_PX - MARGIN_PX["l"] - MARGIN_PX["r"], HEIGHT_PX - MARGIN_PX["t"] - MARGIN_PX["b"]
FRONT_PX, POINT_PX = 12, 9  # markers
TARGET_LINE_PX = 16  # above the plot, for the words of the band


def assign_colours(summaries: Iterable[SummaryRow]) -> dict[str, str]:
    """One colour for each defense that is on some front, the same in all setups of a page."""
    fronted = dict.fromkeys(row.defense for row in summaries if row.is_on_front and not row.is_undefended)
    return {defense: COLOURS[i] if i < len(COLOURS) else MORE_ON_FRONT for i, defense in enumerate(fronted)}


def draw(
    group: Sequence[SummaryRow],
    colours: Mapping[str, str] | None = None,
    stamp: str = "",
    published: Mapping[str, Published] | None = None,
    utility: str = NATURAL,
) -> Any:
    """A plotly Figure of the rows of one setup, or None if no row has both numbers. See `trade_off`."""
    return as_figure(trade_off(group, colours, stamp, published, utility))


def trade_off(
    group: Sequence[SummaryRow],
    colours: Mapping[str, str] | None = None,
    stamp: str = "",
    published: Mapping[str, Published] | None = None,
    utility: str = NATURAL,
) -> PlainFigure | None:
    """The rows of one setup, or None if no row has both numbers.

    Where defenses were matched to an accuracy, a band marks target ± tolerance and the points of others are hollow
    squares. So are points over other seeds than the rest, and those that are no result. The band is a guide only: the
    target is of the select split, the axis of the report split. From three seeds on a line and a band show what half,
    and 20 to 80 %, of the seeds attain, and the fill of a point is P(on front).
    `customdata` of a point, the name of its label and of its half disc, and `meta` of its seeds are its index in
    `group`, `meta` of the lines to published points those of their rows; the last trace, named "selection", is
    empty and there to be moved.

    Args:
        group: summary rows of the setup.
        colours: of defenses on a front, by label; see `assign_colours`.
        stamp: what the figure says of results that are not at the published size.
        published: by defense label; open diamonds, each joined by a thin line to our point of the same defense.
        utility: metric on the x axis, better on the right; the front is of it, then, and targets and published points,
            which are of test accuracy, are left out.
    """
    useful = utility_of(group, utility)
    places = places_of(group, published or {}, useful)
    if places is None:
        return None
    known = assign_colours(with_front(group, useful)) if colours is None else colours

    def colour_of(row: SummaryRow) -> str:
        if row.is_excluded:
            return PALE
        if row.is_undefended:
            return INK
        return known.get(row.defense, MORE_ON_FRONT) if row.is_on_front else GREY

    figure = PlainFigure()
    add_fronts(figure, places)
    if places.published:
        _add_published(figure, places, [colour_of(group[i]) for i, _ in places.published])
    for place in places.ours:
        _add_defense(figure, place, colour_of(place.row), is_apart=is_apart(place.row, group))
    figure.add_scatter(
        x=[], y=[], mode="markers", hoverinfo="skip", name="selection",
        marker={"size": 20, "symbol": "circle-open", "color": INK, "line": {"width": 2}},
    )  # fmt: skip
    above_px = TARGET_LINE_PX if places.targets else 0
    figure.update_layout(
        **LAYOUT,
        shapes=[*_shapes(places), *_half_discs(places, colour_of)],
        annotations=[
            *name_notes(places, lambda place: colour_of(place.row), wide_px=PLOT_PX[0], high_px=PLOT_PX[1]),
            *_corner_notes(places, stamp, above_px=above_px),
            *_target_notes(places),
        ],
        height=HEIGHT_PX + above_px,
        margin={**MARGIN_PX, "t": MARGIN_PX["t"] + above_px},
        font={"family": FONT, "size": 12, "color": INK},
        xaxis=axis(useful.title, size=13, standoff=10, range=list(places.x_range), nticks=8),
        yaxis=axis(
            "attack accuracy@1 (%), reversed  ↑ better", size=13, standoff=10, range=list(places.y_range), nticks=8
        ),
    )
    return figure


def _columns(points: Iterable[Point]) -> dict[str, list[float]]:
    pairs = list(points)
    return {"x": [x for x, _ in pairs], "y": [y for _, y in pairs]}


def _add_published(figure: Any, places: Places, edges: Sequence[str]) -> None:
    """Diamonds at published points, in the colours `edges`, joined to ours."""
    ours = {place.index: place.point for place in places.ours}
    joined = [(ours[i], point) for i, point in places.published if i in ours]
    figure.add_scatter(
        x=[x for our, their in joined for x in (our[0], their[0], None)],  # None ends a line
        y=[y for our, their in joined for y in (our[1], their[1], None)],
        mode="lines", line={"width": 0.8, "color": PALE}, hoverinfo="skip", name="ours to published",
        meta=[i for i, _ in places.published if i in ours],
    )  # fmt: skip
    figure.add_scatter(
        **_columns(point for _, point in places.published), mode="markers",
        customdata=[i for i, _ in places.published], hoverinfo="none", name="published",
        marker={"symbol": "diamond-open", "size": 9, "color": edges, "line": {"width": 1.5, "color": edges}},
    )  # fmt: skip


def is_apart(row: SummaryRow, group: Sequence[SummaryRow]) -> bool:
    """Compared with nothing: not matched, over other seeds, or no result. Its point is a hollow square."""
    return is_unmatched(row, group) or row.has_own_seeds or row.is_excluded


def fill_of(share: float | None) -> str:
    """`solid`, `half` or `hollow`, by P(on front); of fewer than three seeds, which have none, all points are solid."""
    if share is None or share >= SOLID:
        return "solid"
    return "half" if share >= HOLLOW else "hollow"


def _add_defense(figure: Any, place: Place, colour: str, *, is_apart: bool) -> None:
    """Point of a defense with its intervals, and a dot for each seed if there are several."""
    row, (x, y) = place.row, place.point
    if len(place.seeds) > 1:
        figure.add_scatter(
            **_columns(place.seeds), mode="markers", marker={"size": 5, "color": colour, "opacity": 0.45},
            hoverinfo="skip", name="seeds", meta=place.index,
        )  # fmt: skip
    shade = colour if row.is_on_front or (row.is_undefended and not row.is_excluded) else PALE
    figure.add_scatter(
        x=[x], y=[y], mode="markers", customdata=[place.index], hoverinfo="none",
        name=escape(row.defense, quote=False), marker=_marker(place, colour, is_apart=is_apart),
        error_x=_error(x, place.utility, shade), error_y=_error(y, place.attack, shade),
    )  # fmt: skip


def _marker(place: Place, colour: str, *, is_apart: bool) -> dict[str, Any]:
    row = place.row
    if row.is_undefended:
        return {"symbol": "x-thin", "size": 12, "color": colour, "line": {"width": 3, "color": colour}}
    if is_apart:
        return {"symbol": "square", "size": 9, "color": WHITE, "line": {"width": 1.5, "color": colour}}
    size = FRONT_PX if row.is_on_front else POINT_PX
    if fill_of(place.front_share) == "solid":
        return {"symbol": "circle", "size": size, "color": colour, "line": {"width": 1.5, "color": WHITE}}
    return {"symbol": "circle", "size": size - 1, "color": WHITE, "line": {"width": 1.5, "color": colour}}


def _half_discs(places: Places, colour_of: Callable[[SummaryRow], str]) -> list[dict[str, Any]]:
    """Fill of the points that are on the front in some resamples, and not in others."""
    return [
        half_disc(place.point, (FRONT_PX if place.row.is_on_front else POINT_PX) / 2 - 0.5, colour_of(place.row))
        | {"name": str(place.index)}
        for place in places.ours
        if not place.row.is_undefended and fill_of(place.front_share) == "half"
    ]


def _error(value: float, span: Interval | None, colour: str) -> dict[str, Any]:
    if span is None:
        return {"visible": False}
    plus, minus = max(0.0, span.high - value), max(0.0, value - span.low)
    return {"type": "data", "symmetric": False, "array": [plus], "arrayminus": [minus],
            "thickness": 1.3, "width": 0, "color": colour}  # fmt: skip


def _shapes(places: Places) -> list[dict[str, Any]]:
    """Bands of the targets, lines through the undefended model and at chance."""
    shapes = [band("x", target - tolerance, target + tolerance) for target, tolerance in places.targets]
    for place in places.ours:
        if place.row.is_undefended and not place.row.is_excluded:
            shapes += [
                line(along, at, colour="#8C8C8C", dash="dash") for along, at in zip("xy", place.point, strict=True)
            ]
    if places.chance is not None:
        shapes.append(line("y", places.chance, colour=GREY, dash="dot"))
    return shapes


def _target_notes(places: Places) -> list[dict[str, Any]]:
    """Words of the bands, above the plot and as near to each as they fit."""
    left, right = places.x_range
    notes = []
    for target, tolerance in places.targets:
        share = (target - left) / (right - left)
        anchor = "left" if share < 0.3 else "right" if share > 0.7 else "center"
        notes.append({
            "showarrow": False, "xref": "x", "x": target, "xanchor": anchor, "yref": "paper", "y": 1,
            "yanchor": "bottom", "yshift": 2, "font": {"size": 11, "color": TARGET},
            "text": f"target {target:.1f} ± {tolerance:g} (tolerance, select split)",
        })  # fmt: skip
    return notes


def _corner_notes(places: Places, stamp: str, *, above_px: int) -> list[dict[str, Any]]:
    """Words in the corners: `dominated`, chance, and the stamp.

    Args:
        places: of the setup.
        stamp: "" for none.
        above_px: height of what stands between the plot and the stamp.
    """
    base: dict[str, Any] = {"showarrow": False, "xref": "paper", "font": {"size": 11, "color": GREY}, "x": 0,
                            "xanchor": "left", "xshift": 4}  # fmt: skip
    notes = []
    if places.fronts:
        notes.append({**base, "yref": "paper", "y": 0, "yanchor": "bottom", "text": "<i>dominated</i>"})
    if places.chance is not None:
        notes.append(
            {**base, "yref": "y", "y": places.chance, "yanchor": "bottom", "text": f"chance {places.chance:.2f} %"}
        )
    if stamp:
        # On the left: the mode bar opens on the right. In the figure, so that a downloaded picture is stamped too.
        notes.append({**base, "yref": "paper", "y": 1, "yanchor": "bottom", "yshift": 4 + above_px, "xshift": 0,
                      "text": escape(stamp, quote=False)})  # fmt: skip
    return notes
