"""Training of PLG-MI's class-conditional GAN on public images with pseudo labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor, nn

from midef.core.seeds import derive_seed


def top_labelled(probabilities: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """For each class the n images with its largest probability, best first; of equals the earlier.

    Args:
        probabilities: [N, K], of images; n: >= 1. With fewer than n images each class gets all N of them.

    Returns:
        Indices of images and their probabilities, [K, min(n, N)] each. An image may stand under several classes.
    """
    # in parts: the whole order of 70,000 images for 1,000 classes would take half a gigabyte
    parts = [part.sort(dim=1, descending=True, stable=True) for part in probabilities.T.split(64)]
    return torch.cat([part.indices[:, :n] for part in parts]), torch.cat([part.values[:, :n] for part in parts])


def hinge_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Mean of relu(1 - real) plus mean of relu(1 + fake), of scores [B] each; 0 beyond the margins."""
    return torch.relu(1 - real).mean() + torch.relu(1 + fake).mean()


def fit_plg(
    generator: nn.Module,
    discriminator: nn.Module,
    images: Tensor,
    chosen: Tensor,
    identity_loss: Callable[[Tensor, Tensor, Generator], Tensor],
    *,
    latent_dim: int,
    alpha: float,
    steps: int,
    batch_size: int,
    learning_rate: float,
    critic_steps: int,
    seed: int,
    device: str,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, float]:
    """Train G(z, y) and D(x, y) in place: minimise -D(G(z, y), y) + alpha * identity_loss, and D's hinge loss.

    A step is one update of the generator, then `critic_steps` of the discriminator, each with images of its own; real
    ones get noise below one grey level of 8 bits. Adam with betas (0, 0.9).

    Args:
        images: public, [N, 3, H, W] uint8; chosen: [K, n], rows of `images` that are labelled with each class.
        identity_loss: drawn images [B, 3, H, W] as the generator gives them, their labels [B] and a random stream ->
            [B], smaller when the target sees the label.

    Returns:
        Mean losses of the last tenth: `generator_loss` without the identity loss, `identity_loss` without alpha,
        `discriminator_loss`.
    """
    generator.to(device).to(memory_format=torch.channels_last).train()
    discriminator.to(device).to(memory_format=torch.channels_last).train()
    rng = torch.Generator(device).manual_seed(derive_seed(seed, "plg"))
    adam_g = torch.optim.Adam(generator.parameters(), lr=learning_rate, betas=(0.0, 0.9))
    adam_d = torch.optim.Adam(discriminator.parameters(), lr=learning_rate, betas=(0.0, 0.9))
    n_classes = len(chosen)
    pairs = LabelledBatches(images.to(device), chosen.to(device), batch_size, rng)

    def drawn() -> tuple[Tensor, Tensor]:
        labels = torch.randint(n_classes, (batch_size,), generator=rng, device=device)
        latents = torch.randn(batch_size, latent_dim, generator=rng, device=device)
        return generator(latents, labels), labels

    tail = max(1, steps // 10)
    sums = torch.zeros(3, device=device)
    for step in range(steps):
        discriminator.requires_grad_(False)
        fake, labels = drawn()
        realness = -discriminator(fake, labels).mean()
        identity = identity_loss(fake, labels, rng).mean()
        discriminator.requires_grad_(True)
        adam_g.zero_grad(set_to_none=True)
        (realness + alpha * identity).backward()
        adam_g.step()
        losses_d = torch.zeros((), device=device)
        for _ in range(critic_steps):
            real, real_labels = pairs.draw()
            with torch.no_grad():
                fake, labels = drawn()
            both = discriminator(torch.cat([real, fake]), torch.cat([real_labels, labels]))
            loss_d = hinge_loss(both[: len(real)], both[len(real) :])
            adam_d.zero_grad(set_to_none=True)
            loss_d.backward()
            adam_d.step()
            losses_d += loss_d.detach() / critic_steps
        if step >= steps - tail:
            sums += torch.stack([realness.detach(), identity.detach(), losses_d]) / tail
        if report is not None and (step + 1) % max(1, steps // 20) == 0:
            report({"step": step + 1, "steps": steps})
    return dict(zip(("generator_loss", "identity_loss", "discriminator_loss"), sums.tolist(), strict=True))


class LabelledBatches:
    """Batches of (public image, pseudo label), each pair once before any comes again.

    images: [N, 3, H, W] uint8; chosen: [K, n] rows of images; both and the random stream on one device.
    """

    def __init__(self, images: Tensor, chosen: Tensor, batch_size: int, rng: Generator) -> None:
        self.images = images
        self.rows = chosen.flatten()
        self.labels = torch.arange(len(chosen), device=chosen.device).repeat_interleave(chosen.shape[1])
        self.batch_size = batch_size
        self.rng = rng
        self._order = torch.empty(0, dtype=torch.long, device=images.device)

    def draw(self) -> tuple[Tensor, Tensor]:
        """Images [B, 3, H, W] in [0, 1], with uniform noise of up to 1/256 added, and labels [B]."""
        while len(self._order) < self.batch_size:
            more = torch.randperm(len(self.rows), generator=self.rng, device=self.images.device)
            self._order = torch.cat([self._order, more])
        index, self._order = self._order[: self.batch_size], self._order[self.batch_size :]
        real = self.images[self.rows[index]].float() / 255
        noise = torch.rand(real.shape, generator=self.rng, device=real.device) / 256
        return real + noise, self.labels[index]
