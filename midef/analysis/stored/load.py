"""Splits, networks and answers of a stored sweep. Nothing is built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from midef.core.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from midef.attacks.target_handle import TargetHandle
    from midef.core.recipe import Recipe
    from midef.datasets import Splits
    from midef.defenses import Defense
    from midef.defenses.families.alignment import Substitute
    from midef.nn.network import TargetModel
    from midef.stages.target import TargetSpec
    from midef.storage import Store


def splits_of(recipe: Recipe, store: Store) -> Splits:
    """The three splits of a data set."""
    from midef.stages.split import load

    return load(store.artifacts.fetch(recipe.key))


def target_of(recipe: Recipe, store: Store, classes: int) -> TargetModel:
    """The trained network of a target, in eval mode."""
    from midef.stages import BuildContext
    from midef.stages.target import TargetSpec, load

    return load(TargetSpec.of(recipe), store.artifacts.fetch(recipe.key), BuildContext(store=store), classes)


def features_of(model: TargetModel, images: Tensor) -> Tensor:
    """Penultimate features [N, D] of images [N, 3, H, W] uint8, without gradients."""
    with torch.no_grad():
        return torch.cat([model(part.float() / 255).features for part in images.split(256)])


def spread_over(images: Tensor, most: int) -> Tensor:
    """At most so many of the images [N, ...], evenly spread over them."""
    return images[torch.linspace(0, len(images) - 1, min(len(images), most)).long()]


def needed_to_ask(target: Recipe) -> Sequence[Recipe]:
    """A target, and what its answers need beside its weights."""
    return [target, *(recipe for recipe in target.inputs.values() if recipe.kind == "substitute")]


@dataclass(frozen=True)
class Asked:
    """A stored target that can be asked with and without what its defense does to answers.

    Args:
        spec: the target as its recipe says.
        model: its network.
    """

    spec: TargetSpec
    model: TargetModel
    store: Store

    def served(self, images: Tensor, defense: Defense | None = None) -> Tensor:
        """Scores [N, K] that it serves for images [N, 3, H, W] uint8.

        Args:
            defense: what changes the answers instead of its own; one that needs the same artifacts.
        """
        return self._answers(replace(self.spec, defense=defense or self.spec.defense), images)

    def clean(self, images: Tensor) -> Tensor:
        """Scores [N, K] of its network."""
        from midef.defenses.stack import remake_defense
        from midef.stages.recipes import NO_DEFENSE

        return self._answers(replace(self.spec, defense=remake_defense(NO_DEFENSE)), images)

    def substitute(self) -> Substitute:
        """The inversion network that the first part of its defense that poisons answers does so with.

        Raises:
            StopIteration: if no part poisons answers.
        """
        from midef.defenses.families.poisoning import Poisoning
        from midef.defenses.serving import Served
        from midef.defenses.stack import name_of

        part = next(p for p in self.spec.defense.parts() if isinstance(p, Poisoning) and not p.is_off)

        def path(role: str) -> Path:
            return self.store.artifacts.fetch(self.spec.inputs[f"{name_of(part)}.{role}"].key)

        return part.load(Served(self.model.n_classes, self.spec.resolution_px, "cpu", path))

    def _answers(self, spec: TargetSpec, images: Tensor) -> Tensor:
        from midef.attacks.access import AccessLevel
        from midef.core.seeds import derive_seed
        from midef.stages import BuildContext
        from midef.stages.handle import handle_of

        handle: TargetHandle = handle_of(spec, self.model, AccessLevel.SCORES, BuildContext(store=self.store))
        with torch.random.fork_rng():
            torch.manual_seed(derive_seed("analysis", spec.seed))  # for a head that samples: both draw alike
            return torch.cat(list(handle.in_chunks(handle.scores, images)))


def asked_of(recipe: Recipe, store: Store, classes: int) -> Asked:
    """A stored target, to be asked."""
    from midef.stages.target import TargetSpec

    return Asked(TargetSpec.of(recipe), target_of(recipe, store, classes), store)
