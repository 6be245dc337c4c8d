"""Figure of searches: loss, confidence and gradient norm over the steps, a band for each defense."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from html import escape
from typing import Any

from midef.dashboards.figures.style import AXIS, COLOURS, FONT, INK, LAYOUT
from midef.results.searches import TITLES, Band, SetupSearches

HEIGHT, WIDTH = 360, 420
"""Pixels of one panel."""
LETTER = 9
"""Pixels of a letter of the title, at most."""


def search_figure(setups: Sequence[SetupSearches]) -> Any:
    """A row of panels for each setup, a panel for each series: mean of all rows, and the band from 10 to 90 %.

    Args:
        setups: with traces; those without are left out.
    """
    from plotly.subplots import make_subplots

    drawn = [setup for setup in setups if any(search.bands for search in setup.searches)]
    names = [name for name in TITLES if any(name in s.bands for setup in drawn for s in setup.searches)]
    defenses = dict.fromkeys(search.defense for setup in drawn for search in setup.searches if search.bands)
    colours = {defense: COLOURS[i % len(COLOURS)] for i, defense in enumerate(defenses)}
    several = len(drawn) > 1
    above = [f"{_safe(s.setup)}<br>{TITLES[name]}" if several else TITLES[name] for s in drawn for name in names]
    width = WIDTH * len(names) + 160
    titles = [line for setup in drawn for line in textwrap.wrap(setup.title, width // LETTER)]
    titles.append("mean of all rows of the search; the band holds 80 % of them")
    figure = make_subplots(rows=len(drawn), cols=len(names), subplot_titles=above)
    unnamed = set(defenses)
    for at, setup in enumerate(drawn, start=1):
        for search in setup.searches:
            for name, band in search.bands.items():
                assert search.traces is not None, "what has bands has traces"
                place = {"row": at, "col": names.index(name) + 1, "legendgroup": search.defense}
                steps = search.traces.steps.tolist()
                _add(figure, steps, band, colours[search.defense], search.defense, search.defense in unnamed, place)
                unnamed.discard(search.defense)
    figure.update_layout(
        **{**LAYOUT, "showlegend": True, "hovermode": "x unified"},
        title={
            "text": "<br>".join(map(_safe, titles)),
            "font": {"size": 14},
            "x": 0.01,
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "pad": {"t": 12},
        },
        font={"family": FONT, "color": INK, "size": 14},
        width=width,
        height=HEIGHT * len(drawn) + 100 + 19 * len(titles),
        margin={"t": 70 + 19 * len(titles)},
    )
    figure.update_xaxes(**AXIS, title="step")
    figure.update_yaxes(**AXIS)
    if "confidence" in names:
        figure.update_yaxes(range=[0, 1], col=names.index("confidence") + 1)
    return figure


def _add(
    figure: Any, steps: list[int], band: Band, colour: str, defense: str, is_named: bool, place: dict[str, Any]
) -> None:
    """Draw one band with its mean."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    outline = {"x": steps + steps[::-1], "y": [*band.high.tolist(), *band.low.tolist()[::-1]], "fill": "toself"}
    pale = {"fillcolor": f"rgba({red},{green},{blue},0.15)", "line": {"width": 0}, "mode": "lines"}
    figure.add_scatter(**outline, **pale, hoverinfo="skip", showlegend=False, **place)
    mean = {"x": steps, "y": band.mean.tolist(), "mode": "lines", "line": {"color": colour, "width": 2}}
    figure.add_scatter(**mean, name=_safe(defense), showlegend=is_named, **place)


def _safe(text: str) -> str:
    """Text of a user as Plotly shows it."""
    return escape(text, quote=False)
