"""Fisher information for being inverted, over the iterations of an attack: TL-DMI's Fig. 6."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.analysis.base import ANALYSES, NEEDS_UNDEFENDED, AnalysedCell, Analysis, Over, undefended
from midef.analysis.information.losses import Distance
from midef.core.lazy import torch
from midef.results.findings import Drawing, Findings, Panel, Series

if TYPE_CHECKING:
    from midef.core.recipe import Recipe
    from midef.results.findings import Row
    from midef.storage import Store

ITERATIONS = "iterations"
"""Parameter of an attack that the course runs over."""


@ANALYSES.add("fisher_course")
@dataclass(frozen=True, kw_only=True)
class FisherCourse(Analysis):
    """Fisher information by unit for reconstructions after few and after many iterations of one attack.

    Each point is an attack of its own on the undefended target, in a setup of its own, that stops earlier: where its
    steps do not depend on how many there will be (`pool_search`, `gmi`), it is a prefix of the longest.

    Args:
        images: reconstructions at most whose single gradients are taken, per point; >= 1.
        loss: as of `fisher`.

    Source: Ho et al., CVPR 2024, supplement, section 7.3 and Fig. 6, see `fisher_by_unit`.
    """

    paper: ClassVar[str] = "Ho et al., CVPR 2024 (TL-DMI), supplement, section 7.3"
    needs: ClassVar[str] = "`none`, attacked by one attack in several setups that differ in `iterations` alone"
    over: ClassVar[Over] = "sweep"

    images: int = 256
    loss: Distance = "l2"

    def __post_init__(self) -> None:
        if self.images < 1:
            raise ValueError(f"needs images >= 1, got {self.images}")

    @override
    def problems(self, cells: Sequence[AnalysedCell]) -> list[str]:
        if undefended(cells) is None:
            return [NEEDS_UNDEFENDED]
        points = points_of(cells)
        targets = {cell.recipes.target.key for cell in points}
        attacks = {
            (attack.name, *sorted((k, str(v)) for k, v in attack.params.items() if k != ITERATIONS))
            for attack in (cell.cell.setup.attack for cell in points)
        }
        if len(targets) > 1 or len(attacks) > 1:
            several = f"{len(targets)} undefended targets and {len(attacks)} attacks that differ beyond iterations"
            return [f"it follows one attack on one target, got {several}; use setups that differ in iterations alone"]
        return []

    @override
    def requires(self, cells: Sequence[AnalysedCell]) -> Sequence[Recipe]:
        first, *_ = points = points_of(cells)
        return [first.recipes.private, first.recipes.target, *(cell.recipes.reconstructions for cell in points)]

    @override
    def analyse(self, cells: Sequence[AnalysedCell], store: Store) -> Findings:
        from midef.analysis.information.by_unit import class_centroids, inversion_gradients, mean_of_unit
        from midef.analysis.information.losses import inversion_loss
        from midef.analysis.stored.load import splits_of, target_of
        from midef.stages.resize import low_to_high
        from midef.stages.target import TargetSpec
        from midef.storage.arrays import read_arrays

        first, *_ = points = points_of(cells)
        splits = splits_of(first.recipes.private, store)
        model = target_of(first.recipes.target, store, len(splits.class_names))
        loss, px = inversion_loss(self.loss, model), splits.train.images.shape[-1]
        centroids = class_centroids(model, splits.train.images.float() / 255, splits.train.labels, loss=loss)
        units = TargetSpec.of(first.recipes.target).facts.units
        course: dict[int, dict[str, tuple[int, float]]] = {}
        for cell in points:
            arrays = read_arrays(
                store.artifacts.fetch(cell.recipes.reconstructions.key) / "images.npz", ("images", "labels")
            )
            made, labels = (torch.from_numpy(array)[: self.images] for array in arrays.values())
            seen = low_to_high(made, px).float() / 255
            squared = inversion_gradients(model, seen, labels, loss=loss, centroids=centroids)
            found = {unit: mean_of_unit(model, unit, squared) for unit in units}
            course[iterations_of(cell)] = {unit: (count, mean) for unit, (count, (mean,)) in found.items() if count}
        setup = first.cell.setup
        return findings_of(course, f"{setup.target}<br>{setup.attack.name}, {self.loss} to the class")


def iterations_of(cell: AnalysedCell) -> int:
    """Iterations of the attack on a cell; 0 for an attack that has no such parameter."""
    return int(cell.cell.setup.attack.params.get(ITERATIONS, 0))


def points_of(cells: Sequence[AnalysedCell]) -> list[AnalysedCell]:
    """The undefended cells of the first one's seed, the fewest iterations first, one for each number of iterations."""
    plain = undefended(cells)
    assert plain is not None
    same = [c for c in cells if c.cell.defense == plain.cell.defense and c.cell.seed == plain.cell.seed]
    first_of = {iterations_of(cell): cell for cell in reversed(same)}
    return [first_of[number] for number in sorted(first_of)]


def findings_of(course: Mapping[int, Mapping[str, tuple[int, float]]], about: str) -> Findings:
    """Rows, verdict and figure.

    Args:
        course: after each number of iterations, number of weights and mean information of each unit, input first.
        about: what was measured on, for the title.
    """
    rows: list[Row] = []
    shares: dict[int, dict[str, float]] = {}
    for number, units in course.items():
        whole = sum(mean for _, mean in units.values()) or 1.0
        shares[number] = {unit: 100 * mean / whole for unit, (_, mean) in units.items()}
        rows += [
            {"iterations": number, "unit": unit, "parameters": count, "inverting": mean, "share": shares[number][unit]}
            for unit, (count, mean) in units.items()
        ]
    numbers = list(course)
    names = list(shares[numbers[0]])
    lines = [Series(name=name, x=numbers, y=[shares[number][name] for number in numbers]) for name in names]
    panel = Panel(
        series=lines, x_title="iterations of the attack", y_title="share of mean Fisher information, %", log_y=True
    )
    return Findings(
        rows=rows,
        verdict=_verdict(shares),
        drawing=Drawing(title=f"Fisher information over the attack: {about}", panels=[panel]),
    )


def _verdict(shares: Mapping[int, Mapping[str, float]]) -> str:
    """Whether the first unit holds most after each number of iterations."""
    first = next(iter(next(iter(shares.values()))))
    led = [number for number, units in shares.items() if units[first] == max(units.values())]
    if len(shares) < 2:
        return f"not decidable from one number of iterations: {first} holds {next(iter(shares.values()))[first]:.1f} %."
    word = "reproduced" if len(led) == len(shares) else "not reproduced"
    told = ", ".join(f"{units[first]:.1f} % after {number}" for number, units in shares.items())
    return f"that the first unit keeps most of the information over the iterations is {word}: {first} holds {told}."
