"""Private, erased and reconstructed features of an identity in one plane: MIDRE's reason why inversion fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from typing_extensions import override

from midef.analysis.base import ANALYSES, NEEDS_UNDEFENDED, AnalysedCell, Analysis, undefended
from midef.analysis.plane.hulls import hull
from midef.analysis.plane.spaces import Model, Space, span, under
from midef.analysis.stored.claims import holds, word_of
from midef.analysis.stored.erasing import erasing_of
from midef.analysis.stored.load import features_of, spread_over
from midef.core.errors import SpecError
from midef.core.lazy import torch
from midef.results.findings import Drawing, Findings, Panel, Series

if TYPE_CHECKING:
    from torch import Tensor

    from midef.core.recipe import Recipe
    from midef.datasets import Images
    from midef.defenses.midre import Midre
    from midef.results.findings import Row
    from midef.storage import Store

HALF = 0.5
"""Share of the overlap of two halves of the private images from which reconstructions cover them: a choice."""
CORNERS = 3
"""Points that a hull needs to have an area."""


@ANALYSES.add("feature_space")
@dataclass(frozen=True, kw_only=True)
class FeatureSpace(Analysis):
    """Overlap of private, erased and reconstructed features of each identity, in their two principal components.

    Args:
        identities: attacked identities at most, evenly spread; >= 2.
        images: of each set of an identity at most; >= 3. All sets of an identity have the same number.
        erased_area: share of each private image that is erased before the undefended network sees it, 0 < area < 1;
            a network under MIDRE sees images erased as in its training.

    Source: MIDRE, TMLR 2025, sections 3.2 and C.1, Fig. 3, 4, C.4 and C.5: pictures of hulls. We differ: numbers for
    every identity, and a control, the hulls of other private images of the identity.
    """

    paper: ClassVar[str] = "MIDRE, TMLR 2025, Fig. 3 and 4"
    needs: ClassVar[str] = "`none` and MIDRE, with three reconstructions of each identity"

    identities: int = 24
    images: int = 50
    erased_area: float = 0.4

    def __post_init__(self) -> None:
        if self.identities < 2 or self.images < CORNERS:
            raise ValueError(f"needs identities >= 2 and images >= 3, got {self.identities} and {self.images}")
        if not 0 < self.erased_area < 1:
            raise ValueError(f"needs 0 < erased_area < 1, got {self.erased_area}")

    @override
    def problems(self, cells: Sequence[AnalysedCell]) -> list[str]:
        problems = [] if undefended(cells) else [NEEDS_UNDEFENDED]
        if not any(erasing_of(cell) for cell in cells):
            problems.append("no defense erases parts of training images; add midre to defenses")
        images = cells[0].cell.setup.protocol.images_per_identity
        if images < CORNERS:
            problems.append(f"a hull needs 3 reconstructions of an identity, got {images}; use images_per_identity: 3")
        return problems

    @override
    def requires(self, cells: Sequence[AnalysedCell]) -> Sequence[Recipe]:
        stored = [(cell.recipes.target, cell.recipes.reconstructions) for cell in _compared(cells)]
        return [cells[0].recipes.private, *(recipe for pair in stored for recipe in pair)]

    @override
    def analyse(self, cells: Sequence[AnalysedCell], store: Store) -> Findings:
        from midef.analysis.stored.load import splits_of, target_of
        from midef.defenses.midre import Midre
        from midef.stages.resize import low_to_high
        from midef.storage.arrays import read_arrays

        splits = splits_of(cells[0].recipes.private, store)
        of_undefended = Midre(area_low=self.erased_area, area_high=self.erased_area)
        found = []
        for cell in _compared(cells):
            path = store.artifacts.fetch(cell.recipes.reconstructions.key) / "images.npz"
            made, labels = (torch.from_numpy(array) for array in read_arrays(path, ("images", "labels")).values())
            made = low_to_high(made, splits.train.images.shape[-1])
            model = target_of(cell.recipes.target, store, len(splits.class_names))
            erasing = erasing_of(cell)
            features = {}
            for identity in spread_over(labels.unique(), self.identities).tolist():
                shown = spread_over(made[labels == identity], self.images)
                group = grouped(splits.train, shown, identity, erasing or of_undefended)
                features[identity] = {name: features_of(model, images) for name, images in group.items()}
            tests = features_of(model, splits.report.images)
            area = erasing.area_high if erasing else 0.0
            found.append(under(cell.label, area, features, tests, splits.report.labels))
        setup = cells[0].cell.setup
        return findings_of(found, f"{setup.target}, reconstructions of {setup.attack.name}")


def _compared(cells: Sequence[AnalysedCell]) -> list[AnalysedCell]:
    """The undefended cell, then those that erase, in the order of the sweep."""
    plain = undefended(cells)
    assert plain is not None
    return [plain, *(cell for cell in cells if erasing_of(cell))]


def grouped(train: Images, reconstructed: Tensor, identity: int, erasing: Midre) -> dict[str, Tensor]:
    """The sets of images of an identity, [n, 3, H, W] uint8 each: as many as there are reconstructions, or half as many
    as there are private images.

    Args:
        reconstructed: [M, 3, H, W] uint8, of the identity.
        erasing: what erases its private images.

    Raises:
        SpecError: where that is fewer than three.
    """
    from midef.core.seeds import derive_seed
    from midef.defenses import Batch

    positions = torch.nonzero(train.labels == identity)[:, 0]
    count = min(len(reconstructed), len(positions) // 2)
    if count < CORNERS:
        raise SpecError(
            f"a hull needs 3 reconstructions and 6 private images of each identity, got {len(reconstructed)} and "
            f"{len(positions)} of identity {identity}; use data with more images of each"
        )
    first, second = positions[::2][:count], positions[1::2][:count]
    private = train.images[first]
    rng = torch.Generator().manual_seed(derive_seed("analysis", identity))
    batch = erasing.transform_batch(Batch(private.float() / 255, train.labels[first], first), 0.0, rng)
    return {
        "private": private,
        "control": train.images[second],
        "erased": (255 * batch.images).round().byte(),
        "reconstructed": spread_over(reconstructed, count),
    }


def findings_of(models: Sequence[Model], about: str) -> Findings:
    """Rows, verdict and figure.

    Args:
        models: the undefended one, then those that erase; of the same identities.
        about: what was measured on, for the title.
    """
    plain, *erasing = models
    strongest = max(erasing, key=lambda model: model.area)
    return Findings(
        rows=[_row(model, space) for model in models for space in model.spaces],
        verdict=verdict_on(plain, strongest),
        drawing=Drawing(title=f"Features of {about}", panels=_panels(models, plain, strongest)),
    )


def _row(model: Model, space: Space) -> Row:
    return {
        "defense": model.label,
        "identity": space.identity,
        "images": len(space.points["private"]),
        **space.overlaps,
        "distance_private": space.distance_private,
        "distance_erased": space.distance_erased,
        "nearest": space.nearest,
        "variance_1": space.shares[0],
        "variance_2": space.shares[1],
    }


def verdict_on(plain: Model, strongest: Model) -> str:
    """Whether three claims hold: without a defense reconstructions cover private features, at least half as well as
    other private images do; under erasing they cover them less; and then erased features more than private ones.

    A claim holds, or its opposite does, where Student's interval over the identities excludes 0.
    """

    def overlaps(model: Model, column: str) -> list[float]:
        return [space.overlaps[column] for space in model.spaces]

    covered = overlaps(plain, "private_reconstructed"), [HALF * one for one in overlaps(plain, "private_control")]
    less = overlaps(plain, "private_reconstructed"), overlaps(strongest, "private_reconstructed")
    erased = overlaps(strongest, "erased_reconstructed"), overlaps(strongest, "private_reconstructed")
    differences = [_differences(*pair) for pair in (covered, less, erased)]
    spans = [span(values) for values in differences]
    word = word_of([holds(low, high) for low, high in spans])
    said = [
        f"{np.mean(values):+.2f} [{low:+.2f}, {high:+.2f}]"
        for values, (low, high) in zip(differences, spans, strict=True)
    ]
    before, after = (model.mean("private_reconstructed")[0] for model in (plain, strongest))
    near, nearer = (np.mean([space.distance_private for space in model.spaces]) for model in (plain, strongest))
    far = np.mean([space.distance_erased for space in strongest.spaces])
    return (
        f"{word}: under {plain.label} reconstructions overlap private features by {before:.2f}, where two halves of "
        f"the private images overlap by {plain.mean('private_control')[0]:.2f} (half of that less: {said[0]}); under "
        f"{strongest.label} by {after:.2f}, {said[1]} less, and erased features {said[2]} more than private ones (95 % "
        f"over {len(less[0])} identities). In all dimensions they lie {near:.2f} times as far from the private mean as "
        f"other private images under {plain.label}, {nearer:.2f} times under {strongest.label}, and {far:.2f} times as "
        "far from the erased mean."
    )


def _differences(first: Sequence[float], second: Sequence[float]) -> list[float]:
    return [one - other for one, other in zip(first, second, strict=True)]


def _panels(models: Sequence[Model], plain: Model, strongest: Model) -> list[Panel]:
    """One identity under both models, neighbours under the stronger one, overlaps of all models."""
    lost = [
        one.overlaps["private_reconstructed"] - other.overlaps["private_reconstructed"]
        for one, other in zip(plain.spaces, strongest.spaces, strict=True)
    ]
    typical = int(np.argsort(lost)[len(lost) // 2])  # the identity of the median difference, not the best one
    panels = []
    for model in (plain, strongest):
        space = model.spaces[typical]
        shown = {name: space.points[name] for name in ("private", "erased", "reconstructed")}
        axes = [f"component {i + 1}, {100 * share:.0f} % of the variance" for i, share in enumerate(space.shares)]
        title = f"identity {space.identity}, {model.label}"
        panels.append(Panel(series=_outlined(shown), x_title=axes[0], y_title=axes[1], title=title))
    axes = [f"component {i}" for i in (1, 2)]
    title = f"{len(strongest.neighbours)} identities, {strongest.label}"
    neighbours = [series for sets in strongest.neighbours.values() for series in _outlined(sets)]
    panels.append(Panel(series=neighbours, x_title=axes[0], y_title=axes[1], title=title))
    ordered = sorted(models, key=lambda model: model.area)
    series = []
    lines = {"private_reconstructed": "private - reconstructed", "erased_reconstructed": "erased - reconstructed"}
    for column, name in {**lines, "private_control": "private - other private"}.items():
        means, lows, highs = zip(*(model.mean(column) for model in ordered), strict=True)
        areas = [model.area for model in ordered]
        series.append(Series(name=name, x=areas, y=means, low=lows, high=highs))
    title = "all identities, 95 %"
    x_title, y_title = "largest erased share", "overlap of hulls"
    panels.append(Panel(series=series, x_title=x_title, y_title=y_title, title=title, from_zero=True))
    return panels


def _outlined(sets: Mapping[str, np.ndarray]) -> list[Series]:
    """Points of each set and the outline of their hull, in one colour."""
    series = []
    for name, points in sets.items():
        corners = hull(points)
        closed = np.concatenate([corners, corners[:1]])
        series.append(Series(name=name, x=points[:, 0].tolist(), y=points[:, 1].tolist(), kind="points"))
        series.append(Series(name=name, x=closed[:, 0].tolist(), y=closed[:, 1].tolist()))
    return series
