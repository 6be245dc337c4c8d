"""Stage: a published extractor of features, kept as an artifact, and what metrics read with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from midef.core.errors import DataError
from midef.core.outcomes import digest_of
from midef.core.position import steps
from midef.core.recipe import Inputs, Recipe
from midef.metrics.base import Extract
from midef.metrics.extractors import EXTRACTORS, Extractor
from midef.nn.named_file import sha256_of
from midef.nn.weights import not_finite, read_stored, read_tensors, said_not_finite
from midef.stages.build import BuildContext
from midef.stages.measuring import extractor_role
from midef.stages.resize import low_to_high

_WEIGHTS = "extractor.safetensors"
_MOST_BYTES = 2**29
_FEATURES: dict[tuple[str, ...], np.ndarray] = {}


def build(recipe: Recipe, inputs: Inputs, context: BuildContext, folder: Path) -> dict[str, Any]:
    """Write the tensors of the published file as `extractor.safetensors`; nothing in the file is executed.

    Raises:
        DataError: if the file is not the one the plan was made with, cannot be read, or holds what is no number.
    """
    where, sha256 = context.locations.get(recipe.key.digest, {}).get("path"), recipe.params["sha256"]
    if where is None:
        raise DataError(f"{recipe.component}: no path recorded for the file; plan again on this machine")
    path = Path(where)
    if sha256_of(path) != sha256:
        raise DataError(f"{path} is another file than the one the plan was made with; plan again")
    tensors = read_tensors(path)
    if broken := not_finite(tensors):
        raise DataError(f"{path} is damaged: {said_not_finite(broken)}; fetch it again")
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, folder / _WEIGHTS)
    return {"sha256": sha256}


def extractors_for(recipe: Recipe, inputs: Inputs, context: BuildContext, *, resize: str) -> dict[str, Extract]:
    """What reads features, by name, of every extractor whose weights are among the inputs of scores.

    A network is loaded when it is first asked. Features are kept for all cells of a process, by the bytes of the images
    and everything else they depend on.

    Args:
        recipe: of the scores.
        inputs: of the scores.
        resize: of the protocol, to the resolution of an extractor that has one.
    """
    made = {}
    for name in EXTRACTORS.names():
        role = extractor_role(name)
        if role in recipe.inputs:
            made[name] = _Reader(EXTRACTORS.make(name), recipe.inputs[role], inputs, role, context, resize)
    return {name: reader.read for name, reader in made.items()}


class _Reader:
    """Reads the features of one extractor.

    Args:
        weights: recipe of its weights.
        role: of them among the inputs.
    """

    def __init__(
        self, extractor: Extractor, weights: Recipe, inputs: Inputs, role: str, context: BuildContext, resize: str
    ) -> None:
        self.extractor, self.inputs, self.role, self.context, self.resize = extractor, inputs, role, context, resize
        name: str = extractor.registered_name  # type: ignore[attr-defined]
        about = (name, str(extractor.version), weights.params["sha256"], resize, context.device, str(context.threads))
        self.about: tuple[str, ...] = about
        self.network: nn.Module | None = None

    def read(self, images: np.ndarray) -> np.ndarray:
        """Features [N, D] of images [N, 3, H, W] uint8; read only."""
        key = (*self.about, digest_of(images))
        if key not in _FEATURES:
            features = self._features(images)
            features.setflags(write=False)
            _remember(_FEATURES, key, features)
            return features
        return _FEATURES[key]

    @torch.no_grad()
    def _features(self, images: np.ndarray) -> np.ndarray:
        if self.network is None:
            tensors: Mapping[str, torch.Tensor] = read_stored(self.inputs.path(self.role) / _WEIGHTS)
            self.network = self.extractor.network(tensors).to(self.context.device).eval()
        seen = torch.from_numpy(np.ascontiguousarray(images))
        if self.extractor.resolution_px:
            seen = low_to_high(seen, self.extractor.resolution_px, resize=self.resize)
        parts = [
            self.network(part.to(self.context.device).float() / 255).float().cpu()
            for part in steps(seen.split(self.extractor.at_once))
        ]
        features = torch.cat(parts)
        if not bool(features.isfinite().all()):
            raise DataError(f"the features of {self.role} are not finite; fetch {self.extractor.file.name} again")
        return features.numpy()


def _remember(kept: dict[tuple[str, ...], np.ndarray], key: tuple[str, ...], features: np.ndarray) -> None:
    """Keep features, and forget the oldest where they are too many."""
    kept[key] = features
    while sum(array.nbytes for array in kept.values()) > _MOST_BYTES:
        del kept[next(iter(kept))]
