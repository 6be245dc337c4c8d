"""Stage: train a classifier under a defense, and load it again."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from midef.attacks.access import AccessLevel
from midef.core.choice import Choice
from midef.core.errors import DataError, SpecError
from midef.core.position import share
from midef.core.recipe import Inputs, Recipe
from midef.core.seeds import derive_seed
from midef.datasets import Images, Splits
from midef.defenses import PHASE_ONE, Defense
from midef.defenses.stack import remake_defense
from midef.models import ARCHITECTURES, Architecture, ModelFacts
from midef.nn.network import TargetModel
from midef.nn.weights import read_stored
from midef.stages import given
from midef.stages.build import BuildContext, checkpoint_home
from midef.stages.handle import handle_of, served_labels
from midef.stages.recipes import BACKBONE, GIVEN, NO_DEFENSE, PUBLISHED, SERVED, TRAINED
from midef.stages.split import load as load_splits
from midef.training import TrainingRecipe
from midef.training.classifier.evaluate import EVALUATED_AT_ONCE, accuracy
from midef.training.classifier.fit import TRAINING_WORK, FitReport, epochs_until, fit_classifier
from midef.training.data_parallel import World

WEIGHTS, TRAINING_STATE = "model.safetensors", "companion.safetensors"


@dataclass(frozen=True, kw_only=True)
class TargetSpec:
    """A target or evaluator, decoded from its recipe.

    Args:
        defense: `none` for an evaluator.
        training: as planned, with the fields that the defense sets itself.
        resolution_px: of the images it is trained on.
        inputs: recipes it starts from, by role.
        phase_one: the target whose trained network it starts from; None without one.
    """

    architecture: Architecture
    defense: Defense
    training: TrainingRecipe
    seed: int
    resolution_px: int
    inputs: Mapping[str, Recipe]
    phase_one: TargetSpec | None

    @classmethod
    def of(cls, recipe: Recipe) -> TargetSpec:
        """Decode the recipe of a target or evaluator that is trained here."""
        params, inputs = recipe.params, recipe.inputs
        if recipe.component == GIVEN:
            return cls._given(recipe)
        defense = remake_defense(Choice.from_plain(params["defense"]) if "defense" in params else NO_DEFENSE)
        planned = params["training"]
        return cls(
            architecture=ARCHITECTURES.remake(Choice.from_plain(params["architecture"])),
            defense=defense,
            training=TrainingRecipe.make({**planned, **defense.training_overrides(planned)}),
            seed=int(params["seed"]),
            resolution_px=int(inputs["private"].params["resolution_px"]),
            inputs=inputs,
            phase_one=cls.of(inputs[PHASE_ONE]) if PHASE_ONE in inputs else None,
        )

    @classmethod
    def _given(cls, recipe: Recipe) -> TargetSpec:
        """A target that was trained elsewhere; nothing of `training` is used."""
        return cls(
            architecture=given.Given.of(Choice.from_plain(recipe.params["architecture"])),
            defense=remake_defense(NO_DEFENSE),
            training=TrainingRecipe(),
            seed=int(recipe.params["seed"]),
            resolution_px=int(recipe.inputs["private"].params["resolution_px"]),
            inputs=recipe.inputs,
            phase_one=None,
        )

    @property
    def facts(self) -> ModelFacts:
        """Facts of the network before the defense changes it."""
        return replace(self.architecture.facts(), pretrained=BACKBONE in self.inputs)


def build(recipe: Recipe, inputs: Inputs, context: BuildContext, folder: Path) -> dict[str, Any]:
    """Write `model.safetensors`, `training.json`, and `companion.safetensors` where the training state has tensors.

    The seed fixes initial weights and the order of batches whatever the defense, so that a defense switched off gives
    the undefended target.

    A published backbone is read from its file instead, without a head; a target that only answers differently from
    another takes its network, and one that was trained elsewhere is stored as it was given. The accuracies are those
    of what is served, except on the train split.

    Raises:
        SpecError: if the defense cannot work on this architecture.
        DataError: if the file of a published backbone is another one than planned, or does not fit.
    """
    if recipe.component == GIVEN:
        return given.build(recipe, inputs, context, folder)
    if recipe.component == PUBLISHED:
        return _read_published(recipe, context, folder)
    if recipe.component == SERVED:
        return _take_trained(recipe, inputs, context, folder)
    spec = TargetSpec.of(recipe)
    if problems := spec.defense.problems(spec.facts):
        raise SpecError(problems)
    splits = load_splits(inputs.path("private"))
    torch.manual_seed(derive_seed("weights", spec.seed))
    model = starting_network(spec, inputs, context, len(splits.class_names))
    state_tensors: dict[str, torch.Tensor] = {}
    micro_batches = math.ceil(1 / context.memory_share)
    start = time.monotonic()
    at_once = max(1, EVALUATED_AT_ONCE // micro_batches)
    accuracy_on = partial(accuracy, model, device=context.device, batch_size=at_once, world=World.current())
    epochs = epochs_until(spec.defense.ends_at, spec.training.epochs) if spec.defense.trains else 0
    trained, measured = _shares(splits, epochs)
    with share(0.0, trained):
        model.to(memory_format=torch.channels_last)
        if spec.defense.trains:
            done = fit_classifier(
                model,
                splits.train,
                splits.select,
                facts=spec.facts,
                recipe=spec.training,
                defense=spec.defense,
                seed=derive_seed("training", spec.seed),
                device=context.device,
                report=context.report,
                checkpoint_folder=None if context.checkpoints is None else context.checkpoints / recipe.key.digest,
                checkpoint_home=checkpoint_home(context),
                state_tensors=state_tensors,
                micro_batches=micro_batches,
            )
        else:
            model.to(context.device)
            done = FitReport(select_accuracy=[accuracy_on(splits.select)], kept_epoch=0)
    train_s = time.monotonic() - start
    parent = recipe.inputs.get(PHASE_ONE) or recipe.inputs.get(BACKBONE)  # phase one's seconds hold the backbone's
    earlier_s = 0.0 if parent is None else float(context.store.artifacts.meta(parent.key)["facts"]["train_s"])
    save(model.state_dict(), folder / WEIGHTS)
    if state_tensors:
        save(state_tensors, folder / TRAINING_STATE)
    (folder / "training.json").write_text(json.dumps(asdict(done)))
    with share(trained, measured):
        train_accuracy = accuracy_on(splits.train)
    with share(measured, 1.0):
        report_accuracy = accuracy_on(splits.report)
    return {
        "train_s": train_s + earlier_s,
        "train_accuracy": train_accuracy,
        "select_accuracy": done.select_accuracy[done.kept_epoch],
        "report_accuracy": report_accuracy,
        "classes": len(splits.class_names),
        "defense": done.defense,
        **_served_accuracies(spec, model, splits, context),
        **({"micro_batches": micro_batches} if micro_batches > 1 else {}),
    }


def _take_trained(recipe: Recipe, inputs: Inputs, context: BuildContext, folder: Path) -> dict[str, Any]:
    """Write the network of the target that answers here, and its facts with the accuracies of what is served."""
    spec, trained = TargetSpec.of(recipe), inputs.path(TRAINED)
    for name in (WEIGHTS, TRAINING_STATE, "training.json"):
        if (trained / name).exists():
            shutil.copyfile(trained / name, folder / name)
    facts = context.store.artifacts.meta(recipe.inputs[TRAINED].key)["facts"]
    kept = {name: value for name, value in facts.items() if name not in ("device", "peak_memory_mb")}
    splits = load_splits(inputs.path("private"))
    model = load(spec, trained, context, len(splits.class_names))
    return {**kept, **_served_accuracies(spec, model, splits, context)}


def _served_accuracies(spec: TargetSpec, model: TargetModel, splits: Splits, context: BuildContext) -> dict[str, float]:
    """Accuracy of the answers in percent, on the splits that it is matched and reported by.

    Nothing where every answer keeps the class of the network, whose accuracy it then is.
    """
    if spec.defense.keeps_labels:
        return {}
    torch.manual_seed(derive_seed("served", spec.seed))  # for a head that samples
    handle = handle_of(spec, model, AccessLevel.LABELS, context)

    def accuracy_of(part: Images) -> float:
        return 100.0 * float((served_labels(handle, part.images) == part.labels).float().mean())

    return {"select_accuracy": accuracy_of(splits.select), "report_accuracy": accuracy_of(splits.report)}


def _shares(splits: Splits, epochs: int) -> tuple[float, float]:
    """Shares of the work after the training, and after its images were classified once more."""
    training = epochs * (TRAINING_WORK * len(splits.train) + len(splits.select))
    whole = training + len(splits.train) + len(splits.report)
    return training / whole, (training + len(splits.train)) / whole


def save(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write tensors as a safetensors file."""
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)


def _read_published(recipe: Recipe, context: BuildContext, folder: Path) -> dict[str, Any]:
    """Write the published trunk under our names, the part of our network that no published file has left out."""
    from midef.models.pretrained import read_backbone, unpublished_blocks
    from midef.nn.named_file import sha256_of

    where = context.locations.get(recipe.key.digest, {}).get("path")
    weights, sha256 = recipe.params["name"], recipe.params["weights"]["sha256"]
    architecture = Choice.from_plain(recipe.params["architecture"])
    name = architecture.name
    if where is None:
        raise DataError(f"{weights} weights of {name}: no path recorded for the file; plan again on this machine")
    if sha256_of(Path(where)) != sha256:
        raise DataError(f"{where} is another file than the one the plan was made with; plan again")
    model = ARCHITECTURES.remake(architecture).build(2, int(recipe.params["resolution_px"]))
    trunk = read_backbone(weights, name, Path(where), model)
    unpublished = unpublished_blocks(name)
    save({f"blocks.{k}": v for k, v in trunk.items() if k.partition(".")[0] not in unpublished}, folder / WEIGHTS)
    return {"train_s": 0.0, "weights": weights, "sha256": sha256}


def starting_network(spec: TargetSpec, inputs: Inputs, context: BuildContext, n_classes: int) -> TargetModel:
    """The network training starts from: fresh, on a pre-trained backbone, or the trained network of phase one."""
    if spec.phase_one is not None:
        model = load(spec.phase_one, inputs.path(PHASE_ONE), context, n_classes).cpu()
    else:
        model = spec.architecture.build(n_classes, spec.resolution_px)
        if BACKBONE in spec.inputs:
            stored = read_stored(inputs.path(BACKBONE) / WEIGHTS)
            blocks = {k.removeprefix("blocks."): v for k, v in stored.items() if k.startswith("blocks.")}
            fresh = model.blocks.state_dict() if spec.inputs[BACKBONE].component == PUBLISHED else {}
            model.blocks.load_state_dict({**fresh, **blocks})
    return _defend(spec, model, inputs)


def structure(spec: TargetSpec, inputs: Inputs, n_classes: int) -> TargetModel:
    """The network after the surgery of its defense (and of its phase one), weights to be loaded into it."""
    if spec.phase_one is not None:
        model = structure(spec.phase_one, inputs, n_classes)
    else:
        model = spec.architecture.build(n_classes, spec.resolution_px)
    return _defend(spec, model, inputs)


def _defend(spec: TargetSpec, model: TargetModel, inputs: Inputs) -> TargetModel:
    """The surgery of the defense; on a network of phase one, what phase one has not had yet."""
    defense = spec.defense if spec.phase_one is None else spec.defense.second_phase()
    model = defense.prepare_model(model, inputs)
    model.head = defense.prepare_head(model.head)
    return model


def load(spec: TargetSpec, folder: Path, context: BuildContext, n_classes: int) -> TargetModel:
    """The trained network of a stored target or evaluator, in eval mode on the context's device."""
    from midef.stages.build import ensure

    if isinstance(spec.architecture, given.Given):
        return given.load(spec.architecture, folder, context, spec.resolution_px)
    if TRAINED in spec.inputs:
        return load(TargetSpec.of(spec.inputs[TRAINED]), folder, context, n_classes)
    inputs = Inputs(spec.inputs, lambda needed: ensure(needed, context))
    model = structure(spec, inputs, n_classes)
    model.load_state_dict(read_stored(folder / WEIGHTS))
    return model.to(context.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]
