"""Colours, fonts and axes of all figures."""

from __future__ import annotations

from typing import Any

# Okabe-Ito colours with a contrast of at least 3:1 on white, then two of Paul Tol's.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#332288", "#882255")
MORE_ON_FRONT = "#7A5C2E"  # beyond six hues nobody can tell them apart: brown, far from the ink of the undefended model
INK = "#222222"
GREY = "#767676"
PALE = "#A8A8A8"  # intervals of dominated points: beside the point they belong to, not to be read alone
WHITE = "#FFFFFF"
TARGET = "#117733"  # of accuracy matching
TARGET_BAND = "rgba(17,119,51,0.11)"
ATTAINED = "#332288"  # of fronts over seeds
ATTAINED_BAND = "rgba(51,34,136,0.13)"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif"

LAYOUT: dict[str, Any] = {
    **{"template": None, "showlegend": False, "hovermode": "closest", "dragmode": "zoom"},
    **{"plot_bgcolor": WHITE, "paper_bgcolor": WHITE},
}
AXIS: dict[str, Any] = {
    **{"gridcolor": "#EEEEEE", "zeroline": False, "showline": True, "linecolor": "#BBBBBB", "ticks": "outside"},
    **{"tickcolor": "#BBBBBB", "ticklen": 4},
}


def axis(title: str, *, size: int, standoff: int, **settings: Any) -> dict[str, Any]:
    """Plotly axis.

    Args:
        title: words of the axis.
        size: of the title's letters.
        standoff: pixels between numbers and title.
        settings: further settings of Plotly.
    """
    return {**AXIS, **settings, "title": {"text": title, "standoff": standoff, "font": {"size": size}}}


def band(along: str, low: float, high: float) -> dict[str, Any]:
    """Shape that marks a range of one axis, `x` or `y`, across the whole plot."""
    return {**_across(along, low, high), "type": "rect", "fillcolor": TARGET_BAND, "line": {"width": 0}}


def line(along: str, value: float, *, colour: str, dash: str) -> dict[str, Any]:
    """Shape that marks a value of one axis, `x` or `y`, across the whole plot."""
    return {**_across(along, value, value), "type": "line", "line": {"color": colour, "width": 1, "dash": dash}}


def _across(along: str, low: float, high: float) -> dict[str, Any]:
    other = "x" if along == "y" else "y"
    return {"layer": "below", f"{along}0": low, f"{along}1": high, f"{other}0": 0, f"{other}1": 1,
            f"{other}ref": "paper"}  # fmt: skip
