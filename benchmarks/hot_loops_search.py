"""Naive references of attacks: one row at a time, `loss.backward()` through networks that are not frozen."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from hot_loops_losses import LOSSES, Row
from hot_loops_naive import Pair, Sizes, Work, learnable
from safetensors.torch import save_file
from torch import Tensor, nn

from midef.attacks import ATTACKS, PRIORS
from midef.attacks.base import Task
from midef.attacks.brep_mi import LARGEST_RADIUS
from midef.attacks.latent_search.rows import Rows, rows_of
from midef.attacks.latent_search.template import LatentSearch
from midef.attacks.target_handle import TargetHandle
from midef.core import Choice, Inputs, Recipe
from midef.core.seeds import derive_seed
from midef.defenses import Defense
from midef.models import ARCHITECTURES
from midef.nn.network import TargetModel


class Attacked:
    """An attack of small budget with fresh networks, and a target.

    Args:
        name: registered.
    """

    def __init__(self, name: str, sizes: Sizes) -> None:
        self.sizes = sizes
        self.attack: Any = ATTACKS.make(name, ATTACKS.get(name).small(sizes.budget))
        each = 1
        if isinstance(self.attack, LatentSearch):
            each = self.attack.candidates_per_identity or self.attack.images_per_row
        kept = self.attack.candidates_per_identity if isinstance(self.attack, LatentSearch) else 0
        labels, kept = torch.arange(max(1, sizes.rows // each)), kept or 1
        observed = torch.rand(len(labels) * kept, sizes.classes, generator=_seeded(3)).softmax(1)
        seeded = (labels.repeat_interleave(kept), torch.arange(kept).repeat(len(labels)), sizes.px, 7, "cpu")
        self.task = Task(*seeded, observed)

        @cache
        def stored(recipe: Recipe) -> Path:
            prior: Any = PRIORS.remake(Choice(recipe.component, recipe.params["params"], recipe.version))
            folder = Path(tempfile.mkdtemp(prefix="midef-hot-loops-"))
            torch.manual_seed(1)
            for role, network in prior.networks(sizes.px, sizes.classes).items():
                state = {key: value.contiguous() for key, value in network.state_dict().items()}
                save_file(state, folder / f"{role}.safetensors")
            return folder

        needed = self.attack.requires(
            target=Recipe("target", "x"), public=Recipe("split", "y", {"resolution_px": sizes.px})
        )
        self.inputs = Inputs(needed, stored)

    def target(self) -> TargetModel:
        torch.manual_seed(0)
        return ARCHITECTURES.make(self.sizes.target).build(self.sizes.classes, self.sizes.px).eval()

    def handle(self) -> TargetHandle:
        return TargetHandle(self.target(), Defense(), self.attack.access)

    def ours(self) -> Work:
        """Midef's own loop, from loaded networks on."""
        handle = self.handle()
        if not isinstance(self.attack, LatentSearch):
            return lambda: self.attack.reconstruct(handle, self.inputs, self.task).images
        networks = self.attack.loaded(handle, self.inputs, self.task)
        return lambda: self.attack.search(handle, networks, self.task).images

    def keep_networks(self) -> None:
        """Load what the attack loads once for all works: whoever calls it for each identity would load it as often."""
        prior = copy.copy(self.attack.prior)
        object.__setattr__(prior, "load", cache(prior.load))
        self.attack = replace(self.attack, prior=prior)

    def one_at_a_time(self) -> Work:
        """Midef's own code, called for each identity by itself; after `keep_networks`."""
        handle, task = self.handle(), self.task

        def work() -> Tensor:
            parts = []
            for label in task.labels.unique():
                own = task.labels == label
                assert task.observed is not None
                alone = replace(task, labels=task.labels[own], restarts=task.restarts[own], observed=task.observed[own])
                parts.append(self.attack.reconstruct(handle, self.inputs, alone).images)
            return torch.cat(parts)

        return work

    def naive(self, loss: Callable[[Row], Tensor] | None) -> Work:
        """One row at a time through networks that are not frozen.

        Args:
            loss: of a row; None takes the attack's own.
        """
        handle, attack, task = self.handle(), self.attack, self.task
        loaded = attack.loaded(handle, self.inputs, task)
        networks: dict[str, nn.Module] = {name: learnable(copy.deepcopy(network)) for name, network in loaded.items()}
        for module in networks["generator"].modules():
            if hasattr(module, "fused"):
                module.fused = True  # type: ignore[assignment]  # kernels of each image, grouped convolutions
        target = learnable(self.target())
        handle = TargetHandle(target, Defense(), attack.access)  # type: ignore[arg-type]
        learnable(target)  # the handle has frozen it

        def work() -> Tensor:
            with torch.no_grad():
                chosen = attack.choose(handle, networks, task)
            pairs = list(zip(task.labels.tolist(), task.restarts.tolist(), strict=True))
            ended = {}
            for label, restart in dict.fromkeys((label, -1 if attack.per_identity else r) for label, r in pairs):
                rows = rows_of("latent", [(label, restart)], task)
                if chosen:
                    rows = replace(rows, chosen=chosen[label, restart][None])
                ended[label, restart] = _searched(attack, handle, networks, target, rows, loss)
            images = []
            for label, restart in pairs:
                values, stage = ended[label, -1 if attack.per_identity else restart]
                final = replace(rows_of("sample", [(label, restart)], task), stage=stage)
                with torch.no_grad():
                    images.append(attack.final_images(networks, values, final)[1])
            return torch.cat(images).clamp(0, 1)

        return work


def _searched(
    attack: Any, handle: TargetHandle, networks: Any, target: Any, rows: Rows, loss: Callable[[Row], Tensor] | None
) -> tuple[list[Tensor], int]:
    """What the search of one row ends with, and its last stage."""
    values = attack.start(networks, rows)
    for stage, count in enumerate(attack.stage_steps):
        rows = replace(rows, stage=stage)
        if stage:
            with torch.no_grad():
                values = attack.next_start(networks, values, rows)
        values = [value.detach().clone().requires_grad_(True) for value in values]
        rows = replace(rows, begun=[value.detach().clone() for value in values])
        optimizer = attack.optimizer(values)
        rates = [group["lr"] for group in optimizer.param_groups]
        lowest, best = float("inf"), values
        for step in range(count):
            if loss is None:
                now = attack.step_loss(handle, networks, values, rows).sum()
            else:
                now = loss(Row(attack, networks, target, values, rows))
            optimizer.zero_grad()
            now.backward()  # type: ignore[no-untyped-call]
            if now.item() < lowest:
                lowest, best = now.item(), [value.detach().clone() for value in values]
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * attack.rate(step / count)
            optimizer.step()
            attack.constrain_(values, rows)
        values = best if attack.keeps_best else [value.detach() for value in values]
    return values, len(attack.stage_steps) - 1


def _mi_face(attacked: Attacked) -> Work:
    """x <- x + rate * dp_y/dx, clipped; the surest image counts."""
    attack, task, target = attacked.attack, attacked.task, learnable(attacked.target())

    def work() -> Tensor:
        found = []
        for label, restart in zip(task.labels.tolist(), task.restarts.tolist(), strict=True):
            rng = _seeded(derive_seed("mi_face", task.seed, label, restart))
            image = attack.start_noise * torch.rand(3, task.resolution_px, task.resolution_px, generator=rng)[None]
            surest, best = -1.0, image
            for step in range(attack.iterations + 1):
                image = image.detach().requires_grad_(True)
                sureness = target(image).logits.softmax(dim=1)[0, label]
                if sureness.item() > surest:
                    surest, best = sureness.item(), image.detach()
                if step == attack.iterations:
                    break
                sureness.backward()  # type: ignore[no-untyped-call]
                assert image.grad is not None
                image = (image + attack.learning_rate * image.grad).clamp(0, 1)
            found.append(best)
        return torch.cat(found)

    return work


def _repelled(attacked: Attacked) -> Work:
    """Midef's repulsion; labels are what the target says of the first latents, no start is searched for."""
    attack, task, generator = _label_only(attacked)
    handle, latents = attacked.handle(), _latents(task, generator)
    handle.lay_out(torch.channels_last)

    def ask(latents: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([handle.labels(generator(part)) for part in latents.split(1024)])

    started = replace(task, labels=ask(latents))
    return lambda: attack.repel(ask, latents, torch.ones(len(latents), dtype=torch.bool), started)[0]


def _brep_mi(attacked: Attacked) -> Work:
    """Points on a sphere, a step away from those outside, a larger sphere once nearly all are in."""
    attack, task, generator = _label_only(attacked)
    target, starts = learnable(attacked.target()), _latents(task, generator)
    learnable(generator)

    def ask(latents: Tensor) -> Tensor:
        with torch.no_grad():
            return target(generator(latents)).logits.argmax(dim=1)

    labels = ask(starts).tolist()

    def work() -> Tensor:
        ended = []
        for current, label, restart in zip(starts, labels, task.restarts.tolist(), strict=True):
            rng = _seeded(derive_seed("brep", task.seed, label, restart))
            best, radius, fruitless, rejected = current, attack.radius, 0, 0
            while fruitless < attack.patience and radius <= LARGEST_RADIUS:
                directions = F.normalize(torch.randn(attack.sphere_points, len(current), generator=rng))
                signs = 2.0 * (ask(current + radius * directions) == label) - 1
                grows, old = bool(signs.mean() > attack.inside_share), radius
                radius = old * attack.growth if grows else old
                push = ((signs[:, None] - 1) / 2 * old * directions).mean(dim=0) / radius
                moved = (current + min(old / 3, attack.largest_step) * push).clamp(-attack.clamp, attack.clamp)
                if stays := bool(ask(moved[None])[0] == label):
                    current, rejected = moved, 0
                    best = moved if grows else best
                else:
                    rejected += 1
                if stays or rejected >= attack.redraws:
                    fruitless, rejected = fruitless + 1, 0
                fruitless = 0 if grows else fruitless
            ended.append(best)
        return torch.stack(ended)

    return work


def _label_only(attacked: Attacked) -> tuple[Any, Task, Any]:
    # a row is done at the first sphere that does not grow, or soon where it never meets a boundary
    attack, task = replace(attacked.attack, patience=1, growth=100.0, sphere_points=8), attacked.task
    loaded = attack.prior.load(attacked.inputs.path("prior"), task.resolution_px, attacked.sizes.classes, task.device)
    return attack, task, loaded["generator"].to(memory_format=torch.channels_last)


def _latents(task: Task, generator: Any) -> Tensor:
    return torch.randn(len(task.labels), int(generator.latent_dim), generator=_seeded(5)).clamp(-1.5, 1.5)


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


ADAM_LEAPS = 0.2
"""From this rate on, or where whole feature maps are searched, results may be further apart: steps of Adam are as large
as its rate, whichever way rounding points where a slope is about 0."""
FORMULA = "one row at a time, no weight frozen, from the formula"
OWN_LOSS = "one row at a time, no weight frozen, the attack's own loss"
ALONE = "one identity at a time, by the attack's own code"


def search_pairs(sizes: Sizes) -> Iterator[Pair]:
    """A pair for every registered attack; those that draw one answer in one pass are read one image at a time."""
    for name in ATTACKS.names():
        yield _pair(name, Attacked(name, sizes))


def _pair(name: str, attacked: Attacked) -> Pair:
    def pair(naive_is: str, naive: Callable[[], Work], ours: Callable[[], Work] = attacked.ours) -> Pair:
        attack = attacked.attack
        leaps = getattr(attack, "learning_rate", 0) >= ADAM_LEAPS or getattr(attack, "remembers_start", False)
        apart = 3e-2 if leaps else 1e-3
        return Pair(name=name, group="attack", naive_is=naive_is, ours=ours, naive=naive, tolerance=apart)

    if name == "mi_face":
        return pair(FORMULA, lambda: _mi_face(attacked))
    if name == "brep_mi":
        return pair(FORMULA, lambda: _brep_mi(attacked), lambda: _repelled(attacked))
    searches = isinstance(attacked.attack, LatentSearch) and type(attacked.attack).search is LatentSearch.search
    if not searches:
        attacked.keep_networks()
        return pair(ALONE, attacked.one_at_a_time)
    return pair(FORMULA if name in LOSSES else OWN_LOSS, lambda: attacked.naive(LOSSES.get(name)))
