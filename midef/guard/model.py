"""The wrapped network: what it answers, and which one it is."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from midef.core.errors import DataError, MidefError, PreflightError, ShapeError, SpecError
from midef.core.seeds import derive_seed
from midef.nn.weights import unwrapped

Outputs: TypeAlias = Literal["logits", "probabilities"]
"""What a module gives."""
Network: TypeAlias = Callable[[Tensor], Tensor]
"""Probabilities [B, K] for images [B, 3, H, W] in [0, 1]."""
SUM_SLACK = 1e-2
"""Of a row of probabilities, which may come in half precision."""
PROBES = 2
"""Images by whose answers a network is told from one that has its weights and computes something else."""
PROBE_SLACK = 1e-2
"""Of their probabilities, on another device or in another version of torch."""


def probabilities_of(output: Any, outputs: Outputs, asked: int, classes: int | None) -> Tensor:
    """Probabilities [B, K] in float32 for what a module gave; an object with `logits` counts as these.

    Args:
        asked: B.
        classes: K, where it is known.

    Raises:
        ShapeError: for another shape than [B, K].
        MidefError: if they are not finite.
        DataError: if probabilities were announced and these are none.
    """
    values = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if not isinstance(values, Tensor):
        raise ShapeError(f"expected a tensor [B, K] from the module, got {type(output).__name__}; return its {outputs}")
    if values.ndim != 2 or values.shape[0] != asked or values.shape[1] < 2:
        raise ShapeError(f"expected {outputs} [{asked}, K] with K >= 2 from the module, got {list(values.shape)}")
    if classes is not None and values.shape[1] != classes:
        raise ShapeError(
            f"this guard is for {classes} classes and the module answered with {values.shape[1]}; give it the network "
            "that it was made for, or make another guard"
        )
    values = values.detach().float()
    if not torch.isfinite(values).all():
        raise MidefError(
            "the module answered with numbers that are not finite; look for NaN in its weights, or run it in float32",
            failure="diverged",
        )
    off = float((values.sum(dim=1) - 1).abs().max()) if (values >= -1e-6).all() else torch.inf
    if outputs == "probabilities":
        if off > SUM_SLACK:
            raise DataError("these are no probabilities: rows must be at least 0 and sum to 1; say outputs='logits'")
        values = values.clamp(min=0)
        return values / values.sum(dim=1, keepdim=True)
    if off < 1e-5:  # logits could, by chance
        warnings.warn(
            "the module seems to give probabilities and not logits: rows sum to 1; say outputs='probabilities'",
            stacklevel=2,
        )
    return torch.softmax(values, dim=1)


def device_of(model: nn.Module, images: Tensor) -> torch.device:
    """The device of the model's first tensor; of the images where it has none."""
    first = next(iter([*model.parameters(), *model.buffers()]), images)
    return first.device


def check_in_eval(model: nn.Module) -> None:
    """Refuse a model with a module in train mode.

    Raises:
        SpecError: naming the first.
    """
    learning = next((name for name, module in model.named_modules() if module.training), None)
    if learning is not None:
        raise SpecError(
            f"the guarded model is in train mode ({learning or 'as a whole'}), where batch norm and dropout make "
            "answers depend on other images and on chance; call guard.eval()"
        )


def digest_of(model: nn.Module) -> str:
    """sha256 of names, types, shapes and values of all tensors of a state dict, on whatever device they are.

    Names count without what `torch.compile` and DataParallel put before them.
    """
    tensors = unwrapped({name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)})
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def probe_of(network: Network, height: int, width: int, device: torch.device) -> dict[str, Any]:
    """What a network answers to a few images that are always the same, as JSON data."""
    rng = torch.Generator().manual_seed(derive_seed("probe"))
    with torch.no_grad():
        answers = network(torch.rand(PROBES, 3, height, width, generator=rng).to(device))
    return {"height": height, "width": width, "answers": answers.cpu().tolist()}


def check_probe(network: Network, probe: Mapping[str, Any], device: torch.device) -> None:
    """Refuse a network that answers otherwise than `probe_of` found.

    Raises:
        PreflightError: if it does.
    """
    found = probe_of(network, probe["height"], probe["width"], device)["answers"]
    if (apart := float((torch.tensor(found) - torch.tensor(probe["answers"])).abs().max())) > PROBE_SLACK:
        raise PreflightError(
            f"this model has the weights that the guard was saved for and answers otherwise, by up to {apart:.2f}: "
            "look at its preprocessing and at the version of its code"
        )
