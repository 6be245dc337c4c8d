"""Which network the tensors of a checkpoint are: the one that was named, or what to say where they are not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from midef.core.errors import DataError
from midef.nn.weights import COUNTER, unfit, unwrapped
from midef.stages.given_networks import build_network, libraries_of, named_in, without_weights

if TYPE_CHECKING:
    from torch import Tensor, nn

_ONE, _OTHER = 11, 13
"""Two numbers of classes: tensors that differ between them are those of the last layer."""
_MOST_ASKED = 60
"""Other architectures that are compared with the tensors; each takes some milliseconds, without weights."""


@dataclass(frozen=True)
class Recognised:
    """A network with its weights.

    Args:
        library: where it is from, one of `LIBRARIES`.
        name: there.
        classes: outputs, as its last layer has them.
        network: in eval mode.
    """

    library: str
    name: str
    classes: int
    network: nn.Module


def recognise(tensors: Mapping[str, Tensor], written: str, resolution_px: int, *, channels: int = 3) -> Recognised:
    """The network that was named, with these tensors as its weights.

    Args:
        tensors: by name, with whatever a wrapper put before all names.
        written: `resnet18`, or `timm/resnet18` where several libraries have one.
        resolution_px: of the images it takes.
        channels: 1 for a network that takes grey images.

    Raises:
        SpecError: if no library has a network of this name.
        DataError: if the tensors are not those of the network: which lack, differ and are left over, and whose they
            are where another architecture of the library fits.
    """
    candidates = libraries_of(written)
    for library, name in candidates:
        fit = _fit(tensors, library, name, resolution_px, channels)
        if isinstance(fit, tuple):
            classes, named = fit
            network = build_network(library, name, classes, resolution_px, channels)
            network.load_state_dict(dict(named), strict=False)  # older files lack counters, which nothing reads
            return Recognised(library, name, classes, network.eval())
    library, name = candidates[0]
    first = _fit(tensors, library, name, resolution_px, channels)
    lines = first if isinstance(first, list) else []
    whose = _whose(tensors, library, name, resolution_px)
    also = f"; these are the tensors of {whose}: say `--arch {whose}`" if whose else ""
    why = "; ".join(lines) or "cannot be read as one"
    raise DataError(f"these are not the tensors of {library}/{name}{also}. The checkpoint {why}")


def _fit(
    tensors: Mapping[str, Tensor], library: str, name: str, resolution_px: int, channels: int
) -> tuple[int, Mapping[str, Tensor]] | list[str]:
    """Number of classes and the tensors under the network's names; or why they do not fit."""
    one = without_weights(library, name, _ONE, resolution_px, channels)
    other = without_weights(library, name, _OTHER, resolution_px, channels)
    if one is None or other is None:
        return [f"cannot be built for images of {resolution_px} px"]
    first, second = one.state_dict(), other.state_dict()
    of_classes = [n for n in first if first[n].shape != second[n].shape]
    known = [n for n in first if not n.endswith(COUNTER)]
    # Names as they are written count first: a wrapper's beginning may be a network's own.
    named = next((t for t in _namings(tensors) if all(n in t for n in known)), dict(unwrapped(tensors)))
    found = [n for n in of_classes if n in named and named[n].ndim == first[n].ndim and named[n].ndim]
    classes = int(named[found[0]].shape[0]) if found else 0
    expected: Mapping[str, Tensor] = first
    if classes > 1 and (built := without_weights(library, name, classes, resolution_px, channels)) is not None:
        expected = built.state_dict()
    problems = unfit(named, expected)
    return (classes, named) if not problems and classes > 1 else problems or ["tells fewer than 2 classes apart"]


def _namings(tensors: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """The tensors as they are named, and without each beginning that all names share."""
    yield dict(tensors)
    steps = min((name.split(".")[:-1] for name in tensors), key=len, default=[])
    for i in range(len(steps)):
        begin = ".".join(steps[: i + 1]) + "."
        if not all(name.startswith(begin) for name in tensors):
            return
        yield {name.removeprefix(begin): tensor for name, tensor in tensors.items()}


def _whose(tensors: Mapping[str, Tensor], library: str, asked: str, resolution_px: int) -> str:
    """An architecture of the library whose tensors these are, its siblings first; "" where none was found."""
    letters = re.match(r"[a-z]+", asked)
    begin = letters[0][:4] if letters else asked
    names = sorted((n for n in named_in(library) if n != asked), key=lambda n: (not n.startswith(begin), n))
    for name in names[:_MOST_ASKED]:
        if not _has_names(tensors, library, name, resolution_px):
            continue
        for channels in (3, 1):
            if isinstance(_fit(tensors, library, name, resolution_px, channels), tuple):
                return name if channels == 3 else f"{name} for grey images (`--channels 1`)"
    return ""


def _has_names(tensors: Mapping[str, Tensor], library: str, name: str, resolution_px: int) -> bool:
    """Whether a network has tensors of these names, alike for colours and grey images; `_fit` builds three."""
    one = without_weights(library, name, _ONE, resolution_px)
    if one is None:
        return False
    here = {n for n in one.state_dict() if not n.endswith(COUNTER)}
    return any({n for n in named if not n.endswith(COUNTER)} == here for named in _namings(tensors))
