"""Naive references of generators: images brought one by one, nothing frozen, the target asked again in every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from hot_loops_naive import Pair, Sizes, Work, learnable
from torch import Tensor

from midef.attacks import PRIORS
from midef.attacks.latent_search.views import VIEW_DRAWS, slightly_changed
from midef.attacks.priors.base import FitContext, TargetedPrior
from midef.attacks.target_handle import TargetHandle
from midef.core import Inputs
from midef.datasets import Images, Splits
from midef.defenses import Defense
from midef.models import ARCHITECTURES
from midef.nn.network import TargetModel
from midef.training.generative.loop import ShuffledPasses

Losses = dict[str, Tensor]
PAPERS: Mapping[str, Mapping[str, Any]] = {"wgan_gp": {"objective": "wasserstein"}}
"""Parameters that are not those of a small profile, because the loop is another one there."""


class Trained:
    """A prior of small budget with fresh networks, random public images and a target.

    Args:
        name: registered.
    """

    def __init__(self, name: str, sizes: Sizes) -> None:
        self.sizes = sizes
        cls = PRIORS.get(name)
        self.prior: Any = PRIORS.make(name, {**cls.small(sizes.budget), **PAPERS.get(name, {})})

        def images(count: int) -> Images:
            shape = (count, 3, sizes.px, sizes.px)
            rng = torch.Generator().manual_seed(count)
            return Images(torch.randint(0, 256, shape, generator=rng, dtype=torch.uint8), torch.full((count,), -1))

        batch = self.prior.batch_size
        self.public = Splits(images(2 * batch), images(batch // 2), images(batch // 4), ())
        self.context = FitContext(inputs=Inputs({}, lambda recipe: self._nothing()))
        self.run = self.context.run(self.prior.seed)

    @staticmethod
    def _nothing() -> Any:
        raise AssertionError("a prior that starts from another one has no naive reference here")

    def target(self) -> TargetModel:
        torch.manual_seed(0)
        return ARCHITECTURES.make(self.sizes.target).build(self.sizes.classes, self.sizes.px).eval()

    def handle(self) -> TargetHandle:
        target = self.target().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return TargetHandle(target, Defense(), self.prior.asks)

    def networks(self) -> dict[str, Any]:
        torch.manual_seed(1)
        networks: dict[str, Any] = self.prior.networks(self.sizes.px, self.sizes.classes)
        return networks

    def ours(self) -> Work:
        networks = self.networks()
        given = (self.handle(),) if isinstance(self.prior, TargetedPrior) else ()
        return lambda: _losses(self.prior.fit(networks, self.public, *given, self.context))

    def naive(self, fit: Callable[[Trained, dict[str, Any]], Mapping[str, Any]]) -> Work:
        networks = {name: learnable(network).train() for name, network in self.networks().items()}
        return lambda: _losses(fit(self, networks))

    def passes(self, rng: torch.Generator) -> ShuffledPasses:
        return ShuffledPasses(len(self.public.all_images), self.prior.batch_size, rng)

    def batch(self, index: Tensor) -> Tensor:
        """Images in [0, 1], brought one by one."""
        return torch.stack([self.public.all_images[i].float() / 255 for i in index.tolist()])

    def adam(self, network: Any, beta: float, second: float) -> torch.optim.Optimizer:
        return torch.optim.Adam(network.parameters(), lr=self.prior.learning_rate, betas=(beta, second))


def _losses(facts: Mapping[str, Any]) -> Tensor:
    return torch.stack([torch.as_tensor(facts[name]).detach() for name in sorted(facts) if name.endswith("loss")])


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    loss.item()  # a progress bar shows it


def _wgan_gp(trained: Trained, networks: dict[str, Any]) -> Losses:
    prior, rng = trained.prior, trained.run.stream("wgan_gp")
    generator, critic, passes = networks["generator"], networks["critic"], trained.passes(rng)
    adam_g, adam_d = trained.adam(generator, 0.5, 0.999), trained.adam(critic, 0.5, 0.999)
    for _ in range(prior.steps):
        real = trained.batch(passes.next())
        fake = generator(torch.randn(len(real), prior.latent_dim, generator=rng)).detach()
        mix = torch.rand(len(real), 1, 1, 1, generator=rng)
        mixed = ((1 - mix) * real + mix * fake).requires_grad_(True)
        (slope,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
        penalty = (slope.square().sum(dim=(1, 2, 3)).sqrt() - 1).square().mean()
        loss_d = critic(fake).mean() - critic(real).mean() + prior.penalty * penalty
        _descend(adam_d, loss_d)
        loss_g = -critic(generator(torch.randn(prior.batch_size, prior.latent_dim, generator=rng))).mean()
        _descend(adam_g, loss_g)
    return {"critic_loss": loss_d, "generator_loss": loss_g}


def _kedmi_gan(trained: Trained, networks: dict[str, Any]) -> Losses:
    prior, rng, target = trained.prior, trained.run.stream("kedmi"), learnable(trained.target())
    generator, discriminator = networks["generator"], networks["discriminator"]
    adam_g, adam_d = trained.adam(generator, 0.5, 0.999), trained.adam(discriminator, 0.5, 0.999)
    labelled, unlabelled, matched = (trained.passes(rng) for _ in range(3))
    for _ in range(prior.steps):
        real, other = trained.batch(labelled.next()), trained.batch(unlabelled.next())
        fake = generator(torch.randn(prior.batch_size, prior.latent_dim, generator=rng)).detach()
        soft = target(real).logits.softmax(dim=1).detach()
        answers = [discriminator(images)[1] for images in (real, other, fake)]
        supervised = -(soft * answers[0].log_softmax(dim=1)).sum(dim=1).mean()
        totals = [logits.exp().sum(dim=1) for logits in answers]
        is_real = -(totals[1] / (totals[1] + 1)).log().mean()
        is_fake = -(1 / (totals[2] + 1)).log().mean()
        loss_d = supervised + 0.5 * (is_real + is_fake)
        _descend(adam_d, loss_d)
        features_of_real, _ = discriminator(trained.batch(matched.next()))
        drawn = generator(torch.randn(prior.batch_size, prior.latent_dim, generator=rng))
        features, logits = discriminator(drawn)
        matching = (features.mean(dim=0) - features_of_real.detach().mean(dim=0)).abs().mean()
        entropy = -(logits.softmax(dim=1) * logits.log_softmax(dim=1)).sum()
        loss_g = matching + prior.entropy_weight * entropy
        _descend(adam_g, loss_g)
    return {"discriminator_loss": loss_d, "generator_loss": loss_g}


def _margin(logits: Tensor, label: int) -> Tensor:
    return torch.cat([logits[:label], logits[label + 1 :]]).max() - logits[label]


def _plg_gan(trained: Trained, networks: dict[str, Any]) -> Losses:
    prior, rng, target = trained.prior, trained.run.stream("plg"), learnable(trained.target())
    generator, discriminator = networks["generator"], networks["discriminator"]
    adam_g, adam_d = trained.adam(generator, 0.0, 0.9), trained.adam(discriminator, 0.0, 0.9)
    everyone = range(len(trained.public.all_images))
    sure = torch.cat([target(trained.batch(torch.tensor([i]))).logits.softmax(dim=1) for i in everyone])
    chosen = sure.T.sort(dim=1, descending=True, stable=True).indices[:, : prior.top]
    pseudo = torch.arange(len(chosen)).repeat_interleave(chosen.shape[1])
    passes = ShuffledPasses(chosen.numel(), prior.batch_size, rng)

    def draw() -> tuple[Tensor, Tensor]:
        labels = torch.randint(len(chosen), (prior.batch_size,), generator=rng)
        return generator(torch.randn(prior.batch_size, prior.latent_dim, generator=rng), labels), labels

    for _ in range(prior.steps):
        fake, labels = draw()
        realness = -discriminator(fake, labels).mean()
        draws = torch.rand(len(fake), VIEW_DRAWS, generator=rng)
        views = [
            slightly_changed(fake[i : i + 1].clamp(0, 1), draws[i : i + 1], jitter_p=0.5) for i in range(len(fake))
        ]
        logits = target(torch.cat(views)).logits
        identity = torch.stack([_margin(*row) for row in zip(logits, labels.tolist(), strict=True)]).mean()
        _descend(adam_g, realness + prior.alpha * identity)
        index = passes.next()
        real = trained.batch(chosen.flatten()[index])
        real = real + torch.rand(real.shape, generator=rng) / 256
        fake, labels = draw()
        on_real, on_fake = discriminator(real, pseudo[index]), discriminator(fake.detach(), labels)
        loss_d = torch.relu(1 - on_real).mean() + torch.relu(1 + on_fake).mean()
        _descend(adam_d, loss_d)
    return {"generator_loss": realness, "identity_loss": identity, "discriminator_loss": loss_d}


def _t_acgan(trained: Trained, networks: dict[str, Any]) -> Losses:
    prior, rng, target = trained.prior, trained.run.stream("t_acgan"), learnable(trained.target())
    generator, discriminator = networks["generator"], networks["discriminator"]
    adam_g, adam_d = trained.adam(generator, 0.0, 0.9), trained.adam(discriminator, 0.0, 0.9)
    passes = trained.passes(rng)

    def drawn_for() -> tuple[Tensor, Tensor]:
        latents = torch.randn(prior.batch_size, prior.latent_dim, generator=rng)
        return latents, torch.randint(trained.sizes.classes, (prior.batch_size,), generator=rng)

    for number in range(prior.iterations):
        is_asked = number >= prior.warm_up
        latents, labels = drawn_for()
        realness, classes = discriminator(generator(latents, labels))
        loss_g = -realness.sigmoid().log().mean()
        if is_asked:
            loss_g = loss_g + prior.class_weight * F.cross_entropy(classes, labels)
        _descend(adam_g, loss_g)
        index = passes.next()
        fake = generator(*drawn_for()).detach()
        answered = target(fake.clamp(0, 1)).logits.argmax(dim=1) if is_asked else None
        of_real, _ = discriminator(trained.batch(index))
        of_fake, classes = discriminator(fake)
        loss_d = -of_real.sigmoid().log().mean() - (1 - of_fake.sigmoid()).log().mean()
        if answered is not None:
            loss_d = loss_d + prior.class_weight * F.cross_entropy(classes, answered)
        _descend(adam_d, loss_d)
    return {"generator_loss": loss_g, "discriminator_loss": loss_d}


def _diffusion(trained: Trained, networks: dict[str, Any]) -> Losses:
    prior, network = trained.prior, networks["denoiser"]
    target = learnable(trained.target())
    images = torch.cat([trained.public.train.images, trained.public.report.images])
    answers = torch.cat([target(image[None].float() / 255).logits.softmax(dim=1).detach() for image in images])
    kept = torch.cumprod(1 - prior.betas(), dim=0).float()
    adam = torch.optim.Adam(network.parameters(), lr=prior.learning_rate)
    done, steps = 0, prior.epochs * -(-len(images) // prior.batch_size)
    for number in range(prior.epochs):
        rng, mean = trained.run.stream("diffusion", number), 0.0
        for index in torch.randperm(len(images), generator=rng).split(prior.batch_size):
            given = torch.rand(len(index), 1, generator=rng) >= prior.drop_context
            at = torch.randint(len(kept), (len(index),), generator=rng)
            clean = torch.stack([images[i].float() / 255 for i in index.tolist()])
            noise = torch.randn(clean.shape, generator=rng)
            noisy = torch.stack(
                [kept[t] ** 0.5 * x + (1 - kept[t]) ** 0.5 * e for t, x, e in zip(at, clean, noise, strict=True)]
            )
            loss = (network(noisy, (at + 1) / len(kept), answers[index] * given) - noise).square().mean()
            adam.param_groups[0]["lr"] = prior.learning_rate * (1 - done / steps)
            _descend(adam, loss)
            done, mean = done + 1, mean + loss.item() * len(index) / len(images)
    rng, held = trained.run.stream("diffusion", "held out"), trained.public.select.images.float() / 255
    answers = torch.cat([target(image[None]).logits.softmax(dim=1).detach() for image in held])
    at = torch.randint(len(kept), (len(held),), generator=rng)
    noise = torch.randn(held.shape, generator=rng)
    share = kept[at][:, None, None, None]
    predicted = network.eval()(share.sqrt() * held + (1 - share).sqrt() * noise, (at + 1) / len(kept), answers)
    return {"loss": torch.tensor(mean), "held_out_loss": (predicted - noise).square().mean().detach()}


NAIVE: dict[str, Callable[[Trained, dict[str, Any]], Mapping[str, Any]]] = {
    "diffusion": _diffusion,
    "kedmi_gan": _kedmi_gan,
    "plg_gan": _plg_gan,
    "t_acgan": _t_acgan,
    "wgan_gp": _wgan_gp,
}


def _grouped(trained: Trained) -> Work:
    """Midef's own loop on kernels that are modulated for each image, as released StyleGAN2 codes have them."""
    networks = trained.networks()
    for module in networks["generator"].modules():
        if hasattr(module, "fused"):
            module.fused = True
    return lambda: _losses(trained.prior.fit(networks, trained.public, trained.context))


def prior_pairs(sizes: Sizes) -> Iterator[Pair]:
    """A pair for each generator with a naive reference, and for the one whose kernels can be modulated per image."""
    is_ours = "images one by one, nothing frozen, the target asked again, from the formula"
    for name, fit in NAIVE.items():
        yield _pair(name, sizes, is_ours, lambda trained, fit=fit: trained.naive(fit))
    yield _pair("style_gan2", sizes, "kernels modulated for each image (grouped), midef's own loop", _grouped)


def _pair(name: str, sizes: Sizes, naive_is: str, naive: Callable[[Trained], Work]) -> Pair:
    trained = Trained(name, sizes)
    return Pair(
        name=name,
        group="prior",
        naive_is=naive_is,
        ours=trained.ours,
        naive=lambda: naive(trained),
        tolerance=1e-2,
    )
