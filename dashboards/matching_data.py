"""Accuracy matching as the page shows it: targets, counts, and a table row with two figures for each defense."""

from __future__ import annotations

import math
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import get_args

from midef.core.gates import excluded_because, noted_because
from midef.core.match import MatchOutcome, MatchReport, MatchTraining, State
from midef.dashboards.figures.matching import curve, gaps, history, strength_text
from midef.dashboards.figures.plain import PlainFigure
from midef.dashboards.page_data import Column, Details, Figure, Match, Matching, Spark
from midef.results.compare import ABSENT
from midef.results.table import TableCell

SPARK_IN_TOLERANCES = 3.0, 10.0  # the least and the most that a sparkline is high
PHASES = {"search": "search", "confirm": "confirmation", "reference": "reference, for the target"}

COLUMNS = (
    Column(key="defense", header="defense", is_text=True),
    Column(key="architecture", header="network", is_text=True),
    Column(key="private", header="data", is_text=True),
    Column(key="state", header="state", is_text=True),
    Column(key="parameter", header="strength", is_text=True),
    Column(key="strength", header="chosen"),
    Column(key="target", header="target %"),
    Column(key="accuracy", header="accuracy %"),
    Column(key="gap", header="gap"),
    Column(key="report_accuracy", header="report acc %"),
    Column(key="trainings", header="trainings"),
    Column(key="history", header="|gap| by training"),
)


def matching_data(report: MatchReport, store_name: str, chances: Mapping[str, float] | None = None) -> Matching:
    """A row per outcome, in the order of the report.

    Args:
        report: of the matching.
        store_name: as the page calls the store.
        chances: accuracy of a blind guess by id of the setup, percent, for reports that do not say it.
    """
    report = replace(report, outcomes=tuple(_judged(outcome, chances or {}) for outcome in report.outcomes))
    notes = dict.fromkeys(noted_because(outcome.gates) for outcome in report.outcomes)
    return Matching(
        sweep=report.sweep,
        store=store_name,
        profile=report.profile,
        targets=(*_targets(report.outcomes), *(f"! {note}" for note in notes if note)),
        counts=_counts(report),
        command=f"optuna-dashboard {shlex.quote(f'{store_name}/{report.storage}')}" if report.storage else "",
        columns=COLUMNS,
        rows=tuple(_row(outcome) for outcome in report.outcomes),
    )


def _judged(outcome: MatchOutcome, chances: Mapping[str, float]) -> MatchOutcome:
    """The outcome, `at chance` where an older midef called a network matched that guesses."""
    if outcome.chance is None:
        outcome = replace(outcome, chance=next((chances[s] for s in outcome.setups if s in chances), None))
    reason = excluded_because(outcome.gates)
    return replace(outcome, state="at chance", reason=reason) if reason and outcome.state == "matched" else outcome


def ends_text(outcome: MatchOutcome) -> str:
    """`at area_high 0.1: 91.2 %, at 0.8: 89.7 %`: how near both ends of the range come; means over seeds."""
    by_strength: dict[float | None, list[MatchTraining]] = {}
    for training in sorted(outcome.ends, key=lambda t: -math.inf if t.strength is None else t.strength):
        by_strength.setdefault(training.strength, []).append(training)
    parts: list[str] = []
    for strength, trainings in by_strength.items():
        known = [t.accuracy for t in trainings if t.accuracy is not None]
        accuracy = f"{statistics.fmean(known):.1f} %" if known else trainings[0].reason or "no accuracy"
        name = f"{outcome.parameter} " if not parts and outcome.parameter else ""
        parts.append(f"at {name}{strength_text(strength)}: {accuracy}")
    return ", ".join(parts)


def _targets(outcomes: Sequence[MatchOutcome]) -> list[str]:
    """A line per target; where there are several, with the networks and data it holds for."""
    places: dict[tuple[str, float | None, float], dict[str, None]] = {}
    for one in outcomes:
        place = f"{one.architecture} on {one.private}"
        places.setdefault((one.target_text, one.target, one.tolerance), {})[place] = None
    lines = []
    for (asked, target, tolerance), where in places.items():
        value = "unknown" if target is None else f"{target:.1f} %"
        line = f"asked for: {asked}; target {value} ± {tolerance:g} points of accuracy on the select split"
        lines.append(line + (f", {'; '.join(where)}" if len(places) > 1 else ""))
    return lines


def _counts(report: MatchReport) -> str:
    # Outcomes may share a training, such as that of the undefended model.
    keys = {t.target_key for one in report.outcomes for t in (*one.trainings, *one.ends)}
    states = [one.state for one in report.outcomes]
    by_state = [f"{states.count(state)} {state}" for state in get_args(State) if state in states]
    trainings = f"{len(keys)} training{'' if len(keys) == 1 else 's'}, {report.trained} of them done by the last run"
    return f"{trainings} · {', '.join(by_state) or 'nothing to match'}"


def _row(outcome: MatchOutcome) -> Match:
    return Match(
        id=" / ".join((outcome.defense, outcome.architecture, outcome.private)),
        state=outcome.state,
        setups=outcome.setups,
        reason=_reason(outcome),
        chosen=outcome.chosen,
        cells=_cells(outcome),
        spark=_spark(outcome),
        trainings=tuple(_details(outcome, i) for i in range(len(outcome.trainings))),
        history=_figure(history(outcome)),
        curve=_figure(curve(outcome)),
    )


def _figure(drawn: PlainFigure | None) -> Figure | None:
    return None if drawn is None else drawn.json


def _reason(outcome: MatchOutcome) -> str:
    ends = ends_text(outcome) if outcome.state == "unreachable" else ""
    return outcome.reason if ends in outcome.reason else f"{outcome.reason}: {ends}"


def _cells(outcome: MatchOutcome) -> tuple[TableCell, ...]:
    """In the order of COLUMNS."""
    gap, seeds = outcome.gap, len(outcome.seeds)
    known = [one for one in gaps(outcome) if one is not None]
    return (
        TableCell(outcome.defense),
        TableCell(outcome.architecture),
        TableCell(outcome.private),
        TableCell(outcome.state, _reason(outcome)),
        TableCell(outcome.parameter, _range_text(outcome)) if outcome.parameter else TableCell(ABSENT),
        TableCell(strength_text(outcome.strength), number=outcome.strength),
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
    return f"{strength_text(outcome.low)} to {strength_text(outcome.high)}{scale}; {strength_text(hides)} hides most"


def _lost_text(outcome: MatchOutcome) -> str:
    lost = sum(t.accuracy is None for t in outcome.trainings)
    return f"{lost} without accuracy" if lost else ""


def _percent(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.1f}"


def _spark(outcome: MatchOutcome) -> Spark:
    by_training = gaps(outcome)
    least, most = (times * outcome.tolerance for times in SPARK_IN_TOLERANCES)
    highest = max((gap for gap in by_training if gap is not None), default=0.0)
    confirms = [training.phase == "confirm" for training in outcome.trainings]
    return Spark(
        top=min(max(highest, least), most) or highest or 1.0,
        tolerance=outcome.tolerance,
        points=tuple(zip(by_training, confirms, strict=True)),
    )


def _details(outcome: MatchOutcome, index: int) -> Details:
    """Overlay of a training."""
    training = outcome.trainings[index]
    lines = [("training", f"{index + 1} of {len(outcome.trainings)}, {PHASES[training.phase]}")]
    if training.strength is not None:
        lines.append((outcome.parameter, strength_text(training.strength)))
    lines.append(("seed", str(training.seed)))
    if training.accuracy is None:
        lines.append(("accuracy", "none"))
    else:
        lines.append(("accuracy", f"{training.accuracy:.2f} % on the select split"))
        if outcome.target is not None:
            lines.append(("gap", f"{training.accuracy - outcome.target:+.2f} points"))
    return (*lines, *([("why", training.reason)] if training.reason else []))
