"""Worst cases of a sweep: for each target model under each defense, over the attacks that all defenses have.

Setups whose targets are one network are attacked as one target: the rows of a cell name its key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from midef.core.rows import ResultRow
from midef.results.compare import UNDEFENDED
from midef.results.worst_case import WorstCase, common_attacks, worst_cases


@dataclass(frozen=True, kw_only=True)
class TargetCases:
    """Worst cases of one target, by defense.

    Args:
        architecture: of the target.
        private: data that it learned.
        evaluator: that judges the attacks.
        resolution_px: of the target's images.
        profile: of its sweep.
        setups: ids of the setups that attack it.
        common: attacks that are compared, measured under every defense.
        tried: every attack that was tried on it, under any defense.
        cases: by defense; the undefended target first, then by attack accuracy, those without a number last.
        undefended: defenses that are none.
    """

    architecture: str
    private: str
    evaluator: str
    resolution_px: int | None
    profile: str
    setups: tuple[str, ...]
    common: tuple[str, ...]
    tried: tuple[str, ...]
    cases: Mapping[str, WorstCase]
    undefended: tuple[str, ...]

    @property
    def label(self) -> str:
        """`resnet18 on celeba, 64 px, judged by facenet`."""
        return f"{self.architecture} on {self.private}, {self.resolution_px} px, judged by {self.evaluator}"


def worst_targets(rows: Sequence[ResultRow]) -> list[TargetCases]:
    """Worst cases of all targets of measured rows, in the order of their setups.

    Args:
        rows: of any setups and sweeps of one profile or several; published rows do not count.
    """
    return [_cases(of_target) for of_target in _by_target([row for row in rows if row.origin == "measured"])]


def _by_target(rows: Sequence[ResultRow]) -> list[list[ResultRow]]:
    """Rows of each target: of setups that agree in what they say of it, and share a network where they name any."""
    alike: dict[tuple[object, ...], dict[str, list[ResultRow]]] = {}
    for row in rows:
        facts = row.profile, row.architecture, row.private, row.resolution_px, row.evaluator, row.counted
        alike.setdefault(facts, {}).setdefault(row.setup, []).append(row)
    found: list[list[ResultRow]] = []
    for setups in alike.values():
        found += [[row for setup in names for row in setups[setup]] for names in _sharing(setups)]
    order = {row.setup: position for position, row in reversed(list(enumerate(rows)))}
    return sorted(found, key=lambda of_target: min(order[row.setup] for row in of_target))


def _sharing(setups: Mapping[str, Sequence[ResultRow]]) -> list[list[str]]:
    """Setups that name a common network, directly or through others; those that name none are taken together."""
    leader = {name: name for name in setups}

    def find(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    users: dict[str, list[str]] = {}
    for name, rows in setups.items():
        for key in {row.target_key for row in rows}:
            users.setdefault(key, []).append(name)
    silent = [name for name, rows in setups.items() if not any(row.target_key for row in rows)]
    for names in (*(names for key, names in users.items() if key), silent):
        for one, other in pairwise(names):
            leader[find(other)] = find(one)
    together: dict[str, list[str]] = {}
    for name in setups:
        together.setdefault(find(name), []).append(name)
    return list(together.values())


def _cases(rows: Sequence[ResultRow]) -> TargetCases:
    by_defense: dict[str, list[ResultRow]] = {}
    labels: dict[tuple[str, str], str] = {}
    for row in rows:
        named = row.defense, row.defense_params
        if named not in labels:  # parameters that no label shows
            number = 1 + sum(defense == row.defense for defense, _ in labels)
            labels[named] = row.defense if number == 1 else f"{row.defense} #{number}"
        by_defense.setdefault(labels[named], []).append(row)
    undefended = {labels[row.defense, row.defense_params] for row in rows if row.defense_name == UNDEFENDED}
    found = worst_cases(by_defense)

    def order(defense: str) -> tuple[bool, bool, float, str]:
        value = found[defense].value
        return defense not in undefended, value is None, value or 0.0, defense

    first = rows[0]
    return TargetCases(
        architecture=first.architecture,
        private=first.private,
        evaluator=first.evaluator,
        resolution_px=first.resolution_px,
        profile=first.profile,
        setups=tuple(dict.fromkeys(row.setup for row in rows)),
        common=tuple(sorted(common_attacks(by_defense.values()))),
        tried=tuple(dict.fromkeys(attempt.attack for case in found.values() for attempt in case.attempts)),
        cases={defense: found[defense] for defense in sorted(found, key=order)},
        undefended=tuple(sorted(undefended)),
    )
