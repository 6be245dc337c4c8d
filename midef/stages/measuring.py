"""Recipes of what metrics read beside the evaluator: published extractors, and students of the reconstructions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from midef.core.canonical import Plain, plain
from midef.core.choice import Choice
from midef.core.errors import DataError, PreflightError
from midef.core.recipe import Recipe
from midef.metrics import METRICS
from midef.metrics.base import extractors_of, students_of
from midef.metrics.extractors import EXTRACTORS
from midef.models import ARCHITECTURES
from midef.nn.named_file import NamedFile
from midef.training import TrainingRecipe

# Bumped when the maths of a stage changes; what depends on it is then built anew.
EXTRACTOR_VERSION = 1
STUDENT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class StudentPlan:
    """Students that learn from reconstructions, where a metric needs them.

    Args:
        architecture: of the student.
        weights: published weights it starts from, with the sha256 of their file; None starts fresh.
        epochs: instead of those of its recipe; None leaves them.
    """

    architecture: Choice
    weights: Choice | None = None
    epochs: int | None = None

    @classmethod
    def published(cls) -> StudentPlan:
        """The papers' network, from fresh weights."""
        return cls(architecture=ARCHITECTURES.choose("resnet50"))


def extractor_recipe(name: str, sha256: str) -> Recipe:
    """The published weights of an extractor; those that share a file share the artifact."""
    file = EXTRACTORS.get(name).file
    return Recipe("extractor", file.name, {"sha256": sha256}, version=EXTRACTOR_VERSION)


def extractor_role(name: str) -> str:
    """Role of an extractor's weights among the inputs of scores."""
    return f"extractor_{name}"


def place_extractors(metrics: Iterable[str], folder: Path) -> tuple[dict[str, Recipe], dict[str, Any], list[str]]:
    """Weights of the extractors that metrics read, as far as their files are in a folder.

    Returns:
        recipes by extractor; where their files lie, by digest of the recipe; and a line about every missing file with
        the metrics that are refused without it.

    Raises:
        DataError: if a file is damaged or another one.
    """
    recipes: dict[str, Recipe] = {}
    where: dict[str, Any] = {}
    missing: dict[str, list[str]] = {}
    names = sorted(metrics)
    for name in extractors_of(names):
        file = EXTRACTORS.get(name).file
        try:
            path = file.find(folder)
        except PreflightError as error:
            missing.setdefault(str(error), []).extend(n for n in names if name in METRICS.get(n).extractors)
            continue
        recipes[name] = extractor_recipe(name, file.digest(path))
        where[recipes[name].key.digest] = {"path": str(path)}
    return recipes, where, [f"{', '.join(sorted(of))} will be refused: {text}" for text, of in missing.items()]


def extractor_lines(metrics: Iterable[str], folder: Path) -> list[tuple[bool, str]]:
    """Found or missing, and a sentence, for every file that metrics read; a file that is there is read once."""
    names = sorted(metrics)
    readers: dict[NamedFile, list[str]] = {}
    for name in names:
        for extractor in METRICS.get(name).extractors:
            readers.setdefault(EXTRACTORS.get(extractor).file, []).append(name)
    lines: list[tuple[bool, str]] = []
    for file, of in readers.items():
        try:
            file.digest(file.find(folder))
        except (PreflightError, DataError) as error:
            lines.append((False, f"metrics {', '.join(of)}: {error}"))
        else:
            lines.append((True, f"metrics {', '.join(of)}: {file.name}"))
    return lines


def student_recipes(
    names: Iterable[str], plan: StudentPlan, reconstructions: Recipe, start: Mapping[str, Recipe]
) -> dict[str, Recipe]:
    """Students that metrics need and their floors, by role.

    Args:
        start: published backbone of the plan's weights by its role; empty for fresh weights.
    """
    found: dict[str, Recipe] = {}
    for name in students_of(names):
        inputs = {"reconstructions": reconstructions, **start}
        for role, shuffled in zip(_roles_of(name), (False, True), strict=True):
            params = _student_params(name, plan.architecture, plan.epochs, shuffled)
            found[role] = Recipe("student", name, params, inputs, STUDENT_VERSION)
    return found


@lru_cache(64)
def _student_params(name: str, architecture: Choice, epochs: int | None, shuffled: bool) -> Plain:
    training = TrainingRecipe.make({"preset": f"kes-{name}", **({} if epochs is None else {"epochs": epochs})})
    params = {"architecture": architecture.keyed, "training": training, "seed": 0, "shuffled": shuffled}
    return cast(Plain, plain(params))


def _roles_of(student: str) -> tuple[str, str]:
    return f"student_{student}", f"student_{student}_floor"


def student_roles(scores: Recipe) -> list[tuple[str, str]]:
    """Roles of each student and of its floor among the inputs of scores."""
    names = sorted({needed.component for needed in scores.inputs.values() if needed.kind == "student"})
    return [_roles_of(name) for name in names]
