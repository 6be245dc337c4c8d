"""Where a training starts from, and what it leaves beside the weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from typing_extensions import override

from midef.core import Choice, Recipe
from midef.core.recipe import Inputs
from midef.datasets import DATASETS
from midef.defenses import DEFENSES, PHASE_ONE, Defense
from midef.defenses.base import defended_as
from midef.defenses.training_state import TrainingFacts, TrainingState
from midef.models import ARCHITECTURES
from midef.nn.network import Forward, TargetModel
from midef.stages import BuildContext, ensure
from midef.stages.recipes import split_recipe, target_recipe
from midef.stages.target import TargetSpec, load, starting_network
from midef.storage import Store
from midef.training import TrainingRecipe

PEOPLE = {"name": "synthetic_faces", "identities": 6, "train_images": 4, "select_images": 1, "report_images": 1}
PRIVATE = split_recipe(DATASETS.choose(PEOPLE), 32)
OTHERS = split_recipe(DATASETS.choose({**PEOPLE, "identities": 9, "seed": 1}), 32)
TINY = ARCHITECTURES.choose("vgg16_tiny")
TRAINING = TrainingRecipe(epochs=1, batch_size=8)


class Counter(TrainingState):
    """Counts its steps and keeps a tensor."""

    steps = 0

    @override
    def before_step(self, model: TargetModel, batch: Any, progress: float, rng: Any) -> Any:
        self.steps += 1
        return batch, None

    @override
    def stored_tensors(self) -> dict[str, Tensor]:
        return {"ones": torch.ones(2)}

    @override
    def facts(self, run: Callable[[Tensor], Forward], images: Tensor) -> dict[str, float]:
        return {"steps": float(self.steps), "images": float(len(images))}


@dataclass(frozen=True, kw_only=True)
class Doubling(Defense):
    """A second phase of its own: from `inner`'s network, twice the epochs, another head, a training state."""

    paper: ClassVar[str] = "test"

    phases: int = 1

    @override
    def requires(self, undefended: Recipe) -> Mapping[str, Recipe]:
        earlier = Doubling(phases=self.phases - 1)
        return {PHASE_ONE: defended_as(undefended, earlier) if self.phases > 1 else undefended}

    @override
    def training_overrides(self, training: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"epochs": 2 * training["epochs"]}

    @override
    def prepare_head(self, head: nn.Module) -> nn.Module:
        return nn.Sequential(head, nn.Identity())

    @override
    def training_state(self, model: TargetModel, facts: TrainingFacts) -> TrainingState | None:
        assert facts.images == 24 and facts.batch_size == 8 and facts.resolution_px == 32
        return Counter()

    @override
    def off(self) -> Doubling:
        return self


@pytest.fixture(autouse=True)
def doubling() -> Iterator[None]:
    DEFENSES.names()
    DEFENSES.add("doubling")(Doubling)
    yield
    del DEFENSES._classes["doubling"]


@pytest.fixture
def context(tmp_path: Path) -> BuildContext:
    torch.set_num_threads(1)
    return BuildContext(store=Store.open(tmp_path / "store"))


def target(defense: str = "none", seed: int = 0, pretraining: Recipe | None = None) -> Recipe:
    chosen = DEFENSES.choose(defense)
    return target_recipe(PRIVATE, TINY, chosen, TRAINING, seed=seed, pretraining=pretraining)


def test_a_backbone_gives_its_blocks_and_keeps_its_head(context: BuildContext) -> None:
    recipe = target(pretraining=OTHERS)
    backbone = load_file(ensure(recipe.inputs["backbone"], context) / "model.safetensors")
    assert backbone["head.weight"].shape[0] == 9
    inputs = Inputs(recipe.inputs, lambda needed: ensure(needed, context))
    network = starting_network(TargetSpec.of(recipe), inputs, context, 6).state_dict()
    assert network["head.weight"].shape[0] == 6
    assert all(torch.equal(v, backbone[k]) for k, v in network.items() if k.startswith("blocks."))
    facts = context.store.artifacts.meta(ensure(recipe, context) and recipe.key)["facts"]
    parent = context.store.artifacts.meta(recipe.inputs["backbone"].key)["facts"]
    assert facts["train_s"] > parent["train_s"], "the cost of a target includes its backbone's"


def test_a_backbone_is_shared_by_seeds_and_defenses() -> None:
    keys = {target(d, s, OTHERS).inputs["backbone"].key for d in ("none", "midre") for s in (0, 1)}
    assert len(keys) == 1
    assert target(pretraining=OTHERS).key != target().key


def test_a_second_phase_starts_from_the_first_ones_network_and_head(context: BuildContext) -> None:
    recipe = target("doubling(phases=2)")
    first = recipe.inputs[PHASE_ONE]
    assert first == target("doubling") and first.inputs[PHASE_ONE] == target()
    earlier = load_file(ensure(first, context) / "model.safetensors")
    assert {k for k in earlier if k.startswith("head")} == {"head.0.weight", "head.0.bias"}
    inputs = Inputs(recipe.inputs, lambda needed: ensure(needed, context))
    start = starting_network(TargetSpec.of(recipe), inputs, context, 6).state_dict()
    assert torch.equal(start["head.0.0.weight"], earlier["head.0.weight"])
    assert all(torch.equal(v, earlier[k]) for k, v in start.items() if k.startswith("blocks."))
    folder = ensure(recipe, context)
    images = torch.rand(2, 3, 32, 32)
    loaded = load(TargetSpec.of(recipe), folder, context, 6)
    assert torch.equal(loaded.head[0][0].weight, load_file(folder / "model.safetensors")["head.0.0.weight"])
    assert loaded(images).logits.shape == (2, 6)


def test_the_training_is_the_defenses_and_its_state_is_kept(context: BuildContext) -> None:
    folder = ensure(target("doubling"), context)
    report = json.loads((folder / "training.json").read_text())
    assert len(report["loss"]) == 2, "the defense asked for twice the epochs"
    assert report["defense"] == {"steps": 6.0, "images": 6.0}
    assert torch.equal(load_file(folder / "companion.safetensors")["ones"], torch.ones(2))
    assert context.store.artifacts.meta(target("doubling").key)["facts"]["defense"] == report["defense"]
    assert not (ensure(target(), context) / "companion.safetensors").exists()


def test_loading_needs_no_other_artifact(context: BuildContext) -> None:
    recipe = target("doubling")
    folder = ensure(recipe, context)
    alone = BuildContext(store=Store.open(folder.parents[3] / "empty"))
    assert load(TargetSpec.of(recipe), folder, alone, 6)(torch.rand(1, 3, 32, 32)).logits.shape == (1, 6)


def test_the_defense_of_a_target_is_part_of_its_name() -> None:
    assert Choice.from_plain(target("midre").params["defense"]).name == "midre"
    assert target("midre").key != target().key
