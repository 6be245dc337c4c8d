from __future__ import annotations

from math import log
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from midef.nn.answers import score_features
from midef.training.generative.inverter import AnsweredImages, InverterSettings, fit_inverter
from midef.training.generative.loop import Report, TrainingRun


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(2, 12), st.integers(1, 15), st.sampled_from([0.1, 5.0, 80.0]))
def test_features_are_not_negative_and_zero_outside_the_kept(seed: int, k: int, top: int, sharpness: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    scores = torch.softmax(sharpness * torch.randn(4, k, generator=rng), dim=1)
    found = score_features(scores, top=top)
    assert found.shape == scores.shape and torch.isfinite(found).all() and (found >= 0).all()
    for row, kept in zip(found, scores.topk(min(top, k), dim=1).indices, strict=True):
        outside = torch.ones(k, dtype=torch.bool)
        outside[kept] = False
        assert (row[outside] == 0).all()


def test_features_from_the_formula() -> None:
    scores = torch.tensor([[0.7, 0.2, 0.1]])
    expected = [[log(p) + 50 for p in (0.7, 0.2, 0.1)]]
    torch.testing.assert_close(score_features(scores), torch.tensor(expected))
    torch.testing.assert_close(score_features(scores, top=2), torch.tensor([[*expected[0][:2], 0.0]]))


def test_a_score_of_zero_is_held_at_the_floor_and_the_row_lifted() -> None:
    found = score_features(torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(found, torch.tensor([[1000.0, 0.0]]))


def test_larger_scores_have_larger_features() -> None:
    scores = torch.softmax(torch.randn(5, 9, generator=torch.Generator().manual_seed(0)), dim=1)
    assert torch.equal(score_features(scores).argsort(dim=1), scores.argsort(dim=1))


def toy() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A network and (answer, image) pairs of three colours."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 48), nn.Unflatten(1, (3, 4, 4)), nn.BatchNorm2d(3), nn.Sigmoid())
    answers = torch.eye(3).repeat(11, 1)
    images = (answers * 200 + 20).to(torch.uint8)[:, :, None, None].expand(-1, -1, 4, 4)
    return network, answers, images


def same(answers: torch.Tensor, images: torch.Tensor) -> AnsweredImages:
    """What is trained on is also held out."""
    return AnsweredImages(answers=answers, images=images, held_answers=answers, held_images=images)


def fit(
    network: nn.Module, pairs: AnsweredImages, *, seed: int = 0, report: Report | None = None, **changed: Any
) -> dict[str, Any]:
    how = {"batch_size": 8, "learning_rate": 0.02, "checkpoint": "last", **changed}
    return fit_inverter(network, pairs, InverterSettings(**how), TrainingRun(seed=seed, report=report))


def error(network: nn.Module, answers: torch.Tensor, images: torch.Tensor) -> float:
    with torch.no_grad():
        return float((network.eval()(answers) - images / 255).square().mean())


@pytest.mark.parametrize("batch_size", [8, 16], ids=["last batch of one", "last batch of one again"])
def test_learns_to_draw_and_reports_the_held_out_error(batch_size: int) -> None:
    network, answers, images = toy()
    before = error(network, answers, images)
    said: list[dict[str, int]] = []
    pairs = AnsweredImages(answers=answers, images=images, held_answers=answers[:5], held_images=images[:5])
    facts = fit(network, pairs, epochs=40, batch_size=batch_size, report=said.append)
    assert error(network, answers, images) < 0.2 * before
    assert facts["held_out_mse"] == pytest.approx(error(network, answers[:5], images[:5]), rel=1e-4)
    assert not network.training
    assert said[-1] == {"epoch": 40, "epochs": 40}


def test_the_same_seed_gives_the_same_network() -> None:
    found = []
    for seed in (0, 0, 1):
        network, answers, images = toy()
        fit(network, same(answers, images), epochs=2, seed=seed)
        found.append(network[0].weight.detach().clone())
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


@pytest.mark.parametrize("checkpoint", ["last", "best_held_out"])
def test_the_epoch_kept_is_the_one_asked_for(checkpoint: str) -> None:
    """Held-out images are the negative of those trained on: the better the training, the worse they are drawn."""
    network, answers, images = toy()
    held = 255 - images
    errors: list[float] = []
    weights: list[dict[str, torch.Tensor]] = []

    def note(said: dict[str, int]) -> None:
        weights.append({name: value.clone() for name, value in network.state_dict().items()})
        errors.append(error(network, answers, held))
        network.train()

    pairs = AnsweredImages(answers=answers, images=images, held_answers=answers, held_images=held)
    facts = fit(network, pairs, epochs=12, checkpoint=checkpoint, report=note)
    kept = 11 if checkpoint == "last" else errors.index(min(errors))
    assert errors.index(min(errors)) < 8 < errors.index(max(errors)), "the toy must tell the two apart"
    assert facts["kept_epoch"] == kept + 1
    assert facts["held_out_mse"] == pytest.approx(errors[kept], rel=1e-4)
    assert facts["held_out_mse_by_epoch"] == pytest.approx(errors, rel=1e-4)
    assert all(torch.equal(value, weights[kept][name]) for name, value in network.state_dict().items())
    assert not network.training


def test_choosing_the_epoch_does_not_change_the_training() -> None:
    """Looking at held-out pairs must leave the running statistics and the batches as they are."""
    last = {}
    for checkpoint in ("last", "best_held_out"):
        network, answers, images = toy()
        facts = fit(network, same(answers, images), epochs=5, checkpoint=checkpoint)
        assert facts["kept_epoch"] == 5, "trained and held-out pairs are the same here, so the last epoch is the best"
        last[checkpoint] = network.state_dict()
    assert all(torch.equal(value, last["best_held_out"][name]) for name, value in last["last"].items())
