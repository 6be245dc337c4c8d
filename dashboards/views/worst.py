"""Worst case: for each defense the highest attack accuracy over the attacks that were run on the same target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from midef.core.rows import ResultRow
from midef.dashboards.page_data import Column
from midef.dashboards.views.base import Pieces, Shown, View
from midef.results.compare import ABSENT
from midef.results.table import TableCell
from midef.results.worst_case import Attempt, WorstCase
from midef.results.worst_targets import TargetCases, worst_targets

COLUMNS = (
    Column(key="defense", header="defense", is_text=True),
    Column(key="worst", header="worst att@1 %"),
    Column(key="attack", header="by", is_text=True),
    Column(key="compared", header="attacks compared"),
    Column(key="tried", header="tried"),
    Column(key="open", header="not converged", is_text=True),
    Column(key="lost", header="without a number", is_text=True),
)
ATTEMPTS = (
    Column(key="attack", header="attack", is_text=True),
    Column(key="access", header="access", is_text=True),
    Column(key="state", header="state", is_text=True),
    Column(key="value", header="att@1 %"),
    Column(key="note", header="what to know", is_text=True),
)
LEGEND = (
    "worst att@1: the highest attack accuracy@1 of the attacks compared, with an interval for a maximum: its lower end "
    "is the highest lower end of all of them at the level that so many attacks need (Bonferroni), its upper end the "
    "highest ordinary one",
    "attacks compared: those that gave a number under every defense of the target; others are tried, and left out",
    "not converged: the search was ended while the target's confidence still rose: a longer one might find more",
)


@dataclass(frozen=True, kw_only=True)
class WorstRow:
    """One defense of a target.

    Args:
        defense: its label.
        cells: by column of the table.
        attempts: cells of every attack that was tried, by column of theirs.
        is_undefended: whether it is no defense.
    """

    defense: str
    cells: tuple[TableCell, ...]
    attempts: tuple[tuple[TableCell, ...], ...]
    is_undefended: bool


@dataclass(frozen=True, kw_only=True)
class WorstTarget:
    """One target.

    Args:
        label: target, data and judge in words.
        facts: setups, and the attacks that are compared.
        setups: ids of the setups that attack it, for the filters.
        rows: a defense each.
    """

    label: str
    facts: str
    setups: tuple[str, ...]
    rows: tuple[WorstRow, ...]


@dataclass(frozen=True, kw_only=True)
class Worst:
    """Worst cases of a page.

    Args:
        columns: of the table of a target.
        attempt_columns: of the attempts of a defense.
        targets: in the order of their setups.
        legend: what the numbers are.
    """

    columns: tuple[Column, ...]
    attempt_columns: tuple[Column, ...]
    targets: tuple[WorstTarget, ...]
    legend: tuple[str, ...]


def worst_data(rows: Sequence[ResultRow]) -> Worst:
    """Worst cases of all targets of measured rows."""
    return Worst(
        columns=COLUMNS,
        attempt_columns=ATTEMPTS,
        targets=tuple(_target(one) for one in worst_targets(rows)),
        legend=LEGEND,
    )


def _target(target: TargetCases) -> WorstTarget:
    common = ", ".join(target.common) or "none: no attack gave a number under every defense"
    left_out = [attack for attack in target.tried if attack not in target.common]
    facts = f"setups {', '.join(target.setups)}; attacks compared: {common}"
    facts += f"; tried, and not under every defense with a number: {', '.join(left_out)}" if left_out else ""
    return WorstTarget(
        label=target.label,
        facts=facts,
        setups=target.setups,
        rows=tuple(
            _row(defense, case, is_undefended=defense in target.undefended) for defense, case in target.cases.items()
        ),
    )


def _row(defense: str, case: WorstCase, *, is_undefended: bool) -> WorstRow:
    value = TableCell(ABSENT)
    if case.value is not None:
        value = TableCell(f"{case.value:.1f}", case.interval.ends if case.interval else "", case.value)
    compared = len(case.measured)
    return WorstRow(
        defense=defense,
        cells=(
            TableCell(defense),
            value,
            TableCell(case.winner.attack if case.winner else ABSENT),
            TableCell(str(compared), number=compared),
            TableCell(str(len(case.attempts)), number=len(case.attempts)),
            TableCell(_named(case.not_converged)),
            TableCell(_named(case.without_number)),
        ),
        attempts=tuple(_attempt(one) for one in case.attempts),
        is_undefended=is_undefended,
    )


def _named(attempts: Sequence[Attempt]) -> str:
    return ", ".join(one.attack for one in attempts) or ABSENT


def _attempt(one: Attempt) -> tuple[TableCell, ...]:
    """Cells of an attack that was tried."""
    value = TableCell(ABSENT)
    if one.value is not None:
        value = TableCell(f"{one.value:.1f}", one.interval.ends if one.interval else "", one.value)
    notes = [one.reason, one.notes, "" if one.is_converged else "its search had not converged"]
    said = "; ".join(filter(None, notes)) or ABSENT
    return TableCell(one.attack), TableCell(one.access or ABSENT), TableCell(one.state), value, TableCell(said)


def pieces(shown: Shown) -> Pieces:
    """One piece."""
    yield "worst", worst_data(shown.rows)


def is_shown(shown: Shown) -> bool:
    """Where some target has two attacks: the worst of one is what the setup says."""
    attacks: dict[tuple[str, str], set[str]] = {}
    for row in shown.summaries:
        attacks.setdefault((row.architecture, row.private), set()).add(row.attack)
    return any(len(names) > 1 for names in attacks.values())


VIEW = View(name="worst", title="Worst case", pieces=pieces, is_shown=is_shown)
