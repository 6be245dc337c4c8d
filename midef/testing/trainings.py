"""Trainings small enough to really run, once for each recipe, for the questions of the suite of defenses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from midef.attacks.access import AccessLevel
from midef.core import Choice, Inputs, Recipe
from midef.core.recipe import ArtifactKey
from midef.datasets import DATASETS
from midef.defenses import DEFENSES, Defense, Stack, choose_defense, remake_defense
from midef.defenses.serving import Serving
from midef.models import ARCHITECTURES
from midef.nn.network import TargetModel
from midef.stages import BuildContext, ensure
from midef.stages import target as stage
from midef.stages.handle import handle_of
from midef.stages.recipes import TRAINED, split_recipe, target_recipe
from midef.storage import Store
from midef.training import TrainingRecipe

RESOLUTION_PX = 32
CLASSES = 8
SEED = 3
FACES = DATASETS.choose({"name": "synthetic_faces", "identities": CLASSES, "train_images": 8, "report_images": 2})
PRIVATE = split_recipe(FACES, RESOLUTION_PX)
PUBLIC_FACES = {
    "name": "synthetic_faces",
    "population": "public",
    "identities": 8,
    "train_images": 4,
    "report_images": 1,
}
PUBLIC = split_recipe(DATASETS.choose(PUBLIC_FACES), RESOLUTION_PX)
"""What the defender of answers may take his own data from."""
NETWORKS = ("vgg16_tiny", "resnet18_tiny", "densenet121_tiny")
"""A defense is trained on the first of these it can work on."""
TRAINING = TrainingRecipe(epochs=2, batch_size=16, learning_rate=0.02)


@dataclass
class Trained:
    """A stored target.

    Args:
        weights: as stored.
        probabilities: served for the report split.
        before: logits in the process that trained.
        after: logits once loaded again.
    """

    recipe: Recipe
    weights: dict[str, Tensor]
    probabilities: Tensor
    before: Tensor
    after: Tensor


class Trainings:
    """Trains through the stage, once for each recipe and store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = DATASETS.remake(FACES).load(RESOLUTION_PX).report.images.float() / 255
        self.done: dict[tuple[ArtifactKey, str], Trained] = {}

    def __call__(self, defense: Choice, architecture: Choice, store: str = "store") -> Trained:
        return self.of(target_recipe(PRIVATE, architecture, defense, TRAINING, seed=SEED, public=PUBLIC), store)

    def of(self, recipe: Recipe, store: str) -> Trained:
        """The target of a recipe, and of the first phases it starts from."""
        if (recipe.key, store) not in self.done:
            for phase in recipe.inputs.values():
                if phase.kind == "target":
                    self.of(phase, store)
            self.done[recipe.key, store] = self._train(recipe, store)
        return self.done[recipe.key, store]

    def serving(self, subject: str) -> Serving:
        """The answers of a target under a defense, with the artifacts that they need."""
        recipe = self(written(subject), network_of(subject)).recipe
        context = BuildContext(store=Store.open(self.folder / "store"))
        inputs = Inputs(recipe.inputs, lambda needed: ensure(needed, context))
        return Serving(made(subject), CLASSES, path=inputs.path, secret=SEED)

    def _train(self, recipe: Recipe, store: str) -> Trained:
        seen: list[Tensor] = []

        def spy(model: TargetModel, part: Any, *, device: str, **chunks: Any) -> float:
            model.eval()
            seen.append(answers(model, self.images))
            return 0.0

        context = BuildContext(store=Store.open(self.folder / store))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stage, "accuracy", spy)
            folder = ensure(recipe, context)
        spec = stage.TargetSpec.of(recipe)
        model = stage.load(spec, folder, context, CLASSES)
        assert not model.training
        logits = answers(model, self.images)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            probabilities = handle_of(spec, model, AccessLevel.SCORES, context).scores(self.images)
        before = seen[-1] if seen else self.done[recipe.inputs[TRAINED].key, store].before
        return Trained(recipe, load_file(folder / "model.safetensors"), probabilities, before, logits)


@torch.no_grad()
def answers(model: TargetModel, images: Tensor, seed: int = 0) -> Tensor:
    """Logits; a head that draws when it answers draws the same for the same seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        logits: Tensor = model(images).logits
    return logits


def written(subject: str) -> Choice:
    """The choice of a registered name, at what it runs with on small networks, or of a stack as it is written."""
    if subject not in DEFENSES.names():
        return choose_defense(subject)
    return choose_defense({"name": subject, **DEFENSES.get(subject).small})


def made(subject: str) -> Defense:
    return remake_defense(written(subject))


def network_of(subject: str) -> Choice:
    """The first network a defense can work on."""
    for name in NETWORKS:
        if not made(subject).problems(ARCHITECTURES.make(name).facts()):
            return ARCHITECTURES.choose(name)
    reasons = made(subject).problems(ARCHITECTURES.make(NETWORKS[0]).facts())
    raise AssertionError(f"{subject} works on none of {', '.join(NETWORKS)}: {'; '.join(reasons)}; give it `small`")


def choice_of(defense: Defense) -> Choice:
    if isinstance(defense, Stack):
        return Choice("stack", {"members": [DEFENSES.describe(part).keyed for part in defense.members]})
    return DEFENSES.describe(defense)


def same_weights(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
