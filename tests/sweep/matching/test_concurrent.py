"""Searches side by side: who is told what, and what is built for whom."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from midef.core import Failure, Recipe
from midef.core.match import MatchTraining
from midef.storage import Store
from midef.sweep.matching.concurrent import Hunts, LostTraining, Request, Wanted
from midef.sweep.planning.plan import Node
from midef.sweep.spec.load import parse_spec
from midef.sweep.spec.resolve import Sweep, resolve

Search = Generator[Request, list[MatchTraining], Any]
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
def want(sweep: Sweep) -> Callable[..., Wanted]:
    """A training by its number, or with `cell` its whole cell."""

    def make(number: int, *, cell: bool = False) -> Wanted:
        planned = sweep.cells[number]
        return Wanted(planned.recipes.target, float(number), number, "search", planned if cell else None)

    return make


class Found(dict[str, Any]):
    """What searches returned, by name."""


def hunts_of(store: Store) -> tuple[Hunts, Found]:
    found = Found()
    return Hunts(store, found.__setitem__), found


def publish(store: Store, recipe: Recipe, accuracy: float = 80.0) -> None:
    with store.artifacts.workspace() as folder:
        (folder / "nothing.json").write_text("{}")
        store.artifacts.publish(recipe, folder, wall_s=1.0, facts={"select_accuracy": accuracy}, packages={})


def failure_of(reason: str) -> Failure | None:
    """The failure that a made-up reason stands for."""
    return Failure("diverged" if "Diverged" in reason else "died", reason) if reason else None


def end(hunts: Hunts, recipe: Recipe, accuracy: float | None = 80.0, reason: str = "") -> None:
    """A node ended: stored, or lost for a reason."""
    if not reason:
        assert accuracy is not None
        publish(hunts.store, recipe, accuracy)
    hunts.on_node(Node(recipe, frozenset()), failure_of(reason))


def asks(*batches: Sequence[Wanted], is_vain: Callable[[Sequence[float]], bool] | None = None) -> Search:
    """Asks for one batch after the other; returns all accuracies."""
    known: list[list[float | None]] = []
    for batch in batches:
        request = Request(batch) if is_vain is None else Request(batch, is_vain)
        answers = yield request
        known.append([a.accuracy for a in answers])
    return known


def test_what_is_asked_is_asked_once_and_in_order(store: Store, want: Callable[..., Wanted]) -> None:
    hunts, found = hunts_of(store)
    hunts.start("a", asks([want(1), want(0)], [want(2)]))
    assert list(hunts.more().recipes) == [want(1).target, want(0).target]
    assert not hunts.more().recipes
    end(hunts, want(0).target, 70.0)
    assert not hunts.more().recipes and not found
    end(hunts, want(1).target, 71.0)
    assert list(hunts.more().recipes) == [want(2).target]
    end(hunts, want(2).target, 72.0)
    assert found == {"a": [[71.0, 70.0], [72.0]]} and not hunts.pending
    assert hunts.asked == {want(i).key for i in range(3)}


def test_two_searches_that_want_the_same_are_both_told(store: Store, want: Callable[..., Wanted]) -> None:
    hunts, found = hunts_of(store)
    hunts.start("a", asks([want(0)], [want(1)]))
    hunts.start("b", asks([want(0), want(1)]))
    hunts.start("c", asks([want(2)]))
    hunts.more()
    end(hunts, want(0).target, 60.0)
    end(hunts, want(1).target, 61.0)
    assert found == {"a": [[60.0], [61.0]], "b": [[60.0, 61.0]]} and set(hunts.pending) == {"c"}


def test_what_is_stored_already_costs_nothing(store: Store, want: Callable[..., Wanted]) -> None:
    for number in (0, 1):
        publish(store, want(number).target, 50.0 + number)
    hunts, found = hunts_of(store)
    hunts.start("a", asks([want(0)], [want(1)], []))
    assert found == {"a": [[50.0], [51.0], []]}
    assert not hunts.more().recipes and not hunts.asked


def test_of_a_batch_only_what_lacks_is_built(store: Store, want: Callable[..., Wanted]) -> None:
    publish(store, want(0).target)
    hunts, found = hunts_of(store)
    hunts.start("a", asks([want(0), want(1)]))
    assert list(hunts.more().recipes) == [want(1).target] and hunts.asked == {want(1).key}
    assert not found


def test_asking_for_nothing_goes_on(store: Store) -> None:
    hunts, found = hunts_of(store)
    hunts.start("a", asks([], []))
    assert found == {"a": [[], []]}


def test_a_cell_is_waited_for_until_its_scores_are_there(store: Store, want: Callable[..., Wanted]) -> None:
    hunts, found = hunts_of(store)
    hunts.start("a", asks([want(0, cell=True)]))
    more = hunts.more()
    assert not more.recipes and [c.cell.seed for c in more.cells] == [0]
    end(hunts, want(0).target, 66.0)
    assert not found
    cell = want(0, cell=True).cell
    assert cell is not None
    end(hunts, cell.recipes.scores, 1.0)  # the accuracy is the target's
    assert found == {"a": [[66.0]]}


def test_diverged_is_an_answer_without_an_accuracy(store: Store, want: Callable[..., Wanted]) -> None:
    hunts, _ = hunts_of(store)
    told: list[MatchTraining] = []

    def search() -> Search:
        told.extend((yield Request([want(0)])))

    hunts.start("a", search())
    end(hunts, want(0).target, None, DIVERGED)
    (answer,) = told
    assert (answer.accuracy, answer.reason, answer.strength, answer.seed) == (None, DIVERGED, 0.0, 0)
    assert answer.failure == "diverged"
    assert answer.target_key == str(want(0).key)


def test_lost_otherwise_is_raised_in_the_searches_that_asked_alone(store: Store, want: Callable[..., Wanted]) -> None:
    hunts, found = hunts_of(store)
    hunts.start("a", asks([want(0)]))
    hunts.start("b", asks([want(1)]))
    end(hunts, want(0).target, None, "out of memory")
    assert isinstance(found["a"], LostTraining) and str(found["a"]) == "out of memory"
    end(hunts, want(1).target, 80.0)
    assert found["b"] == [[80.0]]


def test_a_search_may_go_on_after_a_loss(store: Store, want: Callable[..., Wanted]) -> None:
    hunts, found = hunts_of(store)

    def search() -> Search:
        try:
            yield Request([want(0)])
        except LostTraining as error:
            answers = yield Request([want(1)])
            return f"{error}, then {answers[0].accuracy}"

    hunts.start("a", search())
    end(hunts, want(0).target, None, "out of memory")
    end(hunts, want(1).target, 75.0)
    assert found == {"a": "out of memory, then 75.0"}


def test_what_was_lost_in_this_run_is_answered_at_once(store: Store, want: Callable[..., Wanted]) -> None:
    hunts, found = hunts_of(store)
    hunts.on_node(Node(want(0).target, frozenset()), failure_of(DIVERGED))
    hunts.start("a", asks([want(0)]))
    assert found == {"a": [[None]]} and not hunts.more().recipes


def test_a_vain_request_ends_early_and_withdraws_the_rest(store: Store, want: Callable[..., Wanted]) -> None:
    hunts, found = hunts_of(store)
    hunts.start("a", asks([want(0), want(1), want(2)], is_vain=lambda known: min(known, default=100.0) < 50.0))
    hunts.start("b", asks([want(2)]))
    assert len(hunts.more().recipes) == 4  # the plan takes each once
    end(hunts, want(0).target, 80.0)
    assert not found and not hunts.more().withdrawn
    end(hunts, want(1).target, 40.0)
    assert found == {"a": [[80.0, 40.0]]}
    assert list(hunts.more().withdrawn) == [], "the other search wants it, too"
    end(hunts, want(2).target, 77.0)
    assert found["b"] == [[77.0]]


def test_only_its_own_is_withdrawn(store: Store, want: Callable[..., Wanted]) -> None:
    hunts, _ = hunts_of(store)
    hunts.start("a", asks([want(0), want(1), want(2)], is_vain=lambda known: len(known) == 1))
    hunts.start("b", asks([want(2)]))
    end(hunts, want(0).target)
    assert list(hunts.more().withdrawn) == [want(1).key]
    assert list(hunts.more().withdrawn) == []


def test_what_is_wanted_again_is_not_withdrawn(store: Store, want: Callable[..., Wanted]) -> None:
    hunts, _ = hunts_of(store)

    def search() -> Search:
        yield Request([want(0), want(1)], lambda known: len(known) == 1)
        yield Request([want(1)])

    hunts.start("a", search())
    hunts.more()
    end(hunts, want(0).target)
    more = hunts.more()
    assert not more.withdrawn and list(more.recipes) == [want(1).target]


def test_diverged_counts_as_nothing_when_a_request_may_be_vain(store: Store, want: Callable[..., Wanted]) -> None:
    hunts, found = hunts_of(store)
    hunts.start("a", asks([want(0), want(1)], is_vain=lambda known: 0.0 in known))
    end(hunts, want(0).target, None, DIVERGED)
    assert found == {"a": [[None]]}


def test_an_end_may_start_others(store: Store, want: Callable[..., Wanted]) -> None:
    found: dict[str, Any] = {}

    def on_end(name: str, what: Any) -> None:
        found[name] = what
        if name == "a":
            hunts.start("b", asks([want(0)], [want(1)]))

    hunts = Hunts(store, on_end)
    hunts.start("a", asks([want(0)]))
    end(hunts, want(0).target, 88.0)
    assert found == {"a": [[88.0]]} and list(hunts.more().recipes)[-1] == want(1).target
