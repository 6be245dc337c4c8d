"""Stage: read a dataset once and keep its three splits as 8-bit tensors."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from midef.core.errors import DataError
from midef.core.recipe import Inputs, Recipe
from midef.datasets import DATASETS, Images, Splits
from midef.stages.build import BuildContext


def build(recipe: Recipe, inputs: Inputs, context: BuildContext, folder: Path) -> dict[str, Any]:
    """Write `splits.safetensors`, `classes.json` and `card.json`.

    Raises:
        DataError: if the files found here are not the ones the recipe was planned with.
    """
    params = dict(recipe.params["params"])
    planned = params.pop("fingerprint", "")
    dataset = DATASETS.make(recipe.component, {**params, **context.locations.get(recipe.key.digest, {})})
    here = dataset.fingerprint()
    if planned != here:
        raise DataError(
            f"{recipe.component}: the files here have fingerprint {here[:12] or 'none'}, the plan was made with "
            f"{planned[:12] or 'none'}; they changed meanwhile, or this machine has others: plan again here"
        )
    splits = dataset.load(recipe.params["resolution_px"])
    tensors = {}
    for name, part in splits.parts.items():
        tensors[f"{name}_images"] = part.images.contiguous()
        tensors[f"{name}_labels"] = part.labels.to(torch.int64).contiguous()
    save_file(tensors, folder / "splits.safetensors")
    (folder / "classes.json").write_text(json.dumps(list(splits.class_names)))
    (folder / "card.json").write_text(json.dumps(asdict(dataset.card()), default=dict))
    return {name: len(part) for name, part in splits.parts.items()}


def load(folder: Path) -> Splits:
    """The splits of a stored artifact."""
    tensors = load_file(folder / "splits.safetensors")
    parts = {
        name: Images(tensors[f"{name}_images"], tensors[f"{name}_labels"]) for name in ("train", "select", "report")
    }
    return Splits(**parts, class_names=tuple(json.loads((folder / "classes.json").read_text())))
