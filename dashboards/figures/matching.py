"""Two figures of each defense of an accuracy matching: gap by training, accuracy by strength.

`gaps` and `best_so_far` give the numbers, `draw_history(outcome)` and `draw_curve(outcome)` the figures.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Literal, NamedTuple

from midef.core.match import MatchOutcome, MatchTraining
from midef.dashboards.figures.plain import PlainFigure, as_figure
from midef.dashboards.figures.style import COLOURS, FONT, INK, LAYOUT, TARGET, WHITE, axis, band, line
from midef.results.compare import ABSENT

HEIGHT_PX = 270
MARGIN_PX = {"l": 58, "r": 68, "t": 22, "b": 48}
SEARCH, LOST = COLOURS[0], COLOURS[1]
# A training that collapsed may be 80 points away, and nobody could see the band: marks beyond this sit on the edge.
FAR_IN_TOLERANCES, FAR_IN_MEDIANS = 20.0, 3.0


class _Mark(NamedTuple):
    """A training in a figure; `edge` says why it is not drawn to scale."""

    training: int
    x: float
    y: float
    edge: Literal["", "lost", "above", "below"] = ""


def gaps(outcome: MatchOutcome) -> list[float | None]:
    """|accuracy - target| in points, by training; None where either is unknown."""
    target = outcome.target
    return [None if target is None or t.accuracy is None else abs(t.accuracy - target) for t in outcome.trainings]


def best_so_far(outcome: MatchOutcome) -> list[tuple[int, float]]:
    """(number of the training, counted from 1; smallest gap of the search up to it), from the first gap on.

    Confirmations and references are counted, but do not lower it: they repeat a strength, or are not of this defense.
    """
    steps: list[tuple[int, float]] = []
    for number, (training, gap) in enumerate(zip(outcome.trainings, gaps(outcome), strict=True), 1):
        best = steps[-1][1] if steps else math.inf
        if gap is not None and training.phase == "search":
            best = min(best, gap)
        if math.isfinite(best):
            steps.append((number, best))
    return steps


def strength_text(value: float | None) -> str:
    """Four digits, or a dash."""
    return ABSENT if value is None else f"{value:.4g}"


def _largest_gap(outcome: MatchOutcome) -> float:
    """The largest gap that is drawn to scale, in points."""
    known = [gap for gap in gaps(outcome) if gap is not None]
    far = max(FAR_IN_TOLERANCES * outcome.tolerance, FAR_IN_MEDIANS * statistics.median(known) if known else 0.0)
    return far or math.inf


def draw_history(outcome: MatchOutcome) -> Any:
    """A plotly Figure of `history`, or None."""
    return as_figure(history(outcome))


def draw_curve(outcome: MatchOutcome) -> Any:
    """A plotly Figure of `curve`, or None."""
    return as_figure(curve(outcome))


def history(outcome: MatchOutcome) -> PlainFigure | None:
    """|accuracy - target| by training, or None if there is no training or no target.

    `customdata` of a mark is its index in `outcome.trainings`.
    """
    if not outcome.trainings or outcome.target is None:
        return None
    by_training, far = gaps(outcome), _largest_gap(outcome)
    highest = min(max((gap for gap in by_training if gap is not None), default=0.0), far)
    top = 1.12 * max(highest, 2 * outcome.tolerance) or 1.0
    bottom = -0.09 * top
    count = len(outcome.trainings)
    figure = PlainFigure()
    best = best_so_far(outcome)
    figure.add_scatter(
        x=[n for n, _ in best], y=[min(gap, top) for _, gap in best], name="best so far", mode="lines",
        line={"shape": "hv", "width": 1.5, "color": INK}, hoverinfo="skip",
    )  # fmt: skip
    _add_marks(
        figure,
        outcome,
        [
            _Mark(i, i + 1, bottom / 2, "lost") if gap is None
            else _Mark(i, i + 1, min(gap, far), "above" if gap > far else "")
            for i, gap in enumerate(by_training)
        ],
    )  # fmt: skip
    _dress(
        figure,
        shapes=[band("y", 0, outcome.tolerance), line("y", 0.0, colour="#BBBBBB", dash="solid")],
        notes=[_note(f"± {outcome.tolerance:g}", y=outcome.tolerance)],
        xaxis={"title": "training", "range": [0.4, count + 0.6], "tickformat": "d", "nticks": min(count, 12) + 1},
        yaxis={"title": "|accuracy − target|, points", "range": [bottom, top]},
    )
    return figure


def curve(outcome: MatchOutcome) -> PlainFigure | None:
    """Accuracy against strength, or None if no training has a strength.

    `customdata` of a mark is its index in `outcome.trainings`.
    """
    trainings = [(i, t, t.strength) for i, t in enumerate(outcome.trainings) if t.strength is not None]
    if not trainings:
        return None
    ends = [x for x in (outcome.low, outcome.high, outcome.strength) if x is not None]
    strengths = [*ends, *(strength for _, _, strength in trainings)]
    is_log = outcome.scale == "log" and min(strengths) > 0
    left, right = (math.log10(f(strengths)) if is_log else f(strengths) for f in (min, max))
    pad = 0.06 * (right - left) or 0.5
    bottom, top = _accuracy_range(outcome, [t for _, t, _ in trainings])
    figure = PlainFigure()
    _add_marks(figure, outcome, [_curve_mark(outcome, *one, bottom=bottom, top=top) for one in trainings])
    shapes, notes = [], []
    target, tolerance = outcome.target, outcome.tolerance
    if target is not None:
        shapes = [
            band("y", target - tolerance, target + tolerance), line("y", target, colour=TARGET, dash="solid")
        ]  # fmt: skip
        notes = [_note(f"{target:.1f} ± {tolerance:g}", y=target)]
    if outcome.strength is not None:
        shapes.append(line("x", outcome.strength, colour=INK, dash="dot"))
        notes.append(_add_chosen(figure, outcome, outcome.strength, is_log=is_log))
    name = escape(outcome.parameter, quote=False) or "strength"
    scale = " (log)" if is_log else ""
    _dress(
        figure,
        shapes=shapes,
        notes=notes,
        xaxis={
            "title": f"{name}{scale}  hides more →" if outcome.larger_hides else f"← hides more  {name}{scale}",
            "type": "log" if is_log else "linear",
            "range": [left - pad, right + pad],
        },
        yaxis={"title": "accuracy, select split (%)", "range": [bottom, top]},
    )
    return figure


def _accuracy_range(outcome: MatchOutcome, trainings: Iterable[MatchTraining]) -> tuple[float, float]:
    """Accuracies that are drawn to scale, the target's band among them, with air below and above."""
    target, tolerance, far = outcome.target, outcome.tolerance, _largest_gap(outcome)
    known = [t.accuracy for t in trainings if t.accuracy is not None]
    drawn = known if target is None else [min(max(y, target - far), target + far) for y in known]
    drawn += [] if outcome.accuracy is None else [outcome.accuracy]
    drawn += [] if target is None else [target - 1.5 * tolerance, target + 1.5 * tolerance]
    low, high = min(drawn, default=0.0), max(drawn, default=100.0)
    tall = max(high - low, 1.0)
    return low - 0.16 * tall, high + 0.1 * tall


def _curve_mark(
    outcome: MatchOutcome, index: int, training: MatchTraining, strength: float, *, bottom: float, top: float
) -> _Mark:
    accuracy, target, far = training.accuracy, outcome.target, _largest_gap(outcome)
    if accuracy is None:
        return _Mark(index, strength, bottom + 0.045 * (top - bottom), "lost")
    if target is None or abs(accuracy - target) <= far:
        return _Mark(index, strength, accuracy)
    if accuracy > target:
        return _Mark(index, strength, target + far, "above")
    return _Mark(index, strength, target - far, "below")


def _add_chosen(figure: Any, outcome: MatchOutcome, strength: float, *, is_log: bool) -> dict[str, Any]:
    """Mark the chosen strength; returns the words above it."""
    if outcome.accuracy is not None:
        figure.add_scatter(
            x=[strength], y=[outcome.accuracy], name="chosen", mode="markers", hoverinfo="skip",
            marker={"symbol": "diamond-open", "size": 15, "color": INK, "line": {"width": 2, "color": INK}},
        )  # fmt: skip
    # On a log axis a shape takes the value itself, a note its logarithm.
    return {
        **_note(f"chosen {strength_text(strength)}", y=1), "xref": "x",
        "x": math.log10(strength) if is_log else strength, "yref": "paper", "yanchor": "bottom", "xanchor": "center",
        "xshift": 0, "font": {"size": 11, "color": INK},
    }  # fmt: skip


def _add_marks(figure: Any, outcome: MatchOutcome, marks: Iterable[_Mark]) -> None:
    """A trace per kind of training: filled for the search, open for confirmations, × for references and the lost."""
    symbols = {"": "circle", "above": "triangle-up", "below": "triangle-down"}
    by_kind: dict[str, list[_Mark]] = {}
    for mark in marks:
        by_kind.setdefault("lost" if mark.edge == "lost" else outcome.trainings[mark.training].phase, []).append(mark)
    for kind, of_kind in by_kind.items():
        marker: dict[str, Any]
        if kind == "lost":
            marker = {"symbol": "x-thin", "size": 8, "color": LOST, "line": {"width": 2, "color": LOST}}
        elif kind == "reference":
            marker = {"symbol": "x-thin", "size": 10, "color": INK, "line": {"width": 2.5, "color": INK}}
        else:
            is_open = kind == "confirm"
            edge = {"width": 1.5, "color": SEARCH} if is_open else {"width": 1, "color": WHITE}
            shapes = [symbols[mark.edge] for mark in of_kind]
            marker = {"symbol": shapes, "size": 9, "color": WHITE if is_open else SEARCH, "line": edge}
        figure.add_scatter(
            x=[mark.x for mark in of_kind], y=[mark.y for mark in of_kind],
            customdata=[mark.training for mark in of_kind], mode="markers", name=kind, marker=marker,
            hoverinfo="none", cliponaxis=False,
        )  # fmt: skip


def _note(text: str, y: float) -> dict[str, Any]:
    """Small words at `y`, to the right of the plot."""
    return {"text": escape(text, quote=False), "showarrow": False, "xref": "paper", "x": 1, "xanchor": "left",
            "xshift": 3, "yref": "y", "y": y, "yanchor": "middle", "borderpad": 0,
            "font": {"size": 11, "color": TARGET}}  # fmt: skip


def _dress(
    figure: Any, *, shapes: Sequence[Any], notes: Sequence[Any], xaxis: dict[str, Any], yaxis: dict[str, Any]
) -> None:
    style: dict[str, Any] = {"nticks": 7, "size": 12, "standoff": 8}
    figure.update_layout(
        **LAYOUT,
        shapes=shapes,
        annotations=notes,
        height=HEIGHT_PX,
        margin=MARGIN_PX,
        font={"family": FONT, "size": 11, "color": INK},
        xaxis=axis(**{**style, **xaxis}),
        yaxis=axis(**{**style, **yaxis}),
    )
