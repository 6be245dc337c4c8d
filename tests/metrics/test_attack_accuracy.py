"""Attack accuracy against a sort, ties and broken numbers included."""

from __future__ import annotations

import statistics
from dataclasses import replace

import numpy as np
import pytest

from midef.core import ShapeError
from midef.core.errors import NotApplicable
from midef.core.outcomes import Outcomes, read
from midef.metrics import METRICS, Evidence
from midef.metrics.attack_accuracy import BY_TARGET, CHOSEN_BY_TARGET, best_classes, spread_of_hits, top_k_hits
from midef.testing.metrics import evidence


def test_a_target_that_also_chose_what_it_judges_is_said_so() -> None:
    usual, chosen = replace(evidence(), judge="target"), replace(evidence(), judge="target", counted="best_by_target")
    at_1, by_target = METRICS.make("attack_accuracy_at_1"), METRICS.make("attack_accuracy_by_target")
    assert at_1.measure(usual).remark == by_target.measure(usual).remark == BY_TARGET
    assert at_1.measure(chosen).remark == by_target.measure(chosen).remark == f"{BY_TARGET}; {CHOSEN_BY_TARGET}"
    assert at_1.measure(replace(chosen, judge="evaluator")).remark == "", "another network judges what it chose"


@pytest.mark.parametrize("k", [1, 2, 5])
def test_hits_equal_a_sort_where_all_values_differ(k: int) -> None:
    rng = np.random.default_rng(0)
    logits = np.stack([rng.permutation(9) for _ in range(300)]).astype(np.float32)
    labels = rng.integers(0, 9, 300)
    expected = [label in np.argsort(-row)[:k] for row, label in zip(logits, labels, strict=True)]
    assert top_k_hits(logits, labels, k).tolist() == expected
    assert 0 < sum(expected) < 300


def test_the_best_classes_come_largest_first_and_broken_ones_last() -> None:
    logits = np.array([[0.0, 3.0, 1.0, 2.0], [5.0, np.nan, 5.0, -1.0]])
    assert best_classes(logits, 3).tolist() == [[1, 3, 2], [0, 2, 3]]
    assert best_classes(logits, 9).shape == (2, 4)


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("value", [0.0, -3.5, np.inf, -np.inf, np.nan], ids=str)
def test_constant_logits_are_never_a_hit(k: int, value: float) -> None:
    assert not top_k_hits(np.full((8, 8), value), np.arange(8), k).any()


def test_a_tie_at_the_border_is_a_miss_and_one_within_is_a_hit() -> None:
    logits = np.array([[3.0, 3.0, 1.0, 0.0]])
    assert [bool(top_k_hits(logits, np.array([0]), k)[0]) for k in (1, 2, 3)] == [False, True, True]


def test_a_label_whose_logit_is_no_number_is_not_hit() -> None:
    logits = np.array([[np.nan, 1.0, 2.0], [0.0, 5.0, np.nan]])
    assert top_k_hits(logits, np.array([0, 1]), 1).tolist() == [False, False]


def test_top_five_holds_top_one() -> None:
    rng = np.random.default_rng(1)
    logits, labels = rng.standard_normal((200, 12)), rng.integers(0, 12, 200)
    one, five = top_k_hits(logits, labels, 1), top_k_hits(logits, labels, 5)
    assert (five | ~one).all() and five.sum() > one.sum()


@pytest.mark.parametrize(
    ("logits", "labels"),
    [(np.zeros(4), np.zeros(4, int)), (np.zeros((3, 4)), np.zeros(2, int))],
    ids=["flat logits", "too few labels"],
)
def test_wrong_shapes_are_explained(logits: np.ndarray, labels: np.ndarray) -> None:
    with pytest.raises(ShapeError, match=r"needs logits \[N, K\] and N labels"):
        top_k_hits(logits, labels, 1)


def test_a_judge_that_was_not_asked_says_nothing() -> None:
    unasked = replace(evidence(), target_logits=None)
    for given, metric in (
        (unasked, "attack_accuracy_by_target"),
        (replace(unasked, judge="target"), "attack_accuracy_at_1"),
    ):
        with pytest.raises(NotApplicable, match="needs what the target says of the reconstructions"):
            METRICS.make(metric).measure(given)


# ---------------------------------------------------------------- how far it varies


@pytest.fixture
def judged() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """hits, labels, restarts: 7 identities x 5 restarts in random order, restart 0 always right, others by chance."""
    rng = np.random.default_rng(3)
    labels, restarts = np.repeat(np.arange(7) * 10, 5), np.tile(np.arange(5), 7)
    hits = (restarts == 0) | (rng.random(35) < 0.4)
    order = rng.permutation(35)
    return hits[order], labels[order], restarts[order]


def by_hand(judged: tuple[np.ndarray, np.ndarray, np.ndarray], group: list[int]) -> list[float]:
    """Accuracy of a group of identities in each restart, percent."""
    table = {(label, restart): hit for hit, label, restart in zip(*judged, strict=True)}
    return [100 * sum(table[label, restart] for label in group) / len(group) for restart in range(5)]


def test_spread_is_what_each_paper_prints(judged: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    groups = [[0, 10, 20], [30, 40, 50], [60]]
    accuracies = [by_hand(judged, group) for group in groups]
    everyone = by_hand(judged, [label for group in groups for label in group])
    expected = {
        "restarts": statistics.mean(statistics.stdev(a) for a in accuracies),
        "groups": statistics.stdev(statistics.mean(a) for a in accuracies),
        "population": statistics.pstdev(everyone),
        "variance": statistics.mean(statistics.variance([v / 100 for v in a]) for a in accuracies),
    }
    found = {kind: spread_of_hits(*judged, kind=kind, group_size=3) for kind in expected}
    assert found == pytest.approx(expected)
    assert len({round(v, 6) for v in expected.values()}) == 4, "the four can be told apart"


@pytest.mark.parametrize("kind", ["restarts", "population", "variance"])
def test_one_restart_has_no_spread(kind: str) -> None:
    hits, labels = np.array([True, False, True]), np.arange(3)
    assert spread_of_hits(hits, labels, np.zeros(3, int), kind=kind, group_size=2) is None


def test_one_group_has_no_spread_over_groups(judged: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    assert spread_of_hits(*judged, kind="groups", group_size=7) is None


# ---------------------------------------------------------------- which reconstructions are compared with which

REPORT = "00112233445566ff"


def outcomes_of(given: Evidence) -> Outcomes:
    found = read(METRICS.make("attack_accuracy_at_1").measure(given).outcomes)
    assert found is not None
    return found


def test_reconstructions_of_two_targets_pair_by_identity_and_restart() -> None:
    one, other = (replace(evidence(seed), report_images=REPORT) for seed in (0, 1))
    shuffle = np.random.default_rng(0).permutation(len(other.labels))
    arrays = ("labels", "restarts", "evaluator_logits")
    shuffled = replace(other, **{name: getattr(other, name)[shuffle] for name in arrays})
    assert outcomes_of(one).is_paired_with(outcomes_of(shuffled))
    assert outcomes_of(other).hits.tolist() == outcomes_of(shuffled).hits.tolist()
    for changed in (
        replace(other, report_images=REPORT[::-1]),
        replace(other, restarts=other.restarts + 1),
        replace(other, labels=(other.labels + 1) % 8, restarts=other.restarts * 2),
    ):
        assert not outcomes_of(one).is_paired_with(outcomes_of(changed))


def test_where_one_of_each_identity_counts_its_restart_does_not_matter() -> None:
    one, other = (replace(evidence(seed, n=8), report_images=REPORT) for seed in (0, 1))
    assert outcomes_of(one).is_paired_with(outcomes_of(replace(other, restarts=other.restarts + np.arange(8))))


def test_images_without_a_name_keep_no_outcomes() -> None:
    assert METRICS.make("attack_accuracy_at_1").measure(evidence()).outcomes == ""
