"""IF-GMI against its stages written out by hand, its balls, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from midef.attacks import ATTACKS, Attack
from midef.attacks import if_gmi as module
from midef.attacks.if_gmi import IfGmi
from midef.attacks.latent_search import memory
from midef.attacks.latent_search.poincare import poincare_loss
from midef.attacks.latent_search.streams import RowStreams
from midef.attacks.latent_search.styles import pool_latents
from midef.attacks.latent_search.template import Rows
from midef.attacks.latent_search.views import CROP_DRAWS, randomly_cropped
from midef.attacks.priors.networks.style_gan2 import Synthesis
from midef.attacks.priors.style_gan2 import StyleGan2
from midef.core import Inputs, SpecError, derive_seed
from midef.nn.network import TargetModel
from midef.testing.search import search, task_of

RESOLUTION_PX, CLASSES, SEED = 32, 4, 7
StyleInputs = Callable[[Attack], Inputs]


@pytest.fixture
def attack(style_prior: StyleGan2) -> IfGmi:
    return IfGmi(
        pool=12, candidates=12, iterations=3, layer_iterations=2, layers=3, learning_rate=0.05, prior=style_prior
    )


def thresholded(values: Tensor, radius: float) -> Tensor:
    """The projection of one row of offsets onto an L1 ball around 0, by Duchi's steps, in float64."""
    flat = values.detach().double().flatten()
    if float(flat.abs().sum()) <= radius:
        return values.detach()
    falling = sorted((abs(float(v)) for v in flat), reverse=True)
    total, threshold = 0.0, 0.0
    for rank, size in enumerate(falling, start=1):
        total += size
        if size - (total - radius) / rank > 0:
            threshold = (total - radius) / rank
    return (flat.sign() * (flat.abs() - threshold).clamp(min=0)).view_as(values).float()


def by_hand(attack: IfGmi, generator: Any, target: TargetModel, label: int, restart: int) -> tuple[Tensor, list[float]]:
    """The image of one reconstruction, and the loss of every step."""
    latents = pool_latents(derive_seed("pool", SEED), attack.pool, 8)
    with torch.no_grad():
        mapped = generator.mapping(latents)
        rows = generator.styles(mapped, 0.5, 8)
        images = generator.synthesis(rows).clamp(-1, 1) / 2 + 0.5
        sure = sum(target(view).logits.softmax(dim=1)[:, label] for view in (images, images.flip(3)))
        w = rows[sure.argsort(descending=True)[restart], :1].clone()
    noise, losses = RowStreams([derive_seed("latent", SEED, label, restart)]), []
    feature: Tensor | None = None
    for stage, count in enumerate([attack.iterations] + [attack.layer_iterations] * attack.layers):
        with torch.no_grad():
            ws = w[:, None].expand(-1, generator.num_ws, -1) if w.dim() == 2 else w
            if stage:
                feature = generator.features(ws, stage, max(0, stage - 1), feature if stage > 1 else None)
        starts = [w.clone()] + ([feature.clone()] if feature is not None else [])
        values = [start.clone().requires_grad_(True) for start in starts]
        adam = torch.optim.Adam(values, lr=attack.learning_rate, betas=(0.1, 0.1))
        for _ in range(count):
            ws = values[0][:, None].expand(-1, generator.num_ws, -1)
            image = generator.synthesis(ws, begin=stage, hidden=values[1] if stage else None) / 2 + 0.5
            view = randomly_cropped(image, noise.uniform(CROP_DRAWS), scale=(0.9, 1.0))
            loss = poincare_loss(target(view).logits, torch.tensor([label]))
            losses.append(float(loss.detach()))
            adam.zero_grad()
            loss.sum().backward()
            adam.step()
            for value, start in zip(values, starts, strict=True):
                value.data.copy_(start + thresholded(value - start, module.RADII[stage]))
        w, feature = values[0].detach(), values[1].detach() if stage else None
    with torch.no_grad():
        ws = w[:, None].expand(-1, generator.num_ws, -1)
        return (generator.synthesis(ws, begin=attack.layers, hidden=feature) / 2 + 0.5).clamp(0, 1)[0], losses


def test_its_stages_are_those_of_the_paper(
    attack: IfGmi,
    target: TargetModel,
    style_inputs: StyleInputs,
    style_networks: dict[str, nn.Module],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """w; then w and what enters blocks 1, 2, 3; each within its ball, drawn after the last step."""
    monkeypatch.setattr(module, "RADII", (0.5, 3.0, 4.0, 5.0))
    found, queries = search(attack, target, style_inputs(attack), task_of([0, 2], restarts=2))
    assert queries == 12 * 2 + (3 + 2 + 2 + 2) * 4 == attack.queries(reconstructions=4, identities=2)
    assert found.traces is not None and found.traces.steps.tolist() == list(range(9))
    for row, (label, restart) in enumerate([(0, 0), (0, 1), (2, 0), (2, 1)]):
        image, losses = by_hand(attack, style_networks["generator"], target, label, restart)
        assert torch.allclose(found.images[row], image, atol=1e-3)
        assert found.traces.series["loss"][row] == pytest.approx(losses, rel=1e-3)


def test_a_stage_begins_with_the_feature_the_one_before_ended_with(
    attack: IfGmi, style_networks: dict[str, nn.Module]
) -> None:
    """Where nothing was searched, features and images of all stages are those of the untouched synthesis."""
    generator: Any = style_networks["generator"]
    w = torch.randn(2, 8, generator=torch.Generator().manual_seed(3))
    ws = generator.styles(w)
    rows = Rows(torch.zeros(2, dtype=torch.long), [0, 1], RowStreams([0, 1]))
    searched = [w]
    for stage in (1, 2, 3):
        searched = attack.next_start(style_networks, searched, replace(rows, stage=stage))
        assert torch.equal(searched[0], w)
        assert torch.allclose(searched[1], generator.features(ws, stage), atol=1e-5)
    shape = generator.features(ws, 3).shape
    assert shape[2:] == (16, 16) and searched[1].shape == shape and searched[1].dtype == torch.float32


def test_w_is_not_given_for_an_image_that_a_feature_was_searched_for(
    attack: IfGmi, target: TargetModel, style_inputs: StyleInputs, style_networks: dict[str, nn.Module]
) -> None:
    """Who draws it again would see the image of another search."""
    inputs, task = style_inputs(attack), task_of([0, 3])
    style, _ = search(replace(attack, layers=0), target, inputs, task)
    assert style.latents is not None
    rows = Rows(task.labels, [0, 1], RowStreams([0, 1]))
    assert torch.allclose(attack.draw(style_networks, style.latents, rows).clamp(0, 1), style.images, atol=1e-4)
    assert search(attack, target, inputs, task)[0].latents is None


def test_balls_hold_around_the_start_of_each_stage_and_those_that_cannot_bind_change_no_bit(
    attack: IfGmi, target: TargetModel, style_inputs: StyleInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, task = style_inputs(attack), task_of([0, 1, 3])
    free = search(replace(attack, ball=False), target, inputs, task)[0].images
    assert torch.equal(search(attack, target, inputs, task)[0].images, free), "published radii cannot bind here"
    monkeypatch.setattr(module, "RADII", (0.2, 1.0, 2.0, 3.0))
    lengths: dict[int, list[float]] = {}
    constrain = IfGmi.constrain_

    def spied(self: IfGmi, searched: list[Tensor], rows: Rows) -> None:
        constrain(self, searched, rows)
        for values, start in zip(searched, rows.begun, strict=True):
            lengths.setdefault(rows.stage, []).append(
                float((values.detach() - start).abs().flatten(1).sum(dim=1).max())
            )

    monkeypatch.setattr(IfGmi, "constrain_", spied)
    bound = search(attack, target, inputs, task)[0].images
    for stage, radius in enumerate(module.RADII):
        assert len(lengths[stage]) == (3 if stage == 0 else 4)
        assert max(lengths[stage]) == pytest.approx(radius, rel=1e-3), "it binds, and holds"
    assert not torch.allclose(bound, free, atol=1e-3)


def test_it_becomes_surer_through_its_stages(attack: IfGmi, target: TargetModel, style_inputs: StyleInputs) -> None:
    attack = replace(attack, pool=40, iterations=10, layer_iterations=5, learning_rate=0.03)
    found, _ = search(attack, target, style_inputs(attack), task_of([0, 1, 2, 3], restarts=2))
    assert found.traces is not None
    loss, sure = found.traces.series["loss"], found.traces.series["confidence"]
    assert loss[:, -1].mean() < loss[:, 10].mean() < loss[:, 0].mean()
    assert sure[:, -1].mean() > sure[:, 0].mean() > 1 / CLASSES
    again, _ = search(attack, target, style_inputs(attack), task_of([0, 1, 2, 3], restarts=2))
    assert torch.equal(again.images, found.images)
    assert again.traces is not None and np.array_equal(again.traces.series["loss"], loss)


def test_fewer_images_of_a_large_generator_are_worked_on_together(
    attack: IfGmi, target: TargetModel, style_inputs: StyleInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, task, sizes = style_inputs(attack), task_of([0, 2, 3]), []
    expected, _ = search(attack, target, inputs, task)
    synthesis = Synthesis.forward

    def spied(self: Synthesis, ws: Tensor, *args: Any, **how: Any) -> Tensor:
        sizes.append(len(ws))
        return synthesis(self, ws, *args, **how)

    monkeypatch.setattr(Synthesis, "forward", spied)
    monkeypatch.setattr(memory, "CPU_BYTES", 2.5 * style_prior_bytes(inputs, attack))
    found, _ = search(attack, target, inputs, task)
    assert max(sizes) == 2 and torch.allclose(found.images, expected.images, atol=1e-4)


def style_prior_bytes(inputs: Inputs, attack: IfGmi) -> int:
    networks = attack.prior.load(inputs.path("prior"), RESOLUTION_PX, CLASSES, "cpu")
    size: int = networks["generator"].bytes_per_image  # type: ignore[assignment]
    return size


def test_bfloat16_is_for_the_target_and_leaves_styles_and_features_alone(
    attack: IfGmi, target: TargetModel, style_inputs: StyleInputs
) -> None:
    inputs, task = style_inputs(attack), task_of([0, 2])
    found, _ = search(replace(attack, precision="bfloat16"), target, inputs, task)
    expected, _ = search(attack, target, inputs, task)
    assert found.images.dtype == torch.float32 and bool(found.images.isfinite().all())
    assert found.traces is not None and expected.traces is not None
    first, other = (traces.series["loss"][:, 0] for traces in (found.traces, expected.traces))
    assert first == pytest.approx(other, rel=0.02) and not np.array_equal(first, other), "fewer digits of the target"


def test_an_image_does_not_hang_on_how_many_more_are_asked_for(
    attack: IfGmi, target: TargetModel, style_inputs: StyleInputs
) -> None:
    inputs = style_inputs(attack)
    one, asked = search(attack, target, inputs, task_of([1, 3]))
    three, more = search(attack, target, inputs, task_of([1, 3], restarts=3))
    assert torch.allclose(one.images, three.images[[0, 3]], atol=1e-5)
    assert more - asked == 2 * 2 * sum(attack.stage_steps), "no candidate is searched in vain"
    with pytest.raises(SpecError, match="cannot give 3 images of an identity"):
        search(replace(attack, candidates=2), target, inputs, task_of([1], restarts=3))


def test_more_layers_than_a_generator_has_are_refused_with_the_number_that_fits(attack: IfGmi) -> None:
    assert attack.problems(32) == [] and replace(attack, layers=5).problems(128) == []
    published = replace(attack, layers=8, prior=StyleGan2(weights="ffhq"))
    assert published.problems(224) == [] and "9 blocks has 8" in replace(published, layers=9).problems(224)[0]
    (problem,) = replace(attack, layers=4).problems(32)
    assert problem == ("it opens 4 layers, and a generator of 4 blocks has 3 to open; set layers to 3 or less")


def test_a_prior_without_layers_is_refused_in_one_sentence() -> None:
    with pytest.raises(SpecError) as refused:
        ATTACKS.choose("if_gmi(prior=renderer)")
    (problem,) = refused.value.problems
    assert (
        "'renderer' cannot stand here: the attack opens the layers of a StyleGAN2, and this prior has none" in problem
    )


@pytest.mark.parametrize(
    ("preset", "steps", "pool", "ball", "candidates"),
    [
        ("if-gmi", (50, 10, 10, 10), 5000, True, 50),
        ("if-gmi-facescrub", (50, 10, 10, 10), 2000, True, 50),
        ("if-gmi-celeba", (70, 25, 25, 25), 5000, True, 50),
        ("if-gmi-dogs", (100, 10, 10, 10), 2000, True, 50),
        ("loft", (70, 25, 25, 25), 5000, False, 5),
    ],
)
def test_presets(preset: str, steps: tuple[int, ...], pool: int, ball: bool, candidates: int) -> None:
    made = ATTACKS.remake(ATTACKS.choose(f"if_gmi:{preset}"))
    assert isinstance(made, IfGmi)
    assert (made.stage_steps, made.pool, made.ball, made.candidates) == (steps, pool, ball, candidates)
    assert made.erase_fill == "normalised" and made.problems(1024) == []


@pytest.mark.parametrize(
    ("wrong", "message"), [({"layers": -1}, "layers >= 0"), ({"layer_iterations": 0}, "layer_iterations >= 1")], ids=str
)
def test_impossible_values_are_refused(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        IfGmi(**wrong)  # type: ignore[arg-type]
