"""What the data that a backbone learned first change under TL-DMI: natural and attack accuracy at the same cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.analysis.base import ANALYSES, AnalysedCell, Analysis, Over, undefended
from midef.analysis.stored.accuracies import KINDS, Estimate, Kind, Run, accuracy, columns, drop, run_of
from midef.analysis.stored.setups import by_setup
from midef.results.findings import Drawing, Findings, Panel, Series

if TYPE_CHECKING:
    from midef.core.recipe import Recipe
    from midef.core.setup import Setup
    from midef.results.findings import Row
    from midef.storage import Store

CLAIMS: Mapping[Kind, str] = {
    "natural": "that the nearest pre-training data keep more natural accuracy under TL-DMI",
    "attack": "that they leak more",
}


@ANALYSES.add("pretraining_data")
@dataclass(frozen=True, kw_only=True)
class PretrainingData(Analysis):
    """Accuracies at each cut of TL-DMI with the nearest pre-training data less those with other pre-training data.

    The nearest are those of the sweep's first setup. Differences are paired by seed and image.

    Source: Ho et al., CVPR 2024, supplement, section 7.1 and Fig. 3: FaceScrub, PubFig83 and ImageNet for CelebA.
    """

    paper: ClassVar[str] = "Ho et al., CVPR 2024 (TL-DMI), supplement, section 7.1"
    needs: ClassVar[str] = (
        "`tl_dmi(cut=...)` in setups that differ in `pretraining` or `weights` alone, the nearest data first; seeds "
        "are averaged"
    )
    over: ClassVar[Over] = "sweep"

    @override
    def problems(self, cells: Sequence[AnalysedCell]) -> list[str]:
        setups = list({cell.cell.setup.id: cell.cell.setup for cell in cells}.values())
        nearest = setups[0]
        if others := [one.id for one in setups if _but_backbone(one) != _but_backbone(nearest)]:
            return [
                f"{', '.join(others)}: other than {nearest.id} in more than what the backbone learned; use a sweep "
                "whose setups differ in pretraining or weights alone"
            ]
        if any(freezes_first(cell) for of in compared_of(cells).values() for same in of.values() for cell in same):
            return []
        return [
            "no cut of TL-DMI stands on two pre-trainings at one seed; add tl_dmi(cut=...) to defenses, and a setup "
            "with other data in pretraining to setups"
        ]

    @override
    def requires(self, cells: Sequence[AnalysedCell]) -> Sequence[Recipe]:
        return [cell.recipes.scores for of in compared_of(cells).values() for same in of.values() for cell in same]

    @override
    def analyse(self, cells: Sequence[AnalysedCell], store: Store) -> Findings:
        found = compared_of(cells)
        backbones = []
        for name, of in found.items():
            setup = next(iter(of.values()))[0].cell.setup
            runs = {label: [run_of(cell, store) for cell in same] for label, same in of.items()}
            backbones.append(Backbone(name, learned_by(setup), runs))
        frozen = {cell.label: last_frozen(cell) for cell in cells if freezes_first(cell)}
        plain, setup = undefended(cells), cells[0].cell.setup
        return findings_of(
            backbones,
            freezing={label: frozen[label] for label in backbones[0].runs if label in frozen},
            plain=None if plain is None else plain.label,
            about=f"{setup.attack.name} on {setup.architecture.label}",
        )


def _but_backbone(setup: Setup) -> Setup:
    """A setup without what its backbone learned, and without what only describes it."""
    return replace(setup, id="", pretraining=None, weights=None, certainty="", settings="", stand_ins=())


@dataclass(frozen=True)
class Backbone:
    """What came of targets that start from one backbone.

    Args:
        name: id of its setup.
        learned: what it learned first, in words.
        runs: at each seed, by label of the defense; the same labels, seeds and images for every backbone.
    """

    name: str
    learned: str
    runs: Mapping[str, Sequence[Run]]


def learned_by(setup: Setup) -> str:
    """Name of the data, or of the published weights, that a setup's backbone starts from."""
    start = setup.pretraining or setup.weights
    return "nothing" if start is None else start.label


def freezes_first(cell: AnalysedCell) -> bool:
    """Whether its defense is TL-DMI alone, as published."""
    from midef.defenses.stack import remake_defense
    from midef.defenses.tl_dmi import TlDmi

    defense = remake_defense(cell.cell.defense)
    return isinstance(defense, TlDmi) and defense.where == "first"


def last_frozen(cell: AnalysedCell) -> str:
    """Name of the last unit that TL-DMI freezes."""
    from midef.defenses.stack import remake_defense
    from midef.defenses.tl_dmi import TlDmi
    from midef.stages.target import TargetSpec

    defense = remake_defense(cell.cell.defense)
    assert isinstance(defense, TlDmi)
    return ["nothing", *defense.frozen_units(TargetSpec.of(cell.recipes.target).facts.units)][-1]


def compared_of(cells: Sequence[AnalysedCell]) -> dict[str, dict[str, list[AnalysedCell]]]:
    """Cells by setup and defense, at each seed, ascending: of defenses and seeds that all setups have.

    Empty where there is one setup.
    """
    found = by_setup(cells, lambda cell: cell.label)
    if len(found) < 2:
        return {}
    labels = [label for label in next(iter(found.values())) if all(label in of for of in found.values())]
    seeds = set.intersection(*({cell.cell.seed for cell in of[name]} for of in found.values() for name in of))
    kept = {
        name: {label: [cell for cell in of[label] if cell.cell.seed in seeds] for label in labels}
        for name, of in found.items()
    }
    return kept if labels and seeds else {}


def findings_of(
    backbones: Sequence[Backbone], *, freezing: Mapping[str, str], plain: str | None, about: str
) -> Findings:
    """Rows, verdict and figure.

    Args:
        backbones: the one that learned the nearest data, then others.
        freezing: the last frozen unit, by label of TL-DMI.
        plain: label of the undefended targets, if they are among the runs.
        about: what was measured on, for the title.
    """
    nearest, *others = backbones
    drawn = {label: freezing.get(label, "nothing") for label in nearest.runs if label == plain or label in freezing}
    said = []
    for kind, claim in CLAIMS.items():
        gains = [drop(nearest.runs[label], other.runs[label], kind) for other in others for label in freezing]
        said.append(f"{claim} is {_judged(gains)}")
    each = [
        f"{label}: natural accuracy {drop(nearest.runs[label], other.runs[label], 'natural').signed}, attack accuracy "
        f"{drop(nearest.runs[label], other.runs[label], 'attack').signed} over {other.name}"
        for other in others
        for label in drawn
    ]
    return Findings(
        rows=[_row(one, label, nearest) for one in backbones for label in one.runs],
        verdict=f"{', '.join(said)}. Points of the nearest over other data: {'; '.join(each)}.",
        drawing=Drawing(
            title=f"What the backbone learned first: {about}",
            panels=[_panel(backbones, kind, drawn) for kind in KINDS],
        ),
    )


def _judged(gains: Sequence[Estimate]) -> str:
    """In words, of gains that a claim says are above 0."""
    shown, reverse, of = sum(one.low > 0 for one in gains), sum(one.high < 0 for one in gains), len(gains)
    if reverse:
        return f"not reproduced (the reverse is shown in {reverse} of {of} comparisons, and it in {shown})"
    return f"reproduced in {shown} of {of} comparisons" if shown else "not decidable at this size"


def _row(one: Backbone, label: str, nearest: Backbone) -> Row:
    """Accuracies of one backbone, and by how much they are below the nearest one's."""
    numbers: dict[str, float | None] = dict(columns(nearest.runs[label], one.runs[label]))
    if one is nearest:
        numbers = {name: None if "_drop" in name else value for name, value in numbers.items()}
    return {
        "setup": one.name,
        "pretraining": one.learned,
        "defense": label,
        "seeds": len(one.runs[label]),
        "images": sum(len(run.hits) for run in one.runs[label]),
        **numbers,
    }


def _panel(backbones: Sequence[Backbone], kind: Kind, drawn: Mapping[str, str]) -> Panel:
    """An accuracy over what freezes, a line for each backbone."""
    series = []
    for one in backbones:
        found = [accuracy(one.runs[label], kind) for label in drawn]
        ends = {"low": [each.low for each in found], "high": [each.high for each in found]}
        values = [each.value for each in found]
        series.append(Series(name=one.name, x=list(drawn.values()), y=values, kind="line", **ends))
    return Panel(series=series, x_title="frozen up to", y_title=f"{kind} accuracy, %", from_zero=True)
