"""Turns a published StyleGAN2 into safetensors files, once and offline; nothing in the published file runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from midef.attacks.priors.published import rosinality
from midef.attacks.priors.published.files import PUBLISHED, file_of, without_filters
from midef.attacks.priors.published.pickles import Module, read_networks
from midef.attacks.priors.published.shape import (
    KINDS,
    Kind,
    StyleShape,
    misfits,
    shape_of_discriminator,
    shape_of_generator,
)
from midef.core.errors import DataError, SpecError, did_you_mean
from midef.core.lazy import torch
from midef.nn.named_file import sha256_of
from midef.nn.weights import not_finite, said_not_finite

if TYPE_CHECKING:
    from torch import Tensor

_USUAL_GROUP = 4


class _Network(NamedTuple):
    """A network's shape, and its tensors by NVIDIA's names."""

    shape: StyleShape
    state: dict[str, Tensor]


def convert(source: Path, folder: Path, name: str = "") -> tuple[list[Path], str]:
    """Write the generator and the discriminator of a published file into a folder.

    Args:
        source: a `.pkl` by NVIDIA (PyTorch version) or a `.pt` by rosinality.
        name: of `PUBLISHED`; empty takes the one whose original has this file name.

    Returns:
        The two files, named as `style_gan2` looks for them, and the name of `PUBLISHED`.

    Raises:
        SpecError: if it is not clear which of `PUBLISHED` it is.
        DataError: if the file cannot be read, or holds something else.
    """
    name = name or next((key for key, known in PUBLISHED.items() if known.original == source.name), "")
    if name not in PUBLISHED:
        raise SpecError(f"which one {source.name} is, is not known by its name; {did_you_mean(name, PUBLISHED)}")
    if not source.is_file():
        raise DataError(f"there is no file {source}")
    if folder.exists() and not folder.is_dir():
        raise SpecError(f"{folder} is a file; name the folder of published weights")
    networks = _of_nvidia(source) if source.suffix == ".pkl" else _of_rosinality(source)
    for kind, network in networks.items():
        _check(source, kind, network, PUBLISHED[name].resolution_px)
    about = {
        "preset": name,
        "source": PUBLISHED[name].source,
        "source_sha256": sha256_of(source),
        "licence": PUBLISHED[name].licence,
    }
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(networks[kind], kind, about, folder / file_of(name, kind)) for kind in KINDS], name


def _check(source: Path, kind: Kind, network: _Network, resolution_px: int) -> None:
    if network.shape.resolution_px != resolution_px:
        raise DataError(f"{source} draws {network.shape.resolution_px} px, {resolution_px} are expected of this one")
    if problems := misfits(network.state, network.shape, kind):
        raise DataError(f"{source} holds another {kind} than StyleGAN2's: {', '.join(problems)}")
    if broken := not_finite(network.state):
        raise DataError(f"{source} is damaged: {said_not_finite(broken)}; fetch it again")


def _write(network: _Network, kind: Kind, about: Mapping[str, str], path: Path) -> Path:
    """Write under another name first: a file of the right name is whole."""
    from safetensors.torch import save_file

    state = {name: network.state[name].float().contiguous() for name in sorted(network.state)}
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        save_file(state, partial, metadata={**about, "kind": kind, **network.shape.metadata()})
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _of_nvidia(source: Path) -> dict[Kind, _Network]:
    networks = read_networks(source)
    generator, judge = networks["G_ema"], networks["D"]
    state = without_filters(generator.tensors())
    judged = without_filters(judge.tensors())
    blocks = [layer for name in state if (layer := generator.child(*name.split(".")[:2])) and "synthesis.b" in name]
    if others := {block.state.get("architecture", "skip") for block in blocks} - {"skip"}:
        raise DataError(f"{source} has a generator of architecture {', '.join(map(str, others))}, not skip")
    shape = shape_of_generator(state, _clamp(generator.child("synthesis", "b4", "conv1")))
    first = judge.child(f"b{shape.resolution_px}")
    if first is not None and first.state.get("architecture", "resnet") != "resnet":
        raise DataError(f"{source} has a discriminator of architecture {first.state['architecture']}, not resnet")
    spread = judge.child("b4", "mbstd")
    group = spread.state.get("group_size", _USUAL_GROUP) if spread else _USUAL_GROUP
    if not isinstance(group, int) or group < 1:
        raise DataError(f"{source} has a discriminator with groups of {group}, a number of images is expected")
    judge_shape = shape_of_discriminator(judged, _clamp(judge.child(f"b{shape.resolution_px}", "conv0")), group)
    return {"generator": _Network(shape, state), "discriminator": _Network(judge_shape, judged)}


def _clamp(layer: Module | None) -> float | None:
    value = None if layer is None else layer.state.get("conv_clamp")
    if value is not None and not (isinstance(value, int | float) and value > 0):
        raise DataError(f"a layer clamps at {value}, a number > 0 is expected")
    return value


def _of_rosinality(source: Path) -> dict[Kind, _Network]:
    import argparse
    import pickle

    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(f"{source} holds other things than tensors; nothing of it was run. Fetch it again") from error
    except Exception as error:  # a damaged file may end in any of them
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{source} cannot be read as weights: {reason}; fetch it again") from error
    wanted = ("g_ema", "d")
    if not isinstance(content, Mapping) or any(part not in content for part in wanted):
        held = ", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
        raise DataError(f"{source} holds {held}, where {', '.join(wanted)} are expected of a file by rosinality")
    for part in wanted:
        stored = content[part]
        if not isinstance(stored, Mapping) or not all(isinstance(value, torch.Tensor) for value in stored.values()):
            raise DataError(f"{source} holds no tensors by name as {part}; this is no StyleGAN2 by rosinality")
    state = rosinality.of_generator(content["g_ema"], content.get("latent_avg"))
    if "mapping.w_avg" not in state:
        state["mapping.w_avg"] = _mean_w(state)
    judged = rosinality.of_discriminator(content["d"])
    return {
        "generator": _Network(shape_of_generator(state, None), state),
        "discriminator": _Network(shape_of_discriminator(judged, None, _USUAL_GROUP), judged),
    }


def _mean_w(state: Mapping[str, Tensor]) -> Tensor:
    """The mean w of a generator whose file lacks it: its training kept none, and whoever truncates computes one."""
    from midef.attacks.priors.networks.style_gan2 import Mapping as Mapped
    from midef.training.generative.style_gan import mean_w

    own = {name.removeprefix("mapping."): value for name, value in state.items() if name.startswith("mapping.")}
    latent_dim = own["fc0.weight"].shape[1]
    mapping = Mapped(latent_dim, len(own) // 2)
    mapping.load_state_dict({**own, "w_avg": torch.zeros(latent_dim)})
    return mean_w(mapping, latent_dim, torch.Generator().manual_seed(0))
