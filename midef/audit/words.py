"""The sentence of an audit, its limits, and its verdict on a threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from midef.core.accuracy import percent
from midef.core.gates import FEW_IMAGES, WEAK_EVALUATOR_PERCENT
from midef.core.text import counted

if TYPE_CHECKING:
    from midef.audit.report import AuditReport

_HOLDS = {"white box": "holds its weights", "scores": "sees its scores", "labels only": "sees its labels alone"}
_FEW_PEOPLE = 20
UNCHECKED = "cannot be checked"


@dataclass(frozen=True)
class Verdict:
    """An audit against a stated threshold.

    Args:
        state: `above`: the whole interval is above it; `open`: its upper end is, or there is no interval; `below`: the
            whole interval is at or below it; `no number`.
        text: a sentence.
    """

    state: Literal["above", "open", "below", "no number"]
    text: str


def sentence(report: AuditReport) -> str:
    """What was found, for somebody who reads one sentence."""
    subject, worst = report.subject, report.worst
    if worst.value is None or worst.chance is None:
        count = len(worst.attempts)
        tried = (
            "the one attack that was tried gave no" if count == 1 else f"none of {count} attacks that were tried gave a"
        )
        return f"Nothing can be said about {subject.model}: {tried} usable number."
    holds = _HOLDS.get(subject.access, f"has {subject.access}")
    ends = "" if worst.interval is None else f" [{worst.interval.low:.0f} to {worst.interval.high:.0f}]"
    number = f"{worst.value:.0f} %{ends}"
    guessing = f"guessing reaches {percent(worst.chance)}"
    if worst.is_at_chance:
        return (
            f"No attack that was tried did better than guessing on {subject.model}: the best one reached {number}, "
            f"and {guessing}; that does not show that no attack would."
        )
    return (
        f"Somebody who {holds} can make images that show what {subject.model} learned: {number} of them are "
        f"recognised as the right {subject.noun}, where {guessing}."
    )


def limits(report: AuditReport) -> list[str]:
    """What the sentence rests on, and what it does not say; each a sentence."""
    subject, worst = report.subject, report.worst
    lines = [_lower_bound(report)]
    if worst.value is not None:
        lines.append(_size(report))
    if subject.judge_accuracy is not None:
        lines.append(_judge(report))
    if subject.digest == "":
        lines.append(f"The identity of the model {UNCHECKED}: it is known by the name it was given.")
    if subject.accuracy is not None:
        said = f"{subject.accuracy.value:.1f} % of the private images kept for measuring"
        lines.append(f"The model classifies {said} correctly; it may have learned them.")
    if worst.not_converged:
        names = ", ".join(one.attack for one in worst.not_converged)
        lines.append(f"Not converged: {names}; more steps may find more.")
    if worst.maybe_converged:
        names = ", ".join(one.attack for one in worst.maybe_converged)
        lines.append(f"Whether more steps would find more is not known of {names}.")
    lines += [f"{one.attack} gave no number ({one.state}): {one.reason}." for one in worst.without_number]
    lines += subject.remarks
    return lines


def _lower_bound(report: AuditReport) -> str:
    measured, left = len(report.worst.measured), len(report.not_tried)
    count = counted(measured, "attack")
    others = (
        f" {counted(left, 'attack')} of midef {'was' if left == 1 else 'were'} not tried, see below." if left else ""
    )
    return (
        f"It is what {count} found in one audit: stronger attacks, more time or images nearer to the private ones may "
        f"find more.{others}"
    )


def _size(report: AuditReport) -> str:
    worst, nouns = report.worst, report.subject.nouns
    highest = f"; it accounts for taking the highest of {len(worst.measured)} attacks"
    of = highest if len(worst.measured) > 1 else ""
    interval = f" In brackets: the 95 % interval{of}." if worst.interval else ""
    few = ""
    winner = worst.winner
    rows = [row for row in report.rows if winner and row.attack == winner.attack and row.groups and row.n]
    if rows and ((rows[0].n or 0) < FEW_IMAGES or (rows[0].groups or 0) < _FEW_PEOPLE):
        few = f" That is few: attack more {nouns} for a narrower interval."
    return f"Sample: {report.size or 'of unknown size'}.{interval}{few}"


def _judge(report: AuditReport) -> str:
    accuracy = report.subject.judge_accuracy
    assert accuracy is not None
    who = f" ({report.subject.judge})" if report.subject.judge else ""
    weak = ""
    if accuracy.value < WEAK_EVALUATOR_PERCENT:
        weak = f" It is a weak judge, below {WEAK_EVALUATOR_PERCENT:g} %: attack accuracy is too low by what it misses."
    said = f"recognises {accuracy.value:.1f} % of true private images"
    few = ""
    if report.subject.classes < _FEW_PEOPLE:
        few = (
            f" It takes every image for one of {report.subject.classes} {report.subject.nouns}, so look at the images."
        )
    return f"Recognised means: by a judging network{who}, not by people. It {said}.{weak}{few}"


def verdict(report: AuditReport, threshold: float) -> Verdict:
    """The worst case against a threshold in percent; the upper end of the interval counts."""
    worst, at = report.worst, f"{threshold:g} %"
    if worst.value is None:
        return Verdict("no number", f"No attack gave a number, so nothing shows that it stays at or below {at}.")
    span = worst.interval
    if span is None:
        return Verdict("open", f"{worst.value:.1f} % without an interval does not show that it stays at or below {at}.")
    # As printed: a reader who sees 20.0 beside a threshold of 20 must not find another answer.
    low, high = round(span.low, 1), round(span.high, 1)
    number = f"attack accuracy {worst.value:.1f} % {span.ends}"
    if low > threshold:
        return Verdict("above", f"Above the threshold of {at}: {number}.")
    if high > threshold:
        more = f"more {report.subject.nouns} would narrow the interval"
        return Verdict("open", f"Not shown to be at or below {at}: {number}; {more}.")
    return Verdict("below", f"At or below the threshold of {at}: {number}.")
