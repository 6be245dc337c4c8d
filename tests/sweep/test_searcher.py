"""The searcher driven by hand, as Tune drives it: order, failures, the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midef.core import ArtifactKey, Recipe
from sweep.plan import Node, Plan
from sweep.searcher import PlanSearcher


def graph_of(needs: Mapping[int, set[int]], remaining_s: Mapping[int, float] | None = None) -> Plan:
    """A plan whose node i needs the nodes `needs[i]`, all smaller."""
    recipes: dict[int, Recipe] = {}
    nodes: dict[ArtifactKey, Node] = {}
    for i in sorted(needs):
        recipes[i] = Recipe("target", "made_up", {"number": i}, {str(j): recipes[j] for j in sorted(needs[i])})
        node = Node(recipes[i], frozenset(recipes[j].key for j in needs[i]))
        node.remaining_s = (remaining_s or {}).get(i, 1.0)
        nodes[node.key] = node
    return Plan(None, nodes, [], [], [], [])  # type: ignore[arg-type]


class Driver:
    """Keeps what the searcher told its listeners, and which trial carries which node."""

    def __init__(self, plan: Plan) -> None:
        self.started: list[int] = []
        self.barred: set[int] = set()
        self.stored: set[int] = set()
        self.done: list[int] = []
        self.lost: dict[int, tuple[str, str]] = {}
        self.calls: Counter[int] = Counter()
        self.running: dict[str, int] = {}
        self.searcher = PlanSearcher(
            plan,
            self._config,
            may_start=lambda node: number(node) not in self.barred,
            is_stored=lambda node: number(node) in self.stored,
            on_done=self._on_done,
            on_lost=self._on_lost,
        )
        self.trials = 0

    def _config(self, node: Node) -> dict[str, Any]:
        self.started.append(number(node))
        return {"number": number(node)}

    def _on_done(self, node: Node, result: dict[str, Any]) -> None:
        assert result["status"] == "ok"
        self.done.append(number(node))
        self.calls[number(node)] += 1

    def _on_lost(self, node: Node, state: str, reason: str) -> None:
        self.lost[number(node)] = (state, reason)
        self.calls[number(node)] += 1

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


OK = {"status": "ok", "reason": ""}


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
            driver.complete(ended, result={"status": "failed", "reason": f"node {ended} broke"})
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
    driver.complete(0, result={"status": "failed", "reason": "the loss became nan"})
    assert driver.lost[0] == ("failed", "the loss became nan")
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
    driver.complete(0, result={"status": "stopped", "reason": ""})
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
    driver.searcher.explain(next(iter(driver.searcher.nodes)), "it made no progress for 5 s on w1 and was ended")
    driver.complete(0, error=True)
    assert driver.lost == {0: ("failed", "it made no progress for 5 s on w1 and was ended")}


def test_why_it_was_ended_and_what_it_said_are_both_told() -> None:
    """A training of several processes says that it lost one; who ended that one knows why."""
    driver = Driver(graph_of({0: set()}))
    driver.suggest()
    driver.searcher.explain(next(iter(driver.searcher.nodes)), "it made no progress")
    driver.complete(0, result={"status": "failed", "reason": "worker 0 died"})
    assert driver.lost == {0: ("failed", "it made no progress; then: worker 0 died")}


def test_a_node_that_worked_again_after_it_hung_says_why_it_failed() -> None:
    driver = Driver(graph_of({0: set()}))
    driver.suggest()
    key = next(iter(driver.searcher.nodes))
    driver.searcher.explain(key, "it made no progress")
    driver.searcher.explain(key, "")
    driver.complete(0, result={"status": "failed", "reason": "the loss became nan"})
    assert driver.lost == {0: ("failed", "the loss became nan")}
