"""Layer-wise Fisher information, for classifying and for being inverted: TL-DMI's reason to freeze early layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from typing_extensions import override

from midef.analysis.base import ANALYSES, NEEDS_UNDEFENDED, AnalysedCell, Analysis, undefended
from midef.core.errors import SpecError
from midef.core.lazy import F, torch
from midef.results.findings import Drawing, Findings, Panel, Series

if TYPE_CHECKING:
    from torch import Tensor

    from midef.core.recipe import Recipe
    from midef.nn.network import Forward, TargetModel
    from midef.storage import Store

    Loss: TypeAlias = Callable[[Forward, Tensor], Tensor]


@ANALYSES.add("fisher")
@dataclass(frozen=True, kw_only=True)
class Fisher(Analysis):
    """Fisher information by unit of the undefended target, for classifying and for being inverted.

    Args:
        images: test images and reconstructions at most whose single gradients are taken, per loss; >= 1.

    Source: Ho et al., CVPR 2024, see `fisher_by_unit`.
    """

    paper: ClassVar[str] = "Ho et al., CVPR 2024 (TL-DMI)"
    needs: ClassVar[str] = "`none`, with the reconstructions of its attack"

    images: int = 256

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
        )
        setup = plain.cell.setup
        return findings_of(units, f"{setup.target}<br>reconstructions of {setup.attack.label}")


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


@dataclass(frozen=True)
class UnitInformation:
    """Mean Fisher information of one unit of the network.

    Args:
        unit: its name.
        parameters: number of weights.
        classifying: for classification.
        inverting: for inversion.
    """

    unit: str
    parameters: int
    classifying: float
    inverting: float


def fisher_by_unit(
    model: TargetModel,
    units: tuple[str, ...],
    *,
    images: Tensor,
    labels: Tensor,
    reconstructions: Tensor,
    reconstructed: Tensor,
    private: Tensor,
    private_labels: Tensor,
) -> list[UnitInformation]:
    """Mean over a unit's weights of E[(dL/dtheta)^2], E over single images, the network in eval mode.

    Classifying: L is cross entropy on `images` [N, 3, H, W] with `labels` [N], not used for training. Inverting: L is
    the distance between the features of `reconstructions` [M, 3, H, W] and the mean features of the `private` training
    images of the class they should show, `reconstructed` [M]. All images in [0, 1].

    Raises:
        SpecError: if a reconstructed class has no private image, or there is nothing to measure on.

    Source: Ho et al., "Model Inversion Robustness: Can Transfer Learning Help?" (TL-DMI), CVPR 2024, its analysis of
    layer importance. We differ: the diagonal is exact (a gradient per image), and the head is left out.
    """
    if min(len(images), len(reconstructions), len(private)) == 0:
        raise SpecError("Fisher information needs images, reconstructions and private images; one of them is empty")
    missing = sorted(set(reconstructed.tolist()) - set(private_labels.tolist()))
    if missing:
        raise SpecError(f"no private image of the reconstructed classes {missing[:10]}; give the whole train split")
    model.eval()
    centroids = class_centroids(model, private, private_labels)
    classifying = squared_gradients(model, images, labels, loss=cross_entropy)
    goals = torch.stack([centroids[int(k)] for k in reconstructed])
    inverting = squared_gradients(model, reconstructions, goals, loss=distance)
    information = []
    for unit in units:
        members = {id(p) for module in model.unit(unit) for p in module.parameters()}
        names = [name for name, p in model.named_parameters() if id(p) in members]
        count = sum(classifying[name].numel() for name in names)
        information.append(
            UnitInformation(
                unit,
                count,
                sum(float(classifying[n].sum()) for n in names) / max(count, 1),
                sum(float(inverting[n].sum()) for n in names) / max(count, 1),
            )
        )
    return [f for f in information if f.parameters]


def cross_entropy(forward: Forward, label: Tensor) -> Tensor:
    """Of one image."""
    return F.cross_entropy(forward.logits, label[None])


def distance(forward: Forward, goal: Tensor) -> Tensor:
    """Euclidean distance of one image's features [1, D] to a goal [D]."""
    length: Tensor = torch.linalg.vector_norm(forward.features[0] - goal)
    return length


def squared_gradients(
    model: TargetModel, images: Tensor, goals: Tensor, *, loss: Loss, chunk: int = 8
) -> dict[str, Tensor]:
    """E[(dL/dtheta)^2] over single images, for every weight; a mean of squares, not the square of a mean.

    Args:
        chunk: images whose gradients are held at once; changes memory, not the result.
    """
    from torch.func import functional_call, grad, vmap

    weights = {name: p.detach() for name, p in model.named_parameters()}
    buffers = dict(model.named_buffers())

    def of_one(values: dict[str, Tensor], image: Tensor, goal: Tensor) -> Tensor:
        return loss(functional_call(model, {**values, **buffers}, (image[None],)), goal)

    per_image = vmap(grad(of_one), in_dims=(None, 0, 0), randomness="different")
    total = {name: torch.zeros_like(p) for name, p in weights.items()}
    for start in range(0, len(images), chunk):
        slopes = per_image(weights, images[start : start + chunk], goals[start : start + chunk])
        for name, slope in slopes.items():
            total[name] += slope.square().sum(dim=0)
    return {name: t / len(images) for name, t in total.items()}


def class_centroids(model: TargetModel, images: Tensor, labels: Tensor) -> dict[int, Tensor]:
    """Mean penultimate features [D] of every class, for images in [0, 1]."""
    with torch.no_grad():
        features = torch.cat([model(part).features for part in images.split(256)])
    return {int(k): features[labels == k].mean(dim=0) for k in labels.unique()}
