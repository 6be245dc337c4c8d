"""Families of strengths in one plot: a line each from the undefended model on, and the accuracies that are read."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from midef.dashboards.figures.style import COLOURS, FONT, GREY, INK, LAYOUT, axis, line
from midef.results.strength_sweep import Family
from midef.results.summary import SummaryRow

SYMBOLS = ("circle", "square", "diamond", "triangle-up")
HEIGHT_PX = 480


def draw(group: Sequence[SummaryRow], families: Sequence[Family], targets: Sequence[float]) -> Any:
    """A plotly Figure of the means; `customdata` of a point is the index of its row in `group`.

    Args:
        group: rows of the setup.
        families: of the setup, at least one; where colours begin again, the symbol is another.
        targets: test accuracies that the table reads, percent.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    for number, family in enumerate(families):
        points = [(group[i].natural_accuracy.mean, group[i].attack_accuracy_at_1.mean) for i in family.members]
        colour, symbol = COLOURS[number % len(COLOURS)], SYMBOLS[number // len(COLOURS) % len(SYMBOLS)]
        figure.add_scatter(
            x=[x for x, _ in points], y=[y for _, y in points], mode="lines+markers", customdata=list(family.members),
            name=escape(family.name, quote=False), hoverinfo="none", line={"color": colour, "width": 1.8},
            marker={"size": 8, "color": colour, "symbol": symbol},
        )  # fmt: skip
    undefended = [row for row in group if row.is_undefended]
    for row in undefended:
        figure.add_scatter(
            x=[row.natural_accuracy.mean], y=[row.attack_accuracy_at_1.mean], mode="markers", name="undefended",
            customdata=[group.index(row)], hoverinfo="none",
            marker={"symbol": "x-thin", "size": 12, "color": INK, "line": {"width": 3, "color": INK}},
        )  # fmt: skip
    notes = [
        {"text": f"{target:.1f}", "x": target, "yref": "paper", "y": 1, "yanchor": "bottom", "showarrow": False,
         "font": {"size": 11, "color": GREY}}
        for target in targets
    ]  # fmt: skip
    figure.update_layout(
        **{**LAYOUT, "showlegend": True},
        shapes=[line("x", target, colour=GREY, dash="dot") for target in targets],
        annotations=notes,
        height=HEIGHT_PX,
        margin={"l": 62, "r": 14, "t": 26, "b": 54},
        font={"family": FONT, "size": 12, "color": INK},
        legend={"orientation": "h", "y": -0.18, "yanchor": "top"},
        xaxis=axis("test accuracy (%)  → better", size=13, standoff=10, nticks=8),
        yaxis=axis("attack accuracy@1 (%), reversed  ↑ better", size=13, standoff=10, autorange="reversed"),
    )
    return figure
