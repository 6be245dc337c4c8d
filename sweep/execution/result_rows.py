"""Result rows of a cell, from what its artifacts say. No torch: rows can be written again on any machine."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any, Literal

from midef.attacks import ATTACKS
from midef.core.canonical import canonical_json
from midef.core.code_version import code_version
from midef.core.errors import DamagedArtifact, MidefError, MissingArtifact, StoreError
from midef.core.failure import Failure
from midef.core.match import Match
from midef.core.recipe import ArtifactKey, Recipe
from midef.core.rows import ResultRow
from midef.core.setup import Setup, StandIn
from midef.core.traces import COURSE
from midef.datasets import DATASETS
from midef.metrics import METRICS, column_title, standard_metrics
from midef.storage import Store
from midef.storage.results import MOST_LOOSE
from midef.sweep.execution.outcome import Outcome
from midef.sweep.spec.planned_cell import PlannedCell


def measured_rows(sweep_name: str, planned: PlannedCell, store: Store) -> list[ResultRow]:
    """The rows of a cell whose scores are stored: one per metric, failed ones included.

    Raises:
        MissingArtifact, DamagedArtifact: if the scores are not there or not intact.
    """
    recipes = planned.recipes
    measured = _measured(recipes.scores.key, recipes.reconstructions.key, store)
    shared = {
        **_identity(sweep_name, planned),
        "select_images": _select_images(recipes.private, store),
        "target_key": str(recipes.target.key),
    }
    return [ResultRow(**shared, **columns, column=column_title(metric)) for metric, columns in measured.items()]


def disagreement(rows: Sequence[ResultRow], store: Store) -> str:
    """How the rows of a cell differ from what its artifacts say; "" if they agree, or if it was never measured.

    Raises:
        MissingArtifact, DamagedArtifact: if these are not there or not intact.
    """
    keys = {(row.scores_key, row.reconstructions_key) for row in rows if row.scores_key}
    if not keys:
        return ""
    if len(keys) > 1:
        return f"expected rows of one measurement, found {len(keys)}"
    ((scores, reconstructions),) = keys
    measured = _measured(ArtifactKey.parse(scores), ArtifactKey.parse(reconstructions), store)
    stored = {row.metric: row for row in rows}
    if measured.keys() != stored.keys():
        return f"rows of {', '.join(sorted(stored))}, but its artifacts measured {', '.join(sorted(measured))}"
    problems = [
        f"{name} of {metric} is {getattr(stored[metric], name)!r}, its artifacts say {value!r}"
        for metric, columns in measured.items()
        for name, value in columns.items()
        if getattr(stored[metric], name) != value
    ]
    return "; ".join(problems)


def _measured(scores: ArtifactKey, reconstructions: ArtifactKey, store: Store) -> dict[str, dict[str, Any]]:
    """The columns that rows take from artifacts, by metric."""
    folder = store.artifacts.fetch(scores)
    entries = json.loads((folder / "measurements.json").read_text(encoding="utf-8"))
    judged = store.artifacts.meta(scores)["facts"]
    attacked = store.artifacts.meta(reconstructions)
    shared: dict[str, Any] = {
        # Scores of an older midef have no interval.
        **{name: judged[name] for name in ("evaluator_accuracy", "evaluator_low", "evaluator_high") if name in judged},
        "reconstructions_key": str(reconstructions),
        "scores_key": str(scores),
        "device": attacked["facts"]["device"],
        "wall_s": attacked["wall_s"],
        "peak_memory_mb": attacked["facts"]["peak_memory_mb"],
        "queries": attacked["facts"]["queries"],
        "code_version": attacked["midef"],
        **{name: attacked["facts"][name] for name in COURSE if name in attacked["facts"]},
    }
    return {entry["metric"]: {**shared, **entry} for entry in entries}


def _select_images(split: Recipe, store: Store) -> int | None:
    """Images of the select split; None where the split is not stored any more."""
    return store.artifacts.meta(split.key)["facts"].get("select") if store.artifacts.has(split.key) else None


def refused_rows(sweep_name: str, planned: PlannedCell) -> list[ResultRow]:
    """Rows of a cell that the plan refused."""
    return lost_rows(sweep_name, planned, Failure("refused", planned.refused), status="refused")


def lost_rows(
    sweep_name: str, planned: PlannedCell, failure: Failure, *, status: Literal["failed", "refused"] = "failed"
) -> list[ResultRow]:
    """Rows of a cell that could not be measured: each metric with the status and the reason, never a gap."""
    return [
        ResultRow(
            **_identity(sweep_name, planned),
            metric=name,
            value=None,
            unit=METRICS.get(name).unit,
            larger_is=METRICS.get(name).larger_is,
            column=column_title(name),
            status=status,
            reason=failure.message,
            failure=failure.kind,
            code_version=code_version(),
        )
        for name in _planned_metrics(planned)
    ]


def _planned_metrics(planned: PlannedCell) -> list[str]:
    """Metrics of a cell; the standard ones where its recipes could not be named."""
    return standard_metrics() if planned.answered_by is None else sorted(planned.recipes.scores.params["metrics"])


log = logging.getLogger(__name__)

LOOSE_AFTER_RUN = 100
"""Files of single cells that a run may leave in the store."""
PARALLEL_ROWS = 16
"""Cells whose rows are read and written at once in an object store: a dozen requests each, which the driver would wait
for with every machine."""


class RowWriter:
    """Writes the rows of cells while a plan runs, and merges their files where they become many.

    Args:
        sweep_name: stands in every row.
        store: gains the rows.
        outcome: counts the cells that were written, and gains what the store said where it cannot be written.
        beside: write rows of measured cells beside the caller, who does not wait for them before `end`: for a store
            that answers slowly, where nothing reads the rows meanwhile.
    """

    def __init__(self, sweep_name: str, store: Store, outcome: Outcome, *, beside: bool = False) -> None:
        self.sweep_name, self.store, self.outcome = sweep_name, store, outcome
        self._unmerged = 0
        self._pool = ThreadPoolExecutor(PARALLEL_ROWS, thread_name_prefix="midef-rows") if beside else None
        self._lock = Lock()

    def write_measured(self, cells: Sequence[PlannedCell]) -> None:
        """Rows of cells whose scores were just stored."""
        for planned in cells:
            if self._pool is None:
                self._write_or_say(planned)
            else:
                self._pool.submit(self._write_beside, planned)

    def _write_or_say(self, planned: PlannedCell) -> None:
        try:
            self._write_measured(planned)
            self._merge_many()
        except StoreError as error:
            self.outcome.environment.append(str(error))

    def _write_beside(self, planned: PlannedCell) -> None:
        try:
            self._write_or_say(planned)
        except Exception as error:  # what a thread raises nobody hears
            said = f"the rows of cell {planned.cell.digest[:10]} are not written ({error}); the next run writes them"
            log.exception(said)
            self.outcome.environment.append(said)

    def write_lost(self, cells: Sequence[PlannedCell], failure: Failure) -> None:
        """Rows of cells that failed."""
        for planned in cells:
            try:
                self.store.results.write(planned.cell.digest, lost_rows(self.sweep_name, planned, failure))
                self._merge_many()
            except MidefError as error:
                self.outcome.environment.append(str(error))

    def write_without_work(self, planned: PlannedCell) -> bool:
        """Write the rows of a cell that needs no work: it is refused, or its scores are stored. False if it does."""
        if planned.refused:
            self.store.results.write(planned.cell.digest, refused_rows(self.sweep_name, planned))
            return True
        scores = planned.recipes.scores.key
        if not self.store.artifacts.has(scores):
            return False
        try:
            self._write_measured(planned)
        except (DamagedArtifact, MissingArtifact) as error:  # of the scores, or of what they judge
            self.store.artifacts.set_aside(scores, str(error))
            return False
        return True

    def _merge_many(self) -> None:
        """Look at the files once for as many cells as they may be."""
        with self._lock:
            self._unmerged += 1
            if self._unmerged < MOST_LOOSE:
                return
            self._unmerged = 0
        self.store.results.compact_when_many(MOST_LOOSE)

    def end(self) -> None:
        """Wait for rows that are written beside, and merge what the run leaves behind, if it is much."""
        if self._pool is not None:
            self._pool.shutdown()
        try:
            self.store.results.compact_when_many(LOOSE_AFTER_RUN)
        except StoreError as error:
            log.warning("the result files are not merged: %s; `midef compact` does it", error)

    def _write_measured(self, planned: PlannedCell) -> None:
        self.store.results.write(planned.cell.digest, measured_rows(self.sweep_name, planned, self.store))
        with self._lock:
            self.outcome.rows += 1


def _identity(sweep_name: str, planned: PlannedCell) -> dict[str, Any]:
    cell, setup = planned.cell, planned.cell.setup
    return {
        "sweep": sweep_name,
        "profile": cell.profile,
        "cell": cell.digest,
        "setup": setup.id,
        "defense": cell.defense.label,
        "defense_name": cell.defense.name,
        "defense_params": canonical_json(cell.defense.params),
        "attack": setup.attack.label,
        "attack_name": setup.attack.name,
        "attack_params": canonical_json(setup.attack.params),
        **_of_attack(setup),
        "architecture": setup.target,
        "private": setup.private.label,
        "private_is_generated": _is_generated(setup.private.name),
        "public": setup.public.label,
        "evaluator": setup.evaluator_text,
        "resolution_px": setup.resolution_px,
        "identities": setup.protocol.identities,
        "images_per_identity": setup.protocol.images_per_identity,
        "certainty": setup.certainty,
        "settings": setup.settings,
        "stand_ins": StandIn.join(setup.stand_ins),
        "evaluator_resolution_px": setup.protocol.evaluator_resolution_px,
        **{k: v for k, v in setup.protocol.scoring.items() if k not in ("spread", "judge")},
        "seed": cell.seed,
        **_matching(cell.match),
    }


def _of_attack(setup: Setup) -> dict[str, str]:
    """What the attack sees, and which images it inverts where it observes their answers; "" of one that is unknown."""
    attack = ATTACKS.get(setup.attack.name) if setup.attack.name in ATTACKS.names() else None
    if attack is None:
        return {"access": ""}
    return {"access": attack.access.words, "victims": setup.protocol.victims if attack.needs_observed_scores else ""}


def _is_generated(dataset: str) -> bool | None:
    return DATASETS.get(dataset).is_generated if dataset in DATASETS.names() else None


def _matching(match: Match | None) -> dict[str, Any]:
    """Matching columns; empty for a cell of a sweep that is not matched: the defaults of `ResultRow` say so."""
    if match is None:
        return {}
    numbers = {f"match_{name}": getattr(match, name) for name in ("target", "tolerance", "accuracy", "seeds")}
    return {"matched": match.is_matched, **numbers}
