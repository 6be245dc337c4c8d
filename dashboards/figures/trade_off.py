"""The trade-off plot of one setup: up and to the right is better.

`midef.results.summary.summarise(rows)` gives the table, `draw(table)` the figure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape, unescape
from itertools import pairwise
from typing import Any

from midef.dashboards.figures.labels import Box, place_labels
from midef.results.estimates import Interval
from midef.results.published import Published
from midef.results.summary import SummaryRow, interval_choice

# Okabe-Ito colours with a contrast of at least 3:1 on white, then two of Paul Tol's.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#332288", "#882255")
MORE_ON_FRONT = "#333333"  # beyond six hues nobody can tell them apart
GREY = "#767676"
PALE = "#A8A8A8"  # intervals of dominated points: beside the point they belong to, not to be read alone
INK = "#222222"
TARGET = "#117733"  # of accuracy matching, in all figures
TARGET_BAND = "rgba(17,119,51,0.11)"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif"

WIDTH_PX, HEIGHT_PX = 610, 540  # labels are placed for this size; the page keeps close to it
MARGIN_PX = {"l": 62, "r": 14, "t": 26, "b": 54}
LONGEST_LABEL = 28
LABEL_ALL_UP_TO = 12  # points; of more, only the front and the undefended model are labelled ...
LONGEST_LEADER_PX = 34  # ... and where these are more, not by long lines, which nobody could follow
TARGET_LINE_PX = 16  # above the plot, for the words of the band


def assign_colours(summaries: Iterable[SummaryRow]) -> dict[str, str]:
    """One colour for each defense that is on some front, the same in all setups of a page."""
    fronted = dict.fromkeys(row.defense for row in summaries if row.is_on_front and not row.is_undefended)
    return {defense: COLOURS[i] if i < len(COLOURS) else MORE_ON_FRONT for i, defense in enumerate(fronted)}


def draw(
    group: Sequence[SummaryRow],
    colours: dict[str, str] | None = None,
    stamp: str = "",
    published: Mapping[str, Published] | None = None,
) -> Any:
    """A plotly Figure of the rows of one setup, or None if no row has both accuracies.

    published: by defense label; open diamonds, each joined by a thin line to our point of the same defense.
    Where defenses were matched to an accuracy, a band marks target ± tolerance and the points of others are hollow. The
    band is a guide only: the target is of the select split, the axis of the report split.
    `customdata` of a point and the name of its label are its index in `group`; the last trace, named "selection", is
    empty and there to be moved.
    """
    import plotly.graph_objects as go

    points = [(i, row, xy) for i, row in enumerate(group) if (xy := _position(row)) is not None]
    if not points:
        return None
    colours = assign_colours(group) if colours is None else colours
    choice = interval_choice(group)
    spans = {
        i: (row.natural_accuracy.interval(choice), row.attack_accuracy_at_1.interval(choice)) for i, row, _ in points
    }
    chance = next((row.chance for row in group if row.chance is not None), None)
    theirs = _their_points(group, published or {})
    targets = _targets(group)
    x_range, y_range = _ranges(points, spans, chance, [xy for _, xy in theirs], targets)
    fronts = _fronts(points)
    figure = go.Figure()

    for front in fronts:
        # The staircase: what is below and to the left of it is beaten by a point of the front.
        steps = [(x_range[0], front[0][1])]
        for x, y in front:
            steps += [(steps[-1][0], y), (x, y)]
        steps.append((front[-1][0], y_range[0]))
        area = [*steps, (x_range[0], y_range[0])]
        figure.add_scatter(
            **_columns(area), mode="lines", line={"width": 0}, fill="toself", fillcolor="rgba(118,118,118,0.09)",
            hoverinfo="skip", name="dominated",
        )  # fmt: skip
        figure.add_scatter(
            **_columns(steps), mode="lines", line={"width": 1.5, "color": "#9A9A9A"}, hoverinfo="skip", name="front"
        )
    if theirs:
        ours = {i: xy for i, _, xy in points}
        joined = [(ours[i], xy) for i, xy in theirs if i in ours]
        figure.add_scatter(
            x=[x for our, their in joined for x in (our[0], their[0], None)],  # None ends a line
            y=[y for our, their in joined for y in (our[1], their[1], None)],
            mode="lines", line={"width": 0.8, "color": PALE}, hoverinfo="skip", name="ours to published",
        )  # fmt: skip
        edges = [_colour(group[i], colours) for i, _ in theirs]
        figure.add_scatter(
            **_columns([xy for _, xy in theirs]), mode="markers", customdata=[i for i, _ in theirs],
            hoverinfo="none", name="published",
            marker={"symbol": "diamond-open", "size": 9, "color": edges, "line": {"width": 1.5, "color": edges}},
        )  # fmt: skip
    for i, row, (x, y) in points:
        colour = _colour(row, colours)
        seeds = _per_seed(row)
        if len(seeds) > 1:
            figure.add_scatter(
                **_columns(seeds), mode="markers", marker={"size": 5, "color": colour, "opacity": 0.45},
                hoverinfo="skip", name="seeds",
            )  # fmt: skip
        natural, attack = spans[i]
        line = colour if row.is_on_front or row.is_undefended else PALE
        figure.add_scatter(
            x=[x], y=[y], mode="markers", customdata=[i], hoverinfo="none", name=escape(row.defense, quote=False),
            marker=_marker(row, colour, is_hollow=is_unmatched(row, group)),
            error_x=_error(x, natural, line), error_y=_error(y, attack, line),
        )  # fmt: skip
    figure.add_scatter(
        x=[], y=[], mode="markers", hoverinfo="skip", name="selection",
        marker={"size": 20, "symbol": "circle-open", "color": INK, "line": {"width": 2}},
    )  # fmt: skip

    dashed = {"type": "line", "layer": "below", "line": {"color": "#8C8C8C", "width": 1, "dash": "dash"}}
    shapes: list[dict[str, Any]] = [
        {"type": "rect", "layer": "below", "fillcolor": TARGET_BAND, "line": {"width": 0}, "x0": target - tolerance,
         "x1": target + tolerance, "y0": 0, "y1": 1, "yref": "paper"}
        for target, tolerance in targets
    ]  # fmt: skip
    for _, row, (x, y) in points:
        if row.is_undefended:
            shapes.append({**dashed, "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper"})
            shapes.append({**dashed, "y0": y, "y1": y, "x0": 0, "x1": 1, "xref": "paper"})
    if chance is not None:
        dotted = {"color": GREY, "width": 1, "dash": "dot"}
        shapes.append({**dashed, "line": dotted, "y0": chance, "y1": chance, "x0": 0, "x1": 1, "xref": "paper"})
    above_px = TARGET_LINE_PX if targets else 0
    figure.update_layout(
        template=None,
        shapes=shapes,
        annotations=[
            *_names(points, spans, colours, fronts, x_range, y_range, chance, theirs),
            *_corner_notes(chance, stamp, has_front=bool(fronts), above_px=above_px),
            *_target_notes(targets, x_range),
        ],
        height=HEIGHT_PX + above_px,
        margin={**MARGIN_PX, "t": MARGIN_PX["t"] + above_px},
        showlegend=False,
        hovermode="closest",
        dragmode="zoom",
        font={"family": FONT, "size": 12, "color": INK},
        plot_bgcolor="#FFFFFF",
        paper_bgcolor="#FFFFFF",
        xaxis=_axis("test accuracy (%)  → better", x_range),
        yaxis=_axis("attack accuracy@1 (%), reversed  ↑ better", y_range),
    )
    return figure


def is_unmatched(row: SummaryRow, group: Iterable[SummaryRow]) -> bool:
    """Whether a defense is not at the accuracy that those of its setup were matched to."""
    return not row.is_undefended and not row.is_matched and any(one.match_target is not None for one in group)


def label(row: SummaryRow) -> str:
    """The name of a row as it is written beside its point; markup in it is text."""
    text = "undefended" if row.is_undefended else row.defense
    return escape(text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1] + "…", quote=False)


Point = tuple[int, SummaryRow, tuple[float, float]]
Spans = dict[int, tuple[Interval | None, Interval | None]]


def _position(row: SummaryRow) -> tuple[float, float] | None:
    x, y = row.natural_accuracy.mean, row.attack_accuracy_at_1.mean
    return None if x is None or y is None else (x, y)


def _their_points(
    group: Sequence[SummaryRow], published: Mapping[str, Published]
) -> list[tuple[int, tuple[float, float]]]:
    """(index in `group`, position) of each defense that has both accuracies published."""
    found = []
    for i, row in enumerate(group):
        one = published.get(row.defense)
        if one is not None and one.natural_accuracy is not None and one.attack_accuracy_at_1 is not None:
            found.append((i, (one.natural_accuracy, one.attack_accuracy_at_1)))
    return found


def _per_seed(row: SummaryRow) -> list[tuple[float, float]]:
    attack = dict(row.attack_accuracy_at_1.by_seed)
    return [(x, attack[seed]) for seed, x in row.natural_accuracy.by_seed if seed in attack]


def _columns(points: Sequence[tuple[float, float]]) -> dict[str, list[float]]:
    return {"x": [x for x, _ in points], "y": [y for _, y in points]}


def _fronts(points: Sequence[Point]) -> list[list[tuple[float, float]]]:
    """Points of the front from left to right, for each target of a matching apart; empty if nothing is matched."""
    found: dict[float | None, list[tuple[float, float]]] = {}
    for _, row, xy in points:
        if row.is_on_front:
            found.setdefault(row.match_target, []).append(xy)
    return [sorted(front) for front in found.values()]


def _targets(group: Iterable[SummaryRow]) -> list[tuple[float, float]]:
    """(target, tolerance) of the matched defenses, each once."""
    return sorted({(row.match_target, row.match_tolerance or 0.0) for row in group if row.match_target is not None})


def _colour(row: SummaryRow, colours: dict[str, str]) -> str:
    if row.is_undefended:
        return INK
    return colours.get(row.defense, MORE_ON_FRONT) if row.is_on_front else GREY


def _marker(row: SummaryRow, colour: str, *, is_hollow: bool = False) -> dict[str, Any]:
    if row.is_undefended:
        return {"symbol": "x-thin", "size": 12, "color": colour, "line": {"width": 3, "color": colour}}
    if is_hollow:
        return {"symbol": "circle", "size": 9, "color": "#FFFFFF", "line": {"width": 1.5, "color": colour}}
    size = 12 if row.is_on_front else 9
    return {"symbol": "circle", "size": size, "color": colour, "line": {"width": 1.5, "color": "#FFFFFF"}}


def _error(value: float, span: Interval | None, colour: str) -> dict[str, Any]:
    if span is None:
        return {"visible": False}
    plus, minus = max(0.0, span.high - value), max(0.0, value - span.low)
    return {"type": "data", "symmetric": False, "array": [plus], "arrayminus": [minus],
            "thickness": 1.3, "width": 0, "color": colour}  # fmt: skip


def _ranges(
    points: list[Point],
    spans: Spans,
    chance: float | None,
    theirs: Sequence[tuple[float, float]],
    targets: Sequence[tuple[float, float]],
) -> tuple[tuple[float, float], tuple[float, float]]:
    """(left, right) and (bottom, top); bottom > top, because less attack accuracy is better and better is up."""
    xs = [xy[0] for _, _, xy in points] + [x for x, _ in theirs]
    xs += [target + side for target, tolerance in targets for side in (-tolerance, tolerance)]
    ys = [xy[1] for _, _, xy in points] + [y for _, y in theirs] + ([chance] if chance is not None else [])
    for i, row, _ in points:
        natural, attack = spans[i]
        xs += [x for x, _ in _per_seed(row)] + ([natural.low, natural.high] if natural else [])
        ys += [y for _, y in _per_seed(row)] + ([attack.low, attack.high] if attack else [])
    wide, high = max(max(xs) - min(xs), 2.0), max(max(ys) - min(ys), 4.0)
    return (min(xs) - 0.09 * wide, max(xs) + 0.06 * wide), (max(ys) + 0.07 * high, min(ys) - 0.05 * high)


def _axis(title: str, span: tuple[float, float]) -> dict[str, Any]:
    return {
        "title": {"text": title, "standoff": 10, "font": {"size": 13}}, "range": list(span), "gridcolor": "#EEEEEE",
        "zeroline": False, "showline": True, "linecolor": "#BBBBBB", "ticks": "outside", "tickcolor": "#BBBBBB",
        "ticklen": 4, "nticks": 8,
    }  # fmt: skip


def _names(
    points: list[Point],
    spans: Spans,
    colours: dict[str, str],
    fronts: list[list[tuple[float, float]]],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    chance: float | None,
    theirs: Sequence[tuple[int, tuple[float, float]]] = (),
) -> list[dict[str, Any]]:
    """Direct labels: undefended and front first, then the rest. Each is named after the index of its row.

    In a crowd the rest has none, and if the front is a crowd itself, neither has a point without room near it: the page
    names what is selected.
    """
    wide = WIDTH_PX - MARGIN_PX["l"] - MARGIN_PX["r"]
    high = HEIGHT_PX - MARGIN_PX["t"] - MARGIN_PX["b"]

    def px(x: float) -> float:
        return (x - x_range[0]) / (x_range[1] - x_range[0]) * wide

    def py(y: float) -> float:
        return (y - y_range[1]) / (y_range[0] - y_range[1]) * high

    # Covering a point is worst, then seed dots, then interval lines, then reference lines.
    obstacles = [Box.around(px(x), py(y), 16, 16, weight=6) for _, _, (x, y) in points]
    obstacles += [Box.around(px(x), py(y), 12, 12, weight=4) for _, (x, y) in theirs]
    for i, row, (x, y) in points:
        obstacles += [Box.around(px(a), py(b), 7, 7, weight=3) for a, b in _per_seed(row)]
        natural, attack = spans[i]
        if natural:
            obstacles.append(Box(px(natural.low), py(y) - 2, px(natural.high), py(y) + 2, weight=1.5))
        if attack:
            obstacles.append(Box(px(x) - 2, py(attack.low), px(x) + 2, py(attack.high), weight=1.5))
        if row.is_undefended:
            obstacles += [Box(px(x) - 2, 0, px(x) + 2, high, 1.2), Box(0, py(y) - 2, wide, py(y) + 2, 1.2)]
    for front in fronts:
        for (x0, y0), (x1, y1) in pairwise(front):
            obstacles.append(Box(px(x0) - 2, min(py(y0), py(y1)), px(x0) + 2, max(py(y0), py(y1)), 0.8))
            obstacles.append(Box(px(x0), py(y1) - 2, px(x1), py(y1) + 2, 0.8))
        obstacles.append(Box(px(front[-1][0]) - 2, py(front[-1][1]), px(front[-1][0]) + 2, high, 0.8))
    if chance is not None:
        obstacles += [Box(0, py(chance) - 2, wide, py(chance) + 2, 0.6), Box(0, py(chance) - 16, 90, py(chance), 4)]
    obstacles.append(Box(0, high - 20, 80, high, 4))

    is_crowd = len(points) > LABEL_ALL_UP_TO
    ordered = [p for p in points if not is_crowd or p[1].is_on_front or p[1].is_undefended]
    ordered.sort(key=lambda p: (not p[1].is_undefended, not p[1].is_on_front, p[2][1]))
    texts = [label(row) for _, row, _ in ordered]
    sizes = [(7.0 * len(unescape(text)) + 4, 14.0) for text in texts]
    places = [(px(x), py(y)) for _, _, (x, y) in ordered]
    placed = place_labels(places, sizes, obstacles, Box(0, 0, wide, high))
    found = []
    for (i, row, (x, y)), text, place, (width, height) in zip(ordered, texts, placed, sizes, strict=True):
        leader = max(abs(place.dx) - width / 2, 0.0), max(abs(place.dy) - height / 2, 0.0)
        if len(ordered) > LABEL_ALL_UP_TO and not row.is_undefended and math.hypot(*leader) > LONGEST_LEADER_PX:
            continue
        colour = _colour(row, colours)
        note: dict[str, Any] = {
            "name": str(i), "x": x, "y": y, "text": text, "font": {"size": 12, "color": colour},
            "xanchor": "center", "yanchor": "middle", "borderpad": 0,
            "captureevents": False, "bgcolor": "rgba(255,255,255,0.7)",
        }  # fmt: skip
        if place.is_near:
            note |= {"showarrow": False, "xshift": place.dx, "yshift": -place.dy}
        else:
            note |= {"showarrow": True, "arrowhead": 0, "arrowwidth": 0.8, "arrowcolor": colour, "standoff": 7,
                     "ax": place.dx, "ay": place.dy}  # fmt: skip
        found.append(note)
    return found


def _target_notes(targets: Sequence[tuple[float, float]], x_range: tuple[float, float]) -> list[dict[str, Any]]:
    """What the bands are, above the plot and as near to each as the words fit."""
    notes = []
    for target, tolerance in targets:
        share = (target - x_range[0]) / (x_range[1] - x_range[0])
        anchor = "left" if share < 0.3 else "right" if share > 0.7 else "center"
        notes.append({
            "showarrow": False, "xref": "x", "x": target, "xanchor": anchor, "yref": "paper", "y": 1,
            "yanchor": "bottom", "yshift": 2, "font": {"size": 11, "color": TARGET},
            "text": f"target {target:.1f} ± {tolerance:g} (tolerance, select split)",
        })  # fmt: skip
    return notes


def _corner_notes(
    chance: float | None, stamp: str, *, has_front: bool = True, above_px: int = 0
) -> list[dict[str, Any]]:
    """above_px: height of what stands between the plot and the stamp."""
    base: dict[str, Any] = {"showarrow": False, "xref": "paper", "font": {"size": 11, "color": GREY}, "x": 0,
                            "xanchor": "left", "xshift": 4}  # fmt: skip
    notes = []
    if has_front:
        notes.append({**base, "yref": "paper", "y": 0, "yanchor": "bottom", "text": "<i>dominated</i>"})
    if chance is not None:
        notes.append({**base, "yref": "y", "y": chance, "yanchor": "bottom", "text": f"chance {chance:.2f} %"})
    if stamp:
        # On the left: the mode bar opens on the right. In the figure, so that a downloaded picture is stamped too.
        notes.append({**base, "yref": "paper", "y": 1, "yanchor": "bottom", "yshift": 4 + above_px, "xshift": 0,
                      "text": escape(stamp, quote=False)})  # fmt: skip
    return notes
