"""Strength sweeps: what each family of a defense leaks at one test accuracy, between the strengths that were run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from midef.dashboards.figures.strengths import draw
from midef.dashboards.page_data import Column, Figure
from midef.dashboards.views.base import Pieces, Shown, View
from midef.results.strength_sweep import Family, at_accuracy, families
from midef.results.summary import SummaryRow
from midef.results.table import TableCell

BELOW_POINTS = (1.0, 2.0, 5.0)
"""Read at the accuracy of the undefended model less this."""
LEGEND = (
    "att@1 at an accuracy: straight lines between neighbouring strengths, seed by seed, then the mean; the highest "
    "where a curve passes the accuracy more than once; never beyond the ends of a curve: not reached"
)


@dataclass(frozen=True, kw_only=True)
class StrengthSweep:
    """Families of one setup.

    Args:
        setup: its name in links.
        title: setup, and the accuracies that are read.
        columns: of the table.
        lines: cells of each family, by column.
        members: of each family, indices of its defenses in the setup; the lines of the figure are in this order.
        names: of the points of the figure, by index of the row in the setup.
        figure: lines of the families.
    """

    setup: str
    title: str
    columns: tuple[Column, ...]
    lines: tuple[tuple[TableCell, ...], ...]
    members: tuple[tuple[int, ...], ...]
    names: dict[int, str]
    figure: Figure


@dataclass(frozen=True, kw_only=True)
class Strengths:
    """Strength sweeps of a page.

    Args:
        sweeps: one for each setup with a family.
        legend: what the numbers are.
    """

    sweeps: tuple[StrengthSweep, ...]
    legend: str


def strength_sweep(name: str, group: Sequence[SummaryRow]) -> StrengthSweep | None:
    """Families of a setup; None where it has none, or no undefended model to read accuracies from.

    Args:
        name: of the setup in links.
        group: its rows.
    """
    found = families(group)
    reference = next((row.natural_accuracy.mean for row in group if row.is_undefended), None)
    if not found or reference is None:
        return None
    targets = sorted(
        {
            *(reference - points for points in BELOW_POINTS),
            *(r.match_target for r in group if r.match_target is not None),
        },
        reverse=True,
    )
    heads = [Column(key=f"at{i}", header=f"att@1 at {target:.1f} %") for i, target in enumerate(targets)]
    return StrengthSweep(
        setup=name,
        title=f"{name}: undefended {reference:.1f} %, read at " + ", ".join(f"{target:.1f} %" for target in targets),
        columns=(
            Column(key="family", header="defense", is_text=True),
            Column(key="parameter", header="strength", is_text=True),
            *heads,
        ),
        lines=tuple(_line(family, group, targets) for family in found),
        members=tuple(tuple(i for i in family.members if not group[i].is_undefended) for family in found),
        names={i: row.defense for i, row in enumerate(group)},
        figure=json.loads(draw(group, found, targets).to_json()),
    )


def _line(family: Family, group: Sequence[SummaryRow], targets: Sequence[float]) -> tuple[TableCell, ...]:
    strengths = ", ".join(f"{strength:g}" for strength in family.strengths if strength is not None)
    cells = []
    for target in targets:
        found = at_accuracy(family, group, target)
        cells.append(TableCell(found.words, found.interval.ends if found.interval else "", found.value))
    return TableCell(family.name), TableCell(f"{', '.join(family.parameters)}: {strengths}"), *cells


def pieces(shown: Shown) -> Pieces:
    """One piece."""
    sweeps = (strength_sweep(shown.names[key], group) for key, group in shown.groups.items())
    yield "strengths", Strengths(sweeps=tuple(one for one in sweeps if one is not None), legend=LEGEND)


VIEW = View(
    name="strengths",
    title="Strengths",
    pieces=pieces,
    is_shown=lambda shown: any(families(group) for group in shown.groups.values()),
)
