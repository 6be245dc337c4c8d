"""One small cell of real stages, built once for all tests that only read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from midef.attacks import ATTACKS
from midef.core import ArtifactKey, Choice, Protocol, Recipe, Setup
from midef.datasets import DATASETS
from midef.models import ARCHITECTURES
from midef.stages import BuildContext, CellRecipes, ensure, recipes_for_cell
from midef.storage import Store
from midef.testing.positions import positions
from midef.training import TrainingRecipe

PEOPLE = {"name": "synthetic_faces", "identities": 8, "train_images": 4, "select_images": 1, "report_images": 2}
GAN = {"width": 4, "latent_dim": 4, "steps": 2, "batch_size": 4}
ATTACKS_HERE: dict[str, dict[str, Any]] = {
    "gmi": {"name": "gmi", "iterations": 2, "prior": GAN},
    "brep_mi": {"name": "brep_mi", "patience": 1, "sphere_points": 2, "pool_batches": 1, "redraws": 2, "prior": GAN},
    "pool_search": {"name": "pool_search", "pool": 4, "iterations": 1, "prior": "renderer"},
    "inversion_model": {"name": "inversion_model", "prior": {"width": 4, "epochs": 1}},
}
TRAINING = TrainingRecipe(epochs=1, batch_size=8)
PlanCell = Callable[..., CellRecipes]


UNDEFENDED = Choice("none")


def plan_cell(
    attack: str | Choice = "gmi",
    *,
    defense: Choice = UNDEFENDED,
    seed: int = 0,
    measured: Mapping[str, Any] | None = None,
    **overrides: Any,
) -> CellRecipes:
    given: dict[str, Any] = {
        "id": "small",
        "attack": attack if isinstance(attack, Choice) else ATTACKS.choose(ATTACKS_HERE[attack]),
        "architecture": ARCHITECTURES.choose("vgg16_tiny"),
        "private": DATASETS.choose(PEOPLE),
        "public": DATASETS.choose({**PEOPLE, "population": "public"}),
        "evaluator": ARCHITECTURES.choose("resnet18_tiny"),
        "resolution_px": 32,
        "protocol": Protocol(identities=6, images_per_identity=3, evaluator_resolution_px=40),
        **overrides,
    }
    return recipes_for_cell(
        Setup(**given),
        defense,
        seed,
        training=TRAINING,
        evaluator_training=TRAINING,
        regressor_images=64,
        **(measured or {}),
    )


@pytest.fixture(scope="session")
def plan() -> PlanCell:
    """Names the recipes of a small cell; nothing is built."""
    return plan_cell


@pytest.fixture(scope="session")
def plan_measured() -> PlanCell:
    """Names the recipes of that cell where other metrics are measured: arguments are those of `recipes_for_cell`."""
    return lambda attack="gmi", **measured: plan_cell(attack, measured=measured)


@dataclass(frozen=True)
class Built:
    """A finished cell.

    Args:
        built: every recipe a builder worked on, in that order.
        told: positions of each.
    """

    recipes: CellRecipes
    context: BuildContext
    built: list[Recipe]
    told: dict[ArtifactKey, list[float]] = field(default_factory=dict)

    def folder(self, role: str) -> Path:
        return self.context.store.artifacts.fetch(getattr(self.recipes, role).key)

    def facts(self, role: str) -> dict[str, Any]:
        facts: dict[str, Any] = self.context.store.artifacts.meta(getattr(self.recipes, role).key)["facts"]
        return facts


@pytest.fixture(scope="session")
def builds() -> Callable[..., list[Recipe]]:
    """Writes down every recipe that is really built from now on, and the positions it tells."""
    from midef.stages import build

    def watch(patch: pytest.MonkeyPatch, told: dict[ArtifactKey, list[float]] | None = None) -> list[Recipe]:
        seen: list[Recipe] = []
        plain_build = build.build_recipe

        def spy(recipe: Recipe, context: BuildContext, **given: Any) -> None:
            with positions() as of_recipe:
                plain_build(recipe, context, **given)
            if told is not None:
                told[recipe.key] = of_recipe
            seen.append(recipe)

        patch.setattr(build, "build_recipe", spy)
        return seen

    return watch


@pytest.fixture(scope="session")
def cell(tmp_path_factory: pytest.TempPathFactory, builds: Callable[..., list[Recipe]]) -> Built:
    """GMI on an undefended target. Read it, never change it."""
    context = BuildContext(store=Store.open(tmp_path_factory.mktemp("cell") / "store"))
    recipes = plan_cell()
    told: dict[ArtifactKey, list[float]] = {}
    with pytest.MonkeyPatch.context() as patch:
        built = builds(patch, told)
        ensure(recipes.scores, context)
    return Built(recipes, context, list(built), told)


@pytest.fixture
def own_cell(cell: Built, tmp_path: Path) -> Built:
    """A copy of the finished cell that a test may damage."""
    import shutil

    shutil.copytree(cell.context.store.uri, tmp_path / "store")
    return Built(cell.recipes, BuildContext(store=Store.open(tmp_path / "store")), [])
