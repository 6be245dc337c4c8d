"""A search in stages against the same search written out by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from midef.attacks import AccessLevel, Attack, Reconstructions
from midef.attacks.base import Task
from midef.attacks.latent_search import memory
from midef.attacks.latent_search.template import LatentSearch, Networks, Rows
from midef.attacks.priors import Prior
from midef.attacks.priors.wgan_gp import WganGp
from midef.attacks.target_handle import TargetHandle
from midef.core import Inputs
from midef.core.seeds import derive_seed
from midef.defenses import Defense
from midef.nn.network import Forward, TargetModel
from midef.testing.positions import positions, rises_to_the_end

RESOLUTION_PX, CLASSES, SEED = 32, 4, 7
GanInputs = Callable[[Attack], Inputs]


@dataclass(frozen=True, kw_only=True)
class Halved(LatentSearch):
    """Searches a latent; then the latent and a small shift of the image, from half the latent and zero."""

    access: ClassVar[AccessLevel] = AccessLevel.WHITE_BOX
    remembers_start: ClassVar[bool] = True

    iterations: int = 3
    second: int = 4
    limit: float = 0.03
    prior: WganGp

    @property
    @override
    def priors(self) -> dict[str, Prior]:
        return {"prior": self.prior}

    @property
    @override
    def stage_steps(self) -> tuple[int, ...]:
        return (self.iterations, self.second)

    @override
    def next_start(self, networks: Networks, searched: list[Tensor], rows: Rows) -> list[Tensor]:
        assert rows.stage == 1
        return [searched[0] / 2, torch.zeros(len(searched[0]), 3, 1, 1)]

    @override
    def optimizer(self, searched: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(searched, lr=0.1)

    @override
    def images(self, networks: Networks, searched: list[Tensor], rows: Rows) -> Tensor:
        drawn = self.draw(networks, searched[0], rows)
        return drawn + searched[1] if rows.stage else drawn

    @override
    def final_images(self, networks: Networks, searched: list[Tensor], rows: Rows) -> tuple[Tensor, Tensor]:
        return searched[0], self.images(networks, searched, rows)

    @override
    def constrain_(self, searched: list[Tensor], rows: Rows) -> None:
        with torch.no_grad():
            for values, start in zip(searched[1:], rows.begun[1:], strict=True):
                values.copy_(start + (values - start).clamp(-self.limit, self.limit))

    @override
    def identity_loss(self, networks: Networks, seen: list[Forward], labels: Tensor) -> Tensor:
        return F.cross_entropy(seen[0].logits, labels, reduction="none")


def task_of(rows: int) -> Task:
    return Task(torch.arange(rows) % CLASSES, torch.arange(rows) // CLASSES, RESOLUTION_PX, SEED, "cpu")


def search(attack: Attack, target: TargetModel, inputs: Inputs, rows: int = 6) -> tuple[Reconstructions, int]:
    handle = TargetHandle(target, Defense(), attack.access)
    return attack.reconstruct(handle, inputs, task_of(rows)), handle.queries


def by_hand(
    attack: Halved, generator: nn.Module, target: TargetModel, label: int, restart: int
) -> tuple[Tensor, list[float]]:
    """The reconstruction of one row, and the loss of every step."""
    from midef.attacks.priors.networks.dcgan import standard_latents

    z, shift, losses = standard_latents([derive_seed("latent", SEED, label, restart)], 8), torch.zeros(1, 3, 1, 1), []
    for stage, count in enumerate((attack.iterations, attack.second)):
        z = z / 2 if stage else z
        values = [z.clone().requires_grad_(True)] + [shift.clone().requires_grad_(True)] * stage
        adam = torch.optim.Adam(values, lr=0.1)
        for _ in range(count):
            images = generator(values[0]) + (values[1] if stage else 0)
            loss = F.cross_entropy(target(images).logits, torch.tensor([label]))
            losses.append(float(loss.detach()))
            adam.zero_grad()
            loss.backward()
            adam.step()
            for value in values[1:]:
                value.data.clamp_(-attack.limit, attack.limit)
        z, shift = values[0].detach(), values[1].detach() if stage else shift
    with torch.no_grad():
        return (generator(z) + shift).clamp(0, 1)[0], losses


def test_each_stage_has_its_own_values_steps_and_optimiser_and_the_course_runs_through_all(
    target: TargetModel, gan_inputs: GanInputs, small_gan: WganGp, gan_networks: dict[str, nn.Module]
) -> None:
    attack = Halved(prior=small_gan)
    found, queries = search(attack, target, gan_inputs(attack))
    assert queries == 7 * 6 == attack.queries(reconstructions=6, identities=4)
    assert found.traces is not None and found.traces.steps.tolist() == list(range(7))
    for row, (label, restart) in enumerate(zip(found.labels.tolist(), found.restarts.tolist(), strict=True)):
        image, losses = by_hand(attack, gan_networks["generator"], target, label, restart)
        assert torch.allclose(found.images[row], image, atol=1e-4)
        assert found.traces.series["loss"][row] == pytest.approx(losses, rel=1e-3)
    assert np.isfinite(found.traces.series["gradient_norm"]).all()


def test_stages_do_not_hang_on_what_is_searched_together_and_say_how_far_they_are(
    target: TargetModel, gan_inputs: GanInputs, small_gan: WganGp, monkeypatch: pytest.MonkeyPatch
) -> None:
    attack = Halved(prior=small_gan)
    inputs = gan_inputs(attack)
    with positions() as told:
        whole, _ = search(attack, target, inputs)
    rises_to_the_end(told)
    monkeypatch.setattr(memory, "CHUNK", 4)
    pieces, _ = search(attack, target, inputs)
    assert torch.allclose(whole.images, pieces.images, atol=1e-5)


def test_a_row_that_a_stage_loses_stays_lost(
    target: TargetModel, gan_inputs: GanInputs, small_gan: WganGp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second stage would start anew, from numbers, where the first ended in infinity."""
    attack = Halved(prior=small_gan)

    def anew(self: Halved, networks: Networks, searched: list[Tensor], rows: Rows) -> list[Tensor]:
        return [torch.zeros_like(searched[0]), torch.zeros(len(searched[0]), 3, 1, 1)]

    def broken(self: Halved, networks: Networks, rows: Rows) -> list[Tensor]:
        start = torch.zeros(len(rows.labels), 8)
        start[2, 0] = torch.inf
        return [start]

    monkeypatch.setattr(Halved, "start", broken)
    monkeypatch.setattr(Halved, "next_start", anew)
    images = search(attack, target, gan_inputs(attack))[0].images
    assert images.isnan().flatten(1).all(dim=1).tolist() == [i == 2 for i in range(6)]
