"""The published StyleGAN2s an attack may draw from, and the converted files they are read from."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from midef.attacks.priors.published.shape import KINDS, Kind, StyleShape, misfits
from midef.core.errors import DataError, PreflightError
from midef.models.pretrained import weights_folder
from midef.nn.named_file import FOLDER_VARIABLE, NamedFile, sha256_of
from midef.nn.weights import not_finite, said_not_finite

if TYPE_CHECKING:
    from torch import Tensor, nn

_NVIDIA = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained"
NOTICE = (
    "These weights are others' work: NVIDIA publishes its own under the NVIDIA Source Code License (research and "
    "evaluation only, no commercial use; whoever passes them on must pass on the licence), and the data sets they were "
    "learned from have terms of their own."
)


@dataclass(frozen=True, kw_only=True)
class PublishedGan:
    """One published StyleGAN2.

    Args:
        crop: share of the side of an image that attacks look at, in its centre.
        channel_base: channels at r px are this divided by r, 512 at most.
        original: name of the published file.
        source: where to get that.
        licence: of weights and data.
        shows: what its images show.
    """

    resolution_px: int
    crop: float
    original: str
    source: str
    licence: str
    channel_base: int = 32768
    shows: str = "faces"


_FACES = 800 / 1024
"""FFHQ and MetFaces leave room around a face: attacks look at the inner 800 of 1024 px (PPA, released code)."""

PUBLISHED: Mapping[str, PublishedGan] = {
    "ffhq": PublishedGan(
        resolution_px=1024,
        crop=_FACES,
        original="ffhq.pkl",
        source=f"{_NVIDIA}/ffhq.pkl",
        licence="weights: NVIDIA Source Code License, non-commercial; FFHQ: CC BY-NC-SA 4.0",
    ),
    "metfaces": PublishedGan(
        resolution_px=1024,
        crop=_FACES,
        original="metfaces.pkl",
        source=f"{_NVIDIA}/metfaces.pkl",
        licence="weights: NVIDIA Source Code License, non-commercial; MetFaces: CC BY-NC 2.0",
    ),
    "afhq-dog": PublishedGan(
        resolution_px=512,
        crop=1.0,
        original="afhqdog.pkl",
        source=f"{_NVIDIA}/afhqdog.pkl",
        licence="weights: NVIDIA Source Code License, non-commercial; AFHQ: CC BY-NC 4.0",
        shows="dogs",
    ),
    "ffhq-256": PublishedGan(
        resolution_px=256,
        crop=_FACES,
        original="550000.pt",
        source="github rosinality/stylegan2-pytorch, its checkpoint of FFHQ at 256 px",
        licence="code: MIT, with kernels of NVIDIA; FFHQ: CC BY-NC-SA 4.0",
    ),
    "ffhq-256-ada": PublishedGan(
        resolution_px=256,
        crop=_FACES,
        original="ffhq-res256-mirror-paper256-noaug.pkl",
        source=f"{_NVIDIA}/transfer-learning-source-nets/ffhq-res256-mirror-paper256-noaug.pkl",
        licence="weights: NVIDIA Source Code License, non-commercial; FFHQ: CC BY-NC-SA 4.0",
        channel_base=16384,
    ),
}
"""By the name that `style_gan2` knows them by."""


def file_of(name: str, kind: Kind) -> str:
    """Name of a converted file.

    >>> file_of("ffhq", "discriminator")
    'stylegan2-ffhq-discriminator.safetensors'
    """
    return f"stylegan2-{name}-{kind}.safetensors"


def missing(name: str) -> list[str]:
    """A sentence if a file of this generator is not in `weights_folder()`: which, and how to make it."""
    folder, published = weights_folder(), PUBLISHED[name]
    lacking = [file_of(name, kind) for kind in KINDS if not (folder / file_of(name, kind)).is_file()]
    if not lacking:
        return []
    return [
        f"{name} weights of style_gan2: no file {' and '.join(lacking)} in {folder}; get {published.original} from "
        f"{published.source}, and `midef convert {published.original} {folder}`, or name another folder in "
        f"${FOLDER_VARIABLE} ({published.licence})"
    ]


def converted(name: str) -> list[NamedFile]:
    """The files that `midef convert` makes of the published one; their digests depend on who made them."""
    published = PUBLISHED[name]
    source = f"{published.source}, and `midef convert {published.original} ${FOLDER_VARIABLE}` ({published.licence})"
    return [NamedFile(name=file_of(name, kind), source=source, sha256="") for kind in KINDS]


def digests(name: str) -> dict[str, str]:
    """The sha256 of each converted file in `weights_folder()`; an empty text where there is none."""
    paths = {kind: weights_folder() / file_of(name, kind) for kind in KINDS}
    return {kind: _digest(path, path.stat().st_mtime_ns) if path.is_file() else "" for kind, path in paths.items()}


@lru_cache(64)
def _digest(path: Path, changed_ns: int) -> str:
    return sha256_of(path)


def shape_in(path: Path, kind: Kind) -> tuple[StyleShape, dict[str, str]]:
    """The shape of the network in a converted file, and the metadata of the file.

    Raises:
        DataError: if it is no such file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
        if metadata.get("kind") != kind:
            raise DataError(f"{path} holds {metadata.get('kind') or 'no network we converted'}, expected a {kind}")
        return StyleShape.of_metadata(metadata), metadata
    except (KeyError, ValueError, OSError, SafetensorError) as error:
        raise DataError(
            f"{path} was not written by `midef convert`, or is damaged: {error}; convert it again"
        ) from error


def read(path: Path, kind: Kind) -> tuple[StyleShape, dict[str, Tensor]]:
    """Shape and tensors of a converted file; every name and shape must fit.

    Raises:
        DataError: if they do not, or a number is not finite.
    """
    from safetensors.torch import load_file

    shape, _ = shape_in(path, kind)
    state = without_filters(load_file(path))
    if problems := misfits(state, shape, kind):
        raise DataError(f"{path} is no {kind} of {shape.resolution_px} px: {', '.join(problems)}; convert it again")
    if broken := not_finite(state):
        raise DataError(f"{path} is damaged: {said_not_finite(broken)}; convert it again")
    return shape, state


def bring(name: str, sha256: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Copy the converted files of a generator, once they are checked, into the folder of an artifact, for `load`.

    Args:
        sha256: of the files the plan was made with.

    Returns:
        Facts: where they are from, and their licence.

    Raises:
        PreflightError: if one is missing.
        DataError: if it is another file, or does not fit.
    """
    if lacking := missing(name):
        raise PreflightError(lacking)
    for kind in KINDS:
        path = weights_folder() / file_of(name, kind)
        if sha256_of(path) != sha256[kind]:
            raise DataError(f"{path} is another file than the one the plan was made with; plan again")
        read(path, kind)
        if (held := shape_in(path, kind)[1].get("preset")) != name:
            raise DataError(
                f"{path} holds {held}, expected {name}; give each file the name that `midef convert` gave it"
            )
        shutil.copyfile(path, folder / f"{kind}.safetensors")
    _, about = shape_in(folder / "generator.safetensors", "generator")
    return {"weights": name, "source_sha256": about.get("source_sha256", ""), "licence": PUBLISHED[name].licence}


def load(name: str, folder: Path, resolution_px: int, device: str) -> dict[str, nn.Module]:
    """The networks that `bring` stored, frozen and in eval mode.

    Args:
        resolution_px: of the images the generator shows.
    """
    from midef.nn.network import freeze_

    networks: dict[str, nn.Module] = {}
    for kind in KINDS:
        shape, state = read(folder / f"{kind}.safetensors", kind)
        network = (
            shape.generator(crop=PUBLISHED[name].crop, shown_px=resolution_px)
            if kind == "generator"
            else shape.discriminator()
        )
        network.load_state_dict(state)
        freeze_(network)
        networks[kind] = network.to(device)
    return networks


def without_filters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors but for `resample_filter`, which is a constant of our layers.

    Raises:
        DataError: if one of these is another filter than ours.
    """
    import torch

    from midef.attacks.priors.networks.style_gan2_layers import TAPS

    ours = torch.tensor(TAPS)[:, None] * torch.tensor(TAPS) / sum(TAPS) ** 2
    for name, tensor in state.items():
        if name.endswith("resample_filter") and not (
            tensor.shape == ours.shape and torch.allclose(tensor.float(), ours, atol=1e-6)
        ):
            raise DataError(f"{name} is another low-pass filter than (1, 3, 3, 1); these layers have no other")
    return {name: tensor for name, tensor in state.items() if not name.endswith("resample_filter")}
