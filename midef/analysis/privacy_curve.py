"""The (eps, eta) curves of the defenses of a setup: how often a reconstruction is nearer than an error eps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.analysis.base import ANALYSES, NEEDS_UNDEFENDED, AnalysedCell, Analysis, undefended
from midef.results.findings import Drawing, Findings, Panel, Series

if TYPE_CHECKING:
    import numpy as np

    from midef.core.recipe import Recipe
    from midef.results.findings import Row
    from midef.storage import Store

ERRORS = "reconstruction_errors"


@ANALYSES.add("privacy_curve")
@dataclass(frozen=True, kw_only=True)
class PrivacyCurve(Analysis):
    """Share eta of reconstructions with an error below eps, over eps, for each defense; a lower curve is more private.

    The error is the mean squared error of a reconstruction and the observed image it is made from, pixels in [0, 1].
    eps goes to the largest error of any defense; the area is that of `privacy_curve_area`, eps from 0 to 1.

    Args:
        points: values of eps, evenly spaced from 0; >= 2.

    Source: LPA's definition of an eps-eta defense.
    """

    paper: ClassVar[str] = "LPA, the defense of served scores by data poisoning"
    needs: ClassVar[str] = "`none`, and an attack on observed scores; defenses beside it are curves"

    points: int = 201

    def __post_init__(self) -> None:
        if self.points < 2:
            raise ValueError(f"needs points >= 2, got {self.points}")

    @override
    def problems(self, cells: Sequence[AnalysedCell]) -> list[str]:
        from midef.attacks import ATTACKS

        attack = cells[0].cell.setup.attack
        problems = [] if undefended(cells) else [NEEDS_UNDEFENDED]
        if not ATTACKS.get(attack.name).needs_observed_scores:
            pairs = "it compares reconstructions with the images they are made from"
            problems.append(f"{pairs}, and {attack.name} makes them from none; use one such as inversion_model")
        return problems

    @override
    def requires(self, cells: Sequence[AnalysedCell]) -> Sequence[Recipe]:
        return [cell.recipes.scores for cell in cells]

    @override
    def analyse(self, cells: Sequence[AnalysedCell], store: Store) -> Findings:
        from midef.storage.arrays import read_arrays

        errors, plain = {}, undefended(cells)
        for cell in sorted(cells, key=lambda cell: cell is not plain):  # the others are compared with the first
            stored = store.artifacts.fetch(cell.recipes.scores.key) / "per_image.npz"
            errors[cell.label] = read_arrays(stored, (ERRORS,))[ERRORS]
        setup = cells[0].cell.setup
        return findings_of(errors, f"{setup.id}, {setup.attack.label} on {setup.target}", points=self.points)


def findings_of(errors: Mapping[str, np.ndarray], about: str, *, points: int = 201) -> Findings:
    """Rows, verdict and figure.

    Args:
        errors: [N] of each defense, by its label, N >= 1; the first is what the others are compared with.
        about: whose they are, for the title.
        points: values of eps, evenly spaced from 0 to the largest error.
    """
    import numpy as np

    from midef.metrics.privacy_curve import curve_areas, privacy_curve

    largest = max(float(of_defense.max()) for of_defense in errors.values())
    eps = np.linspace(0.0, largest, points)
    curves = {label: privacy_curve(of_defense, eps) for label, of_defense in errors.items()}
    areas = {label: float(curve_areas(of_defense).mean()) for label, of_defense in errors.items()}
    rows: list[Row] = [
        {"defense": label, "eps": float(at), "eta": float(eta), "area": areas[label], "images": len(errors[label])}
        for label, curve in curves.items()
        for at, eta in zip(eps, curve, strict=True)
    ]
    first = next(iter(curves))
    series = [
        Series(name=label, x=eps.tolist(), y=curve.tolist(), kind="dashes" if label == first else "line")
        for label, curve in curves.items()
    ]
    panel = Panel(
        series=series,
        x_title="eps, mean squared error of pixels in [0, 1]",
        y_title="eta, share with an error below eps",
        from_zero=True,
    )
    said = ", ".join(f"{area:.4f} under {label}" for label, area in areas.items())
    return Findings(
        rows=rows,
        verdict=f"area under eta: {said}{_below(curves)}.",
        drawing=Drawing(title=f"(eps, eta) curves, lower is more private: {about}", panels=[panel]),
    )


def _below(curves: Mapping[str, np.ndarray]) -> str:
    """Which curves are nowhere above the first one, which says more than a smaller area."""
    first, *others = curves
    below = [name for name in others if (curves[name] <= curves[first]).all() and (curves[name] < curves[first]).any()]
    if not others:
        return ""
    return f"; nowhere above {first}: {', '.join(below) or 'none of them'}"
