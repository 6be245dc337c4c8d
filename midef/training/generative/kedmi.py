"""Training of KedMI's generator, against a discriminator that also learns what the target answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from midef.core.seeds import derive_seed


def reality_loss(logits: Tensor) -> Tensor:
    """[N], -log of the probability that an image is real, from logits [N, K] of the discriminator.

    "Not real" is a class with the constant logit 0, so P(real) = Z / (Z + 1) with Z the sum of exp(logits): log 2 where
    Z is 1, smaller for images that look more real. softplus(lse) - lse = softplus(-lse), which rounds better.
    """
    return F.softplus(-logits.float().logsumexp(dim=1))


def discriminator_loss(labelled: Tensor, soft_labels: Tensor, unlabelled: Tensor, drawn: Tensor) -> Tensor:
    """Cross entropy with the target's answers, plus half of: real images are real, drawn images are not.

    Args:
        labelled, unlabelled, drawn: logits [B, K]; soft_labels: [B, K], rows sum to 1.
    """
    each = -(soft_labels * labelled.log_softmax(dim=1)).sum(dim=1)
    not_real = F.softplus(drawn.logsumexp(dim=1))
    return each.mean() + 0.5 * (reality_loss(unlabelled).mean() + not_real.mean())


def generator_loss(drawn: Tensor, real: Tensor, logits: Tensor, *, entropy_weight: float) -> Tensor:
    """Distance of mean features, plus the entropy of the classes seen in drawn images, summed over the batch.

    Args:
        drawn, real: features [B, F]; logits: of the drawn images [B, K].
    """
    matching = (drawn.mean(dim=0) - real.mean(dim=0)).abs().mean()
    entropy = -(logits.softmax(dim=1) * logits.log_softmax(dim=1)).sum()
    return matching + entropy_weight * entropy


def fit_kedmi(
    generator: nn.Module,
    discriminator: nn.Module,
    images: Tensor,
    soft_labels: Callable[[Tensor, Tensor], Tensor],
    *,
    latent_dim: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
    discriminator_steps: int,
    entropy_weight: float,
    seed: int,
    device: str,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, float]:
    """Train in place on images [N, 3, H, W] uint8. `steps` counts discriminator steps.

    soft_labels: (positions in `images`, these images in [0, 1]) -> probabilities [B, K] the target answers with. The
    generator takes one step after every `discriminator_steps`. Adam with betas (0.5, 0.999). Labelled images,
    unlabelled images and those whose features are matched come from three shuffled passes of their own.

    Returns:
        The mean losses of discriminator and generator of the last tenth.
    """
    generator.to(device).to(memory_format=torch.channels_last).train()
    discriminator.to(device).to(memory_format=torch.channels_last).train()
    data = images.to(device)
    rng = Generator(device).manual_seed(derive_seed(seed, "kedmi"))
    labelled, unlabelled, matched = (_Shuffled(len(data), batch_size, rng) for _ in range(3))
    adam_g = torch.optim.Adam(generator.parameters(), lr=learning_rate, betas=(0.5, 0.999))
    adam_d = torch.optim.Adam(discriminator.parameters(), lr=learning_rate, betas=(0.5, 0.999))
    tail = max(1, steps // 10)
    tail_d = torch.zeros((), device=device)
    tail_g = torch.zeros((), device=device)
    for step in range(steps):
        index = labelled.next()
        real, other = data[index].float() / 255, data[unlabelled.next()].float() / 255
        with torch.no_grad():
            fake = generator(torch.randn(batch_size, latent_dim, generator=rng, device=device))
        _, logits = discriminator(torch.cat([real, other, fake]), groups=3)
        of_real, of_other, of_fake = logits.chunk(3)
        loss_d = discriminator_loss(of_real, soft_labels(index, real), of_other, of_fake)
        adam_d.zero_grad(set_to_none=True)
        loss_d.backward()
        adam_d.step()
        if (step + 1) % discriminator_steps == 0:
            discriminator.requires_grad_(False)
            with torch.no_grad():
                wanted, _ = discriminator(data[matched.next()].float() / 255)
            fake = generator(torch.randn(batch_size, latent_dim, generator=rng, device=device))
            features, logits = discriminator(fake)
            loss_g = generator_loss(features, wanted, logits, entropy_weight=entropy_weight)
            discriminator.requires_grad_(True)
            adam_g.zero_grad(set_to_none=True)
            loss_g.backward()
            adam_g.step()
            if step >= steps - tail:
                tail_g += loss_g.detach() * discriminator_steps / tail
        if step >= steps - tail:
            tail_d += loss_d.detach() / tail
        if report is not None and (step + 1) % max(1, steps // 20) == 0:
            report({"step": step + 1, "steps": steps})
    return {"discriminator_loss": float(tail_d), "generator_loss": float(tail_g)}


class _Shuffled:
    """Positions in a shuffled pass over n images, pass after pass; every batch is full."""

    def __init__(self, n: int, batch_size: int, rng: Generator) -> None:
        self._n = n
        self._batch_size = batch_size
        self._rng = rng
        self._order = torch.empty(0, dtype=torch.long, device=rng.device)

    def next(self) -> Tensor:
        while len(self._order) < self._batch_size:
            ahead = torch.randperm(self._n, generator=self._rng, device=self._rng.device)
            self._order = torch.cat([self._order, ahead])
        batch, self._order = self._order[: self._batch_size], self._order[self._batch_size :]
        return batch
