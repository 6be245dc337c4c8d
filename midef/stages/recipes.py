"""The recipes that cells are made of: splits, targets, evaluators, published weights, regressors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from midef.core.canonical import plain
from midef.core.choice import Choice
from midef.core.errors import SpecError
from midef.core.recipe import Recipe
from midef.datasets import DATASETS
from midef.datasets.base import PATHS
from midef.defenses.base import DEFENSES, STACK, Defense
from midef.defenses.stack import name_of, remake_defense
from midef.models import ARCHITECTURES
from midef.stages.drawn import drawn_as
from midef.stages.judges import problems_as_target, weights_of_judge
from midef.training import TrainingRecipe

# Bumped when the maths of a stage changes; what depends on it is then built anew.
SPLIT_VERSION = 1
TRAINING_VERSION = 1
SERVED_VERSION = 1
FITTED_HEAD_VERSION = 1
ATTACK_VERSION = 1
SCORES_VERSION = 4
REGRESSOR_VERSION = 1
GIVEN_VERSION = 1

REGRESSOR_IMAGES = 30_000
"""Images a trait regressor is trained on where nothing else is said."""


# Cells share recipes and what recipes are made of, and naming one takes as long as hashing it.
FEW, _MANY = 1024, 2**16
"""Kept for the next cell: things there is one of per component or setup, and targets, which the next attack needs."""


@lru_cache(FEW)
def split_recipe(dataset: Choice, resolution_px: int) -> Recipe:
    """Three splits of a dataset at a resolution. `dataset.params` hold a fingerprint in place of paths."""
    params = {"params": dataset.params, "component_version": dataset.version, "resolution_px": resolution_px}
    return Recipe("split", dataset.name, params, version=SPLIT_VERSION)


@lru_cache(_MANY)
def target_recipe(
    private: Recipe,
    architecture: Choice,
    defense: Choice,
    training: TrainingRecipe,
    *,
    seed: int,
    pretraining: Recipe | None = None,
    pretraining_training: TrainingRecipe | None = None,
    published: Recipe | None = None,
    public: Recipe | None = None,
) -> Recipe:
    """A classifier trained on private data under a defense, with whatever the defense starts from.

    One whose defense answers with the help of artifacts is the trained network of another target, of its other parts.

    Args:
        pretraining: labelled images its backbone learns first, undefended, once for all defenses and seeds.
        pretraining_training: how the backbone learns them; None as the target itself.
        published: weights its backbone starts from instead.
        public: images the defender of answers may take his own data from; needed by some (`needs_public`).

    Raises:
        SpecError: if the architecture only judges, or a defense that needs them is given no public images.
    """
    if problems := problems_as_target(architecture):
        raise SpecError(problems)
    params: dict[str, Any] = {
        "architecture": keyed(architecture),
        "training": training,
        "seed": seed,
        "defense": keyed(defense),
    }
    if defense.name != NO_DEFENSE.name:

        def under(*parts: Defense) -> Recipe:
            return target_recipe(
                private,
                architecture,
                _chosen(parts),
                training,
                seed=seed,
                pretraining=pretraining,
                pretraining_training=pretraining_training,
                published=published,
                public=public if needs_public(*parts) else None,
            )

        if artifacts := _artifacts_of_answers(defense_of(defense), under, public):
            return Recipe("target", SERVED, params, {"private": private, **artifacts}, SERVED_VERSION)
        undefended = under()
        inputs = {**undefended.inputs, **defense_of(defense).requires(undefended)}
        return Recipe("target", CLASSIFIER, params, inputs, TRAINING_VERSION)
    inputs = {"private": private}
    if pretraining is not None:
        backbone = {**params, "seed": 0, "training": pretraining_training or training}
        inputs[BACKBONE] = Recipe("target", CLASSIFIER, backbone, {"private": pretraining}, TRAINING_VERSION)
    if published is not None:
        inputs[BACKBONE] = published
    return Recipe("target", CLASSIFIER, params, inputs, TRAINING_VERSION)


def given_recipe(private: Recipe, given: Choice) -> Recipe:
    """A target that was trained elsewhere, as an audit was given it; one for all seeds of an attack.

    Args:
        private: images that it is measured on.
        given: `midef.stages.given.Given.choice`, which names it by what its tensors hold.
    """
    params = {"architecture": given.keyed, "defense": NO_DEFENSE.keyed, "seed": 0}
    return Recipe("target", GIVEN, params, {"private": private}, GIVEN_VERSION)


def needs_public(*parts: Defense) -> bool:
    """Whether one of these parts of a defense may ask for images of the defender's own to prepare its answers."""
    return any(type(part).serving is not Defense.serving for part in parts)


def _artifacts_of_answers(
    defense: Defense, under: Callable[..., Recipe], public: Recipe | None
) -> Mapping[str, Recipe]:
    """What the answers of a target start from, by role: its trained network, and what each part asks for.

    A part sees the answers of those before it, so what it prepares depends on them.

    Args:
        under: the same target under some parts of the defense.
    """
    parts, found = defense.parts(), dict[str, Recipe]()
    for i, part in enumerate(parts):
        if needs_public(part):
            before = [other for j, other in enumerate(parts) if other.acts_on_training or j < i]
            found |= {f"{name_of(part)}.{role}": r for role, r in part.serving(under(*before), public).items()}
    if found:
        found[TRAINED] = under(*(part for part in parts if part.acts_on_training))
    return found


def _chosen(parts: Sequence[Defense]) -> Choice:
    """The choice of these parts of a defense."""
    chosen = [DEFENSES.describe(part) for part in parts]
    if len(chosen) < 2:
        return chosen[0] if chosen else NO_DEFENSE
    return Choice(STACK, {"members": [choice.keyed for choice in chosen]}, 1, "+".join(c.label for c in chosen))


@lru_cache(FEW)
def evaluator_recipe(
    private: Recipe, architecture: Choice, training: TrainingRecipe, *, published: Recipe | None = None
) -> Recipe:
    """The evaluator: one for all targets, defenses and seeds.

    Args:
        training: nothing of it is used for an architecture that only judges.
        published: weights its backbone starts from; of an architecture that only judges, those it has.

    Raises:
        SpecError: for an architecture that only judges, without its weights.
    """
    if ARCHITECTURES.get(architecture.name).judges_only:
        if published is None:
            weights = weights_of_judge(architecture) or "its own"
            raise SpecError(
                f"{architecture.name} judges with published weights ({weights}), got none; give the setup "
                "evaluator_weights, made by place_weights"
            )
        inputs = {"private": private, BACKBONE: published}
        return Recipe("evaluator", FITTED_HEAD, {"architecture": architecture.keyed}, inputs, FITTED_HEAD_VERSION)
    params = {"architecture": architecture.keyed, "training": training, "seed": 0}
    inputs = {"private": private} if published is None else {"private": private, BACKBONE: published}
    return Recipe("evaluator", CLASSIFIER, params, inputs, TRAINING_VERSION)


@lru_cache(FEW)
def published_recipe(weights: Choice, architecture: Choice, resolution_px: int) -> Recipe:
    """A published trunk under the names of our architecture. `weights.params` hold the sha256 of its file."""
    params = {"weights": weights.params, "architecture": architecture.keyed, "resolution_px": resolution_px}
    return Recipe("target", PUBLISHED, {**params, "name": weights.name}, version=TRAINING_VERSION)


def regressor_recipe(private: Recipe, images: int) -> Recipe | None:
    """The network that reads traits from images like those of a split: one for all data drawn in the same way.

    None where the data is not drawn from traits.

    Args:
        images: that it is trained on; drawn for it, of nobody in the split.
    """
    drawn = drawn_as(private)
    if drawn is None:
        return None
    params = {"drawn": drawn.keyed, "resolution_px": private.params["resolution_px"], "images": images, "seed": 0}
    return Recipe("regressor", "traits", params, version=REGRESSOR_VERSION)


@lru_cache(FEW)
def defense_of(choice: Choice) -> Defense:
    """The defense that a choice stands for, made once."""
    return remake_defense(choice)


@lru_cache(FEW)
def keyed(choice: Choice) -> Any:
    """A choice as it enters a recipe, the same object for all that share it."""
    return plain(choice.keyed)


def words_of(recipe: Recipe) -> str:
    """A recipe in a few words, for people: `target midre seed 0`."""
    if recipe.component == PUBLISHED:
        return f"weights {recipe.params.get('name', '')}"
    if recipe.kind == "target":
        return f"target {_under(recipe)}"
    if recipe.kind == "reconstructions" and "target" in recipe.inputs:
        return f"reconstructions {recipe.component} on {_under(recipe.inputs['target'], recipe.params.get('seed'))}"
    return recipe.kind if recipe.kind == "scores" else f"{recipe.kind} {recipe.component}"


def _under(target: Recipe, seed: object = None) -> str:
    """Defense of a target, and a seed: its own where none is given."""
    seed = target.params.get("seed", 0) if seed is None else seed
    return f"{target.params.get('defense', {}).get('name', target.component)} seed {seed}"


def place_dataset(choice: Choice) -> tuple[Choice, dict[str, Any]]:
    """Split a data set's parameters into those that name it and the paths of its files.

    Returns:
        the choice with a fingerprint of the files in place of their paths, for a `Setup`; and the paths, absolute, for
        `BuildContext.locations` under the digest of the split recipe.

    Raises:
        DataError: if the files cannot be read.
    """
    names = {f.name: f for f in fields(cast(Any, DATASETS.get(choice.name))) if f.metadata.get("location")}
    where = {k: v for k, v in choice.params.items() if k in names}
    for name in PATHS & set(where):
        where[name] = str(Path(where[name]).expanduser().absolute()) if where[name] else where[name]
    params = {k: v for k, v in choice.params.items() if k not in names}
    if fingerprint := DATASETS.make(choice.name, {**choice.params, **where}).fingerprint():
        params["fingerprint"] = fingerprint
    return Choice(choice.name, params, choice.version, choice.label), where


def place_weights(name: str, architecture: Choice, folder: Path) -> tuple[Choice, dict[str, Any]]:
    """Published weights for a `Setup`, named by what their file holds, and the path for `BuildContext.locations`.

    Raises:
        SpecError: if no weights of this name are published for the architecture.
        PreflightError: if the file is not in `folder`, saying which file and where to get it.
        DataError: if it is damaged.
    """
    from midef.models.pretrained import verify, weight_file

    path = weight_file(name, architecture.name, folder)
    return Choice(name, {"sha256": verify(name, architecture.name, path)}, 1, name), {"path": str(path)}


ALIKE = "alike"
"""Role of the private images that reconstructions are compared with, where these are larger than the target takes."""
UNDEFENDED = "undefended"
"""Role of the same target, trained without its defense, whose scores served ones are compared with."""
BACKBONE = "backbone"
"""Role of the target whose blocks a training starts from: learned on other images, with another head."""
GIVEN = "given"
"""Component of a target that was trained elsewhere, and of the choice that says which it is."""
CLASSIFIER = "classifier"
"""Component of a target or evaluator that is trained here."""
FITTED_HEAD = "fitted_head"
"""Component of an evaluator with a published trunk, of which only the head is fitted here."""
PUBLISHED = "published"
"""Component of a backbone that was published instead of trained here."""
SERVED = "served"
"""Component of a target that was trained under another defense, or none, and answers with the help of artifacts."""
TRAINED = "trained"
"""Role of the target whose network such a target answers with."""
NO_DEFENSE = Choice("none", {}, 1)
