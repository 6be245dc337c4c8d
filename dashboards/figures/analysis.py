"""Figures of the analyses, from plain numbers."""

from __future__ import annotations

import math
import textwrap
from html import escape
from pathlib import Path
from typing import Any

from midef.dashboards.figures.style import COLOURS, FONT, GREY, INK
from midef.results.findings import Drawing, Panel, Series

STAMP_LETTERS = 130  # fit beside each other above a figure
FEW = 20  # values of a series, each of which shows
SYMBOLS = ("circle", "square", "diamond", "triangle-up")
PATTERNS = ("", "/", "x", ".")
LARGEST_PX, LEAST_PX = 19, 7  # of points of a short series
LEGEND_BELOW = {"orientation": "h", "x": 0, "xanchor": "left", "y": -0.18, "yanchor": "top"}
"""Of several panels: over one of them it would hide what another one shows."""
TITLE_LETTERS = 50  # fit above one of several panels


def draw(drawing: Drawing, stamp: str = "") -> Any:
    """The figure, panels beside each other.

    Args:
        stamp: what it says of results that are not at the published size, such as profile and stand-ins.
    """
    from plotly.subplots import make_subplots

    count = len(drawing.panels)
    titles = ["<br>".join(textwrap.wrap(panel.title, TITLE_LETTERS)) for panel in drawing.panels]
    figure = make_subplots(cols=count, subplot_titles=titles)
    names = list(dict.fromkeys(series.name for panel in drawing.panels for series in panel.series))
    shown = set[str]()
    for column, panel in enumerate(drawing.panels, start=1):
        for series in panel.series:
            number = names.index(series.name)
            figure.add_trace(_trace(series, number, series.name not in shown), row=1, col=column)
            shown.add(series.name)
        _set_axes(figure, panel, column)
    figure.update_layout(
        title={"text": drawing.title, "font": {"size": 15}},
        template="plotly_white",
        font={"family": FONT, "color": INK, "size": 14},
        width=900 if count == 1 else 120 + 420 * count,
        height=520,
        margin={"t": 80 + 20 * max(title.count("<br>") + 1 for title in titles)},
        barmode="group",
        legend=LEGEND_BELOW if count > 1 else {**_corner(drawing.panels[-1]), "bgcolor": "rgba(255,255,255,0.7)"},
    )
    if stamp:  # in the figure, so that a downloaded picture is stamped too
        figure.add_annotation(
            text="<br>".join(escape(line, quote=False) for line in textwrap.wrap(stamp, STAMP_LETTERS)),
            **{"xref": "paper", "x": 0, "xanchor": "left", "yref": "paper", "y": 1, "yanchor": "bottom", "yshift": 4},
            **{"showarrow": False, "align": "left", "font": {"size": 11, "color": GREY}},
        )
    return figure


def _corner(panel: Panel) -> dict[str, Any]:
    """Where the legend lies: at the right, at the height where fewest single values are, the upper end if it may be."""
    few = [s for s in panel.series if s.kind != "bars" and len(s.y) < FEW]
    drawn = [(x, y) for s in few for x, y in zip(s.x, s.y, strict=True) if not panel.log_y or y > 0]
    points = [(float(x), math.log10(y) if panel.log_y else y) for x, y in drawn if not isinstance(x, str)]
    within = {"top": 0, "bottom": 0, "middle": 0}
    if points:
        left, right = min(x for x, _ in points), max(x for x, _ in points)
        bottom, top = 0.0 if panel.from_zero else min(y for _, y in points), max(y for _, y in points)
        for y in (y for x, y in points if x >= left + 0.4 * (right - left)):
            height = (y - bottom) / (top - bottom or 1.0)
            within["top" if height > 2 / 3 else "bottom" if height < 1 / 3 else "middle"] += 1
    place = min(within, key=lambda name: within[name])
    return {"x": 0.99, "xanchor": "right", "y": {"top": 0.98, "bottom": 0.02, "middle": 0.5}[place], "yanchor": place}


def _trace(series: Series, number: int, is_named: bool) -> Any:
    """A series as Plotly draws it. Where colours begin again, the marker, the dash or the pattern is another.

    Args:
        series: what is drawn.
        number: of its name among all names of the figure.
        is_named: whether the legend names it here.
    """
    import plotly.graph_objects as go

    colour, again = COLOURS[number % len(COLOURS)], number // len(COLOURS)

    shared: dict[str, Any] = {"name": series.name, "x": list(series.x), "y": list(series.y)}
    shared |= {"legendgroup": series.name, "showlegend": is_named}
    if series.kind == "bars":
        return go.Bar(**shared, marker={"color": colour, "pattern": {"shape": PATTERNS[again % len(PATTERNS)]}})
    if len(series.low):
        above = [high - y for high, y in zip(series.high, series.y, strict=True)]
        below = [y - low for low, y in zip(series.low, series.y, strict=True)]
        shared["error_y"] = {"type": "data", "symmetric": False, "array": above, "arrayminus": below}
    if series.kind == "points":
        # Points of several series may lie on each other: few ones are open, and those drawn later smaller.
        is_few = len(series.y) < FEW
        size = max(LEAST_PX, LARGEST_PX - 2 * number) if is_few else 5
        symbol = SYMBOLS[again % len(SYMBOLS)] + ("-open" if is_few else "")
        marker = {"size": size, "color": colour, "opacity": 1 if is_few else 0.75, "symbol": symbol}
        return go.Scatter(**shared, mode="markers", marker={**marker, **({"line": {"width": 2}} if is_few else {})})
    dash = ("dash" if series.kind == "dashes" else "solid") if not again else ("dashdot", "dot")[again % 2]
    return go.Scatter(**shared, mode="lines", line={"color": colour, "dash": dash})


def _set_axes(figure: Any, panel: Panel, column: int) -> None:
    figure.update_xaxes(title=panel.x_title, row=1, col=column)
    scale = {"type": "log", "dtick": 1} if panel.log_y else {"rangemode": "tozero"} if panel.from_zero else {}
    figure.update_yaxes(title=panel.y_title, row=1, col=column, **scale)


def write(figure: Any, out: Path) -> None:
    """One HTML file that opens without network."""
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.write_html(out, include_plotlyjs=True, config={"displaylogo": False, "showSendToCloud": False})
