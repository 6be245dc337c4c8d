"""Ideal inversion error past a head of low rank: LoFt's bound."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.analysis.base import ANALYSES, NEEDS_UNDEFENDED, AnalysedCell, Analysis, undefended
from midef.core.errors import SpecError
from midef.core.lazy import torch
from midef.results.findings import Drawing, Findings, Panel, Series

if TYPE_CHECKING:
    from torch import Tensor

    from midef.core.recipe import Recipe
    from midef.storage import Store


@ANALYSES.add("rank")
@dataclass(frozen=True, kw_only=True)
class Rank(Analysis):
    """The error that no attack on the head gets below, against its rank: of the undefended head cut, and of real ones.

    Args:
        points: ranks at which the undefended head is cut, at most; >= 2.

    Source: the LoFt paper, see `ideal_inversion_error`.
    """

    paper: ClassVar[str] = "Rank Matters (LoFt)"
    needs: ClassVar[str] = "`none`; low-rank defenses beside it are points"

    points: int = 41

    def __post_init__(self) -> None:
        if self.points < 2:
            raise ValueError(f"needs points >= 2, got {self.points}")

    @override
    def problems(self, cells: Sequence[AnalysedCell]) -> list[str]:
        return [] if undefended(cells) else [NEEDS_UNDEFENDED]

    @override
    def requires(self, cells: Sequence[AnalysedCell]) -> Sequence[Recipe]:
        return cells[0].recipes.private, *(c.recipes.target for c in cells)

    @override
    def analyse(self, cells: Sequence[AnalysedCell], store: Store) -> Findings:
        from midef.analysis.stored.load import features_of, splits_of, target_of
        from midef.defenses.families.low_rank import LowRankHead

        plain = undefended(cells)
        assert plain is not None
        splits = splits_of(plain.recipes.private, store)
        images, classes = splits.train.images, len(splits.class_names)
        model = target_of(plain.recipes.target, store, classes)
        assert isinstance(model.head, torch.nn.Linear), "the undefended head of every architecture is one linear layer"
        weight = model.head.weight.detach()
        largest, last = min(weight.shape), self.points - 1
        ranks = sorted({0, largest, *(round(largest * i / last) for i in range(self.points))})
        curve = error_against_rank(weight, feature_covariance(features_of(model, images)), ranks)
        heads = dict[str, RankError]()
        for other in (c for c in cells if c is not plain):
            defended = target_of(other.recipes.target, store, classes)
            if isinstance(defended.head, LowRankHead):
                spread = feature_covariance(features_of(defended, images))
                seen = defended.head.directions()
                error = ideal_inversion_error(seen, spread)
                heads[other.label] = RankError(min(seen.shape), error, error / float(spread.trace()))
        return findings_of(curve, heads, f"{plain.cell.setup.target}, {weight.shape[1]} features")


def findings_of(curve: Sequence[RankError], heads: dict[str, RankError], about: str) -> Findings:
    """Rows, verdict and figure.

    Args:
        curve: of the undefended head, cut to each rank.
        heads: real heads of low rank, by the label of their defense. Their errors are in another unit, that of their
            own features, so only their shares compare.
        about: what was measured on, for the title.
    """
    rows = [{"head": "none, cut", **vars(point)} for point in curve]
    rows += [{"head": label, "rank": h.rank, "error": None, "share": h.share} for label, h in heads.items()]
    percent = [100 * point.share for point in curve]
    series = [Series(name="undefended head, cut", x=[point.rank for point in curve], y=percent)]
    series += [Series(name=label, x=[h.rank], y=[100 * h.share], kind="points") for label, h in heads.items()]
    y_title = "ideal inversion error, % of the features' variance"
    panel = Panel(series=series, x_title="rank of the head", y_title=y_title, from_zero=True)
    half = min((p for p in curve if p.share <= 0.5), key=lambda p: p.rank, default=None)
    cut = f"{100 * curve[-1].share:.1f} % of the features' variance stay hidden behind the whole undefended head"
    if half is not None and half.rank < curve[-1].rank:
        cut += f", half of it when it is cut to rank {half.rank}"
    real = [f"{100 * h.share:.1f} % behind {label}" for label, h in heads.items()]
    return Findings(
        rows=rows,
        verdict="; ".join([cut, *real]) + ".",
        drawing=Drawing(title=f"Ideal inversion error against rank: {about}", panels=[panel]),
    )


@dataclass(frozen=True)
class RankError:
    """Least expected inversion error past a head.

    Args:
        rank: of the head.
        error: least expected squared error.
        share: of the error when nothing is seen, 0 to 1.
    """

    rank: int
    error: float
    share: float


def ideal_inversion_error(weight: Tensor, covariance: Tensor, *, noise: float = 0.0) -> float:
    """E|h - E[h|y]|^2 for y = W h + e, h ~ N(m, S), e ~ N(0, noise I): the trace of the posterior covariance.

    No reconstruction of h from y has a smaller mean squared error; for other distributions of h none that is linear
    in y has. With S = I and no noise it is D - rank(W). Computed in double precision.

    Args:
        weight: [K, D]; covariance: [D, D], symmetric, no negative eigenvalue; noise: variance, >= 0.

    Raises:
        SpecError: if the shapes do not fit or noise is negative.

    Source: the linear-Gaussian argument of the LoFt paper; the posterior covariance is standard.
    """
    if weight.ndim != 2 or covariance.shape != (weight.shape[1],) * 2 or noise < 0:
        given = f"{tuple(weight.shape)}, {tuple(covariance.shape)}, {noise}"
        raise SpecError(f"needs weight [K, D], covariance [D, D] and noise >= 0; got {given}")
    weight, covariance = weight.double(), covariance.double()
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp(min=0).sqrt()  # S = root root^T
    _, size, right = torch.linalg.svd(weight @ root, full_matrices=True)
    variance = (root @ right.T).square().sum(dim=0)  # of h along each direction that W sees, then those it does not
    squares = size.square()
    visible = squares > 1e-20 * squares.max() if len(squares) else squares > 0
    seen = torch.zeros_like(variance)
    seen[: len(size)] = torch.where(visible, squares / (squares + noise), torch.zeros_like(squares))
    return float((variance * (1 - seen)).sum())


def error_against_rank(weight: Tensor, covariance: Tensor, ranks: Iterable[int]) -> list[RankError]:
    """The ideal inversion error behind the best rank-k approximation of a head, for each k.

    Args:
        weight: [K, D] of the trained head; covariance: [D, D] of the features it sees; ranks: 0 sees nothing.

    Raises:
        SpecError: for a rank below 0 or above min(K, D).
    """
    left, size, right = torch.linalg.svd(weight.double(), full_matrices=False)
    whole = float(covariance.double().trace())
    errors = []
    for rank in ranks:
        if not 0 <= rank <= len(size):
            raise SpecError(f"a head of shape {tuple(weight.shape)} has ranks 0 to {len(size)}; got {rank}")
        error = ideal_inversion_error((left[:, :rank] * size[:rank]) @ right[:rank], covariance)
        errors.append(RankError(rank, error, error / whole if whole else 0.0))
    return errors


def feature_covariance(features: Tensor) -> Tensor:
    """Covariance [D, D] of features [N, D], divided by N - 1; N >= 2."""
    centred = features.double() - features.double().mean(dim=0)
    return centred.T @ centred / (len(features) - 1)
