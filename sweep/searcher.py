"""Hands the ready nodes of a plan to Ray Tune, longest remaining path first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher
from typing_extensions import override

from midef.core.recipe import ArtifactKey
from sweep.plan import Node, Plan


class PlanSearcher(Searcher):  # type: ignore[misc]
    """One node is one trial. A failed node blocks what depends on it, with the cause; the rest goes on.

    on_done(node, result), on_lost(node, "failed" or "blocked", reason): once per node, in the driver's process.
    """

    def __init__(
        self,
        plan: Plan,
        config_of: Callable[[Node], dict[str, Any]],
        *,
        on_start: Callable[[Node], None] = lambda node: None,
        on_done: Callable[[Node, dict[str, Any]], None],
        on_lost: Callable[[Node, str, str], None],
    ) -> None:
        super().__init__()
        self.config_of = config_of
        self.on_start, self.on_done, self.on_lost = on_start, on_done, on_lost
        self.nodes = dict(plan.nodes)
        self.missing = {key: set(node.needs) for key, node in self.nodes.items()}
        self.dependants: dict[ArtifactKey, set[ArtifactKey]] = defaultdict(set)
        for key, needs in self.missing.items():
            for needed in needs:
                self.dependants[needed].add(key)
        self.waiting = set(self.nodes)
        self.running: dict[str, ArtifactKey] = {}

    @override
    def set_search_properties(self, metric: Any, mode: Any, config: Any, **spec: Any) -> bool:
        return True

    @override
    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The ready node with the longest remaining path; None while all wait; FINISHED at the end."""
        ready = [key for key in self.waiting if not self.missing[key]]
        if not ready:
            return None if self.waiting else str(Searcher.FINISHED)
        key = max(ready, key=lambda k: (self.nodes[k].remaining_s, k.digest))
        self.waiting.remove(key)
        self.running[trial_id] = key
        self.on_start(self.nodes[key])
        return self.config_of(self.nodes[key])

    @override
    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        key = self.running.pop(trial_id, None)
        if key is None:
            return
        if error or not result or result.get("status") != "ok":
            reason = (result or {}).get("reason") or "the process died (out of memory, or its machine was lost)"
            self._lose(key, str(reason))
            return
        self.on_done(self.nodes[key], result)
        for dependant in self.dependants[key]:
            self.missing[dependant].discard(key)

    def _lose(self, key: ArtifactKey, reason: str) -> None:
        """Mark a node failed and everything that waits for it blocked."""
        self.on_lost(self.nodes[key], "failed", reason)
        blocked = list(self.dependants[key])
        while blocked:
            other = blocked.pop()
            if other in self.waiting:
                self.waiting.remove(other)
                self.on_lost(self.nodes[other], "blocked", f"{key.short} failed: {reason}")
                blocked += self.dependants[other]

    @override
    def save(self, checkpoint_path: str) -> None:
        """Nothing to keep: planning again finds what is stored."""

    @override
    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a sweep is resumed by planning again, never from Ray's own state")
