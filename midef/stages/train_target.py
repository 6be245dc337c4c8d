"""Stage: train a classifier under a defense, and load it again."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from midef.core.choice import Choice
from midef.core.errors import SpecError
from midef.core.recipe import Inputs, Recipe
from midef.core.seeds import derive_seed
from midef.defenses import Defense
from midef.defenses._stack import remake_defense
from midef.models import ARCHITECTURES
from midef.models._network import TargetModel
from midef.stages._base import BuildContext
from midef.stages.load_split import load as load_splits
from midef.training import TrainingRecipe
from midef.training.classifier import accuracy, fit_classifier


def build(recipe: Recipe, inputs: Inputs, context: BuildContext, folder: Path) -> dict[str, Any]:
    """Write `model.safetensors` and `training.json`.

    The seed fixes initial weights and the order of batches whatever the defense, so that a defense switched off gives
    the undefended target.

    Raises:
        SpecError: if the defense cannot work on this architecture.
    """
    splits = load_splits(inputs.path("private"))
    seed = int(recipe.params["seed"])
    training = TrainingRecipe.make(recipe.params["training"])
    defense = defense_of(recipe)
    facts = ARCHITECTURES.remake(Choice.from_plain(recipe.params["architecture"])).facts()
    problems = defense.problems(facts)
    if problems:
        raise SpecError(problems)
    torch.manual_seed(derive_seed("weights", seed))
    model = structure(recipe, inputs, len(splits.class_names), resolution_of(recipe))
    checkpoints = None if context.checkpoints is None else context.checkpoints / recipe.key.digest
    start = time.monotonic()
    done = fit_classifier(
        model.to(memory_format=torch.channels_last),
        splits.train,
        splits.select,
        facts=facts,
        recipe=training,
        defense=defense,
        seed=derive_seed("training", seed),
        device=context.device,
        report=context.report,
        checkpoint_folder=checkpoints,
    )
    train_s = time.monotonic() - start
    parents = [needed.key for needed in recipe.inputs.values() if needed.kind == "target"]  # phase one of the defense
    earlier_s = sum(float(context.store.artifacts.meta(key)["facts"]["train_s"]) for key in parents)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    (folder / "training.json").write_text(json.dumps(asdict(done)))
    return {
        "train_s": train_s + earlier_s,
        "train_accuracy": accuracy(model, splits.train, device=context.device),
        "select_accuracy": done.select_accuracy[done.kept_epoch],
        "report_accuracy": accuracy(model, splits.report, device=context.device),
        "classes": len(splits.class_names),
    }


def resolution_of(recipe: Recipe) -> int:
    """Resolution of the images a target or evaluator was trained on."""
    return int(recipe.inputs["private"].params["resolution_px"])


def defense_of(recipe: Recipe) -> Defense:
    """The defense a target was trained under; no defense for an evaluator."""
    chosen = recipe.params.get("defense")
    return remake_defense(Choice("none") if chosen is None else Choice.from_plain(chosen))


def structure(recipe: Recipe, inputs: Inputs, n_classes: int, resolution_px: int) -> TargetModel:
    """The network with fresh weights, after the defense's surgery."""
    architecture = ARCHITECTURES.remake(Choice.from_plain(recipe.params["architecture"]))
    model = architecture.build(n_classes, resolution_px)
    return defense_of(recipe).prepare_model(model, inputs)


def load(recipe: Recipe, folder: Path, context: BuildContext, n_classes: int) -> TargetModel:
    """The trained network of a stored target or evaluator, in eval mode on the context's device."""
    from midef.stages._base import ensure

    inputs = Inputs(recipe.inputs, lambda needed: ensure(needed, context))
    model = structure(recipe, inputs, n_classes, resolution_of(recipe))
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.to(context.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]
