"""Training of PLG-MI's class-conditional GAN on public images with pseudo labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from midef.core.in_step import in_step
from midef.core.lazy import torch
from midef.training.generative.loop import PROBED, Losses, ShuffledPasses, TrainingRun, frozen

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn


@dataclass(frozen=True, kw_only=True)
class PlgSettings:
    """The fields of `PlgGan` that its training reads."""

    latent_dim: int
    alpha: float
    steps: int
    batch_size: int
    learning_rate: float
    critic_steps: int


def top_labelled(probabilities: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """For each class the n images with its largest probability, best first; of equals the earlier.

    Args:
        probabilities: [N, K], of images.
        n: >= 1. With fewer than n images each class gets all N of them.

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
    settings: PlgSettings,
    run: TrainingRun,
) -> dict[str, float]:
    """Train G(z, y) and D(x, y) in place: minimise -D(G(z, y), y) + alpha * identity_loss, and D's hinge loss.

    A step is one update of the generator, then `critic_steps` of the discriminator, each with images of its own; real
    ones get noise below one grey level of 8 bits. Adam with betas (0, 0.9).

    Args:
        images: public, [N, 3, H, W] uint8.
        chosen: [K, n], rows of `images` that are labelled with each class.
        identity_loss: drawn images [B, 3, H, W] as the generator gives them, their labels [B] and a random stream ->
            [B], smaller when the target sees the label.

    Returns:
        Mean losses of the last tenth: `generator_loss` without the identity loss, `identity_loss` without alpha,
        `discriminator_loss`.
    """
    run.prepare_(generator, discriminator)
    rng = run.stream("plg")
    adam = {"lr": settings.learning_rate, "betas": (0.0, 0.9)}
    pairs = LabelledBatches(images.to(run.device), chosen.to(run.device), settings.batch_size, rng)

    def draw(count: int = settings.batch_size, stream: Generator = rng) -> tuple[Tensor, Tensor]:
        labels = torch.randint(len(chosen), (count,), generator=stream, device=run.device)
        latents = torch.randn(count, settings.latent_dim, generator=stream, device=run.device)
        return generator(latents, labels), labels

    def probe() -> tuple[Tensor, ...]:
        drawn, labels = draw(PROBED, run.stream("probe"))
        return drawn, discriminator(drawn, labels)

    def loss_of_discriminator(index: Tensor) -> tuple[Tensor, ...]:
        real, real_labels = pairs.at(index)
        with torch.no_grad():
            fake, labels = draw()
        both = discriminator(torch.cat([real, fake]), torch.cat([real_labels, labels])).float()
        return (hinge_loss(both[: len(real)], both[len(real) :]),)

    def loss_of_generator() -> tuple[Tensor, ...]:
        with frozen(discriminator):
            fake, labels = draw()
            realness = -discriminator(fake, labels).float().mean()
        identity = identity_loss(fake, labels, rng).mean()
        return realness + settings.alpha * identity, realness, identity

    adam_g, adam_d = (run.optimizer(torch.optim.Adam, network, **adam) for network in (generator, discriminator))
    teach_discriminator = run.update(adam_d, loss_of_discriminator, rng)
    teach_generator = run.plain_update(adam_g, loss_of_generator)  # the target counts its queries: never captured

    def step(number: int) -> Losses:
        _, realness, identity = teach_generator()
        losses_d = [teach_discriminator(pairs.next())[0] / settings.critic_steps for _ in range(settings.critic_steps)]
        return {
            "generator_loss": realness,
            "identity_loss": identity,
            "discriminator_loss": torch.stack(losses_d).sum(),
        }

    return run.steps(settings.steps, step, probe=probe)


class LabelledBatches:
    """Batches of (public image, pseudo label), each pair once before any comes again.

    Args:
        images: [N, 3, H, W] uint8.
        chosen: [K, n], rows of images labelled with each class.
        rng: shuffles, and draws the noise; on the device of both.
    """

    def __init__(self, images: Tensor, chosen: Tensor, batch_size: int, rng: Generator) -> None:
        self._images = images
        self._rows = chosen.flatten()
        self._labels = torch.arange(len(chosen), device=chosen.device).repeat_interleave(chosen.shape[1])
        self._passes = ShuffledPasses(len(self._rows), batch_size, rng)
        self._rng = rng

    @in_step
    def draw(self) -> tuple[Tensor, Tensor]:
        """The next `at`."""
        return self.at(self.next())

    @in_step
    def next(self) -> Tensor:
        """Numbers [B] of the next pairs."""
        return self._passes.next()

    @in_step
    def at(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Images [B, 3, H, W] in [0, 1], with uniform noise of up to 1/256 added, and labels [B] of these pairs."""
        real = self._images[self._rows[index]].float() / 255
        noise = torch.rand(real.shape, generator=self._rng, device=real.device) / 256
        return real + noise, self._labels[index]
