"""Trait accuracy against loops, ties and broken numbers included; what must hold for any input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from midef.core import NotApplicable, ShapeError
from midef.core.outcomes import read
from midef.metrics import METRICS, Evidence, Measurement
from midef.metrics.trait_accuracy import nearest_hits, trait_distances
from midef.stages.scores import measure
from midef.testing.metrics import evidence

NAMES = {"trait_accuracy": 1, "trait_accuracy_at_5": 5}


def drawn(seed: int = 0, *, n: int = 40, identities: int = 12, traits: int = 6) -> tuple[np.ndarray, ...]:
    """Traits of images, their labels, traits of identities, weights."""
    rng = np.random.default_rng(seed)
    people = rng.standard_normal((identities, traits))
    labels = np.arange(n) % identities
    return people[labels] + 0.8 * rng.standard_normal((n, traits)), labels, people, rng.random(traits)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_hits_equal_loops(k: int) -> None:
    images, labels, people, weights = drawn()
    expected = []
    for image, label in zip(images, labels, strict=True):
        far = [sum((w * (a - b)) ** 2 for w, a, b in zip(weights, person, image, strict=True)) for person in people]
        nearer = sum(one < far[label] for i, one in enumerate(far) if i != label)
        equal = sum(one == far[label] for i, one in enumerate(far) if i != label)
        expected.append(nearer + equal < k)
    assert nearest_hits(images, labels, people, weights, k=k).tolist() == expected
    assert 0 < sum(expected) < len(expected)


def test_two_identities_of_equal_traits_are_a_tie_and_no_hit() -> None:
    people = np.array([[0.3, 0.1], [0.3, 0.1], [2.0, 2.0]])
    hits = [nearest_hits(people, np.arange(3), people, np.ones(2), k=k).tolist() for k in (1, 2)]
    assert hits == [[False, False, True], [True, True, True]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_traits_that_are_no_numbers_are_never_a_hit(value: float) -> None:
    images, labels, people, weights = drawn()
    images[:, 2] = value
    with np.errstate(invalid="ignore"):
        assert not nearest_hits(images, labels, people, weights).any()


def test_a_trait_that_does_not_move_the_image_does_not_count() -> None:
    images, _, people, weights = drawn()
    weights[0] = 0.0
    changed = images.copy()
    changed[:, 0] += 100.0
    assert np.array_equal(trait_distances(images, people, weights), trait_distances(changed, people, weights)), (
        "only differences of weighted traits count"
    )
    weights[0] = 1.0
    assert not np.allclose(trait_distances(images, people, weights), trait_distances(changed, people, weights))


@pytest.mark.parametrize(
    "shapes", [((3, 2), (4, 3), (2,)), ((3, 2), (4, 2), (3,)), ((2,), (4, 2), (2,))], ids=["people", "weights", "flat"]
)
def test_wrong_shapes_are_explained(shapes: tuple[Any, ...]) -> None:
    with pytest.raises(ShapeError, match=r"needs traits \[N, T\], identities \[K, T\] and weights \[T\], got"):
        trait_distances(*(np.zeros(shape) for shape in shapes))


# ---------------------------------------------------------------- the metric


def of(given: Evidence, name: str = "trait_accuracy") -> Measurement:
    return METRICS.make(name).measure(given)


def known(**changes: Any) -> Evidence:
    """Reconstructions whose traits are known."""
    given = replace(evidence(2, classes=12, n=48), report_traits=None)
    return replace(given, **changes)


@pytest.mark.parametrize(("name", "k"), NAMES.items())
def test_true_private_images_reach_100_where_traits_are_known(name: str, k: int) -> None:
    given = known()
    assert given.identity_traits is not None
    measured = of(replace(given, traits=given.identity_traits[given.labels]), name)
    assert (measured.value, measured.ceiling, measured.is_estimate) == (100.0, 100.0, False)
    assert measured.chance == pytest.approx(100 * k / 12)
    assert (measured.n, measured.groups) == (48, 12)
    assert of(given, name).ceiling == 100.0, "whatever the reconstructions are"


def test_identities_of_equal_traits_lower_the_ceiling() -> None:
    given = known()
    assert given.identity_traits is not None
    people = given.identity_traits.copy()
    people[1] = people[0]
    assert of(replace(given, identity_traits=people)).ceiling == pytest.approx(100 * 10 / 12)


def test_all_identities_are_rivals_not_only_those_attacked() -> None:
    """The nearest of all is a person whom nobody attacked."""
    given = known(labels=np.zeros(4, int), restarts=np.arange(4), found=np.ones(4, bool))
    assert given.identity_traits is not None
    there = np.tile(given.identity_traits[7], (4, 1))
    assert of(replace(given, traits=there, evaluator_logits=np.zeros((4, 12)))).value == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_estimates_say_so_and_their_ceiling_is_that_of_the_report_split(name: str) -> None:
    given = evidence(5)
    assert given.identity_traits is not None and given.trait_weights is not None and given.report_traits is not None
    measured = of(given, name)
    hits = nearest_hits(
        given.report_traits, given.report_labels, given.identity_traits, given.trait_weights, k=NAMES[name]
    )
    assert measured.is_estimate and measured.ceiling == pytest.approx(100 * hits.mean())
    right = given.identity_traits[given.report_labels]
    assert of(replace(given, report_traits=right), name).ceiling == 100.0


def test_names_of_identities_and_numbers_of_restarts_do_not_matter() -> None:
    given = known()
    assert given.identity_traits is not None
    order = np.random.default_rng(0).permutation(12)
    renamed = replace(given, labels=np.argsort(order)[given.labels], identity_traits=given.identity_traits[order])
    assert of(given).value == of(renamed).value and 0 < of(given, "trait_accuracy_at_5").value < 100
    moved = replace(given, restarts=given.restarts + 3)
    assert (of(moved).value, of(moved).low, of(moved).high) == (of(given).value, of(given).low, of(given).high)


def test_traits_by_chance_are_near_chance() -> None:
    given = replace(evidence(0, classes=20, n=4000), report_traits=None)
    for name, k in NAMES.items():
        assert of(given, name).value == pytest.approx(100 * k / 20, abs=2.5)


def test_reconstructions_pair_with_those_the_evaluator_judged() -> None:
    """Both judges are about the same images, and so are two targets."""
    given = known(report_images="00112233445566ff")
    ours, theirs = read(of(given).outcomes), read(of(given, "attack_accuracy_at_1").outcomes)
    assert ours is not None and theirs is not None and ours.is_paired_with(theirs)


@pytest.mark.parametrize("lacking", ["identity_traits", "trait_weights"])
def test_data_without_traits_is_refused_and_is_no_failure(lacking: str) -> None:
    without = replace(evidence(), **{lacking: None})
    with pytest.raises(NotApplicable, match="needs private identities that are drawn from traits"):
        of(without)
    (entry,) = measure(["trait_accuracy"], without)
    assert (entry["status"], entry["value"]) == ("refused", None)


def test_images_without_traits_where_people_have_them_are_a_failure() -> None:
    (entry,) = measure(["trait_accuracy"], replace(evidence(), traits=None))
    assert (entry["status"], entry["value"]) == ("failed", None)


def test_as_many_identities_as_guesses_are_refused() -> None:
    with pytest.raises(NotApplicable, match="trait accuracy@5 needs more than 5 identities, got 4"):
        of(evidence(classes=4, n=8), "trait_accuracy_at_5")
