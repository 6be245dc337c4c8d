"""Attack accuracies on one scale, drawn; a table beside says the same in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

_MARGIN, _WIDTH, _LINE = 14, 592, 40
_LONGEST = 52
"""Letters of a name that fit on the narrowest screen."""


class Mark(NamedTuple):
    """One number of the drawing.

    Args:
        name: beside it.
        value: percent.
        ends: of its interval, percent; None without one.
        kind: classes of its style: `ours`, `ours strong`, `theirs`.
    """

    name: str
    value: float
    ends: tuple[float, float] | None
    kind: str


def plot(marks: Sequence[Mark], chance: float) -> str:
    """The drawing: dots with intervals on a scale of 0 to 100 %, and a line where guessing is.

    Args:
        chance: percent.
    """
    height = _LINE * len(marks) + 34

    def at(value: float) -> float:
        return round(_MARGIN + _WIDTH * value / 100, 1)

    parts = []
    for tick in range(0, 101, 20):
        parts.append(
            f'<line class="grid" x1="{at(tick)}" x2="{at(tick)}" y1="4" y2="{height - 26}"/>'
            f'<text class="tick" x="{at(tick)}" y="{height - 6}">{tick}</text>'
        )
    parts.append(f'<line class="chance" x1="{at(chance)}" x2="{at(chance)}" y1="4" y2="{height - 26}"/>')
    for i, (name, value, ends, kind) in enumerate(marks):
        y = _LINE * i + 34
        parts.append(f'<text class="name {kind}" x="{_MARGIN + 8}" y="{y - 14}">{escape(_short(name))}</text>')
        if ends is not None:
            parts.append(f'<line class="span {kind}" x1="{at(ends[0])}" x2="{at(ends[1])}" y1="{y}" y2="{y}"/>')
        radius = 6 if "strong" in kind else 4.5
        parts.append(f'<circle class="dot {kind}" cx="{at(value)}" cy="{y}" r="{radius}"/>')
    label = "Attack accuracy of this model and of published undefended ones; the numbers are in the table below"
    return (
        f'<svg viewBox="0 0 {_WIDTH + 2 * _MARGIN} {height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
        '<p class="key"><span class="ours">●</span> this model with its interval <span class="theirs">○</span> '
        'published, undefended <span class="dashed">┆</span> guessing; attack accuracy@1 in %</p>'
    )


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"
