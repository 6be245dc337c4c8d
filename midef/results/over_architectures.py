"""A defense on several architectures of the same data and attack: what it changes against each undefended model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from midef.core.gates import excluded_because
from midef.results.compare import Difference
from midef.results.summary import SummaryRow

Place = tuple[str, str, str, str, str, int]
"""Sweep, profile, attack, private data, public data and resolution: what architectures have in common."""


@dataclass(frozen=True, kw_only=True)
class OnArchitecture:
    """One defense on one architecture.

    Args:
        place: shared by the architectures that it is compared over.
        row: summary of the defense.
        defense: its label; of a defense whose strength was matched for each architecture its name alone.
        utility: fall of the test accuracy, points; None where nothing is compared.
        attack: fall of the attack accuracy @1, likewise.
        reason: why nothing is compared; "" where it is.
    """

    place: Place
    row: SummaryRow
    defense: str
    utility: Difference | None
    attack: Difference | None
    reason: str


def place_of(row: SummaryRow) -> Place:
    """What a row shares with those of other architectures."""
    return row.sweep, row.profile, row.attack, row.private, row.public, row.resolution_px


def over_architectures(summaries: Sequence[SummaryRow]) -> list[OnArchitecture]:
    """Defenses of every place with several architectures, by place, defense and architecture.

    Each is compared with the undefended model of its own setup, over the seeds and images both have.

    Args:
        summaries: of any setups.
    """
    architectures: dict[Place, set[str]] = {}
    for row in summaries:
        architectures.setdefault(place_of(row), set()).add(row.architecture)
    names = Counter((row.setup_key, row.defense_name) for row in summaries if row.match_target is not None)
    found = [
        _on(row, is_only=names[row.setup_key, row.defense_name] == 1)
        for row in summaries
        if len(architectures[place_of(row)]) > 1 and not row.is_undefended
    ]
    order = {label: number for number, label in enumerate(dict.fromkeys(one.defense for one in found))}
    return sorted(found, key=lambda one: (one.place, order[one.defense], one.row.architecture, one.row.setup))


def _on(row: SummaryRow, *, is_only: bool) -> OnArchitecture:
    """A row as it is compared over architectures.

    Args:
        row: of a defense.
        is_only: no other row of its name was matched in its setup.
    """
    is_matched_by_name = row.match_target is not None and is_only
    both = row.trade_off.utility, row.trade_off.attack
    reason = "" if None not in both else row.trade_off.reason or "no number of both models"
    if row.match_target is not None and not row.is_matched and not reason:
        reason = "not at the accuracy that was matched"
    reason = excluded_because(row.gates) or reason
    return OnArchitecture(
        place=place_of(row),
        row=row,
        defense=f"{row.defense_name} (matched)" if is_matched_by_name else row.defense,
        utility=None if reason else both[0],
        attack=None if reason else both[1],
        reason=reason,
    )
