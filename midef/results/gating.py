"""Which numbers of a table are no results, and why; `midef.core.gates` has the limits and the words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from midef.core.accuracy import Accuracy, accuracy_of
from midef.core.gates import (
    EVERY_DEFENSE,
    Gate,
    attack_gate,
    ceiling_gate,
    excluded_because,
    images_gate,
    is_excluded,
    match_target_gate,
    noted_because,
    search_gate,
    stored_evaluator_gate,
    target_gate,
    tolerance_gate,
)
from midef.core.rows import ResultRow
from midef.core.setup import is_judged_by_target
from midef.results.compare import ATTACK, NATURAL

if TYPE_CHECKING:
    from midef.results.summary import SummaryRow

EXCLUDED_MARK, NOTED_MARK = "⊘", "!"


def gates_of(runs: Mapping[int, Sequence[ResultRow]]) -> tuple[Gate, ...]:
    """Gates of one defense in one setup, by itself; those that exclude first.

    One run that is excluded excludes the defense: its mean would hold a number that says nothing.

    Args:
        runs: its rows by seed, of one cell each.
    """
    by_subject: dict[tuple[str, str], dict[int, Gate]] = {}
    for seed, run in runs.items():
        for gate in _gates_of_run(run):
            by_subject.setdefault((gate.grade, gate.subject), {})[seed] = gate
    merged = [_over_seeds(of_seed, len(runs)) for of_seed in by_subject.values()]
    return tuple(sorted(merged, key=lambda gate: gate.grade))


def gated(group: Sequence[SummaryRow]) -> list[SummaryRow]:
    """The rows of a setup with what holds for the setup as a whole; one that is excluded is not matched."""
    attacks = [None if is_excluded(row.gates) else _attack(row) for row in group]
    measured = [attack for attack in attacks if attack is not None]
    has_undefended = any(row.is_undefended and attack is not None for row, attack in zip(group, attacks, strict=True))
    gate = attack_gate(measured, has_undefended=has_undefended)
    rows = [
        row if gate is None or attack is None else replace(row, gates=(gate, *row.gates))
        for row, attack in zip(group, attacks, strict=True)
    ]
    return [replace(row, is_matched=False) if row.is_matched and is_excluded(row.gates) else row for row in rows]


def _attack(row: SummaryRow) -> Accuracy | None:
    """Attack accuracy @1 of a defense; None where nothing was measured, or chance is not known."""
    estimate, chance = row.attack_accuracy_at_1, row.chance
    if estimate.mean is None or chance is None:
        return None
    span = estimate.within_run
    return accuracy_of(estimate.mean, chance, low=span.low if span else None, high=span.high if span else None)


def mark_of(gates: Iterable[Gate]) -> str:
    """Mark beside a defense; "" without a gate."""
    grades = {gate.grade for gate in gates}
    return EXCLUDED_MARK if "excluded" in grades else NOTED_MARK if grades else ""


def gate_lines(group: Sequence[SummaryRow]) -> list[str]:
    """A line per reason below the table of a setup, with the defenses it holds for."""
    lines = []
    for grade, mark in (("excluded", f"{EXCLUDED_MARK} excluded,"), ("noted", NOTED_MARK)):
        defenses: dict[str, list[str]] = {}
        for row in group:
            for reason in dict.fromkeys(gate.reason for gate in row.gates if gate.grade == grade):
                defenses.setdefault(reason, []).append(row.defense)
        for reason, named in defenses.items():
            who = EVERY_DEFENSE if len(named) == len(group) > 1 else ", ".join(named)
            says_who = who == EVERY_DEFENSE and EVERY_DEFENSE in reason
            lines.append(f"{mark.rstrip(',')}: {reason}" if says_who else f"{mark} {who}: {reason}")
    return lines


def why_no_result(group: Sequence[SummaryRow]) -> str:
    """Why no number of a setup is a result, reasons of all defenses; "" if any is one, or nothing was measured."""
    measured = [row for row in group if row.ok or row.is_excluded]
    if not all(row.is_excluded for row in measured):
        return ""
    return "; ".join(dict.fromkeys(excluded_because(row.gates) for row in measured))


def closing_lines(groups: Sequence[Sequence[SummaryRow]]) -> list[str]:
    """The setups of several in which nothing is a result, named once more where their tables end."""
    without = [group[0].setup_label for group in groups if why_no_result(group)]
    if not without or len(groups) == 1:
        return []
    return [f"{EXCLUDED_MARK} no result in {len(without)} of {len(groups)} setups: {', '.join(without)}"]


def gate_record(gates: Sequence[Gate]) -> dict[str, str | int]:
    """Columns of a table of numbers."""
    excluded = excluded_because(gates)
    return {"is_excluded": int(bool(excluded)), "excluded_because": excluded, "noted": noted_because(gates)}


def _gates_of_run(run: Sequence[ResultRow]) -> list[Gate]:
    natural, attack = _row(run, NATURAL), _row(run, ATTACK)
    chances = (row.chance for row in (natural, attack) if row is not None and row.chance is not None)
    chance = next(chances, None)
    gates: list[Gate | None] = [_evaluator(run, chance, None if natural is None else natural.n)]
    if natural is not None and (accuracy := _accuracy(natural, chance)) is not None:
        gates.append(target_gate(accuracy))
    if attack is not None and attack.n is not None:
        gates.append(images_gate(attack.n))
    if attack is not None:
        gates.append(_search(attack))
    gates += [
        ceiling_gate(row.column.removesuffix(" %"), row.ceiling)
        for row in run
        if row.ceiling is not None and row.unit == "percent"
    ]
    gates += _matching(run, chance)
    return [gate for gate in gates if gate is not None]


def _evaluator(run: Sequence[ResultRow], chance: float | None, n: int | None) -> Gate | None:
    """Gate of the evaluator; it is judged where it judged something.

    Args:
        run: rows of a cell.
        chance: percent, None where unknown.
        n: images of the report split, for rows that keep no interval of the evaluator.
    """
    judged = next((r for r in run if r.status == "ok" and r.evaluator_accuracy is not None), None)
    gate = None if judged is None else stored_evaluator_gate(vars(judged), chance, report_images=n)
    if judged is None or gate is None or not is_judged_by_target(judged.evaluator):
        return gate
    return replace(gate, reason=gate.reason.replace("the evaluator", "the target, which judges,"))


def _search(attack: ResultRow) -> Gate | None:
    """Gate of the search; rows of an older midef, and of attacks without confidence, know nothing of it."""
    end, rise, low = attack.confidence_end, attack.confidence_rise, attack.confidence_rise_low
    return None if end is None or rise is None or low is None else search_gate(end, rise, low)


def _matching(run: Sequence[ResultRow], chance: float | None) -> list[Gate | None]:
    first = run[0]
    if first.match_target is None:
        return []
    gates: list[Gate | None] = []
    if chance is not None:
        gates.append(match_target_gate(first.match_target, chance))
    if first.match_tolerance is not None and first.select_images:
        gates.append(tolerance_gate(first.match_tolerance, first.select_images))
    return gates


def _row(run: Sequence[ResultRow], metric: str) -> ResultRow | None:
    return next((row for row in run if row.metric == metric and row.status == "ok" and row.value is not None), None)


def _accuracy(row: ResultRow, chance: float | None) -> Accuracy | None:
    if row.value is None or chance is None:
        return None
    return accuracy_of(row.value, chance, low=row.low, high=row.high, n=row.n)


def _over_seeds(of_seed: Mapping[int, Gate], runs: int) -> Gate:
    """The gate of one subject over all runs; where they differ, that of the first seed with the others named."""
    (seed, first), *others = of_seed.items()
    if len(of_seed) == runs and all(gate.reason == first.reason for _, gate in others):
        return first
    also = f" (and with seed{'s' * (len(others) > 1)} {', '.join(str(s) for s, _ in others)})" if others else ""
    return Gate(first.grade, first.subject, f"with seed {seed} {first.reason}{also}")
