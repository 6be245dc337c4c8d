"""Layer-wise Fisher information, for classifying and for being inverted: TL-DMI's reason to freeze early layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.analysis.base import ANALYSES, NEEDS_UNDEFENDED, AnalysedCell, Analysis, undefended
from midef.analysis.information.losses import Distance
from midef.core.canonical import ADDED_LATER
from midef.core.lazy import torch
from midef.results.findings import Drawing, Findings, Panel, Series

if TYPE_CHECKING:
    from midef.analysis.information.by_unit import UnitInformation
    from midef.core.recipe import Recipe
    from midef.storage import Store


@ANALYSES.add("fisher")
@dataclass(frozen=True, kw_only=True)
class Fisher(Analysis):
    """Fisher information by unit of the undefended target, for classifying and for being inverted.

    Args:
        images: test images and reconstructions at most whose single gradients are taken, per loss; >= 1.
        loss: distance of a reconstruction to its class's private images: `l2` or `l1` of features, or `lpips` of the
            outputs of all blocks.

    Source: Ho et al., CVPR 2024, see `fisher_by_unit` and, for the losses, `inversion_loss`.
    """

    paper: ClassVar[str] = "Ho et al., CVPR 2024 (TL-DMI)"
    needs: ClassVar[str] = "`none`, with the reconstructions of its attack"

    images: int = 256
    loss: Distance = field(default="l2", metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        if self.images < 1:
            raise ValueError(f"needs images >= 1, got {self.images}")

    @override
    def problems(self, cells: Sequence[AnalysedCell]) -> list[str]:
        return [] if undefended(cells) else [NEEDS_UNDEFENDED]

    @override
    def requires(self, cells: Sequence[AnalysedCell]) -> Sequence[Recipe]:
        plain = undefended(cells)
        assert plain is not None
        return plain.recipes.private, plain.recipes.target, plain.recipes.reconstructions

    @override
    def analyse(self, cells: Sequence[AnalysedCell], store: Store) -> Findings:
        from midef.analysis.information.by_unit import fisher_by_unit
        from midef.analysis.stored.load import splits_of, target_of
        from midef.stages.resize import low_to_high
        from midef.stages.target import TargetSpec
        from midef.storage.arrays import read_arrays

        plain = undefended(cells)
        assert plain is not None
        splits = splits_of(plain.recipes.private, store)
        stored = store.artifacts.fetch(plain.recipes.reconstructions.key)
        arrays = read_arrays(stored / "images.npz", ("images", "labels"))
        reconstructions, labels = (torch.from_numpy(array)[: self.images] for array in arrays.values())
        report = splits.report
        chosen = torch.linspace(0, len(report) - 1, min(len(report), self.images)).long()
        units = fisher_by_unit(
            target_of(plain.recipes.target, store, len(splits.class_names)),
            TargetSpec.of(plain.recipes.target).facts.units,
            images=report.images[chosen].float() / 255,
            labels=report.labels[chosen],
            reconstructions=low_to_high(reconstructions, report.images.shape[-1]).float() / 255,
            reconstructed=labels,
            private=splits.train.images.float() / 255,
            private_labels=splits.train.labels,
            distance=self.loss,
        )
        setup = plain.cell.setup
        about = f"{setup.target}<br>{self.loss} to their class of reconstructions by {setup.attack.label}"
        return findings_of(units, about)


def findings_of(units: Sequence[UnitInformation], about: str) -> Findings:
    """Rows, verdict and figure for units, input side first.

    Args:
        about: what was measured on, for the title.
    """
    kinds = ("classifying", "inverting")
    whole = {kind: sum(getattr(unit, kind) for unit in units) or 1.0 for kind in kinds}
    shares = {kind: [100 * getattr(unit, kind) / whole[kind] for unit in units] for kind in kinds}
    names = [unit.unit for unit in units]
    bars = [Series(name=kind, x=names, y=shares[kind], kind="bars") for kind in kinds]
    # A mean over weights: layers differ by orders of magnitude, so the two profiles are compared on a log scale.
    y_title = "share of mean Fisher information, %"
    panel = Panel(series=bars, x_title="unit, input first", y_title=y_title, log_y=True)
    inverting, classifying = shares["inverting"][0], shares["classifying"][0]
    more = "more" if inverting > classifying else "no more"
    return Findings(
        rows=[vars(unit) for unit in units],
        verdict=f"the first unit matters {more} for inverting than for classifying: {names[0]} holds {inverting:.1f} % "
        f"of the information against {classifying:.1f} %.",
        drawing=Drawing(title=f"Fisher information by unit: {about}", panels=[panel]),
    )
