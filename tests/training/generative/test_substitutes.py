"""What the defender of answers trains beside his inversion network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from midef.defenses.families.alignment import Substitute, misalignment
from midef.defenses.lpa_vae import LpaVae
from midef.defenses.purification import Purification
from midef.defenses.serving import Query
from midef.nn.answer_networks import PerturbationVae, Purifier
from midef.nn.answers import negative_psnr
from midef.nn.inversion import TransposedCnn
from midef.nn.network import freeze_
from midef.training.generative.loop import TrainingRun
from midef.training.generative.substitutes import (
    fit_perturbation_vae,
    fit_purifier,
    own_misalignment,
    target_gradient,
)

CLASSES, PX, ROWS = 4, 8, 24


def held() -> Substitute:
    torch.manual_seed(0)
    network = TransposedCnn(CLASSES, PX, 2)
    freeze_(network)
    return Substitute(network, "mse")


def pairs(sharpness: float = 1.0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    answers = torch.softmax(sharpness * torch.randn(ROWS, CLASSES, generator=rng), dim=1)
    return answers, torch.randint(0, 256, (ROWS, 3, PX, PX), generator=rng, dtype=torch.uint8)


def test_psnr_of_an_image_in_decibels() -> None:
    drawn, image = torch.full((1, 3, 2, 2), 0.6), torch.full((1, 3, 2, 2), 0.5)
    assert float(negative_psnr(drawn, image)) == pytest.approx(-20.0, rel=1e-4)


def test_the_target_gradient_does_not_depend_on_how_many_are_summed_at_a_time() -> None:
    answers, images = (part.repeat(12, *[1] * (part.dim() - 1))[:270] for part in pairs())
    whole = target_gradient(held(), answers, images)
    shown = images.float() / 255
    expected = held().gradient(answers, shown)
    for name, gradient in expected.items():
        torch.testing.assert_close(whole[name], -gradient, rtol=1e-3, atol=1e-7)


def test_own_misalignment_by_a_loop() -> None:
    answers, images = pairs()
    moved = answers.roll(1, dims=1)
    found = own_misalignment(held(), answers, moved, images.float() / 255)
    for i in range(3):
        clean, after = (held().gradient(a[i : i + 1], images[i : i + 1].float() / 255) for a in (answers, moved))
        expected = misalignment({name: -g for name, g in clean.items()}, after)
        assert float(found[i]) == pytest.approx(float(expected), abs=1e-4)
    unmoved = own_misalignment(held(), answers, answers, images.float() / 255)
    torch.testing.assert_close(unmoved, torch.full((ROWS,), 2.0))  # its own opposite is as far as can be


def test_the_autoencoder_learns_to_misguide_and_answers_each_image_alike() -> None:
    answers, images = pairs()
    torch.manual_seed(2)
    network = PerturbationVae(CLASSES, 16, 3)
    settings = {"radius": 0.3, "kl_weight": 1e-3, "epochs": 1, "batch": 12, "rate": 1e-2}
    before = fit_perturbation_vae(network, held(), answers, images, settings, TrainingRun(seed=0))
    after = fit_perturbation_vae(network, held(), answers, images, {**settings, "epochs": 25}, TrainingRun(seed=0))
    assert after["misalignment"] < before["misalignment"] - 0.02
    freeze_(network)
    query = Query(images.float() / 255, answers, answers.argmax(dim=1))
    defense = LpaVae(radius=0.05, latent=3)
    found = defense.answer(query, network)
    assert torch.equal(found.argmax(dim=1), query.labels)
    assert float((found - answers).norm(dim=1).max()) <= 0.05 + 1e-6
    torch.testing.assert_close(defense.answer(query.rows(slice(4, 5)), network), found[4:5])
    assert not found.requires_grad and not defense.takes_gradients and not defense.answers_jointly


def test_a_purifier_gives_answers_back_with_less_between_those_of_a_class() -> None:
    answers, images = pairs(sharpness=3.0)
    torch.manual_seed(3)
    network = Purifier(CLASSES, 16, 2)
    settings = {"label_weight": 0.1, "batch": 12, "rate": 1e-2}
    first = fit_purifier(network, answers, {**settings, "epochs": 1}, TrainingRun(seed=0))
    last = fit_purifier(network, answers, {**settings, "epochs": 150}, TrainingRun(seed=0))
    assert last["distance"] < first["distance"] / 2
    freeze_(network)
    query = Query(images.float() / 255, answers, answers.argmax(dim=1))
    found = Purification().answer(query, network)
    assert torch.equal(found.argmax(dim=1), query.labels)
    half = Purification(share=0.5, labels="free").answer(query, network)
    torch.testing.assert_close(half, (answers + network(answers)) / 2)
