"""Stage: train a classifier under a defense, and load it again."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from midef.core.choice import Choice
from midef.core.errors import DataError, SpecError
from midef.core.recipe import Inputs, Recipe
from midef.core.seeds import derive_seed
from midef.defenses import PHASE_ONE, Defense
from midef.defenses.stack import remake_defense
from midef.models import ARCHITECTURES, ModelFacts
from midef.nn.network import TargetModel
from midef.stages.build import BuildContext, checkpoint_home
from midef.stages.recipes import BACKBONE, PUBLISHED
from midef.stages.split import load as load_splits
from midef.training import TrainingRecipe
from midef.training.classifier.fit import EVALUATED_AT_ONCE, accuracy, fit_classifier
from midef.training.data_parallel import World

WEIGHTS, TRAINING_STATE = "model.safetensors", "companion.safetensors"


def build(recipe: Recipe, inputs: Inputs, context: BuildContext, folder: Path) -> dict[str, Any]:
    """Write `model.safetensors`, `training.json`, and `companion.safetensors` where the defense keeps something.

    The seed fixes initial weights and the order of batches whatever the defense, so that a defense switched off gives
    the undefended target.

    A published backbone is read from its file instead, without a head.

    Raises:
        SpecError: if the defense cannot work on this architecture.
        DataError: if the file of a published backbone is another one than planned, or does not fit.
    """
    if recipe.component == PUBLISHED:
        return _read_published(recipe, context, folder)
    splits = load_splits(inputs.path("private"))
    seed = int(recipe.params["seed"])
    defense = defense_of(recipe)
    planned = recipe.params["training"]
    training = TrainingRecipe.make({**planned, **defense.training_overrides(planned)})
    facts = facts_of(recipe)
    problems = defense.problems(facts)
    if problems:
        raise SpecError(problems)
    torch.manual_seed(derive_seed("weights", seed))
    model = starting_network(recipe, inputs, context, len(splits.class_names))
    kept: dict[str, torch.Tensor] = {}
    micro_batches = math.ceil(1 / context.memory_share)
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
        checkpoint_home=checkpoint_home(context),
        kept=kept,
        micro_batches=micro_batches,
    )
    train_s = time.monotonic() - start
    parent = recipe.inputs.get(PHASE_ONE) or recipe.inputs.get(BACKBONE)  # phase one's seconds hold the backbone's
    earlier_s = 0.0 if parent is None else float(context.store.artifacts.meta(parent.key)["facts"]["train_s"])
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / WEIGHTS)
    if kept:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in kept.items()}, folder / TRAINING_STATE)
    (folder / "training.json").write_text(json.dumps(asdict(done)))
    at_once = max(1, EVALUATED_AT_ONCE // micro_batches)
    judged = partial(accuracy, model, device=context.device, batch_size=at_once, world=World.current())
    return {
        "train_s": train_s + earlier_s,
        "train_accuracy": judged(splits.train),
        "select_accuracy": done.select_accuracy[done.kept_epoch],
        "report_accuracy": judged(splits.report),
        "classes": len(splits.class_names),
        "defense": done.defense,
        **({"micro_batches": micro_batches} if micro_batches > 1 else {}),
    }


def _read_published(recipe: Recipe, context: BuildContext, folder: Path) -> dict[str, Any]:
    """Write the published trunk under our names, the part of our network that no published file has left out."""
    from midef.models.pretrained import own_blocks, read_backbone, sha256_of

    where = context.locations.get(recipe.key.digest, {}).get("path")
    weights, architecture = (
        recipe.params["name"],
        ARCHITECTURES.remake(Choice.from_plain(recipe.params["architecture"])),
    )
    name = recipe.params["architecture"]["name"]
    if where is None:
        raise DataError(f"{weights} weights of {name}: nobody said where their file lies; plan again on this machine")
    if sha256_of(Path(where)) != recipe.params["weights"]["sha256"]:
        raise DataError(f"{where} is another file than the one the plan was made with; plan again")
    model = architecture.build(2, int(recipe.params["resolution_px"]))
    trunk = read_backbone(weights, name, Path(where), model)
    kept = {k: v for k, v in trunk.items() if k.partition(".")[0] not in own_blocks(name)}
    save_file({f"blocks.{k}": v.detach().cpu().contiguous() for k, v in kept.items()}, folder / WEIGHTS)
    return {"train_s": 0.0, "weights": weights, "sha256": recipe.params["weights"]["sha256"]}


def resolution_of(recipe: Recipe) -> int:
    """Resolution of the images a target or evaluator was trained on."""
    return int(recipe.inputs["private"].params["resolution_px"])


def defense_of(recipe: Recipe) -> Defense:
    """The defense a target was trained under; no defense for an evaluator."""
    chosen = recipe.params.get("defense")
    return remake_defense(Choice("none") if chosen is None else Choice.from_plain(chosen))


def facts_of(recipe: Recipe) -> ModelFacts:
    """The facts of a recipe's network before its defense touches it."""
    facts = ARCHITECTURES.remake(Choice.from_plain(recipe.params["architecture"])).facts()
    return replace(facts, pretrained=BACKBONE in recipe.inputs)


def starting_network(recipe: Recipe, inputs: Inputs, context: BuildContext, n_classes: int) -> TargetModel:
    """The network training starts from: fresh, on a pre-trained backbone, or the trained network of phase one."""
    if PHASE_ONE in recipe.inputs:
        model = load(recipe.inputs[PHASE_ONE], inputs.path(PHASE_ONE), context, n_classes).cpu()
    else:
        model = _fresh(recipe, n_classes)
        if BACKBONE in recipe.inputs:
            stored = load_file(inputs.path(BACKBONE) / WEIGHTS)
            blocks = {k.removeprefix("blocks."): v for k, v in stored.items() if k.startswith("blocks.")}
            fresh = model.blocks.state_dict() if recipe.inputs[BACKBONE].component == PUBLISHED else {}
            model.blocks.load_state_dict({**fresh, **blocks})
    return _defend(recipe, model, inputs)


def structure(recipe: Recipe, inputs: Inputs, n_classes: int) -> TargetModel:
    """The network after the surgery of its defense (and of its phase one), weights to be loaded into it."""
    if PHASE_ONE in recipe.inputs:
        model = structure(recipe.inputs[PHASE_ONE], inputs, n_classes)
    else:
        model = _fresh(recipe, n_classes)
    return _defend(recipe, model, inputs)


def _fresh(recipe: Recipe, n_classes: int) -> TargetModel:
    architecture = ARCHITECTURES.remake(Choice.from_plain(recipe.params["architecture"]))
    return architecture.build(n_classes, resolution_of(recipe))


def _defend(recipe: Recipe, model: TargetModel, inputs: Inputs) -> TargetModel:
    """The surgery of the defense; on a network of phase one, what phase one has not had yet."""
    defense = defense_of(recipe)
    if PHASE_ONE in recipe.inputs:
        defense = defense.second_phase()
    model = defense.prepare_model(model, inputs)
    model.head = defense.prepare_head(model.head)
    return model


def load(recipe: Recipe, folder: Path, context: BuildContext, n_classes: int) -> TargetModel:
    """The trained network of a stored target or evaluator, in eval mode on the context's device."""
    from midef.stages.build import ensure

    inputs = Inputs(recipe.inputs, lambda needed: ensure(needed, context))
    model = structure(recipe, inputs, n_classes)
    model.load_state_dict(load_file(folder / WEIGHTS))
    return model.to(context.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]
