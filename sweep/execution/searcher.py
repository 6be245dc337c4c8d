"""Hands the ready nodes of a plan to Ray Tune: urgent ones first, then the longest remaining path."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from heapq import heappop, heappush
from typing import Any, Literal, TypeAlias

from ray.tune.search import Searcher
from typing_extensions import override

from midef.core.failure import Failure
from midef.core.recipe import ArtifactKey
from midef.sweep.execution.room import Needs, Room
from midef.sweep.execution.run_record import STOPPED
from midef.sweep.planning.plan import Node, Plan

Lost = Literal["failed", "blocked"]
Place: TypeAlias = tuple[bool, float, str, ArtifactKey]
"""Sort key of a ready node: urgent ones first, then the longest path of work behind it."""


class PlanSearcher(Searcher):  # type: ignore[misc]
    """One node is one trial. A failed node blocks what depends on it, with the cause; the rest goes on.

    Args:
        plan: its nodes are handed out.
        config_of: configuration of the trial that builds a node.
        may_start: asked before a node is handed out; what may not is left out, with all that waits for it.
        is_stored: whether the artifact of a node that failed is there all the same: somebody else built it, or its
            process died after the last step.
        on_done: called once for each node that is built, in the driver's process, with what it reported; may `add`
            nodes to a plan that grows.
        on_lost: likewise for each node that failed, or that is blocked by one that failed.
        grows: whether what runs may add nodes, so that the end is not before all of it ended.
        room: whether Ray can take a node now; None hands out whatever is ready.
        tries_again: asked after a node failed whether it is handed out once more, with other resources; None never is.
    """

    def __init__(
        self,
        plan: Plan,
        config_of: Callable[[Node], dict[str, Any]],
        *,
        may_start: Callable[[Node], bool] = lambda node: True,
        is_stored: Callable[[Node], bool] = lambda node: False,
        on_done: Callable[[Node, dict[str, Any]], None],
        on_lost: Callable[[Node, Lost, Failure], None],
        grows: bool = False,
        room: Room | None = None,
        tries_again: Callable[[Node, Failure], bool] | None = None,
    ) -> None:
        super().__init__()
        self.config_of, self.room = config_of, room
        self.may_start, self.is_stored, self.on_done, self.on_lost = may_start, is_stored, on_done, on_lost
        self.grows, self.tries_again = grows, tries_again
        self.nodes = dict(plan.nodes)
        self.missing = {key: set(node.needs) for key, node in self.nodes.items()}
        self.dependants: dict[ArtifactKey, set[ArtifactKey]] = defaultdict(set)
        for key, needs in self.missing.items():
            for needed in needs:
                self.dependants[needed].add(key)
        self.waiting = set(self.nodes)
        self.running: dict[str, ArtifactKey] = {}
        self.done: set[ArtifactKey] = set()
        self.lost: dict[ArtifactKey, Failure] = {}
        self.explained: dict[ArtifactKey, Failure] = {}
        self._stopped = False
        self._handed_out: Counter[Needs] = Counter()  # a look through all that run at every node would be quadratic
        self._ready: dict[Needs, list[Place]] = defaultdict(list)
        for node in self.nodes.values():
            if not node.needs:
                self._make_ready(node)

    def _make_ready(self, node: Node) -> None:
        """Nothing the node waits for is missing; the smallest of the heap of its class goes first."""
        place = (not node.urgent, -node.remaining_s, node.key.digest, node.key)
        heappush(self._ready[self._needs_of(node)], place)

    def _needs_of(self, node: Node) -> Needs:
        """Class of the node; without limits of resources all nodes are of one."""
        return self.room.needs_of(node) if self.room else ()

    def _first_ready(self) -> ArtifactKey | None:
        """The ready node that goes first among those that Ray can take; it is left in its heap."""
        for heap in self._ready.values():
            while heap and heap[0][-1] not in self.waiting:  # left out, or withdrawn
                heappop(heap)
        firsts = [
            heap[0]
            for needs, heap in self._ready.items()
            if heap and (not self.room or self.room.takes(needs, self._handed_out))
        ]
        return min(firsts)[-1] if firsts else None

    def stop(self) -> None:
        """Hand out nothing more; what runs ends in its own time, and nothing can be added."""
        self._stopped = True
        self.waiting.clear()

    def add(self, nodes: Sequence[Node]) -> None:
        """Nodes the plan did not have, inputs first; those it had may have become urgent, or have more to come.

        A node that needs a lost one is lost at once. One that needs what was left out is left out, too.
        """
        if self._stopped:
            return
        reachable = self.waiting.union(self.running.values())
        blocked = []
        for node in nodes:
            missing = set(node.needs) - self.done
            self.nodes[node.key] = node
            cause = next((self.lost[key] for key in sorted(missing) if key in self.lost), None)
            if cause is not None:
                self.lost[node.key] = cause
                blocked.append(node)
            elif missing <= reachable:
                self.missing[node.key] = missing
                for needed in missing:
                    self.dependants[needed].add(node.key)
                self.waiting.add(node.key)
                reachable.add(node.key)
                if not missing:
                    self._make_ready(node)
        ready = {key for heap in self._ready.values() for *_, key in heap} & self.waiting
        self._ready.clear()
        for key in ready:
            self._make_ready(self.nodes[key])
        for node in blocked:
            self.on_lost(node, "blocked", self.lost[node.key])

    def withdraw(self, keys: Sequence[ArtifactKey]) -> list[ArtifactKey]:
        """Leave out what has not been handed out and nothing else waits for; returns what was."""
        withdrawn = [key for key in keys if key in self.waiting and not self.dependants[key] & self.waiting]
        self.waiting.difference_update(withdrawn)
        return withdrawn

    def explain(self, key: ArtifactKey, failure: Failure) -> None:
        """Record why the driver ends the process of this node."""
        self.explained[key] = failure

    def works_again(self, key: ArtifactKey) -> None:
        """Forget that record: the node was tried again and makes progress."""
        self.explained.pop(key, None)

    @override
    def set_search_properties(self, metric: Any, mode: Any, config: Any, **spec: Any) -> bool:
        return True

    @override
    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The ready node that goes first; None while all wait, or what runs may add some; FINISHED at the end."""
        while (first := self._first_ready()) is not None and not self.may_start(self.nodes[first]):
            self._leave_out(first)
        may_get_more = (self.grows or self.tries_again is not None) and self.running and not self._stopped
        if not self.waiting and not may_get_more:
            return str(Searcher.FINISHED)
        if first is None:
            return None
        self.waiting.remove(first)
        self.running[trial_id] = first
        self._handed_out[self._needs_of(self.nodes[first])] += 1
        return self.config_of(self.nodes[first])

    @override
    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        key = self.running.pop(trial_id, None)
        if key is None:
            return
        self._handed_out[self._needs_of(self.nodes[key])] -= 1
        if result and result.get("status") == STOPPED and not error:
            return  # never begun: as if it had not been handed out
        if error or not result or result.get("status") != "ok":
            failure = self._failure(key, {} if error else result or {})
            if not self.is_stored(self.nodes[key]):
                if not self._hand_out_again(key, failure):
                    self._lose(key, failure)
                return
            result = {"status": "ok", "warnings": [f"{key.short} is stored although: {failure.message}"]}
        self.done.add(key)
        # before anybody hears of it: Tune logs what a listener raises and goes on, and so must what needs the node
        for dependant in self.dependants[key]:
            self.missing[dependant].discard(key)
            if not self.missing[dependant] and dependant in self.waiting:
                self._make_ready(self.nodes[dependant])
        self.on_done(self.nodes[key], result)

    def _hand_out_again(self, key: ArtifactKey, failure: Failure) -> bool:
        """Put a node that failed back among the ready ones, if it gets other resources; whether it was."""
        if self._stopped or self.tries_again is None or not self.tries_again(self.nodes[key], failure):
            return False
        if self.room is not None:
            self.room.forget(key)
        self.waiting.add(key)
        self._make_ready(self.nodes[key])
        return True

    def _failure(self, key: ArtifactKey, result: dict[str, Any]) -> Failure:
        """Failure of a node: why the driver ended its process, and what it reported itself."""
        explained = self.explained.get(key)
        if not result.get("failure"):
            return explained or Failure("died", "the process died: it was killed, or its machine was lost")
        reported = Failure(result["failure"], result["reason"])
        if explained is None:
            return reported
        return replace(explained, message=f"{explained.message}; then: {reported.message}")

    def _leave_out(self, key: ArtifactKey) -> None:
        """A node that may not start, and all that waits for it: for another run."""
        below = [key]
        while below:
            other = below.pop()
            if other in self.waiting:
                self.waiting.remove(other)
                below += self.dependants[other]

    def _lose(self, key: ArtifactKey, failure: Failure) -> None:
        """Mark a node failed and everything that waits for it blocked."""
        self.lost[key] = replace(failure, message=f"{key.short} failed: {failure.message}")
        self.on_lost(self.nodes[key], "failed", failure)
        blocked = list(self.dependants[key])
        while blocked:
            other = blocked.pop()
            if other in self.waiting:
                self.waiting.remove(other)
                self.lost[other] = self.lost[key]
                self.on_lost(self.nodes[other], "blocked", self.lost[key])
                blocked += self.dependants[other]

    @override
    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher and never reads it back. What its listeners hold may be large, or not picklable."""
        return {}

    @override
    def save(self, checkpoint_path: str) -> None:
        """Nothing to keep: planning again finds what is stored."""

    @override
    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a sweep is resumed by planning again, never from Ray's own state")
