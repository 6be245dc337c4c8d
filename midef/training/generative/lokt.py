"""Training of LOKT: a conditional GAN that learns the target's labels, and classifiers that learn them from its images.

Neither loop sees the target: `ask` gives hard labels [B] of images [B, 3, H, W] in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midef.core.seeds import derive_seed

FROZEN_FROM = 1000
"""The iteration from which the released code no longer updates spectral norms."""

Ask = Callable[[Tensor], Tensor]


def generator_loss(realness: Tensor, classes: Tensor, wanted: Tensor, *, class_weight: float) -> Tensor:
    """-log P(real) + class_weight * CE(classes, wanted), the mean over rows.

    Args:
        realness: logits [B] of the drawn images; classes: the discriminator's class logits [B, K] of them;
        wanted: classes they were drawn for [B].
    """
    loss = F.softplus(-realness).mean()
    return loss + class_weight * F.cross_entropy(classes, wanted) if class_weight else loss


def discriminator_loss(
    real: Tensor, fake: Tensor, classes: Tensor, answered: Tensor | None, *, class_weight: float
) -> Tensor:
    """-log P(real) of real images - log P(fake) of drawn ones + class_weight * CE(classes, answered), means over rows.

    Args:
        real, fake: logits [B] of being real; classes: class logits [B, K] of the drawn images; answered: labels [B] the
        target gave them, None before it is asked. Real images have no label and no such term.
    """
    loss = F.softplus(-real).mean() + F.softplus(fake).mean()
    return loss if answered is None else loss + class_weight * F.cross_entropy(classes, answered)


def fit_t_acgan(
    generator: nn.Module,
    discriminator: nn.Module,
    images: Tensor,
    ask: Ask,
    *,
    latent_dim: int,
    n_classes: int,
    iterations: int,
    warm_up: int,
    discriminator_steps: int,
    batch_size: int,
    learning_rate: float,
    class_weight: float,
    sn_freeze_after_eval: bool,
    seed: int,
    device: str,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, float]:
    """Train in place on images [N, 3, H, W] uint8. Adam with betas (0, 0.9).

    An iteration is one generator step, then `discriminator_steps` steps with fresh latents, classes and real images.
    The first `warm_up` iterations have no class terms and ask nothing. `ask` sees drawn images clamped to [0, 1].

    Returns:
        Means over the last tenth: both losses; label_match, the share of drawn images the target gives the class they
        were drawn for; class_agreement, the share where the discriminator names the class the target does.
    """
    generator.to(device).to(memory_format=torch.channels_last).train()
    discriminator.to(device).to(memory_format=torch.channels_last).train()
    data = images.to(device)
    rng = torch.Generator(device).manual_seed(derive_seed(seed, "t_acgan"))
    adam_g = torch.optim.Adam(generator.parameters(), lr=learning_rate, betas=(0.0, 0.9))
    adam_d = torch.optim.Adam(discriminator.parameters(), lr=learning_rate, betas=(0.0, 0.9))
    names = ("generator_loss", "discriminator_loss", "label_match", "class_agreement")
    sums = {name: torch.zeros((), device=device) for name in names}
    tail = max(1, iterations // 10)
    order = torch.empty(0, dtype=torch.long, device=device)

    def draws() -> tuple[Tensor, Tensor]:
        latents = torch.randn(batch_size, latent_dim, generator=rng, device=device)
        return latents, torch.randint(n_classes, (batch_size,), generator=rng, device=device)

    for iteration in range(iterations):
        if sn_freeze_after_eval and iteration == FROZEN_FROM:
            discriminator.eval()
        is_asked = iteration >= warm_up
        is_counted = iteration >= iterations - tail
        latents, wanted = draws()
        discriminator.requires_grad_(False)
        realness, classes = discriminator(generator(latents, wanted))
        discriminator.requires_grad_(True)
        loss_g = generator_loss(realness, classes, wanted, class_weight=class_weight if is_asked else 0.0)
        adam_g.zero_grad(set_to_none=True)
        loss_g.backward()
        adam_g.step()
        if is_counted:
            sums["generator_loss"] += loss_g.detach() / tail
        for _ in range(discriminator_steps):
            while len(order) < batch_size:
                order = torch.cat([order, torch.randperm(len(data), generator=rng, device=device)])
            index, order = order[:batch_size], order[batch_size:]
            latents, wanted = draws()
            with torch.no_grad():
                fake = generator(latents, wanted)
            answered = ask(fake.clamp(0, 1)) if is_asked else None
            realness, _ = discriminator(data[index].float() / 255)
            fakeness, classes = discriminator(fake)
            loss_d = discriminator_loss(realness, fakeness, classes, answered, class_weight=class_weight)
            adam_d.zero_grad(set_to_none=True)
            loss_d.backward()
            adam_d.step()
            if is_counted:
                sums["discriminator_loss"] += loss_d.detach() / (tail * discriminator_steps)
                if answered is not None:
                    share = tail * discriminator_steps * batch_size
                    sums["label_match"] += (answered == wanted).sum() / share
                    sums["class_agreement"] += (classes.argmax(dim=1) == answered).sum() / share
        if report is not None and (iteration + 1) % max(1, iterations // 20) == 0:
            report({"step": iteration + 1, "steps": iterations})
    return {name: float(value) for name, value in sums.items()}


def draw_labelled(
    generator: nn.Module,
    ask: Ask,
    *,
    latent_dim: int,
    n_classes: int,
    latents_per_class: int,
    resolution_px: int,
    chunk: int,
    seed: int,
    device: str,
) -> tuple[Tensor, Tensor, float]:
    """Images drawn for every class, and the labels the target gives them.

    Returns:
        images [K * latents_per_class, 3, H, W] uint8, labels [K * latents_per_class], and the share whose label is the
        class it was drawn for. The target is asked about the 8-bit images, so labels and images belong together.
        `chunk` rows are drawn at once, which changes speed, not results.
    """
    generator.eval()
    rng = torch.Generator(device).manual_seed(derive_seed(seed, "surrogate latents"))
    wanted = torch.arange(n_classes, device=device).repeat_interleave(latents_per_class)
    latents = torch.randn(len(wanted), latent_dim, generator=rng, device=device)
    shape = (len(wanted), 3, resolution_px, resolution_px)
    images = torch.empty(shape, dtype=torch.uint8, device=device)
    answered = torch.empty_like(wanted)
    with torch.no_grad():
        for start in range(0, len(wanted), chunk):
            rows = slice(start, start + chunk)
            drawn = generator(latents[rows], wanted[rows]).float().clamp(0, 1)
            images[rows] = (drawn * 255).round().to(torch.uint8)
            answered[rows] = ask(images[rows].float() / 255)
    return images, answered, float((answered == wanted).float().mean())


def surrogate_loss(plain: Tensor, changed: Tensor, labels: Tensor) -> Tensor:
    """Half the cross entropy of the logits [B, K] of the images, half that of their changed copies, means over rows."""
    return 0.5 * F.cross_entropy(plain, labels) + 0.5 * F.cross_entropy(changed, labels)


def fit_surrogate(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    change: Callable[[Tensor, torch.Generator], Tensor],
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    seed: int,
    device: str,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, float]:
    """Train in place on images [N, 3, H, W] uint8 and hard labels [N], by SGD; the rate falls along a cosine to 0.

    change: a random change of images [B, 3, H, W] in [0, 1], drawn from the generator given. The last weights are kept.

    Returns:
        Means over the last tenth: loss, and agreement, the share of unchanged images given their label.
    """
    network.to(device).to(memory_format=torch.channels_last).train()
    data, answers = images.to(device), labels.to(device)
    rng = torch.Generator(device).manual_seed(derive_seed(seed, "surrogate"))
    sgd = torch.optim.SGD(network.parameters(), lr=learning_rate, momentum=momentum, weight_decay=weight_decay)
    size = min(batch_size, len(data))
    tail = max(1, steps // 10)
    loss_mean = torch.zeros((), device=device)
    agreement = torch.zeros((), device=device)
    order = torch.empty(0, dtype=torch.long, device=device)
    with torch.random.fork_rng(devices=[] if device == "cpu" else [device]):
        torch.manual_seed(derive_seed(seed, "noise"))  # for layers that draw: stochastic depth
        for step in range(steps):
            if len(order) < size:
                order = torch.cat([order, torch.randperm(len(data), generator=rng, device=device)])
            index, order = order[:size], order[size:]
            sgd.param_groups[0]["lr"] = learning_rate * (1 + cos(pi * step / steps)) / 2
            shown = data[index].float() / 255
            plain = network(shown)
            loss = surrogate_loss(plain, network(change(shown, rng)), answers[index])
            sgd.zero_grad(set_to_none=True)
            loss.backward()
            sgd.step()
            if step >= steps - tail:
                loss_mean += loss.detach() / tail
                agreement += (plain.argmax(dim=1) == answers[index]).float().mean() / tail
            if report is not None and (step + 1) % max(1, steps // 20) == 0:
                report({"step": step + 1, "steps": steps})
    return {"loss": float(loss_mean), "agreement": float(agreement)}
