"""Status of the sweeps in a store, during a run and after it. Reads the store only: no Ray."""

from __future__ import annotations

import json
import shlex
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from midef.core.failure import cause_of
from midef.core.match import MatchReport
from midef.core.text import counted, duration, time_left
from midef.results.cells import retry_command
from midef.storage import Store
from midef.storage.addresses import StoredSweep, choose_sweep, stored_sweeps
from midef.storage.cell_state import CellState
from midef.storage.matches import read_matches
from midef.sweep.execution.run_record import DriverState, drivers

_SHOWN = 5
"""Causes of failure and running nodes that are listed."""


@dataclass(frozen=True)
class Cause:
    """Failures of one cause.

    Args:
        cells: how many.
        example: one of the reasons.
        setups: ids of their setups.
        failure: kind of failure; "" of rows that an older midef wrote.
    """

    cells: int
    example: str
    setups: tuple[str, ...]
    failure: str = ""


@dataclass(frozen=True)
class SweepStatus:
    """One sweep of the store.

    Args:
        cells: how many are ok, failed, refused, or missing.
        driver: of its latest run, None after it ended well.
        is_matched: its strengths were searched, so `midef match` runs it.
        replaced_by: digest of the sweep that has its name now, "" while it has it.
    """

    name: str
    digest: str
    cells: Mapping[str, int]
    causes: tuple[Cause, ...]
    driver: DriverState | None
    is_matched: bool = False
    replaced_by: str = ""


@dataclass(frozen=True)
class MatchStatus:
    """A matched sweep.

    Args:
        states: searches by what is known of them.
        driver: as of a sweep.
    """

    name: str
    digest: str
    states: Mapping[str, int]
    trainings: int
    driver: DriverState | None


@dataclass(frozen=True)
class Status:
    """Status of a store.

    Args:
        artifacts: stored ones by kind.
        sweeps, matches: latest first.
        others: drivers at work on what is in neither, as on the front of one defense.
    """

    store: str
    cells: int
    artifacts: Mapping[str, int]
    sweeps: tuple[SweepStatus, ...]
    matches: tuple[MatchStatus, ...] = ()
    others: tuple[DriverState, ...] = ()

    @property
    def is_at_work(self) -> bool:
        """Whether a driver is alive."""
        drivers = [*(s.driver for s in self.sweeps), *(m.driver for m in self.matches)]
        return any(driver is not None and driver.is_alive for driver in (*drivers, *self.others))

    def as_plain(self) -> dict[str, Any]:
        """JSON data."""
        return asdict(self)


def read_status(store: Store, address: str | None = None) -> Status:
    """Everything the store knows about its sweeps.

    Args:
        store: to read.
        address: name, `name@digest` or digest of the only sweep to tell of; None for all.

    Raises:
        StoreError: if it cannot be read.
        SpecError: if it has no such sweep, or several.
    """
    states = store.results.states()
    last: dict[str, DriverState] = {}
    for driver in drivers(store):
        last.setdefault(driver.digest, driver)
    sweeps, missing = [], CellState("missing")
    plans, reports = _chosen(stored_sweeps(store), read_matches(store), address)
    for plan in plans:
        digest, manifest = plan.digest, plan.manifest
        counts: Counter[str] = Counter()
        failed: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
        for cell, setup in zip(manifest.column("cell"), manifest.column("setup"), strict=True):
            state = states.get(str(cell), missing)
            counts[state.status] += 1
            if state.status == "failed":
                failed[cause_of(state.failure, state.reason)].append((str(setup), state.reason))
        causes = [
            Cause(len(cells), cells[0][1], tuple(sorted({setup for setup, _ in cells})), kind)
            for (kind, _), cells in failed.items()
        ]
        causes.sort(key=lambda cause: (-cause.cells, cause.example))
        spec = json.loads(manifest.spec_json)
        is_matched = bool(spec.get("match") or spec.get("front"))
        of_driver = last.get(digest)
        sweeps.append(
            SweepStatus(plan.name, digest, dict(counts), tuple(causes), of_driver, is_matched, plan.replaced_by)
        )
    kinds = Counter(key.kind for key in store.artifacts.keys())  # noqa: SIM118  # a method, not a mapping
    matches = _matches(reports, last)
    shown = [*(s.driver for s in sweeps), *(m.driver for m in matches)]
    names = {*(plan.name for plan in plans), *(report.sweep for report in reports)}
    others = tuple(
        state
        for state in last.values()
        if state.is_alive and state not in shown and (address is None or state.sweep in names)
    )
    artifacts = dict(sorted(kinds.items()))
    return Status(store.location.shown, len(states), artifacts, tuple(sweeps), tuple(matches), others)


def _chosen(
    plans: Sequence[StoredSweep], reports: Sequence[MatchReport], address: str | None
) -> tuple[Sequence[StoredSweep], Sequence[MatchReport]]:
    """The plan at an address and the reports of its name; all of both where none is given."""
    if address is None:
        return plans, reports
    of_name = [report for report in reports if report.sweep == address]
    if of_name and all(plan.name != address for plan in plans):
        return [], of_name  # its strengths are searched, nothing is attacked yet
    chosen = choose_sweep(plans, address)
    return [chosen], [report for report in reports if report.sweep == chosen.name]


def _matches(reports: Sequence[MatchReport], last: Mapping[str, DriverState]) -> list[MatchStatus]:
    """Status of matched sweeps."""
    matches = []
    for report in reports:
        trainings = {t.target_key for outcome in report.outcomes for t in outcome.trainings}
        states: Counter[str] = Counter(outcome.state for outcome in report.outcomes)
        driver = last.get(report.driver)
        matches.append(MatchStatus(report.sweep, report.digest, dict(states), len(trainings), driver))
    return matches


def status_text(status: Status) -> str:
    """One screen."""
    artifacts = ", ".join(f"{count} {kind}" for kind, count in status.artifacts.items()) or "no artifacts"
    lines = [f"store {status.store}: {counted(status.cells, 'cell')}, {artifacts}"]
    for match in status.matches:
        lines += _match_lines(match)
    for other in status.others:
        lines += [f"{other.digest[:10]}  {other.sweep}", *(f"  {line}" for line in _driver_lines(other))]
    for sweep in status.sweeps:
        counts = ", ".join(f"{count} {state}" for state, count in sorted(sweep.cells.items()))
        old = f" (replaced by {sweep.replaced_by[:10]}, and still {sweep.name}@{sweep.digest[:10]})"
        lines.append(f"{sweep.digest[:10]}  {sweep.name}{old if sweep.replaced_by else ''}: {counts}")
        lines += [f"  {line}" for line in _driver_lines(sweep.driver)]
        for cause in sweep.causes[:_SHOWN]:
            setups = ", ".join(cause.setups[:_SHOWN]) + (", ..." if len(cause.setups) > _SHOWN else "")
            kind = f", {cause.failure}" if cause.failure else ""
            lines.append(f"  failed: {counted(cause.cells, 'cell')} ({setups}){kind}: {cause.example}")
        if len(sweep.causes) > _SHOWN:
            rest = sweep.causes[_SHOWN:]
            lines.append(
                f"  failed: {counted(sum(c.cells for c in rest), 'cell')} of {counted(len(rest), 'other cause')}"
            )
        if sweep.causes:
            lines += [f"  next: {command}" for command in again(sweep, status.store)]
        elif sweep.cells.get("missing") and not (sweep.driver and sweep.driver.is_alive):
            lines.append("  next: the command that started it, which goes on from here")
    return "\n".join(lines)


def again(sweep: SweepStatus, store: str) -> list[str]:
    """Commands that run what failed again, to be pasted: all of it, then each kind where there are several.

    Args:
        sweep: with failed cells.
        store: its place.
    """
    address = f"{sweep.name}@{sweep.digest[:10]}"
    if sweep.is_matched:
        return [shlex.join(["midef", "match", address, "--store", store, "--retry-failed"])]
    kinds = sorted({cause.failure for cause in sweep.causes if cause.failure})
    whole = retry_command(address, store)
    return [whole, *(f"{whole} --filter error={kind}" for kind in kinds if len(kinds) > 1)]


def _match_lines(match: MatchStatus) -> list[str]:
    states = ", ".join(f"{count} {state}" for state, count in sorted(match.states.items()))
    head = f"{match.digest[:10]}  {match.name}, matched: {states}; {counted(match.trainings, 'training')}"
    return [head, *(f"  {line}" for line in _driver_lines(match.driver))]


def _driver_lines(driver: DriverState | None) -> list[str]:
    if driver is None:
        return []
    counts = "  ".join(f"{word} {driver.counts.get(word, 0)}" for word in ("done", "running", "waiting", "failed"))
    silent = duration(max(0.0, time.time() - driver.at))
    took = duration(driver.at - driver.since)
    spent = f"  {driver.gpu_hours:.2f} GPU-hours" if driver.gpu_hours else ""
    if driver.is_alive:
        eta = time_left(driver.eta_s, is_about=driver.eta_is_about, is_least=driver.eta_is_least)
        head = f"{driver.state} on {driver.host} for {took}  {counts}  ETA {eta}{spent}"
        at_work = [f"  at work: {what} ({duration(seconds)})" for what, seconds in driver.running[:_SHOWN]]
        if len(driver.running) > _SHOWN:
            at_work.append(f"  and {len(driver.running) - _SHOWN} more")
        last = [f"  last: {driver.last}"] if driver.last else []
        return [head, *at_work, *last]
    if driver.state in ("running", "stopping"):
        return [f"its driver on {driver.host} was last heard {silent} ago, after {took}: it is gone; {counts}{spent}"]
    return [f"{driver.state} on {driver.host} after {took}, {silent} ago; {counts}{spent}"]
