"""Stage: a student, which learns to name the attacked identities from the reconstructions alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from midef.core.choice import Choice
from midef.core.errors import TrainingDiverged
from midef.core.recipe import Inputs, Recipe
from midef.core.seeds import derive_seed
from midef.datasets import Images, Splits
from midef.defenses.stack import remake_defense
from midef.metrics.base import StudentAnswers
from midef.models import ARCHITECTURES
from midef.nn.network import TargetModel
from midef.nn.weights import read_stored
from midef.stages.build import BuildContext
from midef.stages.measuring import student_roles
from midef.stages.recipes import BACKBONE, NO_DEFENSE
from midef.stages.resize import low_to_high
from midef.stages.target import WEIGHTS, save
from midef.storage.arrays import read_arrays
from midef.training import TrainingRecipe
from midef.training.classifier.fit import fit_classifier


def build(recipe: Recipe, inputs: Inputs, context: BuildContext, folder: Path) -> dict[str, Any]:
    """Write `model.safetensors` and `student.json`: which class of the student is which identity.

    No private image takes part, not even to choose an epoch: the last one is kept. A training that diverges is a
    student without answers, with the reason, and not a lost cell.
    """
    images, labels = _reconstructions(inputs.path("reconstructions"))
    private = recipe.inputs["reconstructions"].inputs["private"]
    images = low_to_high(images, int(private.params["resolution_px"]))  # larger ones as the target takes them
    identities = labels.unique()  # ascending: class i of the student is identities[i]
    classes = torch.searchsorted(identities, labels)
    seed = derive_seed("student", recipe.params["seed"])
    if recipe.params["shuffled"]:
        rng = torch.Generator().manual_seed(derive_seed("shuffled labels", seed))
        classes = classes[torch.randperm(len(classes), generator=rng)]
    architecture = ARCHITECTURES.remake(Choice.from_plain(recipe.params["architecture"]))
    torch.manual_seed(seed)
    model = architecture.build(len(identities), images.shape[-1])
    if BACKBONE in inputs:
        stored = read_stored(inputs.path(BACKBONE) / WEIGHTS)
        trunk = {name.removeprefix("blocks."): tensor for name, tensor in stored.items()}
        model.blocks.load_state_dict({**model.blocks.state_dict(), **trunk})
    failed = ""
    try:
        fit_classifier(
            model.to(memory_format=torch.channels_last),
            Images(images, classes),
            Images(images[:0], classes[:0]),
            facts=architecture.facts(),
            recipe=TrainingRecipe.make(recipe.params["training"]),
            defense=remake_defense(NO_DEFENSE),
            seed=seed,
            device=context.device,
            report=context.report,
        )
    except TrainingDiverged as error:
        failed = str(error)
    save({} if failed else model.state_dict(), folder / WEIGHTS)
    about = {"identities": identities.tolist(), "learned": len(images), "failed": failed}
    (folder / "student.json").write_text(json.dumps(about))
    return {"learned": len(images), "classes": len(identities), "failed": failed}


def _reconstructions(folder: Path) -> tuple[Tensor, Tensor]:
    """Images [N, 3, H, W] uint8 and the identities they were made for [N]."""
    made = read_arrays(folder / "images.npz", ("images", "labels"))
    return torch.from_numpy(made["images"]), torch.from_numpy(made["labels"].astype(np.int64))


def student_answers(
    recipe: Recipe, inputs: Inputs, context: BuildContext, splits: Splits, attacked: np.ndarray
) -> dict[str, StudentAnswers]:
    """What the students of scores say of the private images of the attacked identities, by the name of their recipe.

    Args:
        recipe: of the scores.
        inputs: of the scores.
        splits: of the private data.
        attacked: identities, ascending.
    """
    parts = [_of_identities(part, attacked) for part in (splits.train, splits.report)]
    answers = {}
    for role, floor in student_roles(recipe):
        student = recipe.inputs[role]
        about = json.loads((inputs.path(role) / "student.json").read_text(encoding="utf-8"))
        failed = about["failed"] or json.loads((inputs.path(floor) / "student.json").read_text())["failed"]
        hits = [np.zeros(len(part), bool) for part in (*parts, *parts)]
        if not failed:
            hits = [_hits(recipe.inputs[r], inputs.path(r), part, context) for r in (role, floor) for part in parts]
        train, report = parts
        answers[student.component] = StudentAnswers(
            learned=int(about["learned"]),
            train_hits=hits[0],
            train_labels=train.labels.numpy(),
            report_hits=hits[1],
            report_labels=report.labels.numpy(),
            floor_train_hits=hits[2],
            floor_report_hits=hits[3],
            start=start_of(student),
            failed=failed,
        )
    return answers


def start_of(student: Recipe) -> str:
    """What a student is and starts from, in words: `resnet50 from imagenet weights`."""
    backbone = student.inputs.get(BACKBONE)
    start = "fresh" if backbone is None else backbone.params["name"]
    return f"{student.params['architecture']['name']} from {start} weights"


def _of_identities(part: Images, identities: np.ndarray) -> Images:
    kept = torch.from_numpy(np.isin(part.labels.numpy(), identities))
    return Images(part.images[kept], part.labels[kept])


@torch.no_grad()
def _hits(recipe: Recipe, folder: Path, part: Images, context: BuildContext) -> np.ndarray:
    """Whether the student names the identity of each image [N]."""
    identities = torch.tensor(json.loads((folder / "student.json").read_text(encoding="utf-8"))["identities"])
    architecture = ARCHITECTURES.remake(Choice.from_plain(recipe.params["architecture"]))
    model: TargetModel = architecture.build(len(identities), part.images.shape[-1])
    model.load_state_dict(read_stored(folder / WEIGHTS))
    model = model.to(context.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    named = [
        model(images.to(context.device).float() / 255).logits.argmax(dim=1).cpu() for images in part.images.split(256)
    ]
    answers = identities[torch.cat(named)] if named else identities[:0]
    hits: np.ndarray = (answers == part.labels).numpy()
    return hits
