"""MIRROR's genetic search: its operators against formulas, and what it finds on a StyleGAN2 of 32 px."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from midef.attacks import Attack
from midef.attacks.mirror_black_box import MirrorBlackBox, different
from midef.attacks.priors.style_gan2 import StyleGan2
from midef.core import Inputs, Protocol, derive_seed
from midef.nn.network import TargetModel
from midef.testing.search import search, task_of

CLASSES, SEED = 4, 7
StyleInputs = Callable[[Attack], Inputs]


@pytest.fixture
def attack(style_prior: StyleGan2) -> MirrorBlackBox:
    return MirrorBlackBox(pool=24, population=8, generations=6, cutoff=3, enough=1.0, prior=style_prior)


@pytest.mark.parametrize(("crossover", "better"), [("code", 0.25), ("fixed", 0.9)])
def test_a_gene_is_the_first_parents_as_released_or_in_proportion_to_its_probability(
    crossover: str, better: float
) -> None:
    """p1 = e^-1, p2 = e^-3: released, f1 / (f1 + f2) = 1 / 4 prefers the worse; fixed, 1 / (1 + e^-2) = .88."""
    made = MirrorBlackBox(crossover=crossover)  # type: ignore[arg-type]
    one, other = torch.tensor([-1.0, -3.0, 0.0]), torch.tensor([-3.0, -1.0, 0.0])
    expected = [0.25, 0.75, 0.5] if crossover == "code" else [1 / (1 + np.exp(-2)), 1 / (1 + np.exp(2)), 0.5]
    assert made.share_of_first(one, other).tolist() == pytest.approx(expected)
    genes = torch.stack([torch.zeros(400), torch.ones(400)]).repeat(51, 1)[:101]
    fitness = torch.tensor([-1.0, -3.0]).repeat(51)[:101]
    bred = replace(made, mutation=0.0, clip_std=9).children(
        genes, fitness, (torch.zeros(400), torch.ones(400)), torch.Generator().manual_seed(0)
    )
    shares = 1 - bred.mean(dim=1)
    mixed = shares[(shares > 0) & (shares < 1)]
    assert len(mixed) > 10 and abs(float(mixed.mean()) - better) < 0.05, "the genes of parents of different fitness"


def test_parents_are_drawn_in_proportion_to_their_probabilities() -> None:
    made = MirrorBlackBox(mutation=0.0, clip_std=99, crossover="fixed")
    genes = torch.arange(5.0)[:, None].repeat(400, 1)
    fitness = torch.tensor([0.5, 0.3, 0.1, 0.05, 0.05]).log().repeat(400)
    bred = made.children(genes, fitness, (torch.zeros(1), torch.ones(1)), torch.Generator().manual_seed(0))
    assert len(bred) == 1999
    one = torch.tensor([0.5, 0.3, 0.1, 0.05, 0.05], dtype=torch.float64)
    wins = one[:, None] / (one[:, None] + one)  # of the first parent, and then of the second
    expected = (one[:, None] * one * wins).sum(dim=1) + (one[:, None] * one * (1 - wins)).sum(dim=0)
    counts = torch.bincount(bred[:, 0].long(), minlength=5) / len(bred)
    assert torch.allclose(counts.double(), expected, atol=0.04)


def test_a_tenth_of_the_genes_is_moved_by_up_to_a_tenth_of_a_deviation_and_clipped_at_both_bounds() -> None:
    made = MirrorBlackBox()
    mean, deviation = torch.full((1000,), 2.0), torch.full((1000,), 3.0)
    spread, rng = (mean, deviation), torch.Generator().manual_seed(0)
    bred = made.children(torch.full((21, 1000), 2.5), torch.zeros(21), spread, rng) - 2.5
    assert abs(float((bred != 0).float().mean()) - 0.1) < 0.01
    assert 0.28 < float(bred.max()) <= 0.3 and -0.3 <= float(bred.min()) < -0.28
    far = torch.cat([torch.full((10, 1000), 9.0), torch.full((10, 1000), -9.0)])
    clipped = made.children(far, torch.zeros(20), spread, rng)
    assert set(clipped.unique().tolist()) == {-1.0, 5.0}, "the mean +- a deviation"


def test_the_best_of_the_pool_is_bred_and_never_lost(
    attack: MirrorBlackBox, target: TargetModel, style_inputs: StyleInputs, style_networks: dict[str, nn.Module]
) -> None:
    found, queries = search(attack, target, style_inputs(attack), task_of([0, 1, 2, 3], restarts=2))
    assert found.traces is not None and found.traces.restarts.tolist() == [-1] * 4
    confidence = found.traces.series["confidence"]
    generator = style_networks["generator"]
    latents = np.random.RandomState(derive_seed("pool", SEED) % 2**32).randn(24, 8)
    with torch.no_grad():
        w = generator.mapping(torch.from_numpy(latents).float())
        images = generator.synthesis(generator.styles(w, 0.7, 3)).clamp(-1, 1) / 2 + 0.5
        best = target(images).logits.softmax(dim=1).amax(dim=0)
        assert confidence[:, 0] == pytest.approx(best.numpy(), abs=1e-5)
        sure = target(found.images).logits.softmax(dim=1)[torch.arange(8), found.labels]
    assert (np.diff(confidence, axis=1) >= 0).all() and (confidence[:, -1] > confidence[:, 0]).sum() >= 2
    assert sure[::2].numpy() == pytest.approx(confidence[:, -1], abs=1e-4), "restart 0 is the best"
    assert (sure[1::2] <= sure[::2]).all()
    assert queries == 24 + 4 * 6 * 7


def test_a_search_ends_once_all_that_is_kept_is_sure_enough(
    attack: MirrorBlackBox, target: TargetModel, style_inputs: StyleInputs
) -> None:
    attack = replace(attack, enough=0.01, generations=50)
    _, queries = search(attack, target, style_inputs(attack), task_of([0, 1, 2, 3], restarts=2))
    assert queries <= 24 + 4 * 3 * 7


def test_the_same_genes_are_kept_once() -> None:
    genes = torch.tensor([[1.0, 2.0], [1.0, 2.0], [3.0, 1.0], [0.0, 0.0]])
    assert different(genes, 2) == [0, 2] and different(genes, 3) == [0, 2, 3]
    assert different(genes[:2], 3) == [0, 0, 0]


def test_a_population_smaller_than_what_is_kept_is_refused() -> None:
    assert MirrorBlackBox().problems_with(Protocol(images_per_identity=5)) == []
    (problem,) = MirrorBlackBox(population=4).problems_with(Protocol(images_per_identity=5))
    assert problem == "a population of 4 has no 5 images to keep; raise population to 5 or more"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pool": 5, "population": 6}, "needs 2 <= population <= pool"),
        ({"mutation": 1.5}, "needs 0 <= mutation <= 1"),
        ({"cutoff": 0}, "cutoff >= 1"),
    ],
    ids=str,
)
def test_impossible_values_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MirrorBlackBox(**wrong)  # type: ignore[arg-type]
