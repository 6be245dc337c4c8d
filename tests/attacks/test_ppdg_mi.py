"""PPDG-MI: its rounds, whose images a generator is tuned to, and that every identity has its own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from midef.attacks import ATTACKS, Attack
from midef.attacks import ppdg_mi as module
from midef.attacks.latent_search.views import CROP_DRAWS
from midef.attacks.ppa import Ppa
from midef.attacks.ppdg_mi import PpdgMi
from midef.attacks.priors.style_gan2 import StyleGan2
from midef.attacks.target_handle import TargetHandle
from midef.core import Inputs, PreflightError, SpecError, derive_seed
from midef.defenses import Defense
from midef.nn.network import TargetModel
from midef.testing.search import search, task_of
from midef.training.generative.pseudo_private import Features, TuningSettings

RESOLUTION_PX, CLASSES, SEED = 32, 4, 7
StyleInputs = Callable[[Attack], Inputs]


@pytest.fixture
def attack(style_prior: StyleGan2) -> PpdgMi:
    return PpdgMi(
        pool=12,
        candidates=6,
        iterations=2,
        learning_rate=0.05,
        selection_rounds=5,
        pseudo_private=3,
        features="discriminator",
        inversion_steps=2,
        tuning_steps=2,
        tuning_rate=0.01,
        prior=style_prior,
    )


class Tunings:
    """Stands in the place of `tuned`: writes down what it is given, and moves the constant of a copy."""

    def __init__(self) -> None:
        self.generators: list[dict[str, Tensor]] = []
        self.images: list[Tensor] = []
        self.seeds: list[int] = []

    def __call__(
        self,
        generator: Any,
        discriminator: nn.Module,
        images: Tensor,
        features: Features,
        settings: TuningSettings,
        rng: Generator,
    ) -> nn.Module:
        self.generators.append({name: tensor.clone() for name, tensor in generator.state_dict().items()})
        self.images.append(images)
        self.seeds.append(rng.initial_seed())
        moved: Any = copy.deepcopy(generator)
        with torch.no_grad():
            moved.synthesis.b4.const.add_(1.0)
        made: nn.Module = moved
        return made


@pytest.fixture
def tunings(monkeypatch: pytest.MonkeyPatch) -> Tunings:
    spy = Tunings()
    monkeypatch.setattr(module, "tuned", spy)
    return spy


def test_a_round_is_a_ppa_with_a_pool_of_its_own(
    attack: PpdgMi, target: TargetModel, style_inputs: StyleInputs
) -> None:
    """Its candidates are those of PPA with the seed of identity and round."""
    inputs = style_inputs(attack)
    found, _ = search(replace(attack, rounds=1), target, inputs, task_of([1, 3], restarts=6))
    for label, images in ((1, found.images[:6]), (3, found.images[6:])):
        seed = derive_seed("round", SEED, label, 0)
        ppa = Ppa(pool=12, candidates=6, iterations=2, learning_rate=0.05, prior=attack.prior)
        expected = search(ppa, target, inputs, task_of([label], restarts=6, seed=seed))[0].images
        apart = torch.cdist(images.flatten(1), expected.flatten(1))
        assert sorted(apart.argmin(dim=1).tolist()) == list(range(6)) and apart.min(dim=1).values.max() < 1e-4
    one, _ = search(replace(attack, rounds=1), target, inputs, task_of([3]))
    assert torch.allclose(one.images[0], found.images[6], atol=1e-5), "the best one is that of all candidates"


def test_all_candidates_are_ranked_by_mirrorings_also_where_all_are_kept(
    attack: PpdgMi, target: TargetModel, style_networks: dict[str, nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("midef.attacks.latent_search.selection.randomly_cropped")  # nothing is cropped
    images = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    images += torch.linspace(0, 1, 6)[[3, 0, 5, 1, 4, 2]][:, None, None, None] * (torch.arange(32) < 16)
    draws = torch.rand(5, CROP_DRAWS + 1, generator=torch.Generator().manual_seed(derive_seed("selection", SEED, 0)))
    sure = torch.zeros(6)
    for is_mirrored in (draws[:, -1] < 0.5).tolist():
        sure += target(images.flip(3) if is_mirrored else images).logits.softmax(dim=1)[:, 0].detach()
    expected = sorted(range(6), key=lambda i: -float(sure[i]))
    assert expected != list(range(6)) and sure.std() > 0.01
    for count in (6, 2):
        handle = TargetHandle(target, Defense(), attack.access)
        assert list(attack.keep(handle, style_networks, 0, images, count, task_of([0]))) == expected[:count]
        assert handle.queries == 5 * 6 == attack.keep_queries(count)


def test_every_identity_begins_with_the_prior_s_generator_and_its_last_round_draws_with_its_own(
    attack: PpdgMi,
    target: TargetModel,
    style_inputs: StyleInputs,
    style_networks: dict[str, nn.Module],
    tunings: Tunings,
) -> None:
    attack = replace(attack, rounds=3)
    found, queries = search(attack, target, style_inputs(attack), task_of([0, 2], restarts=2))
    assert queries == 2 * 3 * (2 * 12 + 2 * 6 + 5 * 6) == attack.queries(reconstructions=4, identities=2)
    assert found.traces is not None and len(found.traces.steps) == 2, "of the last round"
    const = style_networks["generator"].get_parameter("synthesis.b4.const")
    begun = [float((given["synthesis.b4.const"] - const).mean()) for given in tunings.generators]
    assert begun == pytest.approx([0, 1, 0, 1], abs=1e-6), "two tunings of one identity, then two of the other"
    assert len(set(tunings.seeds)) == 4
    for label, images in ((0, found.images[:2]), (2, found.images[2:])):
        networks = {**style_networks, "generator": copy.deepcopy(style_networks["generator"])}
        with torch.no_grad():
            networks["generator"].get_parameter("synthesis.b4.const").add_(2.0)
        own = task_of([label], restarts=2, seed=derive_seed("round", SEED, label, 2))
        handle = TargetHandle(target, Defense(), attack.access)
        expected = Ppa.search(replace(attack, rounds=1), handle, networks, own)
        assert torch.allclose(images, expected.images, atol=1e-5)


def test_it_is_tuned_to_the_best_of_a_round_as_the_generator_draws_them(
    attack: PpdgMi, target: TargetModel, style_inputs: StyleInputs, tunings: Tunings
) -> None:
    """In [-1, 1], at the generator's resolution, and not clipped."""
    inputs = style_inputs(attack)
    search(attack, target, inputs, task_of([1]))
    best, _ = search(replace(attack, rounds=1), target, inputs, task_of([1], restarts=3))
    (images,) = tunings.images
    assert torch.allclose((images / 2 + 0.5).clamp(0, 1), best.images, atol=1e-5)
    assert float(images.abs().max()) > 1


def test_tuning_changes_what_is_found_and_an_identity_does_not_hang_on_others(
    attack: PpdgMi, target: TargetModel, style_inputs: StyleInputs, style_networks: dict[str, nn.Module]
) -> None:
    """With the real tuning; also that two runs are the same to the bit."""
    inputs = style_inputs(attack)
    before = {name: tensor.clone() for name, tensor in style_networks["generator"].state_dict().items()}
    both, _ = search(attack, target, inputs, task_of([3, 1], restarts=2))
    alone, _ = search(attack, target, inputs, task_of([1], restarts=2))
    again, _ = search(attack, target, inputs, task_of([3, 1], restarts=2))
    assert torch.equal(both.images, again.images) and torch.allclose(both.images[2:], alone.images, atol=1e-5)
    other, _ = search(replace(attack, tuning_rate=1e-9), target, inputs, task_of([1], restarts=2))
    assert (alone.images - other.images).abs().amax(dim=(1, 2, 3)).min() > 0.01
    assert all(torch.equal(t, before[name]) for name, t in style_networks["generator"].state_dict().items())


def test_its_last_round_becomes_surer(attack: PpdgMi, target: TargetModel, style_inputs: StyleInputs) -> None:
    attack = replace(attack, candidates=4, iterations=8, learning_rate=0.03, tuning_rate=0.003)
    found, _ = search(attack, target, style_inputs(attack), task_of([0, 1], restarts=4))
    assert found.traces is not None and found.traces.steps.tolist() == list(range(8))
    loss, sure = found.traces.series["loss"], found.traces.series["confidence"]
    assert loss[:, -1].mean() < loss[:, 0].mean() and sure[:, -1].mean() > sure[:, 0].mean()


def test_published_features_are_vgg16_s_of_images_of_at_most_256_px(
    attack: PpdgMi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[Tensor] = []

    class Seeing(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(images)
            return images.flatten(1)

    monkeypatch.setenv("MIDEF_WEIGHTS", str(tmp_path))
    published = replace(attack, features="lpips")
    with pytest.raises(PreflightError, match="vgg16-397923af"):
        published._features({}, task_of([0]))
    (tmp_path / "vgg16-397923af.pth").write_bytes(b"")
    monkeypatch.setattr("midef.nn.lpips.LpipsFeatures", lambda trunk, tensors: Seeing())
    monkeypatch.setattr("midef.nn.weights.read_tensors", lambda path: {})
    monkeypatch.setattr("midef.nn.named_file.NamedFile.digest", lambda self, path: "")
    features = published._features({}, task_of([0]))
    images = torch.rand(1, 3, 512, 512, generator=torch.Generator().manual_seed(0)) * 2 - 1
    features(images)
    features(images[:, :, :64, :64])
    averaged = images.view(1, 3, 256, 2, 256, 2).mean(dim=(3, 5)) / 2 + 0.5
    assert torch.allclose(seen[0], averaged, atol=1e-5)
    assert torch.allclose(seen[1], images[:, :, :64, :64] / 2 + 0.5)


def test_without_the_file_of_vgg16_the_published_distance_is_refused_while_planning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, attack: PpdgMi
) -> None:
    monkeypatch.setenv("MIDEF_WEIGHTS", str(tmp_path))
    published = ATTACKS.remake(ATTACKS.choose("ppdg_mi:ppdg"))
    (problem,) = published.lacking()
    assert "no file vgg16-397923af.pth in" in problem and "https://download.pytorch.org" in problem
    assert problem.endswith("or set features to discriminator")
    assert attack.lacking() == [] and replace(attack, features="lpips", rounds=1).lacking() == []
    (tmp_path / "vgg16-397923af.pth").write_bytes(b"")
    assert published.lacking() == []


def test_a_prior_with_nothing_to_tune_is_refused_in_one_sentence() -> None:
    with pytest.raises(SpecError) as refused:
        ATTACKS.choose("ppdg_mi(prior=renderer)")
    (problem,) = refused.value.problems
    assert "'renderer' cannot stand here: the attack tunes a StyleGAN2, and this prior has nothing to tune" in problem


@pytest.mark.parametrize(
    ("preset", "distance", "images", "inversion", "tuning"),
    [
        ("ppdg", "mmd", 10, 100, 150),
        ("ppdg-ct", "ct", 10, 150, 25),
        ("ppdg-pw", "pw", 5, 300, 150),
        ("loft", "mmd", 10, 100, 150),
    ],
)
def test_presets(preset: str, distance: str, images: int, inversion: int, tuning: int) -> None:
    made = ATTACKS.remake(ATTACKS.choose(f"ppdg_mi:{preset}"))
    assert isinstance(made, PpdgMi)
    own = (made.distance, made.pseudo_private, made.inversion_steps, made.tuning_steps)
    assert own == (distance, images, inversion, tuning)
    assert (made.rounds, made.pool, made.candidates, made.iterations, made.learning_rate) == (2, 500, 100, 70, 0.005)
    assert (made.realness, made.inversion_rate, made.tuning_rate, made.features) == (0.1, 0.01, 3e-4, "lpips")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rounds": 0}, "rounds >= 1"),
        ({"tuning_steps": 0}, "tuning_steps >= 1"),
        ({"pseudo_private": 101}, "2 <= pseudo_private <= candidates, got 101, 100"),
        ({"realness": -1.0}, "realness >= 0"),
    ],
    ids=str,
)
def test_impossible_values_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PpdgMi(**wrong)
