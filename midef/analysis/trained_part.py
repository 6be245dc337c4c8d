"""Which part of a network may learn private images: TL-DMI's control, attack accuracy against natural accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.analysis.base import ANALYSES, AnalysedCell, Analysis, Over, undefended
from midef.analysis.stored.accuracies import Run, accuracy, drop, run_of
from midef.results.findings import Drawing, Findings, Panel, Series

if TYPE_CHECKING:
    from midef.core.recipe import Recipe
    from midef.defenses.tl_dmi import TlDmi
    from midef.results.findings import Row
    from midef.storage import Store

NAMES = {
    "": "nothing freezes",
    "first": "first units freeze (TL-DMI)",
    "range": "units behind them freeze",
    "last": "all behind them freezes",
}


@ANALYSES.add("trained_part")
@dataclass(frozen=True, kw_only=True)
class TrainedPart(Analysis):
    """TL-DMI against its control, which trains the units that it freezes and freezes those behind them.

    A pair: one target freezes the first units, the other begins to freeze at the unit after these. Differences are
    paired by seed and image, over the seeds that all targets have.

    Source: Ho et al., CVPR 2024, supplement, section 7.2 and Fig. 4.
    We differ: the supplement does not say which units freeze in its control, so any range behind the cut is one.
    """

    paper: ClassVar[str] = "Ho et al., CVPR 2024 (TL-DMI), supplement, section 7.2"
    needs: ClassVar[str] = "`tl_dmi(cut=...)`, and one with `where=range` or `last` that freezes from the next unit on"
    over: ClassVar[Over] = "setup"

    @override
    def problems(self, cells: Sequence[AnalysedCell]) -> list[str]:
        if pairs_of([frozen_of(cell) for cell in cells], units_of(cells[0])):
            return []
        return [
            "no target freezes from the unit after TL-DMI's cut on; add tl_dmi(cut=A) and "
            "tl_dmi(where=range,start=B,cut=C), B the unit after A, to defenses"
        ]

    @override
    def requires(self, cells: Sequence[AnalysedCell]) -> Sequence[Recipe]:
        compared = [r for c in compared_of(cells) for cell in c for r in (cell.recipes.target, cell.recipes.scores)]
        return [cells[0].recipes.private, *compared]

    @override
    def analyse(self, cells: Sequence[AnalysedCell], store: Store) -> Findings:
        from midef.analysis.stored.load import splits_of, target_of

        classes, units = len(splits_of(cells[0].recipes.private, store).class_names), units_of(cells[0])
        parts = []
        for same in compared_of(cells):
            first = same[0]
            model, defense = target_of(first.recipes.target, store, classes), tl_dmi_of(first)
            parts.append(
                Part(
                    label=first.label,
                    where="" if defense is None else defense.where,
                    frozen=frozen_of(first) or (),
                    weights=sum(p.numel() for p in model.parameters() if p.requires_grad),
                    runs=[run_of(cell, store) for cell in same],
                )
            )
        setup = cells[0].cell.setup
        return findings_of(parts, units, f"{setup.target}<br>{setup.attack.label}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """A target by what of it freezes, and what came of it.

    Args:
        label: of its defense.
        where: as `TlDmi.where`; "" without a defense.
        frozen: units, input first.
        weights: that train, the head's included.
        runs: what its trainings and attacks came to, at each seed.
    """

    label: str
    where: str
    frozen: tuple[str, ...]
    weights: int
    runs: Sequence[Run]


def tl_dmi_of(cell: AnalysedCell) -> TlDmi | None:
    """The defense of a cell if it is TL-DMI alone."""
    from midef.defenses.stack import remake_defense
    from midef.defenses.tl_dmi import TlDmi

    defense = remake_defense(cell.cell.defense)
    return defense if isinstance(defense, TlDmi) else None


def units_of(cell: AnalysedCell) -> tuple[str, ...]:
    """Units of a cell's architecture, input first."""
    from midef.stages.target import TargetSpec

    return TargetSpec.of(cell.recipes.target).facts.units


def frozen_of(cell: AnalysedCell) -> tuple[str, ...] | None:
    """Units that freeze; None under any other defense, and without one."""
    defense = tl_dmi_of(cell)
    return None if defense is None else defense.frozen_units(units_of(cell))


def compared_of(cells: Sequence[AnalysedCell]) -> list[list[AnalysedCell]]:
    """Cells of each defense, by seed: those under TL-DMI alone, in their order, the undefended ones before them.

    Only of the seeds that all of these have.
    """
    plain = undefended(cells)
    of_defense: dict[str, list[AnalysedCell]] = {} if plain is None else {plain.label: []}
    for cell in cells:
        if cell.label in of_defense or frozen_of(cell) is not None:
            of_defense.setdefault(cell.label, []).append(cell)
    seeds = set.intersection(*({cell.cell.seed for cell in same} for same in of_defense.values()))
    ordered = (sorted(same, key=lambda cell: cell.cell.seed) for same in of_defense.values())
    return [[cell for cell in same if cell.cell.seed in seeds] for same in ordered]


def pairs_of(frozen: Sequence[tuple[str, ...] | None], units: tuple[str, ...]) -> list[tuple[int, int]]:
    """Positions of a target that freezes the first units, and of one that begins to freeze at the unit after them.

    Args:
        frozen: units that freeze of each target, input first; None for one that is not compared.
        units: of the architecture, input first.
    """
    ends = {i: len(f) for i, f in enumerate(frozen) if f and f == units[: len(f)]}
    starts = {i: units.index(f[0]) for i, f in enumerate(frozen) if f and f[0] != units[0]}
    return [(first, other) for first, end in ends.items() for other, start in starts.items() if start == end]


def findings_of(parts: Sequence[Part], units: tuple[str, ...], about: str) -> Findings:
    """Rows, verdict and figure.

    Args:
        parts: with at least one pair; targets under one attack, of the same identities.
        units: of the architecture, input first.
        about: what was measured on, for the title.
    """
    control_of = {control: published for published, control in pairs_of([part.frozen for part in parts], units)}
    rows: list[Row] = []
    said: list[str] = []
    leaks_more, leaks_less = 0, 0
    for i, part in enumerate(parts):
        compared: Row = {"control_of": "", "more": None, "more_low": None, "more_high": None}
        if i in control_of:
            other = parts[control_of[i]]
            more, low, high = drop(part.runs, other.runs, "attack")
            compared = {"control_of": other.label, "more": more, "more_low": low, "more_high": high}
            leaks_more, leaks_less = leaks_more + (low > 0), leaks_less + (high < 0)
            natural = drop(part.runs, other.runs, "natural").value
            said.append(
                f"{more:+.1f} points [{low:.1f}, {high:.1f}] with {part.weights:,} instead of {other.weights:,} "
                f"weights training, natural accuracy {natural:+.1f}"
            )
        rows.append({**row_of(part), **compared})
    judged = _judged(leaks_more, leaks_less, len(control_of))
    panel = Panel(series=series_of(rows), x_title="natural accuracy, %", y_title="attack accuracy@1, %", from_zero=True)
    return Findings(
        rows=rows,
        verdict=f"that the first units matter most for inversion is {judged}: with them training, the attack "
        f"gains {'; '.join(said)}.",
        drawing=Drawing(title=f"Which part learns private images: {about}", panels=[panel]),
    )


def row_of(part: Part) -> Row:
    """Columns of a target alone."""
    natural, attack = accuracy(part.runs, "natural"), accuracy(part.runs, "attack")
    return {
        "defense": part.label,
        "where": part.where,
        "frozen": f"{part.frozen[0]} to {part.frozen[-1]}" if part.frozen else "",
        "trained_weights": part.weights,
        "natural": natural.value,
        "natural_low": natural.low,
        "natural_high": natural.high,
        "attack": attack.value,
        "attack_low": attack.low,
        "attack_high": attack.high,
        "seeds": len(part.runs),
        "images": sum(len(run.hits) for run in part.runs),
    }


def series_of(rows: Sequence[Row]) -> list[Series]:
    """Points of the figure, a colour for each place that freezes."""

    def column(chosen: Sequence[Row], name: str) -> list[float]:
        return [float(row[name] or 0.0) for row in chosen]

    series = []
    for where, name in NAMES.items():
        if chosen := [row for row in rows if row["where"] == where]:
            natural, attack, low, high = (
                column(chosen, key) for key in ("natural", "attack", "attack_low", "attack_high")
            )
            series.append(Series(name=name, x=natural, y=attack, kind="points", low=low, high=high))
    return series


def _judged(leaks_more: int, leaks_less: int, pairs: int) -> str:
    """In words, of the pairs whose interval shows that the control leaks more, or less."""
    if leaks_more and not leaks_less:
        return f"reproduced in {leaks_more} of {pairs} pairs"
    if leaks_less:
        return f"not reproduced, the reverse is shown in {leaks_less} of {pairs} pairs and it in {leaks_more}"
    return "not decidable at this size"
