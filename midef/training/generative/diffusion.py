"""Diffusion: noising, its training loop, and one step back. Images stay in [0, 1] before noise is added.

beta: share of the variance replaced by noise in one step; kept: product of (1 - beta) so far, the share that is left.
Source: Ho et al., NeurIPS 2020, equations 4, 14 and algorithms 1 and 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midef.core.seeds import derive_seed


def kept_variance(betas: Tensor) -> Tensor:
    """Share [T] of an image's variance that is left after steps 1 to T: the product of (1 - beta)."""
    return (1 - betas).cumprod(dim=0)


def noised(images: Tensor, noise: Tensor, kept: Tensor) -> Tensor:
    """Images [B, C, H, W] after all steps up to one at once; noise standard normal, kept [B]."""
    share = kept[:, None, None, None]
    result: Tensor = share.sqrt() * images + (1 - share).sqrt() * noise
    return result


def step_back(images: Tensor, predicted: Tensor, noise: Tensor | None, *, beta: float, kept: float) -> Tensor:
    """Images [B, C, H, W] one step earlier, given the noise predicted in them; sigma is sqrt(beta).

    noise: standard normal, None in the last step, which adds none; beta, kept: of the step that is undone.
    """
    mean: Tensor = (images - beta / (1 - kept) ** 0.5 * predicted) / (1 - beta) ** 0.5
    return mean if noise is None else mean + beta**0.5 * noise


def guided(conditional: Tensor, unconditional: Tensor, guidance: float) -> Tensor:
    """(1 + w) eps(x, c) - w eps(x, 0): the answer's effect on the predicted noise, stretched. 0 is the conditional."""
    return (1 + guidance) * conditional - guidance * unconditional


def fit_denoiser(
    network: nn.Module,
    answers: Tensor,
    images: Tensor,
    *,
    held_answers: Tensor,
    held_images: Tensor,
    betas: Tensor,
    drop_context: float,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    device: str,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, float]:
    """Train in place to predict the noise in images [N, 3, H, W] uint8, given their answers [N, K], by squared error.

    network(noisy images, elapsed share of the steps [B], answers): an answer set to zero stands for none. Each image
    gets a step drawn uniformly from all of them. Adam; the learning rate falls linearly to 0 over the training.

    Returns:
        The mean loss of the last epoch, and the loss on held-out pairs, whose answers are all given.
    """
    network.to(device).to(memory_format=torch.channels_last).train()
    data, context = images.to(device), answers.to(device)
    kept = kept_variance(betas).float().to(device)
    adam = torch.optim.Adam(network.parameters(), lr=learning_rate)
    last = torch.zeros((), device=device)
    per_epoch = -(-len(data) // batch_size)
    done = 0
    for epoch in range(epochs):
        rng = torch.Generator(device).manual_seed(derive_seed(seed, "diffusion", epoch))
        last.zero_()
        for index in torch.randperm(len(data), generator=rng, device=device).split(batch_size):
            given = torch.rand(len(index), 1, generator=rng, device=device) >= drop_context
            loss = _loss(network, data[index], context[index] * given, kept, _steps(rng, len(index), kept), rng)
            for group in adam.param_groups:
                group["lr"] = learning_rate * (1 - done / (epochs * per_epoch))
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
            last += loss.detach() * len(index) / len(data)
            done += 1
        if report is not None and (epoch + 1) % max(1, epochs // 20) == 0:
            report({"epoch": epoch + 1, "epochs": epochs})
    network.eval()
    rng = torch.Generator(device).manual_seed(derive_seed(seed, "diffusion", "held out"))
    held = torch.zeros((), device=device)
    with torch.no_grad():
        for a, x in zip(held_answers.split(256), held_images.split(256), strict=True):
            steps = _steps(rng, len(x), kept)
            held += _loss(network, x.to(device), a.to(device), kept, steps, rng) * len(x) / len(held_images)
    return {"loss": float(last), "held_out_loss": float(held)}


def _steps(rng: torch.Generator, count: int, kept: Tensor) -> Tensor:
    """0-based steps [count]."""
    return torch.randint(len(kept), (count,), generator=rng, device=kept.device)


def _loss(
    network: nn.Module, images: Tensor, answers: Tensor, kept: Tensor, steps: Tensor, rng: torch.Generator
) -> Tensor:
    clean = (images.float() / 255).contiguous(memory_format=torch.channels_last)
    noise = torch.randn(clean.shape, generator=rng, device=clean.device)
    return F.mse_loss(network(noised(clean, noise, kept[steps]), (steps + 1) / len(kept), answers), noise)
