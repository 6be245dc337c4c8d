"""Every planned cell: what became of it, what it took, and how its failure is grouped and retried."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from midef.core.failure import cause_of
from midef.core.rows import ResultRow
from midef.results.runs import worst_state

SHORT = 10
"""Digits that name a cell in commands."""
_PIECE = re.compile(r"\b([a-z]+)/([0-9a-f]{10})\b")
Planned: TypeAlias = Mapping[str, str | int | float | None]


@dataclass(frozen=True, kw_only=True)
class CellRun:
    """One cell of a sweep.

    Args:
        cell: digest.
        state: `ok`, `failed`, `refused` or `missing`.
        stage: kind of the artifact that failed, `metric` where only metrics did, "" of any other state.
        metrics: those that failed, where others were measured.
        failure: kind of failure.
        reason: of any other state than `ok`.
        cause: equal for failures of one cause, "" of what did not fail.
        attack_s: seconds of the attack.
        device: that it ran on.
        code: version that attacked.
        target, reconstructions, scores: keys of what it stored.
    """

    sweep: str
    profile: str
    cell: str
    setup: str
    defense: str
    attack: str
    seed: int | None
    state: str
    stage: str = ""
    metrics: tuple[str, ...] = ()
    failure: str = ""
    reason: str = ""
    cause: str = ""
    attack_s: float | None = None
    device: str = ""
    code: str = ""
    target: str = ""
    reconstructions: str = ""
    scores: str = ""

    @property
    def short(self) -> str:
        """The cell as commands take it."""
        return self.cell[:SHORT]


@dataclass(frozen=True)
class Cause:
    """Failures of one cause in one sweep.

    Args:
        sweep: its name.
        failure: their kind.
        example: one of the reasons.
        cells: digests.
        setups: ids, sorted.
        defenses: labels, sorted.
    """

    sweep: str
    failure: str
    example: str
    cells: tuple[str, ...]
    setups: tuple[str, ...]
    defenses: tuple[str, ...]


def cell_runs(rows: Iterable[ResultRow], planned: Sequence[Planned] = ()) -> list[CellRun]:
    """All cells with a result or a place in a plan, in the order of the plans; of one in two sweeps, both.

    Args:
        rows: measured rows.
        planned: cells of manifests, each with the name of its `sweep`.
    """
    by_cell: dict[tuple[str, str], list[ResultRow]] = {}
    for row in rows:
        if row.origin == "measured":
            by_cell.setdefault((row.sweep, row.cell), []).append(row)
    plans = {(str(cell.get("sweep") or ""), str(cell["cell"])): cell for cell in planned}
    return [
        _stored(by_cell[name]) if name in by_cell else _missing(plans[name])
        for name in [*plans, *(name for name in by_cell if name not in plans)]
    ]


def _stored(rows: Sequence[ResultRow]) -> CellRun:
    state = worst_state(rows)
    first = next(row for row in rows if row.status == state)
    about = next((row for row in rows if row.reconstructions_key), first)
    failed = [row.metric for row in rows if row.status == "failed"]
    was_measured = any(row.status == "ok" for row in rows)
    piece = _PIECE.search(first.reason)
    stage = "" if state != "failed" else piece[1] if piece else "metric" if was_measured else ""
    return CellRun(
        sweep=first.sweep,
        profile=first.profile,
        cell=first.cell,
        setup=first.setup,
        defense=first.defense,
        attack=first.attack,
        seed=first.seed,
        state=state,
        stage=stage,
        metrics=tuple(failed) if was_measured else (),
        failure=first.failure if state == "failed" else "",
        reason="" if state == "ok" else first.reason,
        cause=" ".join(filter(None, cause_of(first.failure, first.reason))) if state == "failed" else "",
        attack_s=about.wall_s,
        device=about.device,
        code=about.code_version,
        target=about.target_key,
        reconstructions=about.reconstructions_key,
        scores=about.scores_key,
    )


def _missing(planned: Planned) -> CellRun:
    seed = planned.get("seed")
    return CellRun(
        sweep=str(planned.get("sweep") or ""),
        profile=str(planned.get("profile") or ""),
        cell=str(planned["cell"]),
        setup=str(planned.get("setup") or ""),
        defense=str(planned.get("defense") or ""),
        attack=str(planned.get("attack") or ""),
        seed=seed if isinstance(seed, int) else None,
        state="missing",
    )


def causes(runs: Iterable[CellRun]) -> list[Cause]:
    """Failed cells by cause, the most frequent first."""
    groups: dict[tuple[str, str], list[CellRun]] = {}
    for run in runs:
        if run.state == "failed":
            groups.setdefault((run.sweep, run.cause), []).append(run)
    found = [
        Cause(
            group[0].sweep,
            group[0].failure,
            group[0].reason,
            tuple(run.cell for run in group),
            tuple(sorted({run.setup for run in group})),
            tuple(sorted({run.defense for run in group})),
        )
        for group in groups.values()
    ]
    return sorted(found, key=lambda cause: (-len(cause.cells), cause.example))


def retry_command(sweep: str, store: str, *cells: str) -> str:
    """The command that runs failed cells again, to be pasted into a shell.

    >>> retry_command("lfw", "my results", "0123456789abcdef")
    "midef retry lfw --store 'my results' --failed --filter cell=0123456789"
    """
    chosen = [word for cell in cells for word in ("--filter", f"cell={cell[:SHORT]}")]
    return shlex.join(["midef", "retry", sweep, "--store", store, "--failed", *chosen])
