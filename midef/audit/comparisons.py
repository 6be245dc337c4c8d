"""What stands beside an audited model: published undefended models, and the defenses that fit its architecture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from midef.core.rows import ResultRow
from midef.core.text import counted
from midef.defenses import DEFENSES
from midef.results.compare import ATTACK, COMPARED, NATURAL, UNDEFENDED

if TYPE_CHECKING:
    from midef.models.base import ModelFacts

DEAREST_POINTS = 5.0
"""Median points of test accuracy that a defense may cost in published tables to be proposed before one that costs more.
A choice: tables of the field seldom discuss defenses that cost more."""


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A published undefended model, attacked in a setting near that of the audited one.

    Args:
        setting: attack, network, private and public images, resolution.
        attack_accuracy: percent.
        natural_accuracy: percent; None where it is not printed beside.
        source: where it is printed.
        is_same_attack: an attack of that name ran in the audit.
    """

    setting: str
    attack_accuracy: float
    natural_accuracy: float | None
    source: str
    is_same_attack: bool


def nearest_published(
    published: Iterable[ResultRow], ours: Sequence[ResultRow], *, architecture: str = "", most: int = 4
) -> tuple[Neighbour, ...]:
    """Published undefended models in the closest settings, the closest first.

    The same attack counts first, then the same access, the nearest resolution, the same network, the same images.

    Args:
        published: rows of any setups; only undefended models with a number count.
        ours: rows of the audited model, the attack with the highest accuracy first.
        architecture: of the audited model, by its name here; "" takes that of the rows.
        most: neighbours.
    """
    if not ours:
        return ()
    first, tried = ours[0], {row.attack_name for row in ours}
    ours_px = first.resolution_px or 0
    by_setting = _pairs(published)

    def distance(row: ResultRow) -> tuple[float, ...]:
        scale = abs(math.log2(row.resolution_px / ours_px)) if row.resolution_px and ours_px else 9.0
        return (
            row.attack_name != first.attack_name,
            row.attack_name not in tried,
            row.access != first.access,
            scale,
            row.architecture != (architecture or first.architecture),
            row.private != first.private,
            row.public != first.public,
        )

    found = []
    for (attack, natural), row in by_setting.values():
        found.append((distance(row), -attack, _neighbour(row, attack, natural, tried)))
    found.sort(key=lambda one: one[:2])
    return tuple(neighbour for *_, neighbour in found[:most])


def _pairs(
    published: Iterable[ResultRow], defense: str = UNDEFENDED
) -> dict[tuple[str, ...], tuple[tuple[float, float | None], ResultRow]]:
    """(attack accuracy, test accuracy) and the row of each published setting of a defense, the first printed."""
    numbers: dict[str, dict[str, ResultRow]] = {}
    for row in published:
        is_wanted = row.origin == "published" and row.metric in COMPARED and row.defense_name == defense
        if is_wanted and row.number is not None:
            numbers.setdefault(row.cell, {}).setdefault(row.metric, row)
    pairs: dict[tuple[str, ...], tuple[tuple[float, float | None], ResultRow]] = {}
    for of_cell in numbers.values():
        attack, natural = of_cell.get(ATTACK), of_cell.get(NATURAL)
        if attack is None or attack.value is None:
            continue
        pairs.setdefault(_setting(attack), ((attack.value, natural.value if natural else None), attack))
    return pairs


def _setting(row: ResultRow) -> tuple[str, ...]:
    return (row.attack, row.access, row.architecture, row.private, row.public, str(row.resolution_px))


def _neighbour(row: ResultRow, attack: float, natural: float | None, tried: set[str]) -> Neighbour:
    px = f", {row.resolution_px} px" if row.resolution_px else ""
    public = f", public images {row.public}" if row.public.strip("?") else ""
    setting = f"{row.attack} on {row.architecture}, {row.private}{public}{px}"
    return Neighbour(
        setting=setting,
        attack_accuracy=attack,
        natural_accuracy=natural,
        source=row.source,
        is_same_attack=row.attack_name in tried,
    )


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A defense that fits the audited architecture, and what papers print about it.

    Args:
        name: of the defense.
        paper: that it is from.
        acts_on: what it changes.
        settings: published ones in which it stands beside the undefended model.
        attack_drop: points of attack accuracy less there, median.
        attack_range: least and most points.
        cost: points of test accuracy less there, median; None where it is not printed.
    """

    name: str
    paper: str
    acts_on: str
    settings: int
    attack_drop: float
    attack_range: tuple[float, float]
    cost: float | None

    @property
    def published(self) -> str:
        """`leaks 21 points less (0 to 60), loses 3 points of test accuracy; 9 published settings`."""
        low, high = self.attack_range
        span = f" ({low:.0f} to {high:.0f})" if self.settings > 1 else ""
        change = "" if self.cost is None else f"{'loses' if self.cost >= 0 else 'gains'} {abs(self.cost):.1f} points"
        cost = f", {change} of test accuracy" if change else ""
        where = counted(self.settings, "published setting")
        return f"leaks {self.attack_drop:.0f} points less{span}{cost}; {where}"


def fitting_defenses(
    published: Sequence[ResultRow], *, facts: ModelFacts | None, access: str, most: int = 3
) -> tuple[Proposal, ...]:
    """The defenses that fit an architecture and that papers print beside an undefended model under this access.

    Those that cost no more than `DEAREST_POINTS` come first, then those printed in more than one setting, then those
    that lower attack accuracy most, by the median over settings. A published number is of other people, and no promise.

    Args:
        published: rows of any setups.
        facts: of the network; None where nobody knows it, and then no defense is left out for it.
        access: of the attacker, as rows say it.
        most: defenses.
    """
    undefended = _pairs(published)
    proposals = []
    for cls in DEFENSES:
        name: str = cls.registered_name  # type: ignore[attr-defined]
        theirs = _pairs(published, name)
        drops = {key: _drops(undefended[key][0], pair) for key, (pair, _) in theirs.items() if key in undefended}
        drops = {key: pair for key, pair in drops.items() if key[1] == access}
        if name == UNDEFENDED or not drops or (facts is not None and DEFENSES.make(name).problems(facts)):
            continue
        falls = sorted(fall for fall, _ in drops.values())
        costs = [cost for _, cost in drops.values() if cost is not None]
        proposals.append(
            Proposal(
                name=name,
                paper=cls.paper,
                acts_on=cls.acts_on,
                settings=len(drops),
                attack_drop=median(falls),
                attack_range=(falls[0], falls[-1]),
                cost=median(costs) if costs else None,
            )
        )
    helping = [one for one in proposals if one.attack_drop > 0]
    helping.sort(key=lambda p: ((p.cost or 0.0) > DEAREST_POINTS, p.settings == 1, -p.attack_drop, p.name))
    return tuple(helping[:most])


def _drops(before: tuple[float, float | None], after: tuple[float, float | None]) -> tuple[float, float | None]:
    cost = None if before[1] is None or after[1] is None else before[1] - after[1]
    return before[0] - after[0], cost
