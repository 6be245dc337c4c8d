"""Searches side by side: who is told what, and what is built for whom."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from midef.core import Failure, Recipe
from midef.core.match import MatchTraining
from midef.storage import Store
from midef.sweep.matching.concurrent import ConcurrentSearches, RequestedTraining, TrainingFailed, TrainingRequest
from midef.sweep.planning.plan import Node
from midef.sweep.spec.load import parse_spec
from midef.sweep.spec.resolve import Sweep, resolve

Search = Generator[TrainingRequest, list[MatchTraining], Any]
Make = Callable[..., RequestedTraining]
DIVERGED = "TrainingDiverged: the loss is nan in epoch 3"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture(scope="module")
def sweep() -> Sweep:
    seeds = list(range(8))
    setups = [{"id": "faces", "attack": "gmi"}]
    return resolve(parse_spec({"name": "s", "setups": setups, "defenses": ["none"], "seeds": seeds}))


@pytest.fixture
def training(sweep: Sweep) -> Make:
    """A training by its number, or with `cell` its whole cell."""

    def make(number: int, *, cell: bool = False) -> RequestedTraining:
        planned = sweep.cells[number]
        return RequestedTraining(planned.recipes.target, float(number), number, "search", planned if cell else None)

    return make


class Results(dict[str, Any]):
    """What searches returned, by name."""


def searches_of(store: Store) -> tuple[ConcurrentSearches[Any], Results]:
    results = Results()
    return ConcurrentSearches(store, results.__setitem__), results


def publish(store: Store, recipe: Recipe, accuracy: float = 80.0) -> None:
    with store.artifacts.workspace() as folder:
        (folder / "nothing.json").write_text("{}")
        store.artifacts.publish(recipe, folder, wall_s=1.0, facts={"select_accuracy": accuracy}, packages={})


def failure_of(reason: str) -> Failure | None:
    """The failure that a made-up reason stands for."""
    return Failure("diverged" if "Diverged" in reason else "died", reason) if reason else None


def end(searches: ConcurrentSearches[Any], recipe: Recipe, accuracy: float | None = 80.0, reason: str = "") -> None:
    """A node ended: stored, or lost for a reason."""
    if not reason:
        assert accuracy is not None
        publish(searches.store, recipe, accuracy)
    searches.on_node(Node(recipe, frozenset()), failure_of(reason))


def asks(*batches: Sequence[RequestedTraining], is_futile: Callable[[Sequence[float]], bool] | None = None) -> Search:
    """Asks for one batch after the other; returns all accuracies."""
    known: list[list[float | None]] = []
    for batch in batches:
        request = TrainingRequest(batch) if is_futile is None else TrainingRequest(batch, is_futile)
        answers = yield request
        known.append([a.accuracy for a in answers])
    return known


def test_what_is_asked_is_asked_once_and_in_order(store: Store, training: Make) -> None:
    searches, results = searches_of(store)
    searches.start("a", asks([training(1), training(0)], [training(2)]))
    assert list(searches.more().recipes) == [training(1).target, training(0).target]
    assert not searches.more().recipes
    end(searches, training(0).target, 70.0)
    assert not searches.more().recipes and not results
    end(searches, training(1).target, 71.0)
    assert list(searches.more().recipes) == [training(2).target]
    end(searches, training(2).target, 72.0)
    assert results == {"a": [[71.0, 70.0], [72.0]]} and not searches.pending
    assert searches.requested == {training(i).key for i in range(3)}


def test_two_searches_that_request_the_same_are_both_told(store: Store, training: Make) -> None:
    searches, results = searches_of(store)
    searches.start("a", asks([training(0)], [training(1)]))
    searches.start("b", asks([training(0), training(1)]))
    searches.start("c", asks([training(2)]))
    searches.more()
    end(searches, training(0).target, 60.0)
    end(searches, training(1).target, 61.0)
    assert results == {"a": [[60.0], [61.0]], "b": [[60.0, 61.0]]} and set(searches.pending) == {"c"}


def test_what_is_stored_already_costs_nothing(store: Store, training: Make) -> None:
    for number in (0, 1):
        publish(store, training(number).target, 50.0 + number)
    searches, results = searches_of(store)
    searches.start("a", asks([training(0)], [training(1)], []))
    assert results == {"a": [[50.0], [51.0], []]}
    assert not searches.more().recipes and not searches.requested


def test_of_a_batch_only_what_lacks_is_built(store: Store, training: Make) -> None:
    publish(store, training(0).target)
    searches, results = searches_of(store)
    searches.start("a", asks([training(0), training(1)]))
    assert list(searches.more().recipes) == [training(1).target] and searches.requested == {training(1).key}
    assert not results


def test_asking_for_nothing_goes_on(store: Store) -> None:
    searches, results = searches_of(store)
    searches.start("a", asks([], []))
    assert results == {"a": [[], []]}


def test_a_cell_is_waited_for_until_its_scores_are_there(store: Store, training: Make) -> None:
    searches, results = searches_of(store)
    searches.start("a", asks([training(0, cell=True)]))
    more = searches.more()
    assert not more.recipes and [c.cell.seed for c in more.cells] == [0]
    end(searches, training(0).target, 66.0)
    assert not results
    cell = training(0, cell=True).cell
    assert cell is not None
    end(searches, cell.recipes.scores, 1.0)  # the accuracy is the target's
    assert results == {"a": [[66.0]]}


def test_diverged_is_an_answer_without_an_accuracy(store: Store, training: Make) -> None:
    searches, _ = searches_of(store)
    told: list[MatchTraining] = []

    def search() -> Search:
        told.extend((yield TrainingRequest([training(0)])))

    searches.start("a", search())
    end(searches, training(0).target, None, DIVERGED)
    (answer,) = told
    assert (answer.accuracy, answer.reason, answer.strength, answer.seed) == (None, DIVERGED, 0.0, 0)
    assert answer.failure == "diverged"
    assert answer.target_key == str(training(0).key)


def test_lost_otherwise_is_raised_in_the_searches_that_asked_alone(store: Store, training: Make) -> None:
    searches, results = searches_of(store)
    searches.start("a", asks([training(0)]))
    searches.start("b", asks([training(1)]))
    end(searches, training(0).target, None, "out of memory")
    assert isinstance(results["a"], TrainingFailed) and str(results["a"]) == "out of memory"
    end(searches, training(1).target, 80.0)
    assert results["b"] == [[80.0]]


def test_a_search_may_go_on_after_a_loss(store: Store, training: Make) -> None:
    searches, results = searches_of(store)

    def search() -> Search:
        try:
            yield TrainingRequest([training(0)])
        except TrainingFailed as error:
            answers = yield TrainingRequest([training(1)])
            return f"{error}, then {answers[0].accuracy}"

    searches.start("a", search())
    end(searches, training(0).target, None, "out of memory")
    end(searches, training(1).target, 75.0)
    assert results == {"a": "out of memory, then 75.0"}


def test_what_was_lost_in_this_run_is_answered_at_once(store: Store, training: Make) -> None:
    searches, results = searches_of(store)
    searches.on_node(Node(training(0).target, frozenset()), failure_of(DIVERGED))
    searches.start("a", asks([training(0)]))
    assert results == {"a": [[None]]} and not searches.more().recipes


def test_a_futile_request_ends_early_and_withdraws_the_rest(store: Store, training: Make) -> None:
    searches, results = searches_of(store)
    searches.start(
        "a", asks([training(0), training(1), training(2)], is_futile=lambda known: min(known, default=100.0) < 50.0)
    )
    searches.start("b", asks([training(2)]))
    assert len(searches.more().recipes) == 4  # the plan takes each once
    end(searches, training(0).target, 80.0)
    assert not results and not searches.more().withdrawn
    end(searches, training(1).target, 40.0)
    assert results == {"a": [[80.0, 40.0]]}
    assert list(searches.more().withdrawn) == [], "the other search waits for it, too"
    end(searches, training(2).target, 77.0)
    assert results["b"] == [[77.0]]


def test_only_its_own_is_withdrawn(store: Store, training: Make) -> None:
    searches, _ = searches_of(store)
    searches.start("a", asks([training(0), training(1), training(2)], is_futile=lambda known: len(known) == 1))
    searches.start("b", asks([training(2)]))
    end(searches, training(0).target)
    assert list(searches.more().withdrawn) == [training(1).key]
    assert list(searches.more().withdrawn) == []


def test_what_is_requested_again_is_not_withdrawn(store: Store, training: Make) -> None:
    searches, _ = searches_of(store)

    def search() -> Search:
        yield TrainingRequest([training(0), training(1)], lambda known: len(known) == 1)
        yield TrainingRequest([training(1)])

    searches.start("a", search())
    searches.more()
    end(searches, training(0).target)
    more = searches.more()
    assert not more.withdrawn and list(more.recipes) == [training(1).target]


def test_diverged_counts_as_nothing_when_a_request_may_be_futile(store: Store, training: Make) -> None:
    searches, results = searches_of(store)
    searches.start("a", asks([training(0), training(1)], is_futile=lambda known: 0.0 in known))
    end(searches, training(0).target, None, DIVERGED)
    assert results == {"a": [[None]]}


def test_an_end_may_start_others(store: Store, training: Make) -> None:
    results: dict[str, Any] = {}

    def on_end(name: str, what: Any) -> None:
        results[name] = what
        if name == "a":
            searches.start("b", asks([training(0)], [training(1)]))

    searches = ConcurrentSearches(store, on_end)
    searches.start("a", asks([training(0)]))
    end(searches, training(0).target, 88.0)
    assert results == {"a": [[88.0]]} and list(searches.more().recipes)[-1] == training(1).target


def test_a_damaged_training_is_set_aside_and_asked_for_again(store: Store, training: Make) -> None:
    one = training(0)
    publish(store, one.target)
    path = f"artifacts/{one.target.key}/META.json"
    store.location.put(path, store.location.get(path).replace(b"80.0", b"90.0"))
    searches, results = searches_of(store)
    searches.start("a", asks([one]))
    assert [recipe.key for recipe in searches.more().recipes] == [one.target.key]
    assert store.artifacts.keys() == set()
    end(searches, one.target, 81.0)
    assert results["a"] == [[81.0]]


def test_a_cell_whose_scores_are_left_without_its_training_is_trained_again(store: Store, training: Make) -> None:
    """As after the training was damaged and set aside."""
    one = training(0, cell=True)
    assert one.cell is not None
    publish(store, one.cell.recipes.scores)
    searches, results = searches_of(store)
    searches.start("a", asks([one]))
    assert [recipe.key for recipe in searches.more().recipes] == [one.target.key]
    end(searches, one.target, 81.0)
    assert results["a"] == [[81.0]]
