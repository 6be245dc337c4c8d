"""Natural and attack accuracy against the erased area, in every setup of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.analysis.base import ANALYSES, AnalysedCell, Analysis, Over, undefended
from midef.analysis.stored.accuracies import KINDS, Estimate, Kind, Run, accuracy, columns, drop, less, run_of
from midef.analysis.stored.claims import holds, word_of
from midef.analysis.stored.erasing import erases_alone, erasing_of
from midef.analysis.stored.setups import by_setup
from midef.results.findings import Drawing, Findings, Panel, Series

if TYPE_CHECKING:
    from midef.core.recipe import Recipe
    from midef.results.findings import Row
    from midef.storage import Store


@ANALYSES.add("erased_area")
@dataclass(frozen=True, kw_only=True)
class ErasedArea(Analysis):
    """Accuracies over the constant share of the image that MIDRE erases, 0 being the undefended target, by setup.

    Source: MIDRE, TMLR 2025, section 3.1 and Fig. 2.
    """

    paper: ClassVar[str] = "MIDRE, TMLR 2025, Fig. 2"
    needs: ClassVar[str] = "`none` and `midre` at constant areas (area_low = area_high); all setups, seeds are averaged"
    over: ClassVar[Over] = "sweep"

    @override
    def problems(self, cells: Sequence[AnalysedCell]) -> list[str]:
        found = _by_setup(cells)
        lacking = [name for name, areas in found.items() if 0.0 not in areas or len(areas) < 2]
        if not lacking:
            return []
        return [
            f"{', '.join(lacking)} have no undefended target or no constant area; add none and "
            "midre(area_low=0.2,area_high=0.2) to defenses"
        ]

    @override
    def requires(self, cells: Sequence[AnalysedCell]) -> Sequence[Recipe]:
        return [cell.recipes.scores for areas in _by_setup(cells).values() for of in areas.values() for cell in of]

    @override
    def analyse(self, cells: Sequence[AnalysedCell], store: Store) -> Findings:
        setups = []
        for name, areas in _by_setup(cells).items():
            setup = next(iter(areas.values()))[0].cell.setup
            about = f"{setup.attack.name} on {setup.target}"
            setups.append(
                Curve(name, about, {area: [run_of(cell, store) for cell in of] for area, of in areas.items()})
            )
        return findings_of(setups)


def _by_setup(cells: Sequence[AnalysedCell]) -> dict[str, dict[float, list[AnalysedCell]]]:
    """Cells by setup and area, ascending; those of other defenses are left out."""

    def area_of(cell: AnalysedCell) -> float | None:
        if undefended([cell]):
            return 0.0
        defense = erasing_of(cell)
        is_constant = defense is not None and erases_alone(cell) and defense.area_low == defense.area_high
        return defense.area_high if defense is not None and is_constant else None

    return {name: dict(sorted(areas.items())) for name, areas in by_setup(cells, area_of).items()}


@dataclass(frozen=True)
class Curve:
    """One setup.

    Args:
        name: its id.
        about: what is attacked and how, in words.
        runs: at each seed, by erased area, ascending; the first is 0.
    """

    name: str
    about: str
    runs: Mapping[float, Sequence[Run]]

    def accuracy(self, area: float, kind: Kind) -> Estimate:
        """Percent."""
        return accuracy(self.runs[area], kind)

    def drop(self, area: float, kind: Kind) -> Estimate:
        """Points below the undefended target."""
        return drop(self.runs[0.0], self.runs[area], kind)

    @property
    def margin(self) -> Estimate:
        """By how many points more attack than natural accuracy is lost at the largest area."""
        attack, natural = (self.drop(max(self.runs), kind) for kind in KINDS[::-1])
        return less(attack, natural)


def findings_of(curves: Sequence[Curve]) -> Findings:
    """Rows, verdict and figure.

    Args:
        curves: at least one.
    """
    held = [holds(curve.margin.low, curve.margin.high) for curve in curves]
    said = []
    for curve in curves:
        area = max(curve.runs)
        attack, natural = (curve.drop(area, kind) for kind in KINDS[::-1])
        said.append(f"{curve.name} at {area:g}: {attack.value:.1f} and {natural.value:.1f}, {curve.margin.signed}")
    panels = [_panel(curves, kind) for kind in KINDS]
    return Findings(
        rows=[_row(curve, area) for curve in curves for area in curve.runs],
        verdict=f"{word_of(held)}: more attack than natural accuracy is lost in {held.count(True)} of {len(held)} "
        f"setups, less in {held.count(False)} (points of both, and the margin, 95 %; {'; '.join(said)}).",
        drawing=Drawing(title="Accuracy against the erased share of each training image", panels=panels),
    )


def _row(curve: Curve, area: float) -> Row:
    row: dict[str, float | str] = {"setup": curve.name, "about": curve.about, "area": area}
    row["seeds"] = len(curve.runs[area])
    return {**row, **columns(curve.runs[0.0], curve.runs[area])}


def _panel(curves: Sequence[Curve], kind: Kind) -> Panel:
    series = []
    for curve in curves:
        found = [curve.accuracy(area, kind) for area in curve.runs]
        y, low, high = ([one[i] for one in found] for i in range(3))
        series.append(Series(name=curve.name, x=list(curve.runs), y=y, low=low, high=high))
    y_title = f"{kind} accuracy, %"
    return Panel(series=series, x_title="erased share", y_title=y_title, title=f"{kind} accuracy", from_zero=True)
