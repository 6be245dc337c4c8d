"""How well poisoned answers are aligned with what they shall teach, round by round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from typing_extensions import override

from midef.analysis.base import ANALYSES, AnalysedCell, Analysis
from midef.analysis.stored.load import Asked, asked_of, needed_to_ask, splits_of, spread_over
from midef.core.lazy import torch
from midef.results.findings import Drawing, Findings, Panel, Series

if TYPE_CHECKING:
    from torch import Tensor

    from midef.core.recipe import Recipe
    from midef.defenses import Defense
    from midef.defenses.families.alignment import Course, Substitute
    from midef.results.findings import Row
    from midef.storage import Store

Kind = Literal["joint", "per_query"]
PANELS = 3
"""Defenses that are drawn, at most; all have their rows."""


@ANALYSES.add("alignment")
@dataclass(frozen=True, kw_only=True)
class AlignmentCourse(Analysis):
    """Cosine between what poisoned answers teach the substitute and what they shall teach it, over the rounds.

    Each defense answers the same public images twice: with the gradient of a whole batch aligned, and with that of
    each query alone, whatever its own `alignment` is.

    Args:
        images: public images that are asked about, at most; >= 1.

    Source: LPA data-poisoning paper, algorithm 1, which aligns batches and shows no course.
    """

    paper: ClassVar[str] = "Zhou et al., LPA data poisoning, algorithm 1"
    needs: ClassVar[str] = (
        "a defense that poisons every answer by the cosine of gradients, alone or after one that trains"
    )

    images: int = 128

    def __post_init__(self) -> None:
        if self.images < 1:
            raise ValueError(f"needs images >= 1, got {self.images}")

    @override
    def problems(self, cells: Sequence[AnalysedCell]) -> list[str]:
        if any(map(aligns, cells)):
            return []
        return ["no defense of it aligns the answers of all queries; add `lpa` to defenses, at a radius above 0"]

    @override
    def requires(self, cells: Sequence[AnalysedCell]) -> Sequence[Recipe]:
        asked = [recipe for cell in filter(aligns, cells) for recipe in needed_to_ask(cell.recipes.target)]
        return [cells[0].recipes.public, cells[0].recipes.private, *asked]

    @override
    def analyse(self, cells: Sequence[AnalysedCell], store: Store) -> Findings:
        images = spread_over(splits_of(cells[0].recipes.public, store).train.images, self.images)
        classes = len(splits_of(cells[0].recipes.private, store).class_names)
        found = []
        for cell in filter(aligns, cells):
            asked = asked_of(cell.recipes.target, store, classes)
            found += [course_of(cell.label, asked, images, kind) for kind in get_args(Kind)]
        return findings_of(found, f"{cells[0].cell.setup.target}, {len(images)} public images")


def aligns(cell: AnalysedCell) -> bool:
    """Whether one part of its defense changes answers, all of them, by descending the cosine of gradients."""
    from midef.defenses.families.poisoning import PoisoningAll

    parts = cell.answering
    first = parts[0] if len(parts) == 1 else None
    return isinstance(first, PoisoningAll) and not first.is_off and type(first).distance == "cosine"


@dataclass(frozen=True)
class Cosines:
    """Cosines of the gradients of a defense's answers with the target gradient.

    Args:
        clean: [Q] of the network's answers; Q is the number of queries, or of batches where they are joint.
        rounds: [R + 1, Q], of the random start and after each round; never falling.
        served: [Q], after the labels were seen to.
    """

    label: str
    kind: Kind
    clean: Tensor
    rounds: Tensor
    served: Tensor

    @property
    def rows(self) -> list[Row]:
        """One for the clean answers, one for each round, one for the served answers."""
        named = [("clean", None, self.clean), *(("perturbed", i, row) for i, row in enumerate(self.rounds.unbind()))]
        named.append(("served", len(self.rounds) - 1, self.served))
        return [
            {
                "defense": self.label,
                "alignment": self.kind,
                "answers": answers,
                "round": number,
                "cosine": float(values.mean()),
                "lowest": float(values.min()),
                "highest": float(values.max()),
                "aligned": len(values),
            }
            for answers, number, values in named
        ]


def course_of(label: str, asked: Asked, images: Tensor, kind: Kind) -> Cosines:
    """The cosines of a target's answers to images [N, 3, H, W] uint8.

    Args:
        label: of its defense.
        kind: how answers are aligned, instead of as the defense says.
    """
    from midef.defenses.families.alignment import recording

    courses: list[Course] = []
    with recording(courses):
        served = asked.served(images, aligned(asked.spec.defense, kind))
    sizes = [course.distances.shape[1] for course in courses]
    is_joint = kind == "joint"
    rounds = [1 - course.distances[:, : 1 if is_joint else None] for course in courses]
    found = []
    for answers in (asked.clean(images), served):
        parts = zip(courses, answers.split(sizes), strict=True)
        found.append(torch.cat([cosines(c.substitute, part, c.images, is_joint=is_joint) for c, part in parts]))
    return Cosines(label, kind, found[0], torch.cat(rounds, dim=1), found[1])


def aligned(defense: Defense, kind: Kind) -> Defense:
    """The defense with the answers of its poisoning part aligned in another way."""
    from midef.defenses.families.poisoning import PoisoningAll
    from midef.defenses.stack import Stack

    if isinstance(defense, Stack):
        return replace(defense, members=tuple(aligned(part, kind) for part in defense.members))
    return replace(defense, alignment=kind) if isinstance(defense, PoisoningAll) else defense


def cosines(substitute: Substitute, answers: Tensor, images: Tensor, *, is_joint: bool) -> Tensor:
    """Cosine [1] of what the answers [B, K] teach together with the target gradient, or [B] of each alone."""
    from torch.func import vmap

    from midef.defenses.families.alignment import AT_ONCE, misalignment

    target = substitute.target_gradient
    assert target is not None, "the substitute of a defense that aligns has a target gradient"

    def one(answer: Tensor, image: Tensor) -> Tensor:
        return 1 - misalignment(target, substitute.gradient(answer, image))

    if is_joint:
        return one(answers, images)[None]
    parts = zip(answers[:, None].split(AT_ONCE), images[:, None].split(AT_ONCE), strict=True)
    return torch.cat([vmap(one)(*part) for part in parts])


def findings_of(found: Sequence[Cosines], about: str) -> Findings:
    """Rows, verdict and figure.

    Args:
        about: what was asked, for the title.
    """
    panels, said = [], []
    for label in list(dict.fromkeys(one.label for one in found)):
        series = [line for one in found if one.label == label for line in _lines(one)]
        panels.append(Panel(series=series, x_title="round", y_title="cosine with the target gradient", title=label))
    for one in found:
        clean, start, last, served = (float(v.mean()) for v in (one.clean, *one.rounds[[0, -1]], one.served))
        course = f"from {start:.3f} at the random start to {last:.3f} after {len(one.rounds) - 1} rounds"
        said.append(
            f"{one.label}, {one.kind}: the cosine goes {course} (clean answers {clean:.3f}, served {served:.3f})"
        )
    return Findings(
        rows=[row for one in found for row in one.rows],
        verdict="; ".join(said) + ".",
        drawing=Drawing(title=f"Alignment of poisoned answers: {about}", panels=panels[:PANELS]),
    )


def _lines(one: Cosines) -> list[Series]:
    """The course, from lowest to highest where there are several, and the clean answers beside it."""
    rounds = list(range(len(one.rounds)))
    ends = {"low": one.rounds.amin(dim=1).tolist(), "high": one.rounds.amax(dim=1).tolist()}
    several = ends if one.rounds.shape[1] > 1 else {}
    mean, clean = one.rounds.mean(dim=1).tolist(), [float(one.clean.mean())] * len(rounds)
    return [
        Series(name=one.kind, x=rounds, y=mean, low=several.get("low", ()), high=several.get("high", ())),
        Series(name=f"{one.kind}, clean", x=rounds, y=clean, kind="dashes"),
    ]
