"""What a StyleGAN2 of a file looks like: read from the shapes of its tensors, written into the file's metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import log2
from typing import TYPE_CHECKING, Literal, Self

from midef.core.errors import DataError, few
from midef.core.lazy import torch
from midef.nn.weights import sides

if TYPE_CHECKING:
    from torch import Tensor

    from midef.attacks.priors.networks.style_gan2 import StyleGenerator
    from midef.attacks.priors.networks.style_gan2_discriminator import StyleDiscriminator

Kind = Literal["generator", "discriminator"]
_MOST_PX = 4096
KINDS: tuple[Kind, Kind] = ("generator", "discriminator")


@dataclass(frozen=True, kw_only=True)
class StyleShape:
    """Sizes of a StyleGAN2's networks.

    Args:
        latent_dim, mapping_layers, group: 0 where the file holds the other network.
        conv_clamp: None has no bound.
    """

    resolution_px: int
    channel_base: int
    channel_max: int
    conv_clamp: float | None = None
    latent_dim: int = 0
    mapping_layers: int = 0
    group: int = 0

    def generator(self, *, crop: float = 1.0, shown_px: int | None = None) -> StyleGenerator:
        """A generator of this shape with fresh weights."""
        from midef.attacks.priors.networks.style_gan2 import StyleGenerator

        sizes = self.resolution_px, self.channel_base, self.channel_max
        how = {"conv_clamp": self.conv_clamp, "crop": crop, "shown_px": shown_px}
        return StyleGenerator(self.latent_dim, self.mapping_layers, *sizes, **how)  # type: ignore[arg-type]

    def discriminator(self) -> StyleDiscriminator:
        """A discriminator of this shape with fresh weights."""
        from midef.attacks.priors.networks.style_gan2_discriminator import StyleDiscriminator

        sizes = self.resolution_px, self.channel_base, self.channel_max
        return StyleDiscriminator(*sizes, group=self.group, conv_clamp=self.conv_clamp)

    def state(self, kind: Kind) -> dict[str, Tensor]:
        """Names and shapes of the tensors of one of them, without memory."""
        with torch.device("meta"):
            network = self.generator() if kind == "generator" else self.discriminator()
        return network.state_dict()

    def metadata(self) -> dict[str, str]:
        """Its fields as text, for the metadata of a safetensors file."""
        return {name: "none" if value is None else str(value) for name, value in asdict(self).items()}

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, str]) -> Self:
        """Inverse of `metadata`.

        Raises:
            KeyError, ValueError: if a field is missing or no number.
        """
        read = {name: metadata[name] for name in cls.__dataclass_fields__}
        clamp = read.pop("conv_clamp")
        numbers = {name: int(value) for name, value in read.items()}
        return cls(conv_clamp=None if clamp == "none" else float(clamp), **numbers)


def shape_of_generator(state: Mapping[str, Tensor], conv_clamp: float | None) -> StyleShape:
    """The shape of a generator from its tensors, by NVIDIA's names.

    Raises:
        DataError: if it is no generator.
    """
    sizes = [4 << i for i in range(20) if f"synthesis.b{4 << i}.torgb.weight" in state]
    if len(sizes) < 2 or "mapping.w_avg" not in state:
        raise DataError(f"no StyleGAN2 generator: it has {few(list(state), 3) or 'no tensors'}")
    _check_sides(state, {"mapping.w_avg": 1, **{f"synthesis.b{px}.torgb.weight": 4 for px in sizes}})
    widths = {px: state[f"synthesis.b{px}.torgb.weight"].shape[1] for px in sizes}
    layers = sum(name.startswith("mapping.fc") and name.endswith(".weight") for name in state)
    latent_dim = len(state["mapping.w_avg"])
    return StyleShape(conv_clamp=conv_clamp, latent_dim=latent_dim, mapping_layers=layers, **_widths(sizes[-1], widths))


def shape_of_discriminator(state: Mapping[str, Tensor], conv_clamp: float | None, group: int) -> StyleShape:
    """The shape of a discriminator from its tensors, by NVIDIA's names.

    Raises:
        DataError: if it is no discriminator.
    """
    sizes = [8 << i for i in range(19) if f"b{8 << i}.conv0.weight" in state]
    if not sizes or "b4.conv.weight" not in state:
        raise DataError(f"no StyleGAN2 discriminator: it has {few(list(state), 3) or 'no tensors'}")
    _check_sides(state, {"b4.conv.weight": 4, **{f"b{px}.conv0.weight": 4 for px in sizes}})
    widths = {4: state["b4.conv.weight"].shape[0], **{px: state[f"b{px}.conv0.weight"].shape[1] for px in sizes}}
    return StyleShape(conv_clamp=conv_clamp, group=group, **_widths(sizes[-1], widths))


def _check_sides(state: Mapping[str, Tensor], expected: Mapping[str, int]) -> None:
    """Check that the tensors a shape is read from have so many sides.

    Raises:
        DataError: naming those that have not.
    """
    if others := [f"{name} ({sides(state[name])})" for name, count in expected.items() if state[name].ndim != count]:
        raise DataError(f"no StyleGAN2: another shape is expected of {few(others, 3)}; fetch the file again")


def _widths(resolution_px: int, widths: Mapping[int, int]) -> dict[str, int]:
    """Resolution, base and maximum of channels. `misfits` finds whether all widths follow from them."""
    most = max(widths.values())
    base = max(px * channels for px, channels in widths.items())
    return {"resolution_px": resolution_px, "channel_base": base, "channel_max": most}


def misfits(state: Mapping[str, Tensor], shape: StyleShape, kind: Kind) -> list[str]:
    """What of the tensors of a file does not fit networks of this shape, a few of each kind."""
    if shape.resolution_px < 8 or log2(shape.resolution_px) % 1:
        return [f"it draws {shape.resolution_px} px, no power of two"]
    if shape.resolution_px > _MOST_PX:
        return [f"it draws {shape.resolution_px} px, more than {_MOST_PX}"]
    least = {"channel_base": shape.resolution_px, "channel_max": 1}
    least |= {"latent_dim": 1, "mapping_layers": 1} if kind == "generator" else {"group": 1}
    if small := [name for name, value in least.items() if getattr(shape, name) < value]:
        return [f"its {name} is {getattr(shape, name)}, at least {least[name]} is expected" for name in small]
    expected = shape.state(kind)
    missing = [name for name in expected if name not in state]
    unknown = [name for name in state if name not in expected]
    other = [
        f"{name} ({sides(state[name])} in place of {sides(tensor)})"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    return [
        f"it {verb} {few(names, 3)}"
        for verb, names in (("misses", missing), ("has", unknown), ("has another shape of", other))
        if names
    ]
