"""Clean and served answers in two principal components, and whether a detector tells them apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from typing_extensions import override

from midef.analysis.base import ANALYSES, AnalysedCell, Analysis, undefended
from midef.analysis.plane.components import principal_components
from midef.analysis.stored.load import asked_of, needed_to_ask, splits_of, spread_over
from midef.core.lazy import F, torch
from midef.core.statistics import t_interval
from midef.results.findings import Drawing, Findings, Panel, Series

if TYPE_CHECKING:
    from torch import Tensor

    from midef.core.recipe import Recipe
    from midef.results.findings import Row
    from midef.storage import Store

PANELS = 4
"""Defenses that are drawn, at most; all have their row."""
SURE = 0.75
"""AUC above which the verdict calls a defense detected: half way from a guess to certainty."""


@ANALYSES.add("answers_pca")
@dataclass(frozen=True, kw_only=True)
class AnswersPca(Analysis):
    """Clean and served answers to the same public images: their principal components, and the AUC of a detector.

    The detector learns from half of the images, with their clean and served answers, and is scored on the other half.
    No attacker is given both, so it bounds from above what one can tell.

    Args:
        images: public images that are asked about, at most; >= 8.

    Source: LPA data-poisoning paper, Fig. 3, which shows PCA and t-SNE and no number. We differ: a detector.
    """

    paper: ClassVar[str] = "Zhou et al., LPA data poisoning, Fig. 3"
    needs: ClassVar[str] = "a defense that changes answers; `none` beside it is the control"

    images: int = 512

    def __post_init__(self) -> None:
        if self.images < 8:
            raise ValueError(f"needs images >= 8, got {self.images}")

    @override
    def problems(self, cells: Sequence[AnalysedCell]) -> list[str]:
        if any(cell.answering for cell in cells):
            return []
        return ["it compares answers that a defense changes; add one whose `midef list defenses` says: acts on answers"]

    @override
    def requires(self, cells: Sequence[AnalysedCell]) -> Sequence[Recipe]:
        asked = [recipe for cell in self._asked(cells) for recipe in needed_to_ask(cell.recipes.target)]
        return [cells[0].recipes.public, cells[0].recipes.private, *asked]

    @override
    def analyse(self, cells: Sequence[AnalysedCell], store: Store) -> Findings:
        images = spread_over(splits_of(cells[0].recipes.public, store).train.images, self.images)
        classes = len(splits_of(cells[0].recipes.private, store).class_names)
        found = []
        for cell in self._asked(cells):
            asked = asked_of(cell.recipes.target, store, classes)
            found.append(compare(cell.label, asked.clean(images), asked.served(images)))
        return findings_of(found, f"{cells[0].cell.setup.target}, {len(images)} public images")

    def _asked(self, cells: Sequence[AnalysedCell]) -> list[AnalysedCell]:
        """The cells whose answers are compared, the control first."""
        plain = undefended(cells)
        return [*([plain] if plain else []), *(c for c in cells if c.answering)]


class Auc(NamedTuple):
    """Area under the ROC curve.

    Args:
        low, high: 95 % interval over images; the training of the detector is taken as given.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Compared:
    """Clean and served answers of one defense.

    Args:
        clean, served: [N, 2], principal components of both together.
        shares: of their variance, in the two components.
        distance: mean L2 distance of a served answer from the clean one.
        detector: AUC from the scores' logarithms.
        of_plane: AUC from the two components.
    """

    label: str
    clean: Tensor
    served: Tensor
    shares: tuple[float, float]
    distance: float
    detector: Auc
    of_plane: Auc

    @property
    def row(self) -> Row:
        return {
            "defense": self.label,
            "images": len(self.clean),
            "distance": self.distance,
            "variance_1": self.shares[0],
            "variance_2": self.shares[1],
            "auc_plane": self.of_plane.value,
            "auc": self.detector.value,
            "auc_low": self.detector.low,
            "auc_high": self.detector.high,
        }


def compare(label: str, clean: Tensor, served: Tensor) -> Compared:
    """Compare answers [N, K] to the same images, N >= 4.

    Args:
        label: of the defense.
    """
    plane, shares = principal_components(torch.cat([clean, served]))
    first, second = plane.split(len(clean))
    return Compared(
        label,
        first,
        second,
        shares,
        float(torch.linalg.vector_norm(served - clean, dim=1).mean()),
        detector_auc(ranked_logs(clean), ranked_logs(served)),
        detector_auc(first, second),
    )


def ranked_logs(scores: Tensor) -> Tensor:
    """Logarithms of scores [N, K], largest first: what an inversion network is fed, whichever class it is.

    A score of 0 counts as 1e-30.
    """
    logs: Tensor = scores.double().clamp(min=1e-30).log().sort(dim=1, descending=True).values
    return logs


def detector_auc(clean: Tensor, served: Tensor) -> Auc:
    """AUC of a logistic regression that tells features [N, D] of served answers from those of clean ones.

    It is trained on every other image and scored on the rest, row i of both being the same image.
    """
    weigh = fit_detector(clean[::2], served[::2])
    return auc(weigh(clean[1::2]), weigh(served[1::2]))


class Detector(NamedTuple):
    """Logistic regression on standardised features and their squares."""

    mean: Tensor
    scale: Tensor
    weight: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Scores [N], larger for served answers."""
        seen: Tensor = self.expanded(features) @ self.weight
        return seen

    def expanded(self, features: Tensor) -> Tensor:
        """[N, 2 D]."""
        standard = (features.double() - self.mean) / self.scale
        return torch.cat([standard, standard.square()], dim=1)


def fit_detector(clean: Tensor, served: Tensor, *, ridge: float = 1e-3, rounds: int = 200) -> Detector:
    """Fit by L-BFGS on features [N, D] of each; deterministic.

    Args:
        ridge: weight of the squared weights beside the mean loss.
        rounds: steps at most.
    """
    both = torch.cat([clean, served]).double()
    scale = both.std(dim=0)
    # a direction without variance says nothing, and must not be blown up to say something
    scale = torch.where(scale > 1e-12 * both.abs().amax(dim=0), scale, torch.inf)
    detector = Detector(both.mean(dim=0), scale, torch.zeros(2 * both.shape[1], dtype=torch.float64))
    is_served = torch.cat([torch.zeros(len(clean)), torch.ones(len(served))]).double()
    with torch.enable_grad():
        seen, weight = detector.expanded(both), detector.weight.clone().requires_grad_()
        bias = torch.zeros((), dtype=torch.float64, requires_grad=True)
        search = torch.optim.LBFGS([weight, bias], max_iter=rounds, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            search.zero_grad()
            wrong = F.binary_cross_entropy_with_logits(seen @ weight + bias, is_served)
            total = wrong + ridge * weight.square().sum()
            total.backward()
            return total

        search.step(loss)
    return detector._replace(weight=weight.detach())


def auc(clean: Tensor, served: Tensor) -> Auc:
    """Probability that a served score is above a clean one, ties by half.

    Args:
        clean, served: [N], N >= 2; entry i of both is the same image.

    The interval is Student's over images: an image contributes the share of clean scores below its served one and the
    share of served scores above its clean one (DeLong et al., Biometrics 1988; paired by image as in Obuchowski 1997).
    """

    def below(scores: Tensor, others: Tensor) -> Tensor:
        ordered = others.sort().values
        sides = [torch.searchsorted(ordered, scores.contiguous(), right=right) for right in (False, True)]
        return torch.stack(sides).double().mean(dim=0) / len(others)

    placed = below(served, clean) + (1 - below(clean, served))
    value = float(placed.mean()) / 2
    low, high = t_interval([share - value for share in placed.tolist()]) or (0.0, 1.0)
    return Auc(value, max(0.0, low), min(1.0, high))


def findings_of(found: Sequence[Compared], about: str) -> Findings:
    """Rows, verdict and figure.

    Args:
        about: what was asked, for the title.
    """
    panels = []
    for one in [c for c in found if c.distance > 0][:PANELS]:
        named = (("clean", one.clean), ("served", one.served))
        series = [Series(name=n, x=p[:, 0].tolist(), y=p[:, 1].tolist(), kind="points") for n, p in named]
        axes = [f"component {i + 1}, {100 * share:.0f} % of the variance" for i, share in enumerate(one.shares)]
        title = f"{one.label}: AUC {one.detector.value:.2f}"
        panels.append(Panel(series=series, x_title=axes[0], y_title=axes[1], title=title))
    told = [c for c in found if c.distance > 0 and c.detector.low > SURE]
    hidden = [c for c in found if c.distance > 0 and c not in told]
    said = []
    if told:
        said.append(f"a detector tells served answers of {_named(told)} from clean ones")
    if hidden:
        said.append(f"no detector here is sure of {_named(hidden)}")
    return Findings(
        rows=[one.row for one in found],
        verdict="; ".join(said or ["no answer was changed"]) + ".",
        drawing=Drawing(title=f"Clean and served answers: {about}", panels=panels),
    )


def _named(found: Sequence[Compared]) -> str:
    return ", ".join(f"{c.label} (AUC {c.detector.value:.2f}, in the plane {c.of_plane.value:.2f})" for c in found)
