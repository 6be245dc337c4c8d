"""Counts multiply-accumulates, the unit in which the literature states the work of a network."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd


def count_macs(module: nn.Module, *inputs: Any) -> int:
    """Multiply-accumulates of one forward pass in convolutions, transposed convolutions and linear layers.

    Norms, activations, embeddings, additions of a bias, and products made outside a layer (attention) are not counted.
    Give a module and inputs on the meta device, and nothing is computed or stored. The batch counts: give one image.
    The module is left in the mode it came in; it runs in eval mode, so that a batch of one passes every batch norm.
    """
    counted = 0

    def count(layer: nn.Module, came: tuple[torch.Tensor, ...], went: torch.Tensor) -> None:
        nonlocal counted
        if isinstance(layer, nn.Linear):
            counted += went.numel() * layer.in_features
        elif isinstance(layer, _ConvTransposeNd):  # every input value is multiplied into a window of the output
            counted += came[0].numel() * (layer.out_channels // layer.groups) * prod(layer.kernel_size)
        elif isinstance(layer, _ConvNd):
            counted += went.numel() * (layer.in_channels // layer.groups) * prod(layer.kernel_size)

    hooks = [layer.register_forward_hook(count) for layer in module.modules()]
    trained = module.training
    try:
        module.eval()
        with torch.no_grad():
            module(*inputs)
    finally:
        module.train(trained)
        for hook in hooks:
            hook.remove()
    return counted
