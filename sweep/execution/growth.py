"""Growing plans: work that is requested while a plan runs."""

from __future__ import annotations

from collections.abc import Callable

from midef.core.failure import Failure
from midef.storage import Store
from midef.sweep.execution.cleanup import space_for
from midef.sweep.execution.outcome import Outcome
from midef.sweep.execution.progress import Progress
from midef.sweep.execution.result_rows import RowWriter
from midef.sweep.execution.searcher import PlanSearcher
from midef.sweep.planning.plan import Grow, More, Node, Plan, extend_plan, stored_meanwhile


class Growth:
    """Requests further work whenever a node ends, and adds it to the plan.

    Args:
        grow: answers what to build next; None where the plan does not grow.
        plan: gains what is requested, as do the searcher and the progress.
        store: what it holds is not built again.
        searcher: hands the nodes out.
        progress: counts them.
        rows: writes those of cells that need no work.
        outcome: of the run; nothing is added after a stop, nor asked after the machine failed.
        begin_nothing_more: called when `grow` raised.
    """

    def __init__(
        self,
        grow: Grow | None,
        *,
        plan: Plan,
        store: Store,
        searcher: PlanSearcher,
        progress: Progress,
        rows: RowWriter,
        outcome: Outcome,
        begin_nothing_more: Callable[[], None],
    ) -> None:
        self.grow = grow
        self.plan, self.store, self.searcher = plan, store, searcher
        self.progress, self.rows, self.outcome = progress, rows, outcome
        self.begin_nothing_more = begin_nothing_more
        self.error: Exception | None = None
        """What `grow` raised. It is kept: Tune would take it for a failure of the trial, and try that again."""

    def ask(self, node: Node, failure: Failure | None) -> None:
        """Request what to build now that a node ended."""
        if self.grow is None or self.error is not None or self.outcome.environment:
            return
        try:
            self._add(self.grow(node, failure))
        except Exception as error:  # noqa: BLE001  # raised again when what runs has finished
            self.error = error
            self.begin_nothing_more()
            running = len(self.progress.running)
            self.progress.say(
                f"no further node starts, {running} running nodes finish: {type(error).__name__}: {error}"
            )

    def _add(self, more: More) -> None:
        """Extend the plan. Rows of cells whose scores are stored, or failed in this run, are written at once."""
        unwritten = [planned for planned in more.cells if not self.rows.write_without_work(planned)]
        if self.outcome.stopped:
            return
        added = extend_plan(self.plan, More(more.recipes, unwritten), self.store)
        for planned in unwritten:
            failure = self.searcher.lost.get(planned.recipes.scores.key)
            if failure is not None:
                self.rows.write_lost([planned], failure)
        if added:
            self.store.artifacts.check_space(space_for(len(self.progress.waiting) + len(added)))
        self.progress.add(added)
        self.searcher.add(added)
        for key in self.searcher.withdraw(more.withdrawn):
            del self.plan.nodes[key]  # so that it is built if it is asked for again
            self.progress.drop([key])
        for node in stored_meanwhile(self.plan, more):
            self.ask(node, None)
