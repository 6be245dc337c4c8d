"""Networks of torchvision, timm and midef by name, with fresh weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from typing_extensions import override

from midef.core.errors import PreflightError, SpecError, did_you_mean
from midef.models import ARCHITECTURES

LIBRARIES = ("torchvision", "timm", "midef")
"""Where an architecture is looked for, in this order."""


def named_in(library: str) -> list[str]:
    """Names of the classifiers of a library; none of one that is not installed."""
    if library == "midef":
        return [name for name in ARCHITECTURES.names() if not ARCHITECTURES.get(name).judges_only]
    if library == "timm":
        try:
            import timm
        except ImportError:
            return []
        return list(timm.list_models())
    import torchvision

    return list(torchvision.models.list_models(module=torchvision.models))


def libraries_of(written: str) -> list[tuple[str, str]]:
    """Library and name of each network that is meant by `resnet18`, `timm/resnet18` or `midef/resnet18(stem=imagenet)`.

    Only networks of midef have parameters; they are written in one way, since the name enters the key of a target.

    Raises:
        SpecError: if there is none, with the nearest name, or a parameter is wrong.
    """
    before = written.partition("(")[0]
    library, _, _ = before.rpartition("/")
    name = written.removeprefix(f"{library}/") if library else written
    if library and library not in LIBRARIES:
        raise SpecError(f"no library {library!r} of networks; {did_you_mean(library, LIBRARIES)}")
    asked = [library] if library else list(LIBRARIES)
    names = {one: named_in(one) for one in asked}
    if found := [(one, name) for one in asked if name in names[one]]:
        return found
    if "(" in name and "midef" in asked and name.partition("(")[0] in names["midef"]:
        return [("midef", ARCHITECTURES.choose(name).label)]
    near = did_you_mean(name, [n for one in asked for n in names[one]]).partition(" Known: ")[0]
    also = f"; {near.removesuffix('?')}" if near.startswith("did you mean") else ""
    raise SpecError(
        f"no network {name!r} in {', '.join(asked)}{also}. Of another architecture hand over the module in Python: "
        "`midef.audit(module, private=..., public=...)`"
    )


def build_network(library: str, name: str, classes: int, resolution_px: int, channels: int = 3) -> nn.Module:
    """A network with fresh weights, in eval mode. Nothing is downloaded.

    Args:
        library: one of `LIBRARIES`.
        name: there; of midef with its parameters.
        classes: outputs.
        resolution_px: of the images it takes; only networks of midef are made for a size.
        channels: 3, or 1 of a network whose first convolution takes grey images.

    Raises:
        PreflightError: where timm is needed and not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision's, on how some of its networks draw their first weights
        if library == "midef":
            network: nn.Module = ARCHITECTURES.remake(ARCHITECTURES.choose(name)).build(classes, resolution_px)
        elif library == "timm":
            try:
                import timm
            except ImportError as error:
                raise PreflightError("timm is not installed: pip install timm") from error
            network = timm.create_model(name, pretrained=False, num_classes=classes)
        else:
            import torchvision

            network = torchvision.models.get_model(name, weights=None, num_classes=classes)
    if channels == 1:
        _take_grey(network)
    return network.eval()


def _take_grey(network: nn.Module) -> None:
    """Replace the first convolution of colours by one of grey images, of the same kind."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == 3:
            parent, _, last = name.rpartition(".")
            kind: dict[str, Any] = {
                word: getattr(module, word) for word in ("stride", "padding", "dilation", "padding_mode")
            }
            size = cast(Any, module.kernel_size)
            grey = nn.Conv2d(1, module.out_channels, size, bias=module.bias is not None, **kind)
            setattr(network.get_submodule(parent), last, grey)
            return


class _NothingDrawn(TorchFunctionMode):
    """Leaves fresh weights as they are: most of the time a network takes to build is for numbers nobody reads."""

    _DRAWING = (
        *("normal_", "uniform_", "trunc_normal_", "kaiming_normal_", "kaiming_uniform_", "xavier_uniform_"),
        *("fill_", "zero_", "erfinv_", "mul_", "add_", "clamp_", "copy_"),
    )

    @override
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", "") in self._DRAWING:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def without_weights(library: str, name: str, classes: int, resolution_px: int, channels: int = 3) -> nn.Module | None:
    """The same network with tensors that hold no numbers: its names and shapes; None where it cannot be built so."""
    try:
        with torch.device("meta"), _NothingDrawn():
            return build_network(library, name, classes, resolution_px, channels)
    except PreflightError:
        raise
    except Exception:  # noqa: BLE001  # some networks compute with their first weights, or refuse this size
        return None
