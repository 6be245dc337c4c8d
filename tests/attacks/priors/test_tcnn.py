"""The inversion network: its input transform, what it is trained on, and that it learns."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from typing_extensions import override

from midef.attacks import AccessLevel
from midef.attacks.priors.base import FitContext
from midef.attacks.priors.tcnn import Tcnn
from midef.attacks.target_handle import TargetHandle
from midef.core import Inputs
from midef.datasets import Images, Splits
from midef.defenses import Defense
from midef.defenses.serving import Query
from midef.nn.answers import score_features
from midef.nn.network import TargetModel
from midef.training.generative.inverter import AnsweredImages, InverterSettings, fit_inverter
from midef.training.generative.loop import TrainingRun

PX, CLASSES = 8, 4


def scores(rows: int = 50, classes: int = 6) -> Tensor:
    sharp = 40 * torch.randn(rows, classes, generator=torch.Generator().manual_seed(0))
    return sharp.softmax(1)


@pytest.mark.parametrize("top", [None, 1, 3, 99], ids=lambda v: f"top {v}")
def test_the_transform_equals_the_formula_by_loops(top: int | None) -> None:
    given = torch.cat([scores(), torch.eye(6), torch.full((1, 6), 1 / 6)])
    found = score_features(given, top=top)
    for p, mine in zip(given.tolist(), found.tolist(), strict=True):
        kept = sorted(range(6), key=lambda k: -p[k])[: top or 6]
        value = {k: max(math.log(p[k]) if p[k] > 0 else -math.inf, -1000) + 50 for k in kept}
        lift = max(0.0, -min(value.values()))
        # ties may keep another of the equal entries; compare the values, and the places where all differ
        assert sorted(mine) == pytest.approx(
            sorted([v + lift for v in value.values()] + [0.0] * (6 - len(kept))), abs=1e-3
        )
        if len(set(p)) == 6:
            assert mine == pytest.approx([value[k] + lift if k in value else 0.0 for k in range(6)], abs=1e-3)


def test_the_transform_is_never_negative_and_nothing_outside_the_kept() -> None:
    given = scores()
    found = score_features(given, top=2)
    assert (found >= 0).all() and found.isfinite().all()
    outside = given < given.topk(2, dim=1).values[:, -1:]
    assert (found[outside] == 0).all() and outside.sum() == 50 * 4


class Half(Defense):
    """Serves half the truth and writes down that it was asked."""

    @override
    def answer(self, query: Query, state: None) -> Tensor:
        ASKED.append(len(query.probabilities))
        return (query.probabilities + 1 / CLASSES) / 2


ASKED: list[int] = []


@pytest.fixture
def target() -> TargetModel:
    torch.manual_seed(0)
    pixels = 3 * PX**2
    head = nn.Linear(pixels, CLASSES)
    return TargetModel([("pixels", nn.Flatten())], head, feature_dim=pixels, n_classes=CLASSES)


def part(n: int, seed: int) -> Images:
    rng = torch.Generator().manual_seed(seed)
    return Images(torch.randint(0, 256, (n, 3, PX, PX), generator=rng, dtype=torch.uint8), torch.full((n,), -1))


def test_it_is_fitted_on_served_answers_and_every_image_is_a_query(
    target: TargetModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    ASKED.clear()
    public = Splits(part(10, 0), part(3, 1), part(4, 2), ())
    handle = TargetHandle(target, Half(), AccessLevel.SCORES)
    seen = spied(monkeypatch)
    Tcnn(width=2, epochs=1).fit({"inverter": nn.Identity()}, public, handle, FitContext(inputs=Inputs({}, Path)))
    assert handle.queries == sum(ASKED) == 17
    [(pairs, _)] = seen
    assert torch.equal(pairs.images, torch.cat([public.train.images, public.report.images]))
    assert torch.equal(pairs.held_images, public.select.images), "held-out images are not fitted"
    with torch.no_grad():
        served = (target(pairs.images.float() / 255).logits.softmax(1) + 1 / CLASSES) / 2
        held = (target(pairs.held_images.float() / 255).logits.softmax(1) + 1 / CLASSES) / 2
    assert torch.allclose(pairs.answers, score_features(served), atol=1e-4)
    assert torch.allclose(pairs.held_answers, score_features(held), atol=1e-4)


def spied(monkeypatch: pytest.MonkeyPatch) -> list[tuple[AnsweredImages, InverterSettings]]:
    """What the training of an inverter is given; nothing is trained."""
    seen: list[tuple[AnsweredImages, InverterSettings]] = []

    def spy(
        network: nn.Module, pairs: AnsweredImages, settings: InverterSettings, run: TrainingRun, *, loss: object
    ) -> dict[str, float]:
        seen.append((pairs, settings))
        return {}

    monkeypatch.setattr("midef.attacks.priors.tcnn.fit_inverter", spy)
    return seen


def test_it_learns_to_draw_what_the_answers_tell() -> None:
    """Two answers, two images: the network must end nearer to them than to their mean."""
    answers = torch.eye(2).repeat(16, 1) * 10
    images = torch.where(answers[:, :1, None, None] > 0, 220, 30).expand(-1, 3, PX, PX).to(torch.uint8)
    torch.manual_seed(0)
    network = Tcnn(width=4).networks(PX, 2)["inverter"]

    pairs = AnsweredImages(answers=answers, images=images, held_answers=answers[:2], held_images=images[:2])

    def fit(epochs: int) -> float:
        settings = InverterSettings(epochs=epochs, batch_size=8, learning_rate=1e-2, checkpoint="last")
        return fit_inverter(network, pairs, settings, TrainingRun(seed=0))["held_out_mse"]

    between = (190 / 255 / 2) ** 2  # of an image that is the mean of both
    assert fit(15) < 0.2 * between
    assert not network.training


def test_the_reported_error_is_the_mean_over_pixels_of_held_out_images() -> None:
    torch.manual_seed(0)
    network = Tcnn(width=2).networks(PX, 3)["inverter"]
    answers, held = torch.rand(300, 3), part(300, 4).images
    pairs = AnsweredImages(answers=answers[:2], images=held[:2], held_answers=answers, held_images=held)
    settings = InverterSettings(epochs=1, batch_size=2, learning_rate=1e-9, checkpoint="last")
    found = fit_inverter(network, pairs, settings, TrainingRun(seed=0))
    with torch.no_grad():
        expected = float((network(answers) - held / 255).pow(2).mean())
    assert found["held_out_mse"] == pytest.approx(expected, rel=1e-4)


def test_its_fields_reach_the_network_and_the_training(target: TargetModel, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = spied(monkeypatch)
    prior = Tcnn(width=2, blocks=6, checkpoint="best_held_out", top=2, answers="softmax")
    networks = prior.networks(64, CLASSES)
    assert sum(isinstance(layer, nn.ConvTranspose2d) for layer in networks["inverter"].modules()) == 6
    handle = TargetHandle(target, Defense(), AccessLevel.SCORES)
    public = Splits(part(10, 0), part(3, 1), part(4, 2), ())
    prior.fit(networks, public, handle, FitContext(inputs=Inputs({}, Path)))
    [(pairs, settings)] = seen
    assert settings is prior and settings.checkpoint == "best_held_out"
    with torch.no_grad():
        images = torch.cat([public.train.images, public.report.images])
        served = target(images.float() / 255).logits.softmax(1)
    assert torch.allclose(pairs.answers, score_features(served.softmax(1), top=2), atol=1e-4), (
        "softmax comes before the logarithm and the cut"
    )


@pytest.mark.parametrize("blocks", [3, 7])
def test_other_numbers_of_blocks_are_refused(blocks: int) -> None:
    with pytest.raises(
        ValueError, match=f"blocks 4, 5 or 6, or none given for what the resolution needs, got {blocks}"
    ):
        Tcnn(blocks=blocks)


@pytest.mark.parametrize("loss", ["mse", "psnr"])
def test_it_is_trained_by_its_loss(loss: Literal["mse", "psnr"], target: TargetModel) -> None:
    """One step of Adam on one batch, against the loss of each image written out."""
    public = Splits(part(5, 0), part(3, 1), part(4, 2), ())
    handle = TargetHandle(target, Defense(), AccessLevel.SCORES)
    prior = Tcnn(width=2, epochs=1, batch_size=9, learning_rate=0.01, loss=loss)
    torch.manual_seed(0)
    networks = prior.networks(PX, CLASSES)
    by_hand = copy.deepcopy(networks["inverter"])
    prior.fit(networks, public, handle, FitContext(inputs=Inputs({}, Path)))
    pairs = prior.answered(handle, public)
    adam = torch.optim.Adam(by_hand.parameters(), lr=0.01, betas=(0.5, 0.999), amsgrad=True)
    drawn, images = by_hand(prior.features(pairs.answers)), pairs.images.float() / 255
    errors = [((d - x) ** 2).mean() for d, x in zip(drawn, images, strict=True)]
    losses = errors if loss == "mse" else [-10 * torch.log10(1 / error) for error in errors]
    torch.stack(losses).mean().backward()
    adam.step()
    for name, weight in networks["inverter"].named_parameters():
        torch.testing.assert_close(weight, by_hand.get_parameter(name), rtol=0, atol=2e-4)
