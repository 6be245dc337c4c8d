"""The searcher driven by hand, as Tune drives it: order, failures, the end."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray import cloudpickle

from midef.core import Failure, Recipe
from midef.sweep.execution.searcher import PlanSearcher
from midef.sweep.planning.plan import Node, Plan


def graph_of(needs: Mapping[int, set[int]], remaining_s: Mapping[int, float] | None = None) -> Plan:
    """A plan whose node i needs the nodes `needs[i]`, all smaller."""
    nodes = {}
    for i in sorted(needs):
        node = node_of(i, needs[i], (remaining_s or {}).get(i, 1.0))
        nodes[node.key] = node
    return Plan(None, nodes, [], [], [], [])  # type: ignore[arg-type]


def recipe_of(i: int) -> Recipe:
    return Recipe("target", "made_up", {"number": i})


def node_of(i: int, needs: AbstractSet[int] = frozenset(), remaining_s: float = 1.0, *, urgent: bool = False) -> Node:
    needed = frozenset(recipe_of(j).key for j in needs)
    return Node(recipe_of(i), needed, remaining_s=remaining_s, urgent=urgent)


Grow = Callable[[int, str], Sequence[Node]]


class Driver:
    """Keeps what the searcher told its listeners, and which trial carries which node.

    grow: the nodes to add when a node ended, by its number and the reason it was lost; None where the plan never grows.
    """

    def __init__(self, plan: Plan, grow: Grow | None = None) -> None:
        self.grow = grow
        self.started: list[int] = []
        self.barred: set[int] = set()
        self.stored: set[int] = set()
        self.done: list[int] = []
        self.lost: dict[int, tuple[str, str]] = {}
        self.kinds: dict[int, str] = {}
        self.calls: Counter[int] = Counter()
        self.running: dict[str, int] = {}
        self.searcher = PlanSearcher(
            plan,
            self._config,
            may_start=lambda node: number(node) not in self.barred,
            is_stored=lambda node: number(node) in self.stored,
            on_done=self._on_done,
            on_lost=self._on_lost,
            grows=grow is not None,
        )
        self.trials = 0

    def _config(self, node: Node) -> dict[str, Any]:
        self.started.append(number(node))
        return {"number": number(node)}

    def _on_done(self, node: Node, result: dict[str, Any]) -> None:
        assert result["status"] == "ok"
        self.done.append(number(node))
        self.calls[number(node)] += 1
        self._ask(node, "")

    def _on_lost(self, node: Node, state: str, failure: Failure) -> None:
        self.lost[number(node)] = (state, failure.message)
        self.kinds[number(node)] = failure.kind
        self.calls[number(node)] += 1
        self._ask(node, failure.message)

    def _ask(self, node: Node, reason: str) -> None:
        if self.grow is not None:
            self.searcher.add(self.grow(number(node), reason))

    def suggest(self) -> int | str | None:
        """The next node's number, None or FINISHED."""
        self.trials += 1
        trial = f"trial{self.trials}"
        found = self.searcher.suggest(trial_id=trial)
        if isinstance(found, dict):
            self.running[trial] = found["number"]
            return int(found["number"])
        return found

    def complete(self, wanted: int, **given: Any) -> None:
        trial = next(t for t, i in self.running.items() if i == wanted)
        del self.running[trial]
        self.searcher.on_trial_complete(trial_id=trial, **given)


OK = {"status": "ok", "failure": "", "reason": ""}


def failure(reason: str, kind: str = "bug") -> dict[str, Any]:
    return {"status": "failed", "failure": kind, "reason": reason}


def number(node: Node) -> int:
    return int(node.recipe.params["number"])


def below(needs: Mapping[int, set[int]], failed: set[int]) -> set[int]:
    """Everything that needs a failed node, directly or not."""
    found = set(failed)
    for i in sorted(needs):
        if needs[i] & found:
            found.add(i)
    return found - failed


@st.composite
def graphs(draw: st.DrawFn) -> dict[int, set[int]]:
    size = draw(st.integers(1, 14))
    return {i: draw(st.sets(st.integers(0, i - 1), max_size=3)) if i else set() for i in range(size)}


@settings(max_examples=120, deadline=None)
@given(needs=graphs(), broken=st.sets(st.integers(0, 13), max_size=3), choice=st.randoms(), slots=st.integers(1, 4))
def test_any_graph_is_worked_off_in_order(
    needs: dict[int, set[int]], broken: set[int], choice: Any, slots: int
) -> None:
    """A node comes after its inputs, once; a failed one blocks exactly what depends on it; FINISHED at the end."""
    driver = Driver(graph_of(needs))
    failed: set[int] = set()
    while True:
        while len(driver.running) < slots:
            found = driver.suggest()
            if not isinstance(found, int):
                break
            assert needs[found] <= set(driver.done), "handed out before its inputs were done"
        if not driver.running:
            assert found == PlanSearcher.FINISHED
            break
        if len(driver.running) < slots:
            waits = set(needs) - set(driver.started) - set(driver.lost)
            assert found == (None if waits else PlanSearcher.FINISHED)
        ended = choice.choice(sorted(driver.running.values()))
        if ended in broken:
            failed.add(ended)
            driver.complete(ended, result=failure(f"node {ended} broke"))
        else:
            driver.complete(ended, result=OK)
    assert len(driver.started) == len(set(driver.started)), "a node was handed out twice"
    assert set(driver.calls) == set(needs) and set(driver.calls.values()) == {1}, "every node ends once"
    blocked = {i for i, (state, _) in driver.lost.items() if state == "blocked"}
    assert blocked == below(needs, failed)
    assert set(driver.lost) - blocked == failed
    assert set(driver.done) == set(needs) - failed - blocked
    assert driver.suggest() == PlanSearcher.FINISHED


def test_the_longest_remaining_path_goes_first() -> None:
    driver = Driver(graph_of({0: set(), 1: set(), 2: set(), 3: {1}}, {0: 5.0, 1: 50.0, 2: 7.0, 3: 40.0}))
    assert [driver.suggest() for _ in range(4)] == [1, 2, 0, None]
    driver.complete(1, result=OK)
    assert driver.suggest() == 3


def test_a_waiting_node_is_not_the_end() -> None:
    driver = Driver(graph_of({0: set(), 1: {0}}))
    assert driver.suggest() == 0
    assert driver.suggest() is None and driver.suggest() is None
    driver.complete(0, result=OK)
    assert driver.suggest() == 1
    assert driver.suggest() == PlanSearcher.FINISHED


def test_a_blocked_node_names_what_blocked_it() -> None:
    driver = Driver(graph_of({0: set(), 1: {0}, 2: {1}}))
    driver.suggest()
    driver.complete(0, result=failure("the loss became nan", "diverged"))
    assert driver.lost[0] == ("failed", "the loss became nan")
    assert driver.kinds == {0: "diverged", 1: "diverged", 2: "diverged"}, "what is blocked has the kind of its cause"
    state, reason = driver.lost[2]
    assert state == "blocked"
    assert reason.startswith("target/") and reason.endswith(" failed: the loss became nan")


@pytest.mark.parametrize(
    "given",
    [{"error": True}, {"result": None, "error": True}, {}, {"result": {}}],
    ids=["error", "no_result", "nothing", "empty"],
)
def test_a_process_that_died_is_a_failure_with_a_reason(given: dict[str, Any]) -> None:
    driver = Driver(graph_of({0: set()}))
    driver.suggest()
    driver.complete(0, **given)
    assert driver.lost == {0: ("failed", "the process died: it was killed, or its machine was lost")}
    assert driver.kinds == {0: "died"}


def test_a_trial_that_died_after_reporting_ok_is_a_failure() -> None:
    driver = Driver(graph_of({0: set()}))
    driver.suggest()
    driver.complete(0, result=OK, error=True)
    assert driver.lost[0][0] == "failed" and driver.done == []


def test_a_trial_is_completed_once() -> None:
    driver = Driver(graph_of({0: set(), 1: {0}}))
    driver.suggest()
    driver.complete(0, result=OK)
    driver.searcher.on_trial_complete(trial_id="trial1", result=None, error=True)
    driver.searcher.on_trial_complete(trial_id="never heard of", error=True)
    assert driver.done == [0] and driver.lost == {}


def test_called_as_tune_calls_it() -> None:
    searcher = Driver(graph_of({0: set()})).searcher
    assert searcher.set_search_properties(metric=None, mode=None, config={}) is True
    assert searcher.set_search_properties(None, None, {}, num_samples=3) is True
    searcher.on_trial_result(trial_id="trial1", result=OK)
    searcher.save(checkpoint_path="anywhere")


def test_a_sweep_is_never_resumed_from_ray_s_own_state() -> None:
    with pytest.raises(NotImplementedError, match="resumed by planning again"):
        Driver(graph_of({0: set()})).searcher.restore(checkpoint_path="anywhere")


def test_what_tune_pickles_of_it_holds_none_of_its_listeners() -> None:
    """Such as the stream of a notebook, or the lock of a caller, which cannot be pickled."""
    lock = threading.Lock()
    config_of = partial(lambda node, held: {}, held=lock)
    with pytest.raises(TypeError, match="cannot pickle"):
        cloudpickle.dumps(config_of)
    plan = graph_of({i: set() for i in range(200)})
    searcher = PlanSearcher(plan, config_of, on_done=lambda *args: None, on_lost=lambda *args: None)
    assert len(cloudpickle.dumps(searcher)) < 1_000


# --- stopping ---------------------------------------------------------------------------------------------------------


def test_after_a_stop_nothing_is_handed_out_and_what_runs_may_finish() -> None:
    driver = Driver(graph_of({0: set(), 1: set(), 2: {0}}))
    assert driver.suggest() in (0, 1)
    (runs,) = driver.running.values()
    driver.searcher.stop()
    assert driver.suggest() == PlanSearcher.FINISHED
    driver.complete(runs, result=OK)
    assert driver.done == [runs] and driver.lost == {}
    assert driver.suggest() == PlanSearcher.FINISHED


def test_a_node_that_was_stopped_before_it_began_is_neither_done_nor_failed() -> None:
    driver = Driver(graph_of({0: set(), 1: {0}}))
    assert driver.suggest() == 0
    driver.searcher.stop()
    driver.complete(0, result={"status": "stopped", "failure": "", "reason": ""})
    assert driver.done == [] and driver.lost == {}


def test_a_node_that_may_not_start_is_left_out_with_what_waits_for_it_and_the_others_go_on() -> None:
    driver = Driver(graph_of({0: set(), 1: set(), 2: {0}, 3: {1}}, {0: 9.0, 1: 5.0}))
    driver.barred = {0}
    assert driver.suggest() == 1
    assert driver.suggest() is None
    driver.complete(1, result=OK)
    assert driver.suggest() == 3
    assert driver.suggest() == PlanSearcher.FINISHED
    assert driver.lost == {} and set(driver.started) == {1, 3}, "the rest is for another run"


def test_a_node_that_failed_but_is_stored_is_done() -> None:
    """Another driver built it, or its process died after the last step."""
    driver = Driver(graph_of({0: set(), 1: {0}}))
    driver.stored = {0}
    driver.suggest()
    driver.complete(0, error=True)
    assert driver.done == [0] and driver.lost == {} and driver.suggest() == 1


def test_who_killed_a_process_gives_the_reason() -> None:
    driver = Driver(graph_of({0: set()}))
    driver.suggest()
    hung = Failure("hung", "it made no progress for 5 s on w1 and was ended")
    driver.searcher.explain(next(iter(driver.searcher.nodes)), hung)
    driver.complete(0, error=True)
    assert driver.lost == {0: ("failed", "it made no progress for 5 s on w1 and was ended")}
    assert driver.kinds == {0: "hung"}


def test_why_it_was_ended_and_what_it_said_are_both_told() -> None:
    """A training of several processes says that it lost one; who ended that one knows why."""
    driver = Driver(graph_of({0: set()}))
    driver.suggest()
    driver.searcher.explain(next(iter(driver.searcher.nodes)), Failure("hung", "it made no progress"))
    driver.complete(0, result=failure("worker 0 died"))
    assert driver.lost == {0: ("failed", "it made no progress; then: worker 0 died")}
    assert driver.kinds == {0: "hung"}


def test_a_node_that_worked_again_after_it_hung_says_why_it_failed() -> None:
    driver = Driver(graph_of({0: set()}))
    driver.suggest()
    key = next(iter(driver.searcher.nodes))
    driver.searcher.explain(key, Failure("hung", "it made no progress"))
    driver.searcher.works_again(key)
    driver.complete(0, result=failure("the loss became nan", "diverged"))
    assert driver.lost == {0: ("failed", "the loss became nan")} and driver.kinds == {0: "diverged"}


# --- a plan that grows ------------------------------------------------------------------------------------------------


def growing(plan: Plan, asked: Mapping[int, Sequence[Node]]) -> Driver:
    """A driver that asks for `asked[i]` when node i ended."""
    return Driver(plan, lambda i, reason: asked.get(i, ()))


@settings(max_examples=120, deadline=None)
@given(needs=graphs(), broken=st.sets(st.integers(0, 13), max_size=3), choice=st.randoms(), slots=st.integers(1, 4))
def test_a_graph_that_grows_is_worked_off_like_one_that_was_known(
    needs: dict[int, set[int]], broken: set[int], choice: Any, slots: int
) -> None:
    """The first node is known; whatever ends, built or not, brings the next few."""
    later = [node_of(i, needs[i]) for i in sorted(needs)[1:]]

    def grow(i: int, reason: str) -> Sequence[Node]:
        return [later.pop(0) for _ in range(min(len(later), choice.randint(1, 3)))]

    driver = Driver(graph_of({0: set()}), grow)
    while True:
        found: int | str | None = None
        while len(driver.running) < slots and isinstance(found := driver.suggest(), int):
            assert needs[found] <= set(driver.done), "handed out before its inputs were done"
        if not driver.running:
            break
        assert found != PlanSearcher.FINISHED, "what runs may ask for more"
        ended = choice.choice(sorted(driver.running.values()))
        driver.complete(ended, result=OK if ended not in broken else failure("it broke"))
    assert found == PlanSearcher.FINISHED and later == []
    assert len(driver.started) == len(set(driver.started)), "a node was handed out twice"
    assert set(driver.calls) == set(needs) and set(driver.calls.values()) == {1}, "every node ends once"
    failed = broken & set(driver.started)
    assert {i for i, (state, _) in driver.lost.items() if state == "blocked"} == below(needs, failed)
    assert set(driver.done) == set(needs) - failed - below(needs, failed)


def test_the_end_comes_when_nothing_runs_that_may_ask_for_more() -> None:
    driver = growing(graph_of({0: set()}), {0: [node_of(1)]})
    assert [driver.suggest(), driver.suggest()] == [0, None]
    driver.complete(0, result=OK)
    assert [driver.suggest(), driver.suggest()] == [1, None]
    driver.complete(1, result=OK)
    assert driver.suggest() == PlanSearcher.FINISHED


def test_a_plan_that_does_not_grow_ends_when_all_is_handed_out() -> None:
    driver = Driver(graph_of({0: set()}))
    assert [driver.suggest(), driver.suggest()] == [0, PlanSearcher.FINISHED]


def test_an_added_node_waits_for_what_runs_and_not_for_what_is_done() -> None:
    driver = growing(graph_of({0: set(), 1: set()}, {0: 2.0}), {0: [node_of(2, {0, 1}), node_of(3, {0})]})
    assert [driver.suggest(), driver.suggest()] == [0, 1]
    driver.complete(0, result=OK)
    assert [driver.suggest(), driver.suggest()] == [3, None]
    driver.complete(1, result=OK)
    assert [driver.suggest(), driver.suggest()] == [2, None]


def test_added_nodes_stand_among_the_others_by_urgency_and_by_what_remains() -> None:
    more = [node_of(5, remaining_s=7.0), node_of(6, remaining_s=1.0, urgent=True), node_of(7, {6}, 0.5, urgent=True)]
    driver = growing(graph_of({0: set(), 1: set(), 2: set()}, {0: 99.0, 1: 9.0, 2: 5.0}), {0: more})
    assert driver.suggest() == 0
    driver.complete(0, result=OK)
    assert driver.suggest() == 6
    driver.complete(6, result=OK)
    assert [driver.suggest() for _ in range(5)] == [7, 1, 5, 2, None]


def test_a_node_that_waited_moves_up_when_it_became_urgent() -> None:
    plan = graph_of({0: set(), 1: set(), 2: set()}, {0: 99.0, 1: 9.0, 2: 5.0})

    def grow(i: int, reason: str) -> Sequence[Node]:
        if i == 0:
            plan.nodes[recipe_of(2).key].urgent = True
        return ()

    driver = Driver(plan, grow)
    driver.suggest()
    driver.complete(0, result=OK)
    assert [driver.suggest(), driver.suggest()] == [2, 1]


def test_a_lost_node_is_asked_about_with_its_reason_and_so_is_what_it_blocked() -> None:
    said: list[tuple[int, str]] = []

    def grow(i: int, reason: str) -> Sequence[Node]:
        said.append((i, reason))
        return [node_of(2)] if i == 0 else []

    driver = Driver(graph_of({0: set(), 1: {0}}), grow)
    driver.suggest()
    driver.complete(0, result=failure("the loss became nan"))
    assert said == [(0, "the loss became nan"), (1, f"{recipe_of(0).key.short} failed: the loss became nan")]
    assert driver.suggest() == 2, "another try is made, with other parameters"


def test_what_needs_a_lost_node_is_lost_when_it_is_added() -> None:
    driver = growing(graph_of({0: set(), 1: set(), 9: {0}}), {1: [node_of(2, {0}), node_of(3, {2}), node_of(4, {9})]})
    driver.suggest(), driver.suggest()
    driver.complete(0, result=failure("the loss became nan"))
    driver.complete(1, result=OK)
    cause = ("blocked", f"{recipe_of(0).key.short} failed: the loss became nan")
    assert {i: driver.lost[i] for i in (9, 2, 3, 4)} == dict.fromkeys((9, 2, 3, 4), cause)
    assert driver.suggest() == PlanSearcher.FINISHED


def test_after_a_stop_nothing_is_added() -> None:
    driver = growing(graph_of({0: set()}), {0: [node_of(1)]})
    driver.suggest()
    driver.searcher.stop()
    assert driver.suggest() == PlanSearcher.FINISHED
    driver.complete(0, result=OK)
    assert driver.suggest() == PlanSearcher.FINISHED and driver.started == [0]


def test_what_needs_a_node_that_was_left_out_is_left_out() -> None:
    driver = growing(graph_of({0: set(), 1: set()}, {0: 9.0}), {1: [node_of(2, {0}), node_of(3, {2}), node_of(4)]})
    driver.barred = {0}
    assert driver.suggest() == 1
    driver.complete(1, result=OK)
    assert driver.suggest() == 4
    driver.complete(4, result=OK)
    assert driver.suggest() == PlanSearcher.FINISHED and driver.lost == {}


def test_what_is_withdrawn_is_left_out_unless_it_runs_or_something_waits_for_it() -> None:
    driver = growing(graph_of({0: set(), 1: set(), 2: set(), 3: {2}}, {0: 9.0}), {})
    assert driver.suggest() == 0
    keys = {i: recipe_of(i).key for i in range(4)}
    assert driver.searcher.withdraw([keys[0], keys[1], keys[2]]) == [keys[1]]
    driver.complete(0, result=OK)
    assert driver.suggest() == 2
    driver.complete(2, result=OK)
    assert driver.suggest() == 3
    driver.complete(3, result=OK)
    assert driver.suggest() == PlanSearcher.FINISHED and driver.started == [0, 2, 3]


def test_what_depends_on_a_node_starts_whatever_a_listener_makes_of_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tune logs an error of a listener and goes on; a node whose end could not be shown held back what needs it."""
    driver = Driver(graph_of({0: set(), 1: {0}}))
    assert driver.suggest() == 0

    def fail(node: Node, result: dict[str, Any]) -> None:
        raise KeyError("no word for it")

    monkeypatch.setattr(driver.searcher, "on_done", fail)
    with pytest.raises(KeyError):
        driver.complete(0, result=OK)
    assert driver.suggest() == 1


# --- a node that is tried again with other resources ------------------------------------------------------------------


def test_a_node_that_gets_more_is_handed_out_again_and_the_end_waits_for_it() -> None:
    plan, asked, lost, done = graph_of({0: set(), 1: {0}}), [], [], []

    def tries_again(node: Node, failure: Failure) -> bool:
        asked.append((number(node), failure.kind))
        return len(asked) == 1

    searcher = PlanSearcher(
        plan, lambda node: {"number": number(node)}, tries_again=tries_again,
        on_done=lambda node, result: done.append(number(node)),
        on_lost=lambda node, state, failure: lost.append((number(node), state)),
    )  # fmt: skip
    oom = {"status": "failed", "failure": "oom", "reason": "out of memory"}
    assert searcher.suggest("a") == {"number": 0} and searcher.suggest("x") is None
    searcher.on_trial_complete("a", oom)
    assert searcher.suggest("b") == {"number": 0}
    searcher.on_trial_complete("b", {"status": "ok"})
    assert searcher.suggest("c") == {"number": 1}
    assert searcher.suggest("x") is None, "it may come back"
    searcher.on_trial_complete("c", oom)
    assert searcher.suggest("x") == PlanSearcher.FINISHED
    assert (asked, done, lost) == ([(0, "oom"), (1, "oom")], [0], [(1, "failed")])
