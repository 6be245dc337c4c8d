"""Driver's reactions to events of nodes: started, built, failed, blocked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ray.tune import Callback
from typing_extensions import override

from midef.core.errors import PreflightError, StoreError
from midef.core.failure import Failure
from midef.core.recipe import ArtifactKey
from midef.storage import Store
from midef.storage.logs import end_log
from midef.sweep.execution.budget import Budget
from midef.sweep.execution.growth import Growth
from midef.sweep.execution.hang_watch import HangWatch
from midef.sweep.execution.outcome import Outcome, RunOptions
from midef.sweep.execution.progress import Progress
from midef.sweep.execution.ray_start import RAY_DIED, ray_lives
from midef.sweep.execution.result_rows import RowWriter
from midef.sweep.execution.room import Room
from midef.sweep.execution.run_record import DRIVER_EVERY_S, DriverReport, RunRecord
from midef.sweep.execution.searcher import Lost, PlanSearcher
from midef.sweep.planning.gpu_shares import GpuShares
from midef.sweep.planning.plan import Grow, Node, Plan

if TYPE_CHECKING:
    from collections.abc import Callable


class Listener:
    """Receives every event of a node and updates progress, budget, rows and plan.

    Args:
        plan: what is built.
        store: where.
        options: of the run.
        outcome: of the run, updated here.
        progress: counts nodes and prints the line.
        budget: of the run, updated here.
        record: of this run, in the store.
        config_of: configuration of the trial that builds a node.
        grow: answers what to build next; None where the plan does not grow.
        room: whether Ray can take a node now; None where it may get more machines, which it does for what waits.
        shares: of a GPU that nodes hold.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        options: RunOptions,
        outcome: Outcome,
        *,
        progress: Progress,
        budget: Budget,
        record: RunRecord,
        config_of: Callable[[Node], dict[str, Any]],
        grow: Grow | None,
        room: Room | None,
        shares: GpuShares,
    ) -> None:
        self.plan, self.store, self.outcome = plan, store, outcome
        self.progress, self.budget, self.record, self.shares = progress, budget, record, shares
        self.report = DriverReport(record, plan, progress, address=options.address)
        # what grows a plan may read the rows of what ended
        beside = store.location.local is None and grow is None
        self.rows = RowWriter(plan.sweep.name, store, outcome, beside=beside)
        self.hang_watch = HangWatch(record, hang_s=options.hang_s)
        self.searcher = PlanSearcher(
            plan,
            config_of,
            may_start=self.may_start,
            is_stored=lambda node: store.artifacts.has(node.key),
            on_done=self.on_done,
            on_lost=self.on_lost,
            grows=grow is not None,
            room=room,
            tries_again=self.tries_again if shares.peaks else None,
        )
        self.growth = Growth(
            grow, plan=plan, store=store, searcher=self.searcher, progress=progress, rows=self.rows, outcome=outcome,
            begin_nothing_more=self.begin_nothing_more,
        )  # fmt: skip
        self._written = time.monotonic()

    def may_start(self, node: Node) -> bool:
        """Whether the node fits into the budget; the first that does not is reported."""
        handed_out = [self.plan.nodes[key] for key in self.searcher.running.values()]
        if self.budget.allows(node, handed_out):
            return True
        if not self.outcome.stopped:
            self.outcome.stopped = "budget reached"
            spent = self.budget.promised(handed_out)
            self.progress.say(f"budget reached: {spent:.2f} of {self.budget.limit:g} GPU-hours are spent or promised")
        return False

    def tries_again(self, node: Node, failure: Failure) -> bool:
        """Give a node whose memory ran out at a measured share a whole GPU; whether it was given one."""
        seconds = self.progress.seconds_of(node)
        if failure.kind != "oom" or not ray_lives() or not self.shares.is_measured(node.recipe):
            return False
        self.budget.spend(node, seconds)  # at the share it held
        self.progress.waits_again(node)
        self.progress.say(f"{node.key.short} ran out of memory on a part of a GPU and gets a whole one")
        return self.shares.give_whole(node.recipe)

    def on_done(self, node: Node, result: dict[str, Any]) -> None:
        """A node is built: write the rows it completes, and request what comes next."""
        self.progress.done(node, result.get("seconds"))
        for warning in result.get("warnings") or ():
            self.progress.say(f"warning: {warning}")
        self.outcome.built += 1
        self.budget.spend(node, float(result.get("seconds") or 0.0))
        self.rows.write_measured(node.cells)
        self.growth.ask(node, None)

    def on_lost(self, node: Node, state: Lost, failure: Failure) -> None:
        """A node failed, or is blocked by one that failed.

        Where the machine failed and not the cell, nothing is recorded: the next run tries again.
        """
        self.budget.spend(node, self.progress.seconds_of(node))
        if state == "failed" and not ray_lives():
            self.outcome.environment = self.outcome.environment or [RAY_DIED]
        self.progress.lost(node, state, failure.message)
        if failure.kind == "store" or self.outcome.environment:
            self.outcome.environment = self.outcome.environment or [failure.message]
            return
        if state == "failed":
            end_log(self.store.location, node.key, failure.message, since=self.report.since)
            self.outcome.count_failed(failure)
        else:
            self.outcome.blocked += 1
        self.rows.write_lost(node.cells, failure)
        self.growth.ask(node, failure)

    def on_start(self, key: ArtifactKey) -> None:
        """A node begins, or begins again."""
        self.progress.started(self.plan.nodes[key])

    def on_step(self) -> None:
        """Tune calls this many times a second.

        Raises:
            PreflightError: if Ray lost the machine of this driver: it begins nothing more, and Tune waits for ever.
        """
        self.progress.tick()
        now = time.monotonic()
        if now - self._written > DRIVER_EVERY_S:
            self._written = now
            self.report.write("stopping" if self.outcome.stopped else "running", self.budget.spent)
            if not ray_lives():
                raise PreflightError(RAY_DIED)
        self.hang_watch.look(self.searcher, self.progress)

    def stop(self, why: str) -> None:
        """Begin nothing more; what runs finishes."""
        if self.outcome.stopped:
            return
        self.outcome.stopped = why
        self.begin_nothing_more()
        again = "; interrupt again to end them too" if why == "interrupted" else ""
        self.progress.say(f"{why}: {len(self.progress.running)} running nodes finish, no further node starts{again}")

    def begin_nothing_more(self) -> None:
        """What was handed out and has not begun does not begin either."""
        self.searcher.stop()
        self.progress.end_soon()
        with suppress(StoreError):
            self.record.ask_to_stop()


class Ticker(Callback):  # type: ignore[misc]
    """Tune's callback that tells the listener of every start and every step.

    Tune hands over all trials at every step; to look through them would make a run quadratic in its nodes.
    """

    def __init__(self, listener: Listener) -> None:
        self.listener = listener

    @override
    def on_trial_start(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        self.listener.on_start(ArtifactKey.parse(trial.config["node"]))

    @override
    def on_step_end(self, iteration: int, trials: Sequence[Any], **info: Any) -> None:
        self.listener.on_step()

    @override
    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks and never reads them back. What the listener holds may not be picklable."""
        return {}
