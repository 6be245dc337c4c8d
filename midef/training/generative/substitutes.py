"""Training of what the defender of answers holds: an inversion network's target gradient, a VAE, a purifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from midef.core.in_step import in_step
from midef.core.lazy import F, torch
from midef.core.position import steps
from midef.defenses.families.alignment import AT_ONCE, Substitute, misalignment
from midef.defenses.families.answers import moved
from midef.training.generative.loop import Losses, TrainingRun, descend, shuffled

if TYPE_CHECKING:
    from torch import Tensor, nn

    from midef.nn.answer_networks import PerturbationVae, Purifier


def target_gradient(substitute: Substitute, answers: Tensor, images: Tensor) -> dict[str, Tensor]:
    """Gradient, by parameter, of minus the substitute's mean loss on (answers [N, K], images [N, 3, H, W] uint8)."""
    total: dict[str, Tensor] = {}
    device = next(substitute.network.parameters()).device
    for seen, shown in zip(answers.split(256), images.split(256), strict=True):
        found = substitute.gradient(seen.to(device), shown.to(device).float() / 255)
        share = len(seen) / len(answers)
        total = {name: total.get(name, 0) - share * g.detach() for name, g in found.items()}
    return total


def own_misalignment(substitute: Substitute, clean: Tensor, answers: Tensor, images: Tensor) -> Tensor:
    """1 - cosine [B] of what each answer teaches and the opposite of what its clean answer teaches, image by image."""
    from torch.func import vmap

    def one(before: Tensor, after: Tensor, image: Tensor) -> Tensor:
        learned = substitute.gradient(before[None], image[None])
        opposite = {name: -gradient for name, gradient in learned.items()}
        return misalignment(opposite, substitute.gradient(after[None], image[None]))

    parts = zip(clean.split(AT_ONCE), answers.split(AT_ONCE), images.split(AT_ONCE), strict=True)
    return torch.cat([vmap(one)(*part) for part in parts])


def fit_perturbation_vae(
    network: PerturbationVae,
    substitute: Substitute,
    answers: Tensor,
    images: Tensor,
    settings: Mapping[str, float],
    run: TrainingRun,
) -> dict[str, float]:
    """Train in place: answers [N, K] moved by its perturbations unteach the images [N, 3, H, W] uint8 that they tell.

    Args:
        settings: `radius`, `kl_weight`, `epochs`, `batch`, `rate`.
    """
    latent = network.decode[0].in_features
    assert isinstance(latent, int)

    known, seen = answers.to(run.device), images.to(run.device)

    @in_step
    def loss(index: Tensor, rng: torch.Generator) -> Losses:
        clean, shown = known[index], seen[index].float() / 255
        noise = torch.randn(len(index), latent, generator=rng, device=run.device)
        drawn = network(clean, noise)
        apart = own_misalignment(substitute, clean, moved(clean, settings["radius"] * drawn.direction, 1.0), shown)
        spread = 1 + drawn.log_variance - drawn.mean.square() - drawn.log_variance.exp()
        return {"misalignment": apart.mean(), "kl": settings["kl_weight"] * -0.5 * spread.sum(dim=1).mean()}

    return _fit(network, len(answers), settings, run, loss)


def fit_purifier(
    network: Purifier, answers: Tensor, settings: Mapping[str, float], run: TrainingRun
) -> dict[str, float]:
    """Train in place to give answers [N, K] back, and their classes.

    Args:
        settings: `label_weight`, `epochs`, `batch`, `rate`.
    """

    known = answers.to(run.device)

    @in_step
    def loss(index: Tensor, rng: torch.Generator) -> Losses:
        clean = known[index]
        purified = network(clean)
        wrong = F.nll_loss(purified.clamp(min=1e-12).log(), clean.argmax(dim=1))
        apart = (purified - clean).square().sum(dim=1).mean()
        return {"distance": apart, "label": settings["label_weight"] * wrong}

    return _fit(network, len(answers), settings, run, loss)


def _fit(
    network: nn.Module,
    count: int,
    settings: Mapping[str, float],
    run: TrainingRun,
    loss: Callable[[Tensor, torch.Generator], Losses],
) -> dict[str, float]:
    """Descend the sum of the losses of shuffled batches by Adam."""
    network.to(run.device).train()
    run.watch(network)
    adam = torch.optim.Adam(network.parameters(), lr=settings["rate"])

    def epoch(number: int) -> Losses:
        rng = run.stream("substitute", number)
        found: Losses = {}
        for index in steps(shuffled(count, rng).split(int(settings["batch"]))):
            found = loss(index, rng)
            descend(adam, torch.stack(list(found.values())).sum())
        return found

    losses = run.epochs(int(settings["epochs"]), epoch)
    network.eval()
    return losses
