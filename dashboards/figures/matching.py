"""Accuracy matching: the table of all matched defenses, and two figures of each.

`page_data(report, store_name)` gives what the page shows; `gaps`, `best_so_far` and `ends_text` the numbers behind it;
`draw_history(outcome)` and `draw_curve(outcome)` draw one defense.
"""

from __future__ import annotations

import json
import math
import shlex
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from typing import Any, get_args

from midef.core.match import MatchOutcome, MatchReport, MatchTraining, State
from midef.dashboards.figures.trade_off import COLOURS, FONT, INK, TARGET, TARGET_BAND
from midef.results.compare import ABSENT
from midef.results.table import TableCell

HEIGHT_PX = 270
MARGIN_PX = {"l": 58, "r": 68, "t": 22, "b": 48}
SEARCH, LOST = COLOURS[0], COLOURS[1]
# A training that collapsed may be 80 points away, and nobody could see the band: marks beyond this sit on the edge.
FAR_IN_TOLERANCES, FAR_IN_MEDIANS = 20.0, 3.0
SPARK_IN_TOLERANCES = 3.0, 10.0  # the least and the most that a sparkline is high

COLUMNS = (
    ("defense", "defense"),
    ("architecture", "network"),
    ("private", "data"),
    ("state", "state"),
    ("parameter", "strength"),
    ("strength", "chosen"),
    ("target", "target %"),
    ("accuracy", "accuracy %"),
    ("gap", "gap"),
    ("report_accuracy", "report acc %"),
    ("trainings", "trainings"),
    ("history", "|gap| by training"),
)


def page_data(report: MatchReport, store_name: str) -> dict[str, Any]:
    """JSON data for the page: header, columns, and a row per outcome in the order of the report."""
    return {
        "sweep": report.sweep,
        "profile": report.profile,
        "targets": _targets(report.outcomes),
        "counts": _counts(report),
        "command": f"optuna-dashboard {shlex.quote(f'{store_name}/{report.storage}')}" if report.storage else "",
        "columns": [{"key": key, "header": header} for key, header in COLUMNS],
        "rows": [_row(outcome) for outcome in report.outcomes],
    }


def gaps(outcome: MatchOutcome) -> list[float | None]:
    """|accuracy - target| in points, by training; None where either is unknown."""
    target = outcome.target
    return [None if target is None or t.accuracy is None else abs(t.accuracy - target) for t in outcome.trainings]


def best_so_far(outcome: MatchOutcome) -> list[tuple[int, float]]:
    """(number of the training, counted from 1; smallest gap of the search up to it), from the first gap on.

    Confirmations and references are counted, but do not lower it: they repeat a strength, or are not of this defense.
    """
    found: list[tuple[int, float]] = []
    for number, (training, gap) in enumerate(zip(outcome.trainings, gaps(outcome), strict=True), 1):
        best = found[-1][1] if found else math.inf
        if gap is not None and training.phase == "search":
            best = min(best, gap)
        if math.isfinite(best):
            found.append((number, best))
    return found


def ends_text(outcome: MatchOutcome) -> str:
    """`at area_high 0.1: 91.2 %, at 0.8: 89.7 %`: how near both ends of the range come; means over seeds."""
    by_strength: dict[float | None, list[MatchTraining]] = {}
    for training in sorted(outcome.ends, key=lambda t: -math.inf if t.strength is None else t.strength):
        by_strength.setdefault(training.strength, []).append(training)
    said: list[str] = []
    for strength, found in by_strength.items():
        known = [t.accuracy for t in found if t.accuracy is not None]
        accuracy = f"{statistics.fmean(known):.1f} %" if known else found[0].reason or "no accuracy"
        name = f"{outcome.parameter} " if not said and outcome.parameter else ""
        said.append(f"at {name}{_number(strength)}: {accuracy}")
    return ", ".join(said)


def _targets(outcomes: Sequence[MatchOutcome]) -> list[str]:
    """A line per target; where there are several, with the networks and data it holds for."""
    where: dict[tuple[str, float | None, float], dict[str, None]] = {}
    for one in outcomes:
        place = f"{one.architecture} on {one.private}"
        where.setdefault((one.target_text, one.target, one.tolerance), {})[place] = None
    lines = []
    for (asked, target, tolerance), places in where.items():
        value = "unknown" if target is None else f"{target:.1f} %"
        line = f"asked for: {asked}; target {value} ± {tolerance:g} points of accuracy on the select split"
        lines.append(line + (f", {'; '.join(places)}" if len(where) > 1 else ""))
    return lines


def _counts(report: MatchReport) -> str:
    # Outcomes may share a training, such as that of the undefended model.
    keys = {t.target_key for one in report.outcomes for t in (*one.trainings, *one.ends)}
    states = [one.state for one in report.outcomes]
    by_state = [f"{states.count(state)} {state}" for state in get_args(State) if state in states]
    trainings = f"{len(keys)} training{'' if len(keys) == 1 else 's'}, {report.trained} of them done by the last run"
    return f"{trainings} · {', '.join(by_state) or 'nothing to match'}"


def _row(outcome: MatchOutcome) -> dict[str, Any]:
    history, curve = draw_history(outcome), draw_curve(outcome)
    return {
        "id": " / ".join((outcome.defense, outcome.architecture, outcome.private)),
        "state": outcome.state,
        "setups": list(outcome.setups),
        "reason": _reason(outcome),
        "chosen": outcome.chosen,
        "cells": [list(asdict(cell).values()) for cell in _cells(outcome)],
        "spark": _spark(outcome),
        "trainings": [_details(outcome, i) for i in range(len(outcome.trainings))],
        "history": None if history is None else json.loads(history.to_json()),
        "curve": None if curve is None else json.loads(curve.to_json()),
    }


def _reason(outcome: MatchOutcome) -> str:
    ends = ends_text(outcome) if outcome.state == "unreachable" else ""
    return outcome.reason if ends in outcome.reason else f"{outcome.reason}: {ends}"


def _cells(outcome: MatchOutcome) -> tuple[TableCell, ...]:
    """In the order of COLUMNS."""
    gap, seeds = outcome.gap, len(outcome.seeds)
    found = gaps(outcome)
    known = [one for one in found if one is not None]
    return (
        TableCell(outcome.defense),
        TableCell(outcome.architecture),
        TableCell(outcome.private),
        TableCell(outcome.state, _reason(outcome)),
        TableCell(outcome.parameter, _range_text(outcome)) if outcome.parameter else TableCell(ABSENT),
        TableCell(_number(outcome.strength), number=outcome.strength),
        TableCell(_percent(outcome.target), f"± {outcome.tolerance:g}", outcome.target),
        TableCell(
            _percent(outcome.accuracy),
            f"mean of {seeds} seed{'' if seeds == 1 else 's'}" if seeds and outcome.accuracy is not None else "",
            outcome.accuracy,
        ),
        TableCell(ABSENT if gap is None else f"{round(gap, 2) + 0.0:+.2f}", number=gap),  # no "-0.00"
        TableCell(_percent(outcome.report_accuracy), number=outcome.report_accuracy),
        TableCell(str(len(outcome.trainings)), _lost_text(outcome), len(outcome.trainings)),
        TableCell("", number=min(known, default=None)),
    )


def _range_text(outcome: MatchOutcome) -> str:
    if outcome.low is None or outcome.high is None:
        return ""
    hides = outcome.high if outcome.larger_hides else outcome.low
    scale = ", log" if outcome.scale == "log" else ""
    return f"{_number(outcome.low)} to {_number(outcome.high)}{scale}; {_number(hides)} hides most"


def _lost_text(outcome: MatchOutcome) -> str:
    lost = sum(t.accuracy is None for t in outcome.trainings)
    return f"{lost} without accuracy" if lost else ""


def _number(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.4g}"


def _percent(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.1f}"


def _spark(outcome: MatchOutcome) -> dict[str, Any]:
    """points: gap or None, and whether it is a confirmation, by training; what is above `top` is drawn at the top."""
    found = gaps(outcome)
    least, most = (times * outcome.tolerance for times in SPARK_IN_TOLERANCES)
    highest = max((gap for gap in found if gap is not None), default=0.0)
    return {
        "top": min(max(highest, least), most) or highest or 1.0,
        "tolerance": outcome.tolerance,
        "points": [[gap, training.phase == "confirm"] for gap, training in zip(found, outcome.trainings, strict=True)],
    }


def _details(outcome: MatchOutcome, index: int) -> list[tuple[str, str]]:
    """What the overlay says of a training."""
    training = outcome.trainings[index]
    words = {"search": "search", "confirm": "confirmation", "reference": "reference, for the target"}
    lines = [("training", f"{index + 1} of {len(outcome.trainings)}, {words[training.phase]}")]
    if training.strength is not None:
        lines.append((outcome.parameter, _number(training.strength)))
    lines.append(("seed", str(training.seed)))
    if training.accuracy is None:
        lines.append(("accuracy", "none"))
    else:
        lines.append(("accuracy", f"{training.accuracy:.2f} % on the select split"))
        if outcome.target is not None:
            lines.append(("gap", f"{training.accuracy - outcome.target:+.2f} points"))
    return [*lines, *([("why", training.reason)] if training.reason else [])]


def _far(outcome: MatchOutcome) -> float:
    """The largest gap that is drawn to scale, in points."""
    known = [gap for gap in gaps(outcome) if gap is not None]
    far = max(FAR_IN_TOLERANCES * outcome.tolerance, FAR_IN_MEDIANS * statistics.median(known) if known else 0.0)
    return far or math.inf


def draw_history(outcome: MatchOutcome) -> Any:
    """A plotly Figure of |accuracy - target| by training, or None if there is no training or no target.

    `customdata` of a mark is its index in `outcome.trainings`.
    """
    if not outcome.trainings or outcome.target is None:
        return None
    found, far = gaps(outcome), _far(outcome)
    highest = min(max((gap for gap in found if gap is not None), default=0.0), far)
    top = 1.12 * max(highest, 2 * outcome.tolerance) or 1.0
    bottom = -0.09 * top
    count = len(outcome.trainings)
    figure = _figure()
    best = best_so_far(outcome)
    figure.add_scatter(
        x=[n for n, _ in best], y=[min(gap, top) for _, gap in best], name="best so far", mode="lines",
        line={"shape": "hv", "width": 1.5, "color": INK}, hoverinfo="skip",
    )  # fmt: skip
    places: list[_Place] = []
    for i, gap in enumerate(found):
        if gap is None:
            places.append((i, i + 1, bottom / 2, "lost"))
        else:
            places.append((i, i + 1, min(gap, far), "above" if gap > far else ""))
    _add_marks(figure, outcome, places)
    _dress(
        figure,
        shapes=[_band("y", 0, outcome.tolerance), _line("y", 0.0, "#BBBBBB", "solid")],
        notes=[_note(f"± {outcome.tolerance:g}", y=outcome.tolerance)],
        xaxis={"title": "training", "range": [0.4, count + 0.6], "tickformat": "d", "nticks": min(count, 12) + 1},
        yaxis={"title": "|accuracy − target|, points", "range": [bottom, top]},
    )
    return figure


def draw_curve(outcome: MatchOutcome) -> Any:
    """A plotly Figure of accuracy against strength, or None if no training has a strength.

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
    target, tolerance, far = outcome.target, outcome.tolerance, _far(outcome)
    known = [t.accuracy for _, t, _ in trainings if t.accuracy is not None]
    seen = known if target is None else [min(max(y, target - far), target + far) for y in known]
    seen += [] if outcome.accuracy is None else [outcome.accuracy]
    seen += [] if target is None else [target - 1.5 * tolerance, target + 1.5 * tolerance]
    low, high = min(seen, default=0.0), max(seen, default=100.0)
    tall = max(high - low, 1.0)
    bottom, top = low - 0.16 * tall, high + 0.1 * tall
    figure = _figure()
    places: list[_Place] = []
    for i, training, strength in trainings:
        accuracy = training.accuracy
        if accuracy is None:
            places.append((i, strength, bottom + 0.045 * (top - bottom), "lost"))
        elif target is not None and abs(accuracy - target) > far:
            is_above = accuracy > target
            places.append((i, strength, target + (far if is_above else -far), "above" if is_above else "below"))
        else:
            places.append((i, strength, accuracy, ""))
    _add_marks(figure, outcome, places)
    shapes, notes = [], []
    if target is not None:
        shapes = [_band("y", target - tolerance, target + tolerance), _line("y", target, TARGET, "solid")]
        notes = [_note(f"{target:.1f} ± {tolerance:g}", y=target)]
    if outcome.strength is not None:
        at = math.log10(outcome.strength) if is_log else outcome.strength
        # On a log axis a shape takes the value itself, a note its logarithm.
        shapes.append(_line("x", outcome.strength, INK, "dot"))
        notes.append({
            **_note(f"chosen {_number(outcome.strength)}", y=1), "xref": "x", "x": at, "yref": "paper",
            "yanchor": "bottom", "xanchor": "center", "xshift": 0, "font": {"size": 11, "color": INK},
        })  # fmt: skip
        if outcome.accuracy is not None:
            figure.add_scatter(
                x=[outcome.strength], y=[outcome.accuracy], name="chosen", mode="markers", hoverinfo="skip",
                marker={"symbol": "diamond-open", "size": 15, "color": INK, "line": {"width": 2, "color": INK}},
            )  # fmt: skip
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


_Place = tuple[int, float, float, str]  # index of the training, x, y, and "lost", "above" or "below" for an edge


def _add_marks(figure: Any, outcome: MatchOutcome, places: Sequence[_Place]) -> None:
    """A trace per kind of training: filled for the search, open for confirmations, × for references and the lost."""
    edges = {"": "circle", "above": "triangle-up", "below": "triangle-down"}
    by_kind: dict[str, list[_Place]] = {}
    for place in places:
        by_kind.setdefault("lost" if place[3] == "lost" else outcome.trainings[place[0]].phase, []).append(place)
    for kind, found in by_kind.items():
        marker: dict[str, Any]
        if kind == "lost":
            marker = {"symbol": "x-thin", "size": 8, "color": LOST, "line": {"width": 2, "color": LOST}}
        elif kind == "reference":
            marker = {"symbol": "x-thin", "size": 10, "color": INK, "line": {"width": 2.5, "color": INK}}
        else:
            is_open = kind == "confirm"
            line = {"width": 1.5, "color": SEARCH} if is_open else {"width": 1, "color": "#FFFFFF"}
            symbols = [edges[edge] for *_, edge in found]
            marker = {"symbol": symbols, "size": 9, "color": "#FFFFFF" if is_open else SEARCH, "line": line}
        figure.add_scatter(
            x=[x for _, x, _, _ in found], y=[y for _, _, y, _ in found], customdata=[i for i, *_ in found],
            mode="markers", name=kind, marker=marker, hoverinfo="none", cliponaxis=False,
        )  # fmt: skip


def _figure() -> Any:
    import plotly.graph_objects as go

    return go.Figure()


def _band(axis: str, low: float, high: float) -> dict[str, Any]:
    other = "x" if axis == "y" else "y"
    return {"type": "rect", "layer": "below", "fillcolor": TARGET_BAND, "line": {"width": 0}, f"{axis}0": low,
            f"{axis}1": high, f"{other}0": 0, f"{other}1": 1, f"{other}ref": "paper"}  # fmt: skip


def _line(axis: str, value: float, colour: str, dash: str) -> dict[str, Any]:
    other = "x" if axis == "y" else "y"
    return {"type": "line", "layer": "below", "line": {"color": colour, "width": 1, "dash": dash}, f"{axis}0": value,
            f"{axis}1": value, f"{other}0": 0, f"{other}1": 1, f"{other}ref": "paper"}  # fmt: skip


def _note(text: str, y: float) -> dict[str, Any]:
    """Small words at `y`, to the right of the plot."""
    return {"text": escape(text, quote=False), "showarrow": False, "xref": "paper", "x": 1, "xanchor": "left",
            "xshift": 3, "yref": "y", "y": y, "yanchor": "middle", "borderpad": 0,
            "font": {"size": 11, "color": TARGET}}  # fmt: skip


def _dress(figure: Any, *, shapes: list[Any], notes: list[Any], xaxis: dict[str, Any], yaxis: dict[str, Any]) -> None:
    def axis(given: dict[str, Any]) -> dict[str, Any]:
        title = {"text": given["title"], "standoff": 8, "font": {"size": 12}}
        return {"gridcolor": "#EEEEEE", "zeroline": False, "showline": True, "linecolor": "#BBBBBB",
                "ticks": "outside", "tickcolor": "#BBBBBB", "ticklen": 4, "nticks": 7, **given,
                "title": title}  # fmt: skip

    figure.update_layout(
        template=None, shapes=shapes, annotations=notes, height=HEIGHT_PX, margin=MARGIN_PX, showlegend=False,
        hovermode="closest", dragmode="zoom", font={"family": FONT, "size": 11, "color": INK},
        plot_bgcolor="#FFFFFF", paper_bgcolor="#FFFFFF", xaxis=axis(xaxis), yaxis=axis(yaxis),
    )  # fmt: skip
