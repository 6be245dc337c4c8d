"""Does a defense hide more than the accuracy it costs? Attack accuracy against natural accuracy along trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.analysis.base import ANALYSES, AnalysedCell, Analysis
from midef.analysis.stored.accuracies import run_of
from midef.results.findings import Drawing, Findings, Panel, Series

if TYPE_CHECKING:
    import numpy as np

    from midef.core.recipe import Recipe
    from midef.results.findings import Row
    from midef.storage import Store

PLAIN = ""
"""The course of the undefended target."""


@ANALYSES.add("checkpoints")
@dataclass(frozen=True, kw_only=True)
class Checkpoints(Analysis):
    """Attack accuracy against natural accuracy over checkpoints of each training, compared at equal natural accuracy.

    A checkpoint of a defense is compared with the undefended course where that has the same natural accuracy: between
    the two undefended checkpoints on both sides of it, weighted by how near they are, and never beyond their ends.

    Source: Ho et al., CVPR 2024, section 4.3, Fig. 1-III and supplement, section 6.2.
    We differ: the paper shows the courses; here they are compared, with an interval over identities.
    """

    paper: ClassVar[str] = "Ho et al., CVPR 2024 (TL-DMI), section 4.3"
    needs: ClassVar[str] = "`none` and `early_stop(at=...)`; a defense, stopped likewise, is another course"

    @override
    def problems(self, cells: Sequence[AnalysedCell]) -> list[str]:
        if sum(course_of(cell)[0] == PLAIN for cell in cells) > 1:
            return []
        return [
            "it needs two checkpoints at least of the undefended training; add none and early_stop(at=0.5) to defenses"
        ]

    @override
    def requires(self, cells: Sequence[AnalysedCell]) -> Sequence[Recipe]:
        return [cell.recipes.scores for cell in cells]

    @override
    def analyse(self, cells: Sequence[AnalysedCell], store: Store) -> Findings:
        courses: dict[str, list[Checkpoint]] = {}
        for cell in cells:
            label, at = course_of(cell)
            run = run_of(cell, store)
            courses.setdefault(label, []).append(
                Checkpoint(
                    at=at,
                    attacked=run.attacked,
                    hits=run.hits.astype(float),
                    natural=100 * float(run.correct.mean()),
                )
            )
        setup = cells[0].cell.setup
        return findings_of(courses, f"{setup.target}<br>{setup.attack.label}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """A training, stopped, and what an attack found.

    Args:
        at: share of the training.
        attacked: [N], identity of each reconstruction, ascending.
        hits: [N], 1 where the evaluator sees the identity, else 0; between them for a mean of two checkpoints.
        natural: accuracy of the target, percent.
    """

    at: float
    attacked: np.ndarray
    hits: np.ndarray
    natural: float


def course_of(cell: AnalysedCell) -> tuple[str, float]:
    """Whose checkpoint a cell is, the label of its other defenses, and the share of the training."""
    from midef.defenses.base import DEFENSES
    from midef.defenses.stack import remake_defense
    from midef.stages.recipes import NO_DEFENSE

    defense = remake_defense(cell.cell.defense)
    parts = [DEFENSES.describe(part) for part in defense.parts() if part.ends_at == 1.0]
    return "+".join(part.label for part in parts if part.name != NO_DEFENSE.name), defense.ends_at


def at_accuracy(course: Sequence[Checkpoint], natural: float) -> np.ndarray | None:
    """Hits [N] of a course where its natural accuracy is this, between its two checkpoints next to it.

    Checkpoints of one natural accuracy count as their mean. None beyond the ends of the course.
    """
    import numpy as np

    levels = sorted({one.natural for one in course})
    hits = [np.mean([one.hits for one in course if one.natural == level], axis=0) for level in levels]
    if not levels[0] <= natural <= levels[-1]:
        return None
    above = next(i for i, level in enumerate(levels) if level >= natural)
    if levels[above] == natural:
        exact: np.ndarray = hits[above]
        return exact
    share = (natural - levels[above - 1]) / (levels[above] - levels[above - 1])
    between: np.ndarray = (1 - share) * hits[above - 1] + share * hits[above]
    return between


def findings_of(courses: Mapping[str, Sequence[Checkpoint]], about: str) -> Findings:
    """Rows, verdict and figure.

    Args:
        courses: checkpoints of each defense, by its label, the undefended ones under `PLAIN`; all of one attack on the
            same identities.
        about: what was measured on, for the title.
    """
    rows: list[Row] = []
    said: list[str] = []
    for label in sorted(courses, key=lambda label: label != PLAIN):
        below, above, compared = 0, 0, 0
        for one in sorted(courses[label], key=lambda one: one.at):
            row = row_of(label, one, None if label == PLAIN else at_accuracy(courses[PLAIN], one.natural))
            rows.append(row)
            if row["more"] is not None:
                compared += 1
                below, above = below + (float(row["more_high"] or 0.0) < 0), above + (float(row["more_low"] or 0.0) > 0)
        if label != PLAIN:
            said.append(f"{label}: {_judged(below, above, compared, len(courses[label]))}")
    return Findings(
        rows=rows,
        verdict="that a defense hides more than the accuracy it costs is, at equal natural accuracy, "
        f"{'; '.join(said) or 'not asked: every checkpoint is of the undefended training'}.",
        drawing=Drawing(title=f"Along the training: {about}", panels=[_panel(rows)]),
    )


def row_of(label: str, checkpoint: Checkpoint, undefended: np.ndarray | None) -> Row:
    """Columns of a checkpoint.

    Args:
        undefended: [N], hits of the undefended course at its natural accuracy, see `at_accuracy`.
    """
    from midef.core.statistics import identity_interval, mean_interval

    low, high, _ = identity_interval(checkpoint.hits, checkpoint.attacked)
    more: Row = {"more": None, "more_low": None, "more_high": None}
    if undefended is not None:
        gaps = 100 * (checkpoint.hits - undefended)
        ends = mean_interval(gaps, checkpoint.attacked)
        low_gap, high_gap = (None, None) if ends is None else ends[:2]
        more = {"more": float(gaps.mean()), "more_low": low_gap, "more_high": high_gap}
    return {
        "defense": label or "none",
        "at": checkpoint.at,
        "natural": checkpoint.natural,
        "attack": 100 * float(checkpoint.hits.mean()),
        "attack_low": 100 * low,
        "attack_high": 100 * high,
        "images": len(checkpoint.hits),
        **more,
    }


def _judged(below: int, above: int, compared: int, checkpoints: int) -> str:
    """In words, of the checkpoints whose interval shows less or more leakage than undefended."""
    if not compared:
        return "not decidable, no checkpoint is as accurate as an undefended one"
    of = f"{compared} of its {checkpoints} checkpoints that compare"
    if below and not above:
        return f"reproduced at {below} of {of}"
    if above:
        return f"not reproduced, it leaks more at {above} and less at {below} of {of}"
    return f"not decidable at this size, at {of}"


def _panel(rows: Sequence[Row]) -> Panel:
    """Courses, in the order of training."""
    series: list[Series] = []
    for label in dict.fromkeys(str(row["defense"]) for row in rows):
        chosen = [row for row in rows if row["defense"] == label]
        natural, attack, low, high = (
            [float(row[name] or 0.0) for row in chosen] for name in ("natural", "attack", "attack_low", "attack_high")
        )
        series.append(Series(name=label, x=natural, y=attack, kind="line" if series else "dashes", low=low, high=high))
    return Panel(series=series, x_title="natural accuracy, %", y_title="attack accuracy@1, %", from_zero=True)
