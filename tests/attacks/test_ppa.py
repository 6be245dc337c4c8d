"""PPA against its rule written out by hand, on a StyleGAN2 of 32 px with random weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from midef.attacks import ATTACKS, Attack
from midef.attacks.base import SmallBudget
from midef.attacks.latent_search import memory
from midef.attacks.latent_search.poincare import poincare_loss
from midef.attacks.latent_search.streams import RowStreams
from midef.attacks.latent_search.views import CROP_DRAWS, randomly_cropped
from midef.attacks.ppa import Ppa
from midef.attacks.priors.networks.style_gan2 import Mapping
from midef.attacks.priors.style_gan2 import StyleGan2
from midef.attacks.target_handle import TargetHandle
from midef.core import Inputs, SpecError, derive_seed
from midef.defenses import Defense
from midef.defenses.midre import Midre
from midef.nn.network import TargetModel
from midef.testing.search import search, task_of

RESOLUTION_PX, CLASSES, SEED, POOL = 32, 4, 7, 24
StyleInputs = Callable[[Attack], Inputs]
Networks = dict[str, nn.Module]


@pytest.fixture
def attack(style_prior: StyleGan2) -> Ppa:
    return Ppa(pool=POOL, candidates=3, iterations=4, cutoff=3, selection_rounds=5, prior=style_prior)


# ---------------------------------------------------------------- its rule


def pool_by_hand(generator: nn.Module, target: TargetModel, *, single: bool, seed: int = SEED) -> tuple[Tensor, Tensor]:
    """Truncated w [S, Z] and what the target says of the pool [S, K]: rows of w pulled to the mean one by one."""
    latents = np.random.RandomState(derive_seed("pool", seed) % 2**32).randn(POOL, 8)
    with torch.no_grad():
        w = generator.mapping(torch.from_numpy(latents).float())
        mean = generator.mapping.w_avg
        start = mean + 0.5 * (w - mean)
        rows = torch.stack([start if single or row < 3 else w for row in range(generator.num_ws)], dim=1)
        images = generator.synthesis(rows).clamp(-1, 1) / 2 + 0.5
        both = [target(view).logits.softmax(dim=1) for view in (images, images.flip(3))]
    return start, (both[0] + both[1]) / 2


@pytest.mark.parametrize("single", [False, True], ids=["first rows", "single w"])
def test_candidates_start_from_the_surest_of_the_pool_each_once(
    attack: Ppa, target: TargetModel, style_networks: Networks, *, single: bool
) -> None:
    start, sure = pool_by_hand(style_networks["generator"], target, single=single)
    handle = TargetHandle(target, Defense(), attack.access)
    attack = replace(attack, score_with_single_w=single)
    for labels in ([0, 1, 2, 3], [2]):
        chosen = attack.choose(handle, style_networks, task_of(labels, restarts=2))
        assert chosen.keys() == {(label, number) for label in labels for number in range(3)}
        for (label, number), latent in chosen.items():
            place = sorted(range(POOL), key=lambda i, k=label: -float(sure[i, k]))[number]  # type: ignore[misc]
            assert torch.allclose(latent, start[place], atol=1e-6)
    assert handle.queries == 2 * 2 * POOL, "an image and its mirror image, whoever is attacked"


def test_scoring_with_a_single_w_scores_other_images(
    attack: Ppa, target: TargetModel, style_networks: Networks
) -> None:
    pools = [pool_by_hand(style_networks["generator"], target, single=single)[1] for single in (False, True)]
    assert not torch.allclose(pools[0], pools[1], atol=1e-3), "else the test above shows nothing"


def by_hand(
    generator: nn.Module, target: TargetModel, w: Tensor, label: int, number: int, attack: Ppa
) -> tuple[Tensor, list[float]]:
    """The image [3, H, W] after Adam with betas (.1, .1) on the Poincare loss of crops, and the losses."""
    noise, losses = RowStreams([derive_seed("latent", SEED, label, number)]), []
    first, second = torch.zeros_like(w), torch.zeros_like(w)
    for step in range(1, attack.iterations + 1):
        w = w.detach().requires_grad_(True)
        images = generator.synthesis(w[:, None].expand(-1, generator.num_ws, -1))
        if attack.clip_in_loop:
            images = images.clamp(-1, 1)
        view = randomly_cropped(images / 2 + 0.5, noise.uniform(CROP_DRAWS), scale=(0.9, 1.0))
        loss = poincare_loss(target(view).logits, torch.tensor([label])).sum()
        losses.append(float(loss.detach()))
        (slope,) = torch.autograd.grad(loss, w)
        rate = 0.05 if step <= attack.iterations * 0.5 else 0.005
        first, second = 0.1 * first + 0.9 * slope, 0.1 * second + 0.9 * slope**2
        w = w.detach() - rate * (first / (1 - 0.1**step)) / ((second / (1 - 0.1**step)).sqrt() + 1e-8)
    with torch.no_grad():
        images = generator.synthesis(w[:, None].expand(-1, generator.num_ws, -1))
    return (images.clamp(-1, 1) if attack.clip_in_loop else images)[0] / 2 + 0.5, losses


@pytest.mark.parametrize("clip", [False, True], ids=["unclipped", "clipped"])
def test_the_search_is_adam_on_the_poincare_loss_of_crops_and_the_surest_in_crops_are_kept(
    attack: Ppa, target: TargetModel, style_inputs: StyleInputs, style_networks: Networks, *, clip: bool
) -> None:
    attack = replace(attack, learning_rate=0.05, rate_drops=(0.5,), clip_in_loop=clip)
    found, queries = search(attack, target, style_inputs(attack), task_of([0, 3], restarts=2))
    generator = style_networks["generator"]
    start, sure = pool_by_hand(generator, target, single=False)
    order = sure.argsort(dim=0, descending=True)
    for row, label in ((0, 0), (2, 3)):
        runs = [by_hand(generator, target, start[order[i, label]][None], label, i, attack) for i in range(3)]
        images = torch.stack([image for image, _ in runs])
        draws = torch.rand(
            5, CROP_DRAWS + 1, generator=torch.Generator().manual_seed(derive_seed("selection", SEED, label))
        )
        scores = torch.zeros(3)
        for drawn in draws:
            views = randomly_cropped(images, drawn[:CROP_DRAWS].expand(3, -1), scale=(0.5, 0.9), ratio=(0.8, 1.2))
            views = views.flip(3) if drawn[CROP_DRAWS] < 0.5 else views
            with torch.no_grad():
                scores += target(views).logits.softmax(dim=1)[:, label]
        best = scores.argsort(descending=True)[:2].tolist()
        for restart, number in enumerate(best):
            assert torch.allclose(found.images[row + restart], images[number].clamp(0, 1), atol=1e-4)
            assert found.traces is not None
            assert found.traces.series["loss"][row + restart] == pytest.approx(runs[number][1], rel=1e-3)
    assert found.traces is not None and found.traces.restarts.tolist() == [0, 1, 0, 1]
    assert queries == 2 * POOL + 2 * 3 * (4 + 5) == attack.queries(reconstructions=4, identities=2)


def test_where_all_candidates_are_kept_the_target_is_not_asked_again(
    attack: Ppa, target: TargetModel, style_inputs: StyleInputs
) -> None:
    found, queries = search(attack, target, style_inputs(attack), task_of([0, 1], restarts=3))
    assert queries == 2 * POOL + 2 * 3 * 4 == attack.queries(reconstructions=6, identities=2)
    assert len(found.images.flatten(1).unique(dim=0)) == 6


# ---------------------------------------------------------------- what must hold


def test_candidates_of_an_identity_are_ranked_together_whatever_is_searched_together(
    attack: Ppa, target: TargetModel, style_inputs: StyleInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of two cut the three candidates of every identity."""
    inputs, task = style_inputs(attack), task_of([0, 2, 3], restarts=2)
    whole, queries = search(attack, target, inputs, task)
    monkeypatch.setattr(memory, "CHUNK", 2)
    pieces, again = search(attack, target, inputs, task)
    assert torch.allclose(whole.images, pieces.images, atol=1e-5) and queries == again
    assert whole.traces is not None and pieces.traces is not None
    assert np.allclose(whole.traces.series["loss"], pieces.traces.series["loss"], rtol=1e-4)


def test_the_search_finds_what_the_target_looks_for(
    attack: Ppa, target: TargetModel, style_inputs: StyleInputs
) -> None:
    """The loss falls and the confidence rises, above that of random images of the generator and above chance."""
    attack = replace(attack, iterations=20, learning_rate=0.05, candidates=4, pool=60)
    found, _ = search(attack, target, style_inputs(attack), task_of(list(range(CLASSES)), restarts=3))
    assert found.traces is not None
    loss, confidence = found.traces.series["loss"], found.traces.series["confidence"]
    assert (loss[:, -5:].mean(axis=1) < loss[:, :5].mean(axis=1)).mean() > 0.9
    assert confidence[:, -5:].mean() > max(confidence[:, :5].mean() + 0.02, 2 / CLASSES)
    with torch.no_grad():
        sure = target(found.images).logits.softmax(dim=1)[torch.arange(12), found.labels]
    assert float(sure.mean()) > 2 / CLASSES


def test_another_seed_of_the_attack_draws_another_pool(
    attack: Ppa, target: TargetModel, style_networks: Networks
) -> None:
    handle = TargetHandle(target, Defense(), attack.access)
    first, again, other = (attack.choose(handle, style_networks, task_of([1], seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(first[1, 0], again[1, 0]) and not torch.equal(first[1, 0], other[1, 0])


def test_a_candidate_that_left_the_numbers_is_kept_last(
    attack: Ppa, target: TargetModel, style_networks: Networks
) -> None:
    handle = TargetHandle(target, Defense(), attack.access)
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for lost in range(3):
        broken = images.clone()
        broken[lost] = torch.nan
        assert lost not in attack.keep(handle, style_networks, 0, broken, 2, task_of([0]))


def test_the_adaptive_attacker_fills_with_the_colour_of_midres_space(
    attack: Ppa, target: TargetModel, style_inputs: StyleInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Ppa().erase_colour == (0.485, 0.456, 0.406)
    defended = Midre(fill_space="normalised").fill_colours(1, torch.Generator())
    assert Ppa(erase_fill="normalised").erase_colour == pytest.approx(tuple(defended[0].tolist()))
    seen: list[Tensor] = []
    run = TargetHandle.run
    monkeypatch.setattr(TargetHandle, "run", lambda self, images: [seen.append(images.detach()), run(self, images)][1])
    attack = replace(attack, erase_low=0.3, erase_high=0.3, erase_fill="normalised")
    search(attack, target, style_inputs(attack), task_of([0], restarts=3))
    is_filled = (seen[-1] == torch.tensor(attack.erase_colour)[:, None, None]).all(dim=1).float().mean(dim=(1, 2))
    assert is_filled.tolist() == pytest.approx([0.3] * 3, abs=0.04)


# ---------------------------------------------------------------- refusals and presets


def test_fewer_candidates_than_are_kept_are_refused(
    attack: Ppa, target: TargetModel, style_inputs: StyleInputs
) -> None:
    with pytest.raises(SpecError, match="it searches 3 candidates for each identity and cannot keep 4 of them; raise"):
        search(attack, target, style_inputs(attack), task_of([0, 1], restarts=4))


@pytest.mark.parametrize("prior", ["wgan_gp", "plg_gan", "students"])
def test_priors_without_styles_are_refused(prior: str) -> None:
    with pytest.raises(SpecError, match="searches the styles of a StyleGAN2; give one of renderer, style_gan2"):
        ATTACKS.choose(f"ppa(prior={prior})")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pool": 10, "candidates": 11}, "needs 1 <= candidates <= pool, got 11, 10"),
        ({"psi": 1.5}, "needs 0 <= psi <= 1"),
        ({"crop_low": 0.0}, "0 < crop_low <= 1"),
        ({"rate_drops": (30,)}, "needs rate_drops from 0 to 1, shares of the steps"),
        ({"selection_rounds": 0}, "needs selection_rounds >= 1"),
    ],
    ids=str,
)
def test_impossible_values_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Ppa(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("preset", "pool", "steps", "rate", "candidates", "crop_low", "drops"),
    [
        ("ppa", 2000, 50, 0.005, 200, 0.9, ()),
        ("ppa-celeba", 5000, 70, 0.005, 200, 0.9, ()),
        ("midre", 2000, 50, 0.005, 16, 0.9, (30, 40)),
        ("midre-dogs", 2000, 100, 0.01, 16, 0.75, ()),
        ("tldmi", 2000, 50, 0.005, 200, 0.9, ()),
    ],
)
def test_presets_hold_the_published_numbers(
    preset: str, pool: int, steps: int, rate: float, candidates: int, crop_low: float, drops: tuple[int, ...]
) -> None:
    """Table of configs of the specification; all fill erased squares in normalised space."""
    made = ATTACKS.remake(ATTACKS.choose(f"ppa:{preset}"))
    assert isinstance(made, Ppa) and made.erase_fill == "normalised" and made.clip_in_loop == (preset == "tldmi")
    given = (made.pool, made.iterations, made.learning_rate, made.candidates, made.crop_low)
    assert given == (pool, steps, rate, candidates, crop_low)
    rates = [made.rate(step / steps) for step in range(steps)]
    assert [step for step in range(1, steps) if rates[step] < rates[step - 1]] == list(drops)
    (searched,) = made.optimizer([torch.zeros(2, requires_grad=True)]).param_groups
    assert searched["betas"] == (0.1, 0.1) and searched["weight_decay"] == 0


def test_in_a_small_profile_a_search_can_cross_what_w_spreads_over() -> None:
    """A step of Adam with these betas moves a coordinate by about the rate: 50 published ones by 0.25 at most."""
    budget = SmallBudget(search=100, steps=600, epochs=5, inverter_width=16, latent_dim=64)
    torch.manual_seed(0)
    with torch.no_grad():
        w = Mapping(64, 2)(torch.randn(500, 64))
    spread = w.std(dim=0).mean().item()
    assert 0.5 < spread < 1.2, "the mapping learns at a hundredth of the rate, so a short training hardly changes it"
    small = Ppa.small(budget)
    assert small["iterations"] * Ppa().learning_rate < 0.5 * spread
    assert small["iterations"] * small["learning_rate"] > 2 * spread
