"""Worst cases of a sweep as tables: the highest attack accuracy of each defense over all attacks on one target."""

from __future__ import annotations

from collections.abc import Sequence

from midef.core.rows import ResultRow
from midef.core.text import counted
from midef.results.compare import ABSENT
from midef.results.plain import PlainColumn, PlainTable
from midef.results.worst_case import Attempt, WorstCase
from midef.results.worst_targets import TargetCases, worst_targets

_COLUMNS = (
    PlainColumn("defense", "defense"),
    PlainColumn("worst", "worst att@1 %", is_whole=True),
    PlainColumn("attack", "by attack"),
    PlainColumn("compared", "compared", "right"),
    PlainColumn("tried", "tried", "right"),
    PlainColumn("not_converged", "not converged"),
    PlainColumn("without_number", "without a number"),
    PlainColumn("over_all", "over all that ran"),
)
ABOUT = (
    "highest attack accuracy@1 [95 % interval of the highest true accuracy: the lower end is corrected for the number "
    "of attacks, the upper end needs no correction]"
)


def worst_tables(rows: Sequence[ResultRow]) -> list[PlainTable]:
    """One table per target.

    Args:
        rows: of any setups; published ones do not count.
    """
    return [_table(target) for target in worst_targets(rows)]


def _table(target: TargetCases) -> PlainTable:
    lines = [_line(defense, case) for defense, case in target.cases.items()]
    shown = [place for place in range(len(_COLUMNS)) if any(line[place][0] for line in lines)]
    left_out = [name for name in target.tried if name not in target.common]
    notes = [f"compared: {counted(len(target.common), 'attack')} measured under every defense: {_names(target)}"]
    if not target.common:
        notes = ["no attack was measured under every defense: nothing is compared"]
    if left_out:
        notes.append(f"not compared, as some defense lacks them: {', '.join(left_out)}")
    reasons = {
        f"{one.attack} on {defense}: {one.state}: {one.reason}"
        for defense, case in target.cases.items()
        for one in case.without_number
    }
    if any(case.not_converged for case in target.cases.values()):
        notes.append(
            "not converged: the target's confidence still rose when the search ended; more steps may find more"
        )
    return PlainTable(
        title=f"{target.label}, profile {target.profile}, setups {', '.join(target.setups)}",
        columns=tuple(_COLUMNS[place] for place in shown),
        rows=tuple(tuple(line[place][0] for place in shown) for line in lines),
        records=tuple(
            {
                "architecture": target.architecture,
                "private": target.private,
                "evaluator": target.evaluator,
                "resolution_px": target.resolution_px,
                "profile": target.profile,
                "setups": " ".join(target.setups),
                **{name: value for _, values in line for name, value in values.items()},
            }
            for line in lines
        ),
        about=ABOUT,
        notes=(*notes, *sorted(reasons)),
    )


def _names(target: TargetCases) -> str:
    return ", ".join(target.common)


_Cell = tuple[str, dict[str, str | int | float | None]]


def _line(defense: str, case: WorstCase) -> list[_Cell]:
    """Cells of a defense, each with what it says in numbers."""
    span, winner, every = case.interval, case.winner, _highest(case)
    value = ABSENT if case.value is None else f"{case.value:.1f}{f' {span.ends}' if span else ''}"
    is_higher = every is not None and every.value is not None and (case.value is None or every.value > case.value)
    more = f"{every.value:.1f} by {every.attack}" if is_higher and every is not None else ""
    slow = ", ".join(one.attack for one in case.not_converged)
    lost = ", ".join(one.attack for one in case.without_number)
    return [
        (defense, {"defense": defense}),
        (
            value,
            {
                "worst_case_accuracy_at_1": case.value,
                "low": span.low if span else None,
                "high": span.high if span else None,
                "interval": span.kind if span else None,
                "chance": case.chance,
            },
        ),
        (winner.attack if winner else ABSENT, {"attack": winner.attack if winner else None}),
        (str(len(case.measured)), {"compared": len(case.measured)}),
        (str(len(case.attempts)), {"tried": len(case.attempts)}),
        (slow, {"not_converged": slow}),
        (lost, {"without_number": lost}),
        (
            more,
            {
                "highest_of_all": every.value if every else None,
                "highest_of_all_attack": every.attack if every else None,
            },
        ),
    ]


def _highest(case: WorstCase) -> Attempt | None:
    """The highest of all attacks that gave a number on this defense, those that are not compared too."""
    numbers = [one for one in case.attempts if one.state in ("measured", "left out") and one.value is not None]
    return max(numbers, key=lambda one: one.value or 0.0, default=None)
