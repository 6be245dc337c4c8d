"""Who decides whether a reconstruction shows the person: another network than the audited one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from midef.audit.data import Data
from midef.core.choice import Choice
from midef.core.errors import PreflightError, SpecError
from midef.core.recipe import Recipe
from midef.models import ARCHITECTURES
from midef.stages import place_weights, published_recipe, weights_of_judge
from midef.stages.recipes import evaluator_recipe, split_recipe
from midef.sweep.spec.profiles import Profile
from midef.training import TrainingRecipe

if TYPE_CHECKING:
    from midef.stages.given import Given

JUDGE_OF_FACES = "mobilefacenet"
_JUDGES = ("resnet18_tiny", "vgg16_tiny")
"""Evaluators that are trained here, the first of another family than the model's."""
_LARGEST_JUDGED_PX = 64
_LEAST_JUDGED_PX = 32
"""Images are made smaller for an evaluator that is trained here: it is a small network on few images. Those of 28
px, as of digits, are made larger where it needs that."""


@dataclass(frozen=True)
class Judge:
    """Who decides whether a reconstruction shows the person.

    Args:
        architecture: of the evaluator.
        resolution_px: of the images it sees.
        weights: published ones, of one that was trained elsewhere.
        where: where their file lies.
        of_another_family: than the model's; False where the model does not tell its own.
    """

    architecture: Choice
    resolution_px: int
    weights: Choice | None = None
    where: Mapping[str, Any] | None = None
    of_another_family: bool = True

    @property
    def text(self) -> str:
        """For a person."""
        px = f"{self.architecture.label} at {self.resolution_px} px"
        if self.weights is not None:
            return f"{px}, trained elsewhere on other people; a head is fitted on the private train split"
        if not self.of_another_family:
            return f"{px}, trained on the private train split; whether the model is of its family is not known"
        return f"{px}, of another family than the model, trained on the private train split"


def choose_judge(given: Given, resolution_px: int, written: str = "", *, faces: bool = False) -> Judge:
    """The evaluator: as written; of faces the published one, where its weights are here; else a small one of another
    family than the model's.

    Raises:
        SpecError: if it is of the model's family, or cannot see images of this size.
    """
    px = min(resolution_px, _LARGEST_JUDGED_PX)
    family = given.facts().family
    if written:
        chosen = ARCHITECTURES.choose(written)
    elif faces and (judge := _published(ARCHITECTURES.choose(JUDGE_OF_FACES))) is not None:
        return judge
    else:
        others = [name for name in _JUDGES if ARCHITECTURES.make(name).facts().family != family]
        chosen = ARCHITECTURES.choose(others[0])
    if weights_of_judge(chosen):
        judge = _published(chosen)
        if judge is None:
            raise PreflightError(
                f"the weights of {chosen.name} are not here; `midef list architectures` says which file"
            )
        return judge
    made = ARCHITECTURES.remake(chosen)
    if made.problems(px):  # small images are made larger for it
        px = max(px, _LEAST_JUDGED_PX)
    problems = made.problems(px)
    if made.facts().family == family:
        problems.append(
            f"the evaluator {chosen.label} is of the model's family ({family}); an attack that overfits one network "
            "fools its sibling too: choose an evaluator of another family"
        )
    if problems:
        raise SpecError(problems)
    return Judge(chosen, px, of_another_family=given.has_known_family)


def _published(architecture: Choice) -> Judge | None:
    """A judge with its published weights; None where their file is not here."""
    from midef.models.pretrained import weights_folder

    try:
        weights, where = place_weights(weights_of_judge(architecture), architecture, weights_folder())
    except PreflightError:
        return None
    made = ARCHITECTURES.remake(architecture)
    px = next((size for size in (112, 160, 224) if not made.problems(size)), 112)
    return Judge(architecture, px, weights, where)


def judge_recipe(data: Data, judge: Judge, profile: Profile) -> Recipe:
    """The evaluator, trained on the private train split, or fitted to it."""
    published = None
    if judge.weights is not None:
        published = published_recipe(judge.weights, judge.architecture, judge.resolution_px)
    judged = split_recipe(data.private, judge.resolution_px)
    training = TrainingRecipe.make(profile.evaluator_training)
    return evaluator_recipe(judged, judge.architecture, training, published=published)
