"""Training of inversion networks on (answer of the target, public image) pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midef.core.seeds import derive_seed


def score_features(scores: Tensor, *, top: int | None = None, shift: float = 50.0, floor: float = -1000.0) -> Tensor:
    """Log scores [B, K], shifted and made non-negative; entries below the `top` largest become 0.

    The logarithm lets small differences between near-zero scores count. Source: Yang et al., CCS 2019, released code.
    """
    k = scores.shape[1] if top is None else min(top, scores.shape[1])
    kept, index = scores.topk(k, dim=1)
    values = kept.log().clamp(min=floor) + shift
    values = values + torch.relu(-values.amin(dim=1, keepdim=True))
    return torch.zeros_like(scores).scatter(1, index, values)


def fit_inverter(
    network: nn.Module,
    answers: Tensor,
    images: Tensor,
    *,
    held_answers: Tensor,
    held_images: Tensor,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    checkpoint: Literal["last", "best_held_out"] = "last",
    seed: int,
    device: str,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, float]:
    """Train in place to draw images [N, 3, H, W] uint8 from features of the answers [N, K], by mean squared error.

    Adam, betas (0.5, 0.999), amsgrad. The released code keeps the epoch that is best on private images, which no
    attacker has.

    Args:
        checkpoint: which epoch's weights the network ends with: the `last`, or the first with the smallest error on the
            held-out pairs, which are public.

    Returns:
        The error of these weights on the held-out pairs (where it chose the epoch, it flatters), and the 1-based epoch.
    """
    network.to(device).train()
    data, features = images.to(device), answers.to(device)
    adam = torch.optim.Adam(network.parameters(), lr=learning_rate, betas=(0.5, 0.999), amsgrad=True)
    smallest, kept, weights = float("inf"), epochs, None
    for epoch in range(epochs):
        rng = torch.Generator(device).manual_seed(derive_seed(seed, "inverter", epoch))
        order = torch.randperm(len(data), generator=rng, device=device)
        for index in order.split(batch_size):
            if len(index) < 2 <= len(data):
                continue  # BatchNorm cannot train on one image
            loss = F.mse_loss(network(features[index]), data[index].float() / 255)
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
        if checkpoint == "best_held_out":
            error = held_out_error(network, held_answers, held_images, device)
            if error < smallest:
                smallest, kept = error, epoch + 1
                weights = {name: value.clone() for name, value in network.state_dict().items()}
        if report is not None:
            report({"epoch": epoch + 1, "epochs": epochs})
    if weights is not None:
        network.load_state_dict(weights)
    network.eval()
    return {"held_out_mse": held_out_error(network, held_answers, held_images, device), "kept_epoch": kept}


@torch.no_grad()
def held_out_error(network: nn.Module, answers: Tensor, images: Tensor, device: str) -> float:
    """Mean squared error over all pixels of images [N, 3, H, W] uint8; the network's mode is left as it was."""
    was_training = network.training
    network.eval()
    errors = [
        F.mse_loss(network(a.to(device)), x.to(device).float() / 255, reduction="sum")
        for a, x in zip(answers.split(256), images.split(256), strict=True)
    ]
    network.train(was_training)
    return float(sum(errors)) / images.numel()
