"""Stage: read a dataset once and keep its three splits as 8-bit tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from midef.core.errors import DataError
from midef.core.recipe import Inputs, Recipe
from midef.datasets import DATASETS, Dataset, Images, Splits
from midef.stages.build import BuildContext


def build(recipe: Recipe, inputs: Inputs, context: BuildContext, folder: Path) -> dict[str, Any]:
    """Write `splits.safetensors`, `classes.json`, `card.json`; of a published set also `files.json`: who is where.

    Raises:
        DataError: if the files found here are not the ones the recipe was planned with.
    """
    planned = recipe.params["params"].get("fingerprint", "")
    dataset = made_from(recipe, context.locations)
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
    if lists := dataset.file_lists():
        (folder / "files.json").write_text(json.dumps(lists))
    return {name: len(part) for name, part in splits.parts.items()}


def made_from(recipe: Recipe, locations: Mapping[str, Mapping[str, Any]]) -> Dataset:
    """The data set of a split's recipe.

    Args:
        locations: digest of a split's recipe -> fields that say where its files lie.
    """
    params = {name: value for name, value in recipe.params["params"].items() if name != "fingerprint"}
    return DATASETS.make(recipe.component, {**params, **locations.get(recipe.key.digest, {})})


def load(folder: Path) -> Splits:
    """The splits of a stored artifact."""
    tensors = load_file(folder / "splits.safetensors")
    parts = {
        name: Images(tensors[f"{name}_images"], tensors[f"{name}_labels"]) for name in ("train", "select", "report")
    }
    return Splits(**parts, class_names=tuple(json.loads((folder / "classes.json").read_text())))
