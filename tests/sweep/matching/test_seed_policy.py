"""Seeds of a strength: what their mean can still become, and how much they differ."""

from __future__ import annotations

import math

import pytest

from midef.core.match import MatchTraining
from midef.sweep.matching.seed_policy import Goal, SeedGroup, seed_groups, seed_noise


def training(seed: int, accuracy: float | None, strength: float = 0.5) -> MatchTraining:
    return MatchTraining(
        strength=strength, seed=seed, accuracy=accuracy, phase="search", target_key=f"{strength}-{seed}"
    )


def group(*accuracies: float | None) -> SeedGroup:
    """Trainings with the seeds 0, 1, 2, ..."""
    return SeedGroup(0.5, {seed: training(seed, accuracy) for seed, accuracy in enumerate(accuracies)})


def test_within_reach_is_what_no_accuracy_can_change() -> None:
    assert Goal(88.0, 0.5, (0, 1, 2)).is_reachable([90.0], 2)
    assert not Goal(98.0, 0.5, (0, 1)).is_reachable([60.0], 1)  # the other would need 135 %
    assert Goal(98.0, 0.5, (0, 1)).is_reachable([96.0], 1)
    assert not Goal(98.0, 0.5, (0, 1, 2)).is_reachable([80.0, 80.0], 1)


@pytest.mark.parametrize(
    ("accuracies", "is_near", "is_match", "is_open"),
    [
        ((98.0, 98.2), True, True, False),
        ((98.0,), True, False, True),
        ((97.0, 98.0), False, False, False),
        ((96.5,), False, False, True),
        ((90.0,), False, False, False),
        ((98.0, None), False, False, False),
        ((None,), False, False, False),
    ],
    ids=[
        "all seeds, near",
        "one seed, near",
        "all seeds, far",
        "still within reach",
        "out of reach",
        "diverged",
        "at once",
    ],
)
def test_a_match_takes_all_seeds_none_diverged_within_the_tolerance(
    accuracies: tuple[float | None, ...], is_near: bool, is_match: bool, is_open: bool
) -> None:
    goal, seeds = Goal(98.0, 0.4, (0, 1)), group(*accuracies)
    assert (seeds.is_near(goal), seeds.is_match(goal), seeds.is_open(goal)) == (is_near, is_match, is_open)


def test_strengths_are_grouped_in_the_order_they_were_tried() -> None:
    trainings = [training(0, 90.0, 0.7), training(0, 80.0, 0.2), training(1, 92.0, 0.7)]
    assert [(g.strength, sorted(g.trainings), g.accuracy) for g in seed_groups(trainings)] == [
        (0.7, [0, 1], 91.0),
        (0.2, [0], 80.0),
    ]


def test_seed_noise_is_the_pooled_deviation() -> None:
    assert seed_noise([]) == pytest.approx(0.4)
    assert seed_noise([[1.0], [5.0]]) == pytest.approx(0.4)
    many = [[float(k % 5), float(k % 5) + 2.0] for k in range(1000)]  # sd of two values 2 apart: sqrt(2)
    assert seed_noise(many) == pytest.approx(math.sqrt(2), rel=0.01)


def test_groups_count_what_diverged_as_nothing() -> None:
    assert SeedGroup(0.5).missing([0, 1]) == [0, 1] and not SeedGroup(0.5).diverged
    assert group(90.0, None).diverged and group(90.0, None).accuracy == 45.0
