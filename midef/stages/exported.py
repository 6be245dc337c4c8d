"""A stored target as files for others: weights, a program for plain torch, and what is needed to load it here again.

model.safetensors   the network's tensors, by name
model.pt2           the network as `torch.export` writes it: runs without midef; missing where it cannot be written
target.json         recipe and facts, from which `load_exported` builds the network
"""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from midef.core.errors import DataError, SpecError
from midef.core.lazy import torch
from midef.core.recipe import Inputs, Recipe
from midef.stages.recipes import CLASSIFIER, GIVEN, PUBLISHED, SERVED, TRAINED

if TYPE_CHECKING:
    from torch import Tensor

    from midef.nn.network import TargetModel
    from midef.storage import Store

WEIGHTS, PROGRAM, ABOUT = "model.safetensors", "model.pt2", "target.json"
SCHEMA = 1

log = logging.getLogger(__name__)


def export(recipe: Recipe, store: Store, folder: Path) -> dict[str, Any]:
    """Write a stored target into a folder; returns its facts, with the reason `no_program` where there is none, and
    whether its answers to one image differ (`draws`).

    Args:
        recipe: of the target.
        store: that holds it.
        folder: to write into.

    Raises:
        SpecError: for a target that was trained elsewhere, or a backbone without a head.
        MissingArtifact, DamagedArtifact: if it is not stored, or not intact.
    """
    if recipe.component in (GIVEN, PUBLISHED):
        raise SpecError(f"{recipe.key.short} was not trained here: take the file that was given")
    stored = store.artifacts.fetch(recipe.key)
    facts = dict(store.artifacts.meta(recipe.key)["facts"])
    about = {"schema": SCHEMA, "recipe": recipe.as_plain(), "facts": facts}
    shutil.copyfile(stored / WEIGHTS, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)
    (folder / ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")
    model = load_exported(folder)
    images = torch.rand(2, 3, *[_resolution_px(recipe)] * 2)
    with torch.no_grad():
        draws = not torch.equal(model(images).logits, model(images).logits)
    return {**facts, "draws": draws, "no_program": _write_program(model, images, folder / PROGRAM)}


def load_exported(folder: str | Path) -> TargetModel:
    """The network in an exported folder, in eval mode on the CPU; images are [B, 3, H, W] in [0, 1].

    What its defense does to answers, such as rounding them, is no part of the network.

    Raises:
        DataError: if the folder holds no exported target, or the network needs stored things beside its weights.
    """
    from midef.nn.weights import read_stored
    from midef.stages.target import TargetSpec, structure

    place = Path(folder)
    try:
        about = json.loads((place / ABOUT).read_text(encoding="utf-8"))
        recipe, classes = Recipe.from_plain(about["recipe"]), int(about["facts"]["classes"])
        newer = int(about["schema"]) > SCHEMA
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{place} holds no exported target: {error!r}; export it again") from error
    if newer:
        raise DataError(f"{place} was written by a newer midef; upgrade midef")
    if recipe.component == SERVED:
        recipe = recipe.inputs[TRAINED]
    assert recipe.component == CLASSIFIER, recipe.component

    def fetch(needed: Recipe) -> Path:
        raise DataError(f"the network needs {needed.key.short}, which no exported folder holds; load it from its store")

    model = structure(TargetSpec.of(recipe), Inputs(recipe.inputs, fetch), classes)
    model.load_state_dict(read_stored(place / WEIGHTS))
    # As it is loaded from a store: another memory layout rounds otherwise.
    return model.to(memory_format=torch.channels_last).eval()


def _write_program(model: TargetModel, images: Tensor, path: Path) -> str:
    """Write the network for plain torch, logits alone; returns why it cannot be, "" if it was."""

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        @override
        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.model(images).logits
            return logits

    try:
        batch = torch.export.Dim("batch", min=1, max=65536)
        program = torch.export.export(Logits().eval(), (images,), dynamic_shapes=({0: batch},))
        torch.export.save(program, path)
    except Exception as error:  # noqa: BLE001  # networks of other packages may hold what cannot be traced
        log.info("no program of the network is written: %s", error)
        path.unlink(missing_ok=True)
        return f"{type(error).__name__}: {(str(error) or 'unknown').splitlines()[0]}"
    return ""


def _resolution_px(recipe: Recipe) -> int:
    return int(recipe.inputs["private"].params["resolution_px"])
