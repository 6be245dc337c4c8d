"""Gradient alignment, by finite differences and by loops, on an inversion network of a few weights."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from midef.core import Recipe, SpecError
from midef.defenses import DEFENSES, NotTuned, Tuning
from midef.defenses.families.alignment import (
    Alignment,
    Course,
    Substitute,
    misalignment,
    recording,
    squared_difference,
)
from midef.defenses.families.answers import moved
from midef.defenses.lpa import Lpa
from midef.defenses.poi_mse import PoiMse
from midef.defenses.serving import Query
from midef.nn.answers import score_features
from midef.nn.inversion import TransposedCnn
from midef.nn.network import freeze_

CLASSES, PX, ROWS = 4, 8, 6
Kind = Literal["joint", "per_query"]
BOTH = pytest.mark.parametrize("kind", ["joint", "per_query"])


def substitute(*, loss: str = "mse", double: bool = False) -> Substitute:
    torch.manual_seed(0)
    network = TransposedCnn(CLASSES, PX, 2)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0.0, 2.0)  # type: ignore[union-attr]
            module.running_var.fill_(50.0)  # type: ignore[union-attr]
    network = network.double() if double else network
    freeze_(network)
    rng = torch.Generator().manual_seed(3)
    dtype = torch.float64 if double else torch.float32
    gradient = {name: torch.randn(p.shape, generator=rng).to(dtype) for name, p in network.named_parameters()}
    return Substitute(network, loss, gradient)


def query(*, double: bool = False, sharpness: float = 1.0) -> Query:
    rng = torch.Generator().manual_seed(4)
    given = torch.softmax(sharpness * torch.randn(ROWS, CLASSES, generator=rng), dim=1)
    images = torch.rand(ROWS, 3, PX, PX, generator=rng)
    dtype = torch.float64 if double else torch.float32
    return Query(images.to(dtype), given.to(dtype), given.argmax(dim=1))


def by_autograd(held: Substitute, answers: Tensor, images: Tensor) -> dict[str, Tensor]:
    """The gradient of the mean loss, in the way of every training loop."""
    weights = {name: p.requires_grad_() for name, p in held.network.named_parameters()}
    loss = ((held.network(score_features(answers)) - images) ** 2).mean()
    found = torch.autograd.grad(loss, list(weights.values()))
    held.network.requires_grad_(False)
    return dict(zip(weights, found, strict=True))


def test_the_gradient_is_that_of_every_training_loop() -> None:
    held, asked = substitute(), query()
    expected = by_autograd(held, asked.probabilities, asked.images)
    found = held.gradient(asked.probabilities, asked.images)
    assert found.keys() == expected.keys() == dict(held.network.named_parameters()).keys()
    for name in found:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-7)


def test_misalignment_is_one_less_the_cosine_of_all_weights_in_one_vector() -> None:
    first = {"a": torch.tensor([1.0, 0.0]), "b": torch.tensor([[2.0]])}
    second = {"a": torch.tensor([1.0, 1.0]), "b": torch.tensor([[-1.0]])}
    flat = torch.cat([first["a"], first["b"].flatten()]), torch.cat([second["a"], second["b"].flatten()])
    assert float(misalignment(first, second)) == pytest.approx(1 - float(torch.cosine_similarity(*flat, dim=0)))
    assert float(squared_difference(first, second)) == pytest.approx(float((flat[0] - flat[1]).square().sum()))


@BOTH
@pytest.mark.parametrize("loss", ["mse", "psnr"])
@pytest.mark.parametrize("distance", ["cosine", "squared"])
def test_slopes_through_the_gradient_by_finite_differences(kind: Kind, loss: str, distance: str) -> None:
    """Second order: the distance of gradients changes with the answer as its slope says."""
    held, asked = substitute(loss=loss, double=True), query(double=True)
    align = Alignment(rounds=1, step=0.1, radius=1.0, alignment=kind, distance=distance)  # type: ignore[arg-type]
    delta = 0.01 * torch.randn(ROWS, CLASSES, generator=torch.Generator().manual_seed(5)).double()

    def move(moving: Tensor) -> Tensor:
        return moved(asked.probabilities, moving, 1.0)

    losses, slope = align.slope(held, move, delta, asked.images)
    for row, column in ((0, 1), (3, 2), (5, 0)):
        nudge = torch.zeros_like(delta)
        nudge[row, column] = 1e-6
        above, below = (align.slope(held, move, delta + sign * nudge, asked.images)[0] for sign in (1, -1))
        expected = (above - below)[row] / 2e-6
        assert float(slope[row, column]) == pytest.approx(float(expected), rel=1e-3, abs=1e-9)
    assert losses.unique().numel() == (1 if kind == "joint" else ROWS)


def test_slopes_of_each_query_are_those_of_the_query_alone() -> None:
    held, asked = substitute(), query()
    align = Alignment(rounds=1, step=0.1, radius=1.0, alignment="per_query")
    delta = 0.01 * torch.randn(ROWS, CLASSES, generator=torch.Generator().manual_seed(5))
    together = align.slope(held, lambda d: moved(asked.probabilities, d, 1.0), delta, asked.images)
    jointly = Alignment(rounds=1, step=0.1, radius=1.0, alignment="joint")
    for i in range(ROWS):
        part = slice(i, i + 1)
        alone = jointly.slope(
            held, lambda d, part=part: moved(asked.probabilities[part], d, 1.0), delta[part], asked.images[part]
        )
        torch.testing.assert_close(alone[0], together[0][part], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(alone[1], together[1][part], rtol=1e-3, atol=1e-5)


@BOTH
@pytest.mark.parametrize("sharpness", [1.0, 8.0])
def test_the_alignment_loss_falls_over_rounds(kind: Kind, sharpness: float) -> None:
    held, asked = substitute(), query(sharpness=sharpness)
    start = 0.05 * nn.functional.normalize(torch.randn(ROWS, CLASSES, generator=torch.Generator().manual_seed(6)))
    losses = []
    for rounds in (0, 5, 20):
        align = Alignment(rounds=rounds, step=0.5, radius=0.05, alignment=kind)
        _, lowest = align.descend(held, lambda d: moved(asked.probabilities, d, 0.05), start, asked.images)
        losses.append(float(lowest.mean()))
    assert losses[0] > losses[1] + 1e-3 and losses[1] >= losses[2]


@BOTH
@pytest.mark.parametrize("sharpness", [1.0, 8.0])
def test_the_recorded_course_is_that_of_the_descent_and_changes_no_answer(kind: Kind, sharpness: float) -> None:
    held, asked = substitute(), query(sharpness=sharpness)
    defense = Lpa(radius=0.05, rounds=6, alignment=kind, batch=4, labels="free")
    courses: list[Course] = []
    with recording(courses):
        found = defense.answer(asked, held)
    torch.testing.assert_close(found, defense.answer(asked, held), rtol=0, atol=0)
    assert len(courses) == 2, "one for each batch that is aligned together, and none after the block"
    for course, rows in zip(courses, (slice(0, 4), slice(4, 6)), strict=True):
        assert course.distances.shape == (7, rows.stop - rows.start)
        assert (course.distances.diff(dim=0) <= 0).all() and course.distances[0].sum() > course.distances[-1].sum()
        torch.testing.assert_close(course.images, asked.images[rows])
        if kind == "joint":  # the last distance is that of the answers that are served
            gradient = held.gradient(found[rows], asked.images[rows])
            expected = misalignment(held.target_gradient or {}, gradient)
            torch.testing.assert_close(course.distances[-1], expected.expand(rows.stop - rows.start))


@pytest.mark.parametrize("cls", [Lpa, PoiMse])
@BOTH
def test_answers_keep_labels_and_budget(cls: type[Lpa], kind: Kind) -> None:
    held, asked = substitute(), query(sharpness=0.05)
    defense = cls(radius=0.3, rounds=3, alignment=kind)
    found = defense.answer(asked, held)
    assert torch.equal(found.argmax(dim=1), asked.labels)
    assert float((found - asked.probabilities).norm(dim=1).max()) <= 0.3 + 1e-6
    free = cls(radius=0.3, rounds=3, alignment=kind, labels="free").answer(asked, held)
    assert not torch.equal(free.argmax(dim=1), asked.labels), "at this radius only strictness keeps the labels"
    assert not cls(labels="free").keeps_labels and cls().keeps_labels


def test_joint_answers_are_aligned_batch_by_batch() -> None:
    held, asked = substitute(), query()
    whole = Lpa(radius=0.1, rounds=2, batch=3).answer(asked, held)
    parts = [Lpa(radius=0.1, rounds=2, batch=3).answer(asked.rows(rows), held) for rows in (slice(0, 3), slice(3, 6))]
    torch.testing.assert_close(whole, torch.cat(parts))
    assert Lpa().answers_jointly and not Lpa(alignment="per_query").answers_jointly


@pytest.mark.parametrize("preset", ["mnist", "fashion", "cifar"])
@pytest.mark.parametrize("px", [32, 64])
def test_the_substitutes_of_presets_have_the_published_four_blocks(preset: str, px: int) -> None:
    blocks = Lpa(**Lpa.presets[preset]).inverter_blocks
    network = TransposedCnn(CLASSES, px, 1, blocks)
    assert sum(isinstance(module, nn.ConvTranspose2d) for module in network.modules()) == 4


def test_a_score_of_zero_has_no_slope_and_no_nan() -> None:
    scores = torch.tensor([[0.7, 0.3, 0.0, 0.0]], requires_grad=True)
    features = score_features(scores)
    features.sum().backward()
    assert features[0, 2] == 0 and features[0, 0] > 900
    assert scores.grad is not None and torch.isfinite(scores.grad).all() and scores.grad[0, 2] == 0


def test_the_budget_is_matched_only_where_labels_may_change() -> None:
    assert isinstance(Lpa().tuned_by(), NotTuned)
    tuned = Lpa(labels="free").tuned_by()
    assert isinstance(tuned, Tuning) and tuned.parameter == "radius"


def test_a_substitute_needs_public_images_and_is_shared_by_equal_settings() -> None:
    target, public = Recipe("target", "classifier"), Recipe("split", "x")
    with pytest.raises(SpecError, match="lpa prepares its answers on public images"):
        Lpa().serving(target, None)
    (first,), (second,) = (cls().serving(target, public).values() for cls in (Lpa, PoiMse))
    assert first.key == second.key
    assert Lpa(half="first").inverter(target, public).key != first.key
    assert Lpa(radius=0.0).serving(target, None) == {}


@pytest.mark.parametrize(
    "params", [{"radius": -1.0}, {"rounds": -1}, {"step": 0.0}, {"batch": 0}, {"inverter_blocks": 3}]
)
def test_impossible_parameters_are_refused(params: dict[str, float]) -> None:
    with pytest.raises(SpecError, match="needs"):
        DEFENSES.make("lpa", params)
