"""A figure as plain dictionaries: what plotly.js reads, without the checks of every property that plotly.py makes.

The checks take most of the time of a build. `as_figure` makes them, and so do the tests, for every figure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class PlainFigure:
    """Data and layout of a figure; the two methods are those of `plotly.graph_objects.Figure` that are used here."""

    data: list[dict[str, Any]] = field(default_factory=list)
    layout: dict[str, Any] = field(default_factory=dict)

    def add_scatter(self, **settings: Any) -> None:
        """A trace, drawn as SVG."""
        self.data.append({"type": "scatter", **settings})

    def update_layout(self, **settings: Any) -> None:
        """Set parts of the layout; a part that is None is left to the page."""
        self.layout |= {name: value for name, value in settings.items() if value is not None}

    @property
    def json(self) -> dict[str, Any]:
        """The figure as a page holds it."""
        return {"data": self.data, "layout": self.layout}


def as_figure(plain: PlainFigure | None) -> Any:
    """The same as a plotly Figure, every property checked; None for none."""
    import plotly.graph_objects as go

    return None if plain is None else go.Figure(plain.json).update_layout(template=None)
