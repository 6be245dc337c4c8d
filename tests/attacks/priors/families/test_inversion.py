"""What an attacker does to answers before inverting them: to those trained on and to those observed alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor, nn

from midef.attacks import PRIORS, AccessLevel
from midef.attacks.base import Task
from midef.attacks.priors.families.inversion import Inverter, noisy_answers
from midef.attacks.target_handle import TargetHandle
from midef.core import AccessError, DataError
from midef.datasets import Images, Splits
from midef.datasets.base import Half, half_of
from midef.defenses import Defense
from midef.nn.network import TargetModel

CLASSES, PX = 4, 8
both = pytest.mark.parametrize("name", ["tcnn", "diffusion"])


def prior(name: str, **params: Any) -> Inverter:
    made = PRIORS.make(name, params)
    assert isinstance(made, Inverter)
    return made


def answers(n: int = 20, classes: int = CLASSES) -> Tensor:
    return (3 * torch.randn(n, classes, generator=Generator().manual_seed(0))).softmax(1)


def task(observed: Tensor | None, seed: int = 0) -> Task:
    n = 20 if observed is None else len(observed)
    return Task(torch.arange(n) % CLASSES, torch.arange(n) // CLASSES, PX, seed, "cpu", observed)


@pytest.fixture
def handle() -> TargetHandle:
    torch.manual_seed(0)
    pixels = 3 * PX**2
    model = TargetModel([("pixels", nn.Flatten())], nn.Linear(pixels, CLASSES), feature_dim=pixels, n_classes=CLASSES)
    return TargetHandle(model, Defense(), AccessLevel.SCORES)


def images(n: int = 12) -> Tensor:
    return torch.randint(0, 256, (n, 3, PX, PX), generator=Generator().manual_seed(1), dtype=torch.uint8)


def test_noisy_answers_equal_the_formula_by_loops() -> None:
    given, noise = answers(), 0.2 * torch.randn(20, CLASSES, generator=Generator().manual_seed(2))
    expected = []
    for row, shift in zip(given.tolist(), noise.tolist(), strict=True):
        moved = [max(p + e, 1e-7) for p, e in zip(row, shift, strict=True)]
        expected.append([value / sum(moved) for value in moved])
    found = noisy_answers(given, noise)
    torch.testing.assert_close(found, torch.tensor(expected))
    assert (found < 1e-6).any(), "some entry was clipped"


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(2, 8), st.floats(0, 20))
def test_noisy_answers_are_distributions_however_large_the_noise(seed: int, k: int, size: float) -> None:
    rng = Generator().manual_seed(seed)
    found = noisy_answers(torch.randn(6, k, generator=rng).softmax(1), size * torch.randn(6, k, generator=rng))
    assert (found > 0).all() and torch.allclose(found.sum(1), torch.ones(6), atol=1e-5)


def test_an_answer_that_lost_all_its_mass_becomes_uniform_and_leaves_the_others_alone() -> None:
    found = noisy_answers(torch.full((2, 4), 0.25), torch.tensor([[-1.0] * 4, [0.0] * 4]))
    assert torch.equal(found, torch.full((2, 4), 0.25))


@both
def test_answers_as_served_are_left_alone(name: str, handle: TargetHandle) -> None:
    asked = prior(name).ask(handle, images(), part="fitting")
    assert torch.equal(asked, handle.scores(images().float() / 255))
    assert torch.equal(prior(name).observed(task(answers())), answers())


@both
def test_softmax_is_applied_once_more_to_what_is_trained_on_and_to_what_is_observed(
    name: str, handle: TargetHandle
) -> None:
    attacker = prior(name, answers="softmax")
    served = handle.scores(images().float() / 255)
    assert torch.allclose(attacker.ask(handle, images(), part="fitting"), served.softmax(1))
    assert torch.allclose(attacker.observed(task(answers())), answers().softmax(1))


@both
def test_noise_has_the_size_asked_for_in_training_and_on_what_is_observed(name: str, handle: TargetHandle) -> None:
    attacker = prior(name, answers="noise", answer_noise=0.01)
    flat = torch.full((2000, CLASSES), 0.25)  # far from 0, so that nothing is clipped
    with torch.no_grad():
        handle._model.head.weight.zero_()  # type: ignore[operator]
        handle._model.head.bias.zero_()  # type: ignore[operator]
    for found in (attacker.observed(task(flat)), attacker.ask(handle, images(2000), part="fitting")):
        moved = found - 0.25
        # dividing by the sum takes the mean of the noise away: sqrt(3/4) of the size is left
        assert float(moved.std()) == pytest.approx(0.01 * (1 - 1 / CLASSES) ** 0.5, rel=0.05)
        assert moved.unique(dim=0).shape[0] == 2000, "each answer has noise of its own"


@both
def test_noise_of_an_observed_answer_belongs_to_its_pair_and_the_run_alone(name: str) -> None:
    attacker = prior(name, answers="noise", answer_noise=0.05)
    whole = task(answers())
    some = torch.tensor([7, 3])
    torch.manual_seed(5)  # results do not hang on the global generator
    part = replace(whole, labels=whole.labels[some], restarts=whole.restarts[some], observed=answers()[some])
    assert torch.equal(attacker.observed(part), attacker.observed(whole)[some])
    assert not torch.equal(attacker.observed(task(answers(), seed=1)), attacker.observed(whole))


@both
def test_noise_in_training_repeats_with_the_seed_and_differs_between_the_parts(name: str, handle: TargetHandle) -> None:
    attacker = prior(name, answers="noise", answer_noise=0.05)
    first = attacker.ask(handle, images(), part="fitting")
    torch.manual_seed(5)
    assert torch.equal(first, attacker.ask(handle, images(), part="fitting"))
    assert not torch.equal(first, attacker.ask(handle, images(), part="held out"))
    assert not torch.equal(first, replace(attacker, seed=1).ask(handle, images(), part="fitting"))


@both
def test_no_observed_answers_are_refused(name: str) -> None:
    with pytest.raises(AccessError, match=f"{name} needs the observed scores of one private image per reconstruction"):
        prior(name).observed(task(None))


@both
@pytest.mark.parametrize("size", [0.0, -1.0])
def test_noise_without_size_is_refused(name: str, size: float) -> None:
    with pytest.raises(ValueError, match=r"answer_noise > 0.*choose answers='as_served' for none"):
        replace(prior(name), answer_noise=size)


# ---------------------------------------------------------------- attacker and defender have data of their own


def splits_of(train: int, select: int, report: int) -> Splits:
    """Each image has a colour of its own."""
    colours = torch.arange(train + select + report, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, PX, PX)
    parts = [Images(part, torch.full((len(part),), -1)) for part in colours.split([train, select, report])]
    return Splits(*parts, ())


def halved(public: Splits, half: Half) -> tuple[Tensor, Tensor]:
    return half_of(torch.cat([public.train.images, public.report.images]), public.select.images, half)


def colours(images: Tensor) -> set[int]:
    found: list[int] = images[:, 0, 0, 0].tolist()
    assert len(set(found)) == len(found)
    return set(found)


@settings(deadline=None)
@given(st.integers(2, 60), st.integers(2, 30), st.integers(0, 60))
def test_halves_have_no_image_in_common_and_make_the_whole(train: int, select: int, report: int) -> None:
    public = splits_of(train, select, report)
    (fitted, held), (first, first_held), (second, second_held) = (
        [colours(part) for part in halved(public, half)] for half in get_args(Half)
    )
    assert fitted == colours(torch.cat([public.train.images, public.report.images]))
    assert held == colours(public.select.images)
    assert not first & second and first | second == fitted and abs(len(first) - len(second)) <= 1
    assert not first_held & second_held and first_held | second_held == held
    assert not (first | second) & held, "what is held out teaches neither"


def test_a_half_without_an_image_is_refused() -> None:
    with pytest.raises(DataError, match=r"half second .* has 2 to train on and 0 held out, needs 1 of each; "):
        halved(splits_of(4, 1, 0), "second")


@both
def test_an_attacker_with_a_half_asks_about_no_other_image(name: str, handle: TargetHandle) -> None:
    public = splits_of(7, 5, 4)
    for half, queries in (("all", 16), ("first", 9), ("second", 7)):
        handle.queries = 0
        pairs = prior(name, half=half).answered(handle, public)
        fitted, held = halved(public, half)  # type: ignore[arg-type]
        assert torch.equal(pairs.images, fitted) and torch.equal(pairs.held_images, held)
        assert torch.equal(pairs.answers, handle.scores(fitted.float() / 255))
        assert torch.equal(pairs.held_answers, handle.scores(held.float() / 255))
        assert handle.queries == 2 * queries, "asked here once more"


@both
def test_half_the_images_take_half_the_time(name: str) -> None:
    whole, half = (prior(name, half=which).images_trained_on(1001) for which in ("all", "second"))
    assert half == pytest.approx(whole * 501 / 1001)
