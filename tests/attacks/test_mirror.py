"""MIRROR against its rule written out by hand, on a StyleGAN2 of 32 px with random weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midef.attacks import ATTACKS, Attack
from midef.attacks.latent_search.streams import RowStreams
from midef.attacks.latent_search.template import Rows
from midef.attacks.mirror import Mirror, agreeing_first
from midef.attacks.priors.renderer import Renderer
from midef.attacks.priors.style_gan2 import StyleGan2
from midef.attacks.target_handle import TargetHandle
from midef.core import Inputs, derive_seed
from midef.defenses import Defense
from midef.nn.network import TargetModel
from midef.testing.search import search, task_of

CLASSES, SEED, POOL = 4, 7, 24
StyleInputs = Callable[[Attack], Inputs]
Networks = dict[str, nn.Module]


@pytest.fixture
def attack(style_prior: StyleGan2) -> Mirror:
    return Mirror(pool=POOL, candidates=3, iterations=8, cutoff=3, agreement=False, prior=style_prior)


def leaky(values: Tensor, slope: float) -> Tensor:
    return torch.where(values < 0, slope * values, values)


def drawn(generator: nn.Module, ws: Tensor) -> Tensor:
    """Images of rows of w [N, num_ws, Z], the first 3 of which are truncated by 0.7."""
    mean = generator.mapping.w_avg
    rows = [mean + 0.7 * (ws[:, row] - mean) if row < 3 else ws[:, row] for row in range(ws.shape[1])]
    images: Tensor = generator.synthesis(torch.stack(rows, dim=1))
    return images


def test_the_search_is_adam_on_cross_entropy_clipped_in_p_space_and_ends_with_the_lowest_loss(
    attack: Mirror, target: TargetModel, style_inputs: StyleInputs, style_networks: Networks
) -> None:
    found, queries = search(attack, target, style_inputs(attack), task_of([0, 3], restarts=2))
    generator = style_networks["generator"]
    latents = np.random.RandomState(derive_seed("pool", SEED) % 2**32).randn(POOL, 8)
    with torch.no_grad():
        pool = generator.mapping(torch.from_numpy(latents).float())
        rows = pool[:, None].expand(-1, generator.num_ws, -1)
        sure = target(drawn(generator, rows).clamp(-1, 1) / 2 + 0.5).logits.softmax(dim=1)
    normal = leaky(pool, 5)
    low, high = (normal.mean(dim=0) + sign * normal.std(dim=0, correction=0) for sign in (-1, 1))
    moved = 0
    for row, label in ((0, 0), (2, 3)):
        images, logits = [], []
        for number in range(3):
            noise = RowStreams([derive_seed("latent", SEED, label, number)])
            start = pool[sure[:, label].argsort(descending=True)[number]]
            w, best, lowest = start.expand(1, generator.num_ws, -1).clone(), None, math.inf
            first, second = torch.zeros_like(w), torch.zeros_like(w)
            for step in range(8):
                w = w.detach().requires_grad_(True)
                view = drawn(generator, w) / 2 + 0.5
                view = view.flip(3) if noise.uniform(1)[0, 0] < 0.5 else view
                loss = 10 * F.cross_entropy(target(view).logits, torch.tensor([label]))
                if loss < lowest:
                    best, lowest = w.detach(), float(loss.detach())
                (slope,) = torch.autograd.grad(loss, w)
                first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
                fall = min(1.0, (1 - step / 8) / 0.25)
                rate = 0.25 * min(1.0, step / 8 / 0.05) * (0.5 - 0.5 * math.cos(math.pi * fall))
                change = first / (1 - 0.9 ** (step + 1)) / ((second / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
                p = leaky(w.detach() - rate * change, 5)
                moved += int(((p < low) | (p > high)).sum())
                w = leaky(torch.minimum(torch.maximum(p, low), high), 0.2)
            assert best is not None
            with torch.no_grad():
                images.append(drawn(generator, best)[0] / 2 + 0.5)
                logits.append(float(target(images[-1][None]).logits[0, label]))
        order = sorted(range(3), key=lambda number: -logits[number])
        for restart in range(2):
            assert torch.allclose(found.images[row + restart], images[order[restart]].clamp(0, 1), atol=1e-3)
    assert moved > 0, "else nothing was clipped"
    assert queries == POOL + 2 * 3 * (8 + 1) == attack.queries(reconstructions=4, identities=2)


def test_the_search_finds_what_the_target_looks_for(
    attack: Mirror, target: TargetModel, style_inputs: StyleInputs
) -> None:
    """Each image has the lowest loss of its search, and the target is surer of it than chance."""
    attack = replace(attack, iterations=20)
    found, _ = search(attack, target, style_inputs(attack), task_of(list(range(CLASSES)), restarts=3))
    assert found.traces is not None
    loss, confidence = found.traces.series["loss"], found.traces.series["confidence"]
    assert (loss.min(axis=1) < loss[:, 0]).all() and confidence.max(axis=1).mean() > 2 / CLASSES
    with torch.no_grad():
        sure = target(found.images).logits.softmax(dim=1)[torch.arange(12), found.labels]
    assert float(sure.mean()) > 2 / CLASSES


@pytest.mark.parametrize("prior", ["styles", "latents"])
def test_every_coordinate_is_clipped_at_both_bounds(prior: str) -> None:
    """Below zero a bound of w is a fifth of what it is where w is normal; latents of the renderer are clipped as is."""
    attack = Mirror() if prior == "styles" else Mirror(prior=Renderer())
    bounds = torch.tensor([[-2.0, -1.0, 0.5, -4.0], [3.0, -0.5, 1.0, 4.0]])
    chosen = torch.cat([torch.zeros(2, 4), bounds])[None]
    rows = Rows(torch.zeros(1, dtype=torch.long), [0], RowStreams([0]), chosen=chosen)
    searched = [torch.tensor([[[9.0] * 4, [-9.0] * 4, [0.7, 0.7, 0.7, 0.7]]])]
    attack.constrain_(searched, rows)
    scale = 0.2 if prior == "styles" else 1.0
    expected = [[3.0, -0.5 * scale, 1.0, 4.0], [-2 * scale, -1 * scale, 0.5, -4 * scale], [0.7, -0.5 * scale, 0.7, 0.7]]
    assert torch.allclose(searched[0][0], torch.tensor(expected))
    inside = searched[0].clone()
    attack.constrain_(searched, rows)
    assert torch.allclose(searched[0], inside), "what is inside stays"


def test_a_larger_clip_std_lets_styles_go_further(
    attack: Mirror, target: TargetModel, style_networks: Networks
) -> None:
    handle = TargetHandle(target, Defense(), attack.access)
    widths = []
    for clip_std in (1.0, 2.0):
        chosen = replace(attack, clip_std=clip_std).choose(handle, style_networks, task_of([0]))[0, 0]
        assert chosen.shape == (8 + 2, 8)
        widths.append(chosen[-1] - chosen[-2])
    assert torch.allclose(widths[1], 2 * widths[0], rtol=1e-5)


def test_the_learning_rate_rises_linearly_and_falls_as_a_cosine() -> None:
    rates = [Mirror().rate(progress) for progress in (0, 0.025, 0.05, 0.5, 0.75, 0.875, 1)]
    assert rates == pytest.approx([0, 0.5, 1, 1, 1, 0.5, 0])


def logits_of(*likely: tuple[float, list[int]]) -> Tensor:
    """Logits over 16 labels: of label 0 as given, and the five likeliest."""
    logits = torch.full((len(likely), 16), -9.0)
    for row, (own, labels) in enumerate(likely):
        for place, label in enumerate(labels):
            logits[row, label] = 12.0 - place
        logits[row, 0] = own
    return logits


def test_those_that_share_two_labels_come_before_more_that_share_one() -> None:
    """2 and 3 share 8 and 9, while 0, 1 and 2 share 1 alone."""
    logits = logits_of((10, [1, 2, 3, 4, 0]), (9, [1, 5, 6, 7, 0]), (7, [1, 8, 9, 10, 0]), (1, [8, 9, 11, 12, 3]))
    assert agreeing_first(logits, 0) == [2, 3, 0, 1]


def test_one_shared_label_counts_where_no_two_share_two_and_the_attacked_label_never_does() -> None:
    """0, 2 and 3 share 2; 0 and 1 share 1, and the attacked label, which does not count."""
    logits = logits_of((8, [1, 2, 3, 4, 0]), (9, [1, 5, 6, 7, 0]), (1, [2, 8, 9, 10, 11]), (2, [2, 12, 13, 14, 15]))
    assert agreeing_first(logits, 0) == [0, 3, 2, 1]
    assert agreeing_first(logits_of((8, [1, 2, 3, 4, 0]), (9, [6, 7, 8, 9, 0])), 0) == [1, 0], "nothing but the label"


def test_of_groups_of_one_size_that_with_the_larger_logit_counts() -> None:
    logits = logits_of((7, [1, 2, 0, 4, 3]), (6, [1, 2, 0, 5, 6]), (9, [7, 8, 0, 9, 10]), (5, [7, 8, 0, 11, 12]))
    assert agreeing_first(logits, 0) == [2, 3, 0, 1]


def test_a_candidate_that_is_no_number_comes_last() -> None:
    logits = logits_of((1, [0, 1, 2, 3, 4]), (2, [0, 1, 2, 3, 4]), (3, [0, 1, 2, 3, 4]))
    logits[2] = torch.nan
    assert agreeing_first(logits, 0) == [1, 0, 2]


def test_presets_hold_the_published_numbers() -> None:
    for preset, steps in (("mirror", 20_000), ("tldmi", 500)):
        made = ATTACKS.remake(ATTACKS.choose(f"mirror:{preset}"))
        assert isinstance(made, Mirror) and made.erase_fill == "normalised"
        given = (made.pool, made.iterations, made.learning_rate, made.candidates, made.psi, made.cutoff, made.clip_std)
        assert given == (100_000, steps, 0.25, 8, 0.7, 8, 1.0) and made.identity_weight == 10


@pytest.mark.parametrize("wrong", [{"learning_rate": 0}, {"identity_weight": 0}, {"clip_std": 0}], ids=str)
def test_impossible_values_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="needs learning_rate, identity_weight and clip_std > 0"):
        Mirror(**wrong)  # type: ignore[arg-type]
