"""Names of rosinality's StyleGAN2 for PyTorch, and NVIDIA's for the same tensors.

Source: github rosinality/stylegan2-pytorch @bef283a, model.py. Convolutions of its generator are scaled when used and
NVIDIA's are not; demodulation cancels any factor (but for its 1e-8), so stored weights are the same. No clamp there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from midef.core.errors import DataError, few

if TYPE_CHECKING:
    from torch import Tensor

_STYLED = {
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "noise.weight": "noise_strength",
    "activate.bias": "bias",
}
_COLOUR = {
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "bias": "bias",
}


def generator_names(blocks: int, mapping_layers: int) -> dict[str, str]:
    """NVIDIA's name -> rosinality's, of every tensor of a generator."""
    names = {
        f"mapping.fc{i}.{part}": f"style.{i + 1}.{part}" for i in range(mapping_layers) for part in ("weight", "bias")
    }
    names["synthesis.b4.const"] = "input.input"
    for k in range(blocks):
        here = f"synthesis.b{4 << k}"
        layers = {"conv1": "conv1"} if k == 0 else {"conv0": f"convs.{2 * k - 2}", "conv1": f"convs.{2 * k - 1}"}
        for i, (ours, theirs) in enumerate(layers.items()):
            names |= {f"{here}.{ours}.{part}": f"{theirs}.{other}" for other, part in _STYLED.items()}
            names[f"{here}.{ours}.noise_const"] = f"noises.noise_{max(0, 2 * k - 1) + i}"
        colour = "to_rgb1" if k == 0 else f"to_rgbs.{k - 1}"
        names |= {f"{here}.torgb.{part}": f"{colour}.{other}" for other, part in _COLOUR.items()}
    return names


def discriminator_names(resolution_px: int) -> dict[str, str]:
    """NVIDIA's name -> rosinality's, of every tensor of a discriminator."""
    names = {f"b{resolution_px}.fromrgb.weight": "convs.0.0.weight", f"b{resolution_px}.fromrgb.bias": "convs.0.1.bias"}
    size, i = resolution_px, 1
    while size > 4:
        parts = {
            "conv0.weight": "conv1.0.weight",
            "conv0.bias": "conv1.1.bias",
            "conv1.weight": "conv2.1.weight",
            "conv1.bias": "conv2.2.bias",
            "skip.weight": "skip.1.weight",
        }
        names |= {f"b{size}.{ours}": f"convs.{i}.{theirs}" for ours, theirs in parts.items()}
        size, i = size // 2, i + 1
    names |= {"b4.conv.weight": "final_conv.0.weight", "b4.conv.bias": "final_conv.1.bias"}
    for i, ours in enumerate(("fc", "out")):
        names |= {f"b4.{ours}.{part}": f"final_linear.{i}.{part}" for part in ("weight", "bias")}
    return names


def of_generator(published: Mapping[str, Tensor], w_avg: Tensor | None) -> dict[str, Tensor]:
    """A generator's tensors under NVIDIA's names and in its shapes; without the mean w where it is not given.

    Raises:
        DataError: if a tensor is missing, or there is one that is not known.
    """
    mapping_layers = sum(bool(re.fullmatch(r"style\.\d+\.weight", name)) for name in published)
    colours = sum(bool(re.fullmatch(r"to_rgbs\.\d+\.bias", name)) for name in published)
    taken = _renamed(published, generator_names(colours + 1, mapping_layers), "generator")
    made = {name: _reshaped(name, tensor) for name, tensor in taken.items()}
    return made if w_avg is None else {**made, "mapping.w_avg": w_avg.flatten()}


def of_discriminator(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A discriminator's tensors under NVIDIA's names.

    Raises:
        DataError: if a tensor is missing, or there is one that is not known.
    """
    blocks = sum(bool(re.fullmatch(r"convs\.\d+\.skip\.1\.weight", name)) for name in published)
    taken = _renamed(published, discriminator_names(4 << blocks), "discriminator")
    return {name: tensor.flatten() if name.endswith(".bias") else tensor for name, tensor in taken.items()}


def _renamed(published: Mapping[str, Tensor], names: Mapping[str, str], what: str) -> dict[str, Tensor]:
    missing = [theirs for theirs in names.values() if theirs not in published]
    known = set(names.values())
    # blur kernels are buffers there and constants here
    unknown = [name for name in published if name not in known and not name.endswith(".kernel")]
    if missing or unknown:
        parts = [f"misses {few(missing, 3)}"] * bool(missing) + [f"has {few(unknown, 3)}"] * bool(unknown)
        raise DataError(f"its {what} {' and '.join(parts)}; this is no StyleGAN2 by rosinality")
    return {ours: published[theirs] for ours, theirs in names.items()}


def _reshaped(name: str, tensor: Tensor) -> Tensor:
    if name.endswith((".conv0.weight", ".conv1.weight", ".torgb.weight", "b4.const")):
        return tensor.squeeze(0)
    if name.endswith("noise_const"):
        return tensor.squeeze(0).squeeze(0)
    if name.endswith("noise_strength"):
        return tensor.reshape(())
    return tensor.flatten() if name.endswith(".bias") else tensor
