"""Accuracy matching as text: the searches before they start, and the table of their results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from midef.core.choice import Choice
from midef.core.gates import noted_because
from midef.core.match import MatchReport
from midef.core.text import counted
from midef.defenses.stack import choose_defense
from midef.stages.recipes import NO_DEFENSE
from midef.sweep.matching.case import Case
from midef.sweep.matching.match_accuracy import check, match_spec_of, seeds_of
from midef.sweep.matching.strengths import Strength
from midef.sweep.spec.checks import facts_of
from midef.sweep.spec.resolve import Sweep

_COLUMNS = (
    "defense",
    "network, data",
    "state",
    "chosen",
    "target",
    "reached",
    "error",
    "seeds' sd",
    "report",
    "trainings",
)


def match_text(report: MatchReport) -> str:
    """Target, reached accuracy, error and trainings of every search, as a table."""
    lines: list[Sequence[str]] = [_COLUMNS]
    for o in report.outcomes:
        error = "-" if o.gap is None else f"{o.gap:+.2f}"
        numbers = [_percent(o.target), _percent(o.accuracy), error, _percent(o.noise), _percent(o.report_accuracy)]
        numbers.append(str(len(o.trainings)))
        lines.append([o.defense, f"{o.architecture}, {o.private}", o.state, o.chosen or "-", *numbers])
    widths = [max(len(line[i]) for line in lines) for i in range(len(_COLUMNS))]
    text = ["  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    keys = {t.target_key for o in report.outcomes for t in o.trainings}
    states = Counter(o.state for o in report.outcomes)
    by_state = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    about = report.outcomes[0] if report.outcomes else None
    head = "" if about is None else f"target: {about.target_text}, tolerance {about.tolerance:g} points, select split"
    text = [head, *text] if head else text
    text += [f"{by_state}; {counted(len(keys), 'training')}, {report.trained} of them new in this run"]
    text += [f"{o.defense}: {o.state}: {o.reason}" for o in report.outcomes if o.reason and o.state != "matched"]
    notes = dict.fromkeys(noted_because(o.gates) for o in report.outcomes)
    text += [f"note: {note}" for note in notes if note]
    return "\n".join(text)


def _pairs(number: int) -> str:
    """`1 network with its data set`, `3 networks with their data sets`."""
    return "1 network with its data set" if number == 1 else f"each of {number:,} networks with their data sets"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def describe_match(sweep: Sweep) -> str:
    """Searches that matching a sweep would run, and how many trainings they take at most; looks at no store.

    Raises:
        SpecError: everything wrong with the specification.
    """
    check(sweep)
    spec, seeds = match_spec_of(sweep), seeds_of(sweep)
    written = dict.fromkeys(d for e in sweep.entries for d in e.defenses)
    lines = [
        f"sweep {sweep.name}  profile {sweep.profile.name}: to {spec.target_text}, tolerance {spec.tolerance:g} points "
        f"on the select split, mean over seeds {', '.join(map(str, seeds))}"
    ]
    most = 0
    if spec.reference is not None and choose_defense(spec.reference[0]) not in written:
        places = {Case((e,), NO_DEFENSE, None, seeds, spec).group_key for e in sweep.entries if not e.refused}
        most += len(seeds) * len(places)
        lines.append(
            f"  {spec.reference[0]}: for the target, {counted(len(seeds), 'training')} on {_pairs(len(places))}"
        )
    for choice in written:
        line, at_most = _describe_defense(choice, sweep)
        lines.append(f"  {line}")
        most += at_most
    lines.append(
        f"at most {counted(most, 'training')} beside what they start from; mostly 5 to 15 for each that is searched"
    )
    return "\n".join(lines)


def _describe_defense(choice: Choice, sweep: Sweep) -> tuple[str, int]:
    """The search of one defense, and how many trainings it takes at most."""
    spec, seeds = match_spec_of(sweep), seeds_of(sweep)
    met = [e for e in sweep.entries if choice in e.defenses and not e.refusal(choice)]
    strength = Strength.of(choice, spec.ranges, [facts_of(e.setup) for e in met])
    places = {Case((e,), choice, strength, seeds, spec).group_key for e in met}
    if not places:
        return f"{choice.label}: refused everywhere", 0
    what, each = "as it is", len(seeds)
    if strength is not None:
        tuning, each = strength.tuning, spec.trainings
        what = f"{tuning.parameter} {tuning.low:g} to {tuning.high:g} ({tuning.scale})"
    on = f"on {_pairs(len(places))}, at most {counted(each, 'training')}{' each' if len(places) > 1 else ''}"
    return f"{choice.label}: {what}, {on}", each * len(places)
