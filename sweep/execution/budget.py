"""The budget of a run in GPU-hours."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from midef.sweep.execution.progress import Progress
from midef.sweep.planning.plan import Node


class Budget:
    """GPU-hours that were spent, and whether a node fits into what is left.

    Args:
        limit: GPU-hours; None for no limit.
        held_by: GPUs that a node holds while it runs.
        progress: knows how long nodes have run.
    """

    def __init__(self, limit: float | None, held_by: Callable[[Node], float], progress: Progress) -> None:
        self.limit = limit
        self.held_by = held_by
        self.progress = progress
        self.spent = 0.0

    def spend(self, node: Node, seconds: float) -> None:
        """A node ended after so many seconds."""
        self.spent += self.held_by(node) * seconds / 3600

    def allows(self, node: Node, handed_out: Iterable[Node]) -> bool:
        """Whether the node fits beside what was spent and what was handed out.

        A node that was never timed on a GPU counts for the seconds it has run; it starts while any budget is left.
        """
        if self.limit is None or self.held_by(node) == 0:
            return True
        promised = self.promised(handed_out)
        return promised < self.limit and promised + self._expected(node) <= self.limit

    def promised(self, handed_out: Iterable[Node]) -> float:
        """GPU-hours spent on what ended, and at least promised to what was handed out."""
        return self.spent + sum(
            max(self.progress.seconds_of(node) * self.held_by(node) / 3600, self._expected(node)) for node in handed_out
        )

    def _expected(self, node: Node) -> float:
        """GPU-hours the node is expected to take; 0 where it was never timed on a GPU."""
        timing = node.timing
        return self.held_by(node) * timing.expected / 3600 if timing is not None and timing.on_gpu else 0.0
