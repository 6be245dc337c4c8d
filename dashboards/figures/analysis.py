"""Figures of the two analyses, from plain numbers."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from midef.dashboards.figures.style import COLOURS, FONT, GREY, INK

STAMP_LETTERS = 130  # fit beside each other above a figure


def fisher_figure(rows: Sequence[Mapping[str, Any]], title: str, stamp: str = "") -> Any:
    """Bars per unit: its share of the summed mean Fisher information, for classifying and for being inverted.

    Args:
        rows: `unit`, `classifying`, `inverting`, input side first.
        title: of the figure.
        stamp: what the figure says of results that are not at the published size, such as profile and stand-ins.
    """
    import plotly.graph_objects as go

    units = [row["unit"] for row in rows]
    figure = go.Figure()
    for kind, colour in (("classifying", COLOURS[0]), ("inverting", COLOURS[1])):
        whole = sum(row[kind] for row in rows) or 1.0
        shares = [100 * row[kind] / whole for row in rows]
        figure.add_bar(name=kind, x=units, y=shares, marker_color=colour)
    figure.update_layout(barmode="group", xaxis_title="unit, input first")
    # A mean over weights: layers differ by orders of magnitude, so the two profiles are compared on a log scale.
    figure.update_yaxes(title="share of mean Fisher information, %", type="log", dtick=1)
    return _dressed(figure, title, stamp)


def rank_figure(
    curve: Sequence[Mapping[str, Any]], heads: Sequence[Mapping[str, Any]], title: str, stamp: str = ""
) -> Any:
    """The ideal inversion error against the rank of the head, as a share of the features' variance.

    Args:
        curve: `rank`, `share` of the undefended head cut to each rank.
        heads: `defense`, `rank`, `share` of real heads.
        title: of the figure.
        stamp: as in `fisher_figure`.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    cut = [row["rank"] for row in curve], [100 * row["share"] for row in curve]
    figure.add_scatter(x=cut[0], y=cut[1], name="undefended head, cut", mode="lines", line_color=COLOURS[0])
    for row, colour in zip(heads, COLOURS[1:] * len(heads), strict=False):
        point = {"x": [row["rank"]], "y": [100 * row["share"]], "name": row["defense"]}
        figure.add_scatter(**point, mode="markers", marker={"size": 11, "color": colour})
    figure.update_layout(
        xaxis_title="rank of the head", yaxis_title="ideal inversion error, % of the features' variance"
    )
    figure.update_yaxes(rangemode="tozero")
    return _dressed(figure, title, stamp)


def write(figure: Any, out: Path) -> None:
    """One HTML file that opens without network."""
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.write_html(out, include_plotlyjs=True, config={"displaylogo": False, "showSendToCloud": False})


def _dressed(figure: Any, title: str, stamp: str) -> Any:
    figure.update_layout(
        title={"text": title, "font": {"size": 15}},
        template="plotly_white",
        font={"family": FONT, "color": INK, "size": 14},
        width=900,
        height=520,
        legend={"x": 0.99, "xanchor": "right", "y": 0.98, "yanchor": "top", "bgcolor": "rgba(255,255,255,0.7)"},
    )
    if stamp:  # in the figure, so that a downloaded picture is stamped too
        figure.add_annotation(
            text="<br>".join(escape(line, quote=False) for line in textwrap.wrap(stamp, STAMP_LETTERS)),
            **{"xref": "paper", "x": 0, "xanchor": "left", "yref": "paper", "y": 1, "yanchor": "bottom", "yshift": 4},
            **{"showarrow": False, "align": "left", "font": {"size": 11, "color": GREY}},
        )
    return figure
