"""How many nodes Tune is handed: those that free resources take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from midef.core.recipe import ArtifactKey
from midef.sweep.planning.plan import Node

Needs: TypeAlias = tuple[tuple[str, float], ...]
"""Resources of a node, as Ray names them, sorted: nodes with equal ones are of one class."""


class Room:
    """Free resources of a Ray that has a fixed size, as the nodes that were handed out tell.

    Tune starts what waits in its queue in no particular order. What it is handed before resources are free may
    therefore start long after less urgent nodes, and a node that becomes ready later cannot overtake it. A process
    that ended its node is kept for the next one all the same: Tune keeps one while nothing waits.

    Args:
        resources_of: of a node, as Ray names them.
        has: resources of all machines.

    Source: Ray 2.60, `TuneController._resources_to_pending_trials`, which is a set, and `_ObjectCache`.
    """

    def __init__(self, resources_of: Callable[[Node], Mapping[str, float]], has: Mapping[str, float]) -> None:
        self._resources_of, self.has = resources_of, has
        self._known: dict[ArtifactKey, Needs] = {}

    def needs_of(self, node: Node) -> Needs:
        """The class of a node."""
        if node.key not in self._known:
            self._known[node.key] = tuple(sorted(self._resources_of(node).items()))
        return self._known[node.key]

    def forget(self, key: ArtifactKey) -> None:
        """The node of this artifact needs something else from now on."""
        self._known.pop(key, None)

    def takes(self, needs: Needs, handed_out: Mapping[Needs, int]) -> bool:
        """Whether one more node of this class may be handed out.

        One that no machine could ever run is handed out too, once: Tune says what is missing.

        Args:
            needs: of the node.
            handed_out: how many nodes of each class were, and have not ended.
        """
        if not _fits(needs, self.has):
            return not handed_out.get(needs)
        free = dict(self.has)
        for other, count in handed_out.items():
            if _fits(other, self.has):
                for name, amount in other:
                    free[name] -= count * amount
        return _fits(needs, free)


def _fits(needs: Needs, free: Mapping[str, float]) -> bool:
    """Whether the free resources suffice for a node."""
    return all(free.get(name, 0.0) >= amount - 1e-9 for name, amount in needs)
