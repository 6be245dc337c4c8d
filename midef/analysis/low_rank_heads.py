"""Heads of low rank: what accuracy and what an attack keep, against the rank that is retained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.analysis.base import ANALYSES, NEEDS_UNDEFENDED, AnalysedCell, Analysis, undefended
from midef.analysis.stored.accuracies import run_of
from midef.results.findings import Drawing, Findings, Panel, Series

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from midef.core.recipe import Recipe
    from midef.defenses import Defense
    from midef.results.findings import Row
    from midef.storage import Store

CUT = "cut, not trained on"


@ANALYSES.add("low_rank_heads")
@dataclass(frozen=True, kw_only=True)
class LowRankHeads(Analysis):
    """Test and attack accuracy of targets with a low-rank head against the retained share of its rank.

    A family of heads is drawn as one line: the trained head cut to each rank and not trained on (`loft` with
    `fine_tune=false`), LoFt's by their activation, CALoR's by activation and gamma. The retained share is the rank by
    that of the undefended head. Of a cut head the rows also hold how far its weights are from the trained ones.

    Source: the LoFt paper, Fig. 3 (cut), Tables 3, 4 and 19 and Fig. 6 (activation and rank).
    We differ: what the attack keeps is compared with what accuracy keeps, each as a share of the undefended target's,
    with an interval over identities; the paper shows curves.
    """

    paper: ClassVar[str] = "Rank Matters (LoFt), Fig. 3 and 6, Tables 3, 4, 19"
    needs: ClassVar[str] = (
        "`none`, and `loft` or `calor` at several ranks, such as loft(activation=identity,fine_tune=false)"
    )

    @override
    def problems(self, cells: Sequence[AnalysedCell]) -> list[str]:
        problems = [] if undefended(cells) else [NEEDS_UNDEFENDED]
        if not any(family_of(cell) for cell in cells):
            problems.append("no target has a head of low rank; add loft(rank=10) to defenses")
        return problems

    @override
    def requires(self, cells: Sequence[AnalysedCell]) -> Sequence[Recipe]:
        compared = [recipe for c in compared_of(cells) for recipe in (c.recipes.target, c.recipes.scores)]
        return [cells[0].recipes.private, *compared]

    @override
    def analyse(self, cells: Sequence[AnalysedCell], store: Store) -> Findings:
        from midef.analysis.stored.load import splits_of, target_of
        from midef.core.lazy import torch

        classes = len(splits_of(cells[0].recipes.private, store).class_names)
        heads, whole = [], None
        for cell in compared_of(cells):
            family, rank = family_of(cell) or ("", 0)
            error = None
            if not family:
                head = target_of(cell.recipes.target, store, classes).head
                assert isinstance(head, torch.nn.Linear), (
                    "the undefended head of every architecture is one linear layer"
                )
                whole = head.weight.detach()
                rank = min(whole.shape)
            elif family == CUT:
                assert whole is not None, "the undefended target comes first"
                error = cut_error(whole, rank)
            run = run_of(cell, store)
            heads.append(
                Head(
                    label=cell.label,
                    family=family,
                    rank=rank,
                    cut_error=error,
                    attacked=run.attacked,
                    hits=run.hits,
                    report_labels=run.tested,
                    correct=run.correct,
                )
            )
        setup = cells[0].cell.setup
        return findings_of(heads, f"{setup.target}<br>{setup.attack.label}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """A target by its head, and what came of it.

    Args:
        label: of its defense.
        family: line that it is a point of; "" of the undefended target.
        rank: of its head.
        cut_error: distance of a cut head's weights from the trained ones, as a share of their norm; None of others.
        attacked: [N], identity of each reconstruction.
        hits: [N], whether the evaluator sees the identity in it.
        report_labels: [M], of the private images that accuracy is reported on.
        correct: [M], whether the target names the identity.
    """

    label: str
    family: str
    rank: int
    cut_error: float | None
    attacked: np.ndarray
    hits: np.ndarray
    report_labels: np.ndarray
    correct: np.ndarray


def family_of(cell: AnalysedCell) -> tuple[str, int] | None:
    """The line that a head of low rank is a point of, and its rank; None under any other defense, and in a stack."""
    from midef.defenses.stack import remake_defense

    return family_and_rank(remake_defense(cell.cell.defense))


def family_and_rank(defense: Defense) -> tuple[str, int] | None:
    """As `family_of`."""
    from midef.defenses.calor import Calor
    from midef.defenses.loft import LoFt

    if isinstance(defense, LoFt) and defense.rank:
        return (f"LoFt, {defense.activation}" if defense.fine_tune else CUT), defense.rank
    if isinstance(defense, Calor) and defense.rank:
        return f"CALoR, {defense.activation}, gamma {defense.gamma:g}", defense.rank
    return None


def compared_of(cells: Sequence[AnalysedCell]) -> list[AnalysedCell]:
    """The undefended one, then those with heads of low rank."""
    plain = undefended(cells)
    return [*([] if plain is None else [plain]), *(cell for cell in cells if family_of(cell))]


def cut_error(weight: Tensor, rank: int) -> float:
    """Frobenius distance of a head's weights [K, D] from their best approximation of a rank, by their norm.

    Source: Eckart and Young 1936: the root of the sum of the squared singular values that are left out.
    """
    from midef.core.lazy import torch
    from midef.defenses.families.low_rank import truncated_head

    weight = weight.double()
    narrow, _, wide, _ = truncated_head(weight, weight.new_zeros(len(weight)), rank=min(rank, *weight.shape))
    return float(torch.linalg.matrix_norm(weight - wide @ narrow) / torch.linalg.matrix_norm(weight))


def findings_of(heads: Sequence[Head], about: str) -> Findings:
    """Rows, verdict and figure.

    Args:
        heads: the undefended one first, at least one more.
        about: target and attack, for the title.
    """
    whole, *others = heads
    rows = [_row(head, whole) for head in (whole, *sorted(others, key=lambda head: (head.family, head.rank)))]
    panels = [
        Panel(
            series=list(_series(rows, column)),
            x_title="retained share of the rank, %",
            y_title=title,
            title=title,
            from_zero=True,
        )
        for column, title in (("accuracy", "test accuracy, %"), ("attack", "attack accuracy, %"))
    ]
    sentences = [_sentence(family, rows) for family in dict.fromkeys(str(row["family"]) for row in rows[1:])]
    start = f"undefended: test {rows[0]['accuracy']:.1f} %, attack {rows[0]['attack']:.1f} %"
    return Findings(
        rows=rows,
        verdict="; ".join([start, *sentences]) + ".",
        drawing=Drawing(title=f"Heads of low rank: {about}", panels=panels),
    )


def _row(head: Head, whole: Head) -> Row:
    """Numbers of a head; shares and their difference are of those of the undefended target."""
    from midef.core.statistics import identity_interval

    attack, accuracy = 100 * float(head.hits.mean()), 100 * float(head.correct.mean())
    low, high, _ = identity_interval(head.hits, head.attacked)
    gap = None if head is whole else kept_gap(head, whole)
    return {
        "defense": head.label,
        "family": head.family or "undefended",
        "rank": head.rank,
        "retained": head.rank / whole.rank,
        "cut_error": head.cut_error,
        "accuracy": accuracy,
        "attack": attack,
        "attack_low": 100 * low,
        "attack_high": 100 * high,
        "accuracy_kept": float(head.correct.mean() / whole.correct.mean()) if whole.correct.any() else None,
        "attack_kept": float(head.hits.mean() / whole.hits.mean()) if whole.hits.any() else None,
        "gap": None if gap is None else gap[0],
        "gap_low": None if gap is None else gap[1],
        "gap_high": None if gap is None else gap[2],
        "identities": len(set(head.attacked.tolist())),
    }


def kept_gap(head: Head, whole: Head) -> tuple[float, float, float] | None:
    """Share of accuracy kept less share of attack accuracy kept, with Student's 95 % interval over identities.

    Over the attacked identities, every image counts alike, as in both accuracies: an identity with many images
    contributes more. Both undefended accuracies are taken as given. None where one of them is 0 or fewer than two
    identities are attacked.
    """
    import numpy as np

    from midef.core.statistics import t_interval

    identities = np.unique(head.attacked)
    is_attacked = np.isin(head.report_labels, identities)
    known, found = int(whole.correct[is_attacked].sum()), int(whole.hits.sum())
    if not known or not found:
        return None
    each = [
        len(identities)
        * (head.correct[head.report_labels == one].sum() / known - head.hits[head.attacked == one].sum() / found)
        for one in identities
    ]
    span = t_interval(each)
    return None if span is None else (float(np.mean(each)), *span)


def _series(rows: Sequence[Row], column: str) -> Iterable[Series]:
    """A line for each family, points where it has one; the undefended target is dashed."""
    yield Series(name="undefended", x=[0, 100], y=[_number(rows[0][column])] * 2, kind="dashes")
    for family in dict.fromkeys(str(row["family"]) for row in rows[1:]):
        chosen = [row for row in rows if row["family"] == family]
        yield Series(
            name=family,
            x=[100 * _number(row["retained"]) for row in chosen],
            y=[_number(row[column]) for row in chosen],
            kind="line" if len(chosen) > 1 else "points",
        )


def _number(value: float | bool | str | None) -> float:
    assert isinstance(value, int | float), "a measured column"
    return float(value)


def _sentence(family: str, rows: Sequence[Row]) -> str:
    """At which ranks the attack loses more of itself than accuracy does, and the lowest of them that keeps accuracy."""
    chosen = [row for row in rows if row["family"] == family]
    known = [row for row in chosen if row["gap_low"] is not None]
    if not known:
        return f"{family}: not decidable at this size"
    more = [row for row in known if _number(row["gap_low"]) > 0]
    less = [row for row in known if _number(row["gap_high"]) < 0]
    if more:
        best = max(more, key=lambda row: _number(row["gap"]))
        said = (
            f"the attack loses more than accuracy at rank {', '.join(str(row['rank']) for row in more)} of "
            f"{', '.join(str(row['rank']) for row in chosen)}, most at {best['rank']} (keeps "
            f"{100 * _number(best['attack_kept']):.0f} % against {100 * _number(best['accuracy_kept']):.0f} %)"
        )
        verdict = "reproduced" if not less else "reproduced in part"
    elif less:
        worst = min(less, key=lambda row: _number(row["gap"]))
        said = (
            f"at rank {worst['rank']} accuracy loses more than the attack (keeps "
            f"{100 * _number(worst['accuracy_kept']):.0f} % against {100 * _number(worst['attack_kept']):.0f} %)"
        )
        verdict = "not reproduced"
    else:
        verdict, said = "not decidable at this size", "at no rank is one shown to lose more than the other"
    return f"{family}: {verdict}, {said}"
