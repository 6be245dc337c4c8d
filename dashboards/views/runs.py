"""Every cell of the page: its state, where and how long it ran, why it failed, and how to run it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from midef.core.errors import FAILURE_KINDS
from midef.dashboards.views.attempts import Tries, tries_of
from midef.dashboards.views.base import Pieces, Shown, View
from midef.dashboards.views.sheet import Sheet, numbers, words
from midef.results.cells import Cause, CellRun, causes, cell_runs, retry_command

STATES = ("failed", "missing", "ok", "refused")
"""In the order of attention they need."""
MOST_NAMED = 20
"""Cells that one command names; more are named by their kind of failure."""


@dataclass(frozen=True, kw_only=True)
class RunsData:
    """Data of the view.

    Args:
        counts: cells of each state.
        sheet: one row per cell; those that failed first.
        causes: failures by cause.
        logs: end of the last log of a cell, by its short name.
        kinds: what each kind of failure means.
    """

    counts: tuple[tuple[str, int], ...]
    sheet: Sheet
    causes: Sheet
    logs: Mapping[str, str]
    kinds: tuple[tuple[str, str], ...]


def runs_data(shown: Shown) -> RunsData:
    """Cells with a result or a place in the plan."""
    runs = cell_runs(shown.rows, shown.planned)
    runs.sort(key=lambda run: STATES.index(run.state))  # stable: within a state as planned
    tries = tries_of(shown.stores, runs)
    counts = Counter(run.state for run in runs)
    grouped = causes(runs)
    stores = {plan.sweep: plan.store for plan in shown.plans}
    return RunsData(
        counts=tuple((state, counts[state]) for state in STATES if counts[state]),
        sheet=_sheet(runs, tries, stores, shown.store_name),
        causes=_causes(grouped, stores, shown.store_name),
        logs={run.short: tries[run.cell].log for run in runs if tries[run.cell].log},
        kinds=tuple((kind, FAILURE_KINDS[kind]) for kind in FAILURE_KINDS if any(c.failure == kind for c in grouped)),
    )


def _sheet(runs: Sequence[CellRun], tries: Mapping[str, Tries], stores: Mapping[str, str], store: str) -> Sheet:
    again = [
        retry_command(run.sweep, stores.get(run.sweep, store), run.cell) if run.state == "failed" else None
        for run in runs
    ]
    return Sheet(
        name="runs",
        caption="Cells",
        columns=(
            words("cell", "cell", (run.short for run in runs)),
            words("state", "state", (run.state for run in runs)),
            words("setup", "setup", (run.setup for run in runs)),
            words("defense", "defense", (run.defense for run in runs)),
            words("attack", "attack", (run.attack for run in runs)),
            numbers("seed", "seed", (run.seed for run in runs), 0),
            words("stage", "stage", (run.stage or None for run in runs)),
            words("failure", "kind", (run.failure or None for run in runs)),
            words("reason", "reason", (_reason(run) or None for run in runs), long=True),
            words("node", "node", (tries[run.cell].host or None for run in runs)),
            words("started", "started", (tries[run.cell].started or None for run in runs)),
            numbers("seconds", "seconds", (tries[run.cell].seconds for run in runs), 0),
            numbers("attack_s", "attack s", (run.attack_s for run in runs), 0),
            numbers("retries", "retries", (tries[run.cell].retries for run in runs), 0),
            words("device", "device", (run.device or None for run in runs)),
            words("code", "code", (run.code or None for run in runs)),
            words("retry", "to run it again", again, code=True),
        ),
    )


def _reason(run: CellRun) -> str:
    lost = f" (metrics: {', '.join(run.metrics)})" if run.metrics else ""
    return run.reason + lost


def _causes(grouped: Sequence[Cause], stores: Mapping[str, str], store: str) -> Sheet:
    return Sheet(
        name="causes",
        caption="Failures by cause",
        columns=(
            numbers("cells", "cells", (len(cause.cells) for cause in grouped), 0),
            words("failure", "kind", (cause.failure or None for cause in grouped)),
            words("example", "for example", (cause.example for cause in grouped), long=True),
            words("setups", "setups", (", ".join(cause.setups) for cause in grouped), long=True),
            words("defenses", "defenses", (", ".join(cause.defenses) for cause in grouped), long=True),
            words(
                "retry",
                "to run them again",
                (_retry(cause, stores.get(cause.sweep, store)) for cause in grouped),
                code=True,
            ),
        ),
    )


def _retry(cause: Cause, store: str) -> str:
    """Cells one by one; many of one kind by their kind."""
    if len(cause.cells) > MOST_NAMED and cause.failure:
        return f"{retry_command(cause.sweep, store)} --filter error={cause.failure}"
    return retry_command(cause.sweep, store, *cause.cells)


def pieces(shown: Shown) -> Pieces:
    """One piece."""
    yield "runs", runs_data(shown)


VIEW = View(name="runs", title="Runs and failures", pieces=pieces)
