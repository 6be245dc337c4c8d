"""One cell as a library call, in this process and without Ray; its rows are stored, and tables show them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from midef.core.canonical import digest
from midef.core.errors import SpecError
from midef.core.failure import Failure
from midef.core.rows import ResultRow
from midef.core.setup import Cell, Setup

if TYPE_CHECKING:
    from pathlib import Path

    from midef.core.choice import Choice
    from midef.stages import BuildContext
    from midef.storage import Store
    from midef.sweep.spec.planned_cell import PlannedCell
    from midef.training import TrainingRecipe

PROFILE = "library"
_NAME = re.compile(r"[\w-][\w.-]{0,79}")


def ensure(
    setup: Setup,
    defense: str | Choice = "none",
    seed: int = 0,
    *,
    training: TrainingRecipe,
    evaluator_training: TrainingRecipe,
    store: str | Path | Store | None = None,
    context: BuildContext | None = None,
    pretraining_training: TrainingRecipe | None = None,
    regressor_images: int | None = None,
    metrics: Sequence[str] | None = None,
    name: str = "library",
) -> list[ResultRow]:
    """The stored rows of one cell; whatever it needs is built first, in this process.

    The cell joins the others of `name`: `midef table --sweep NAME`, the dashboard and `midef.results.read` show them as
    they show those of a sweep. The same call again builds nothing.

    Args:
        setup: attack, architecture, data and protocol.
        defense: as in a sweep.
        seed: of training and attack.
        training: of the target.
        evaluator_training: of the evaluator.
        store: folder, URI or open store; made if there is none (default: the command line's, `midef-store`).
        context: device, threads, places of data sets, and the store, in the place of `store`.
        pretraining_training: of the target's backbone, where the setup pre-trains it.
        regressor_images: that a trait regressor is trained on.
        metrics: names or groups; None for the standard ones.
        name: of the collection that the cell joins.

    Returns:
        One row per metric; one that does not apply or failed says why.

    Raises:
        SpecError: for a name that cannot be one, a store given twice, or a defense that cannot work here; the latter is
            stored as refused.
        Exception: whatever ended the build; the cell is then stored as failed, with the reason.
    """
    from midef.stages import BuildContext
    from midef.stages import ensure as build
    from midef.sweep.execution.result_rows import lost_rows, measured_rows, refused_rows
    from midef.sweep.library import DEFAULT_STORE, _opened

    if not _NAME.fullmatch(name):
        raise SpecError(f"a name has letters, digits, . _ and - in it, got {name!r}")
    if context is not None and store is not None:
        raise SpecError("the store is given twice: in `context` and as `store`; leave one out")
    if context is None:
        context = BuildContext(store=_opened(store if store is not None else DEFAULT_STORE))
    made = context.store
    planned = _planned(
        setup, defense, seed, training, evaluator_training, pretraining_training, regressor_images, metrics
    )
    _join(name, planned, made)
    cell = planned.cell.digest
    if planned.refused:
        made.results.write(cell, refused_rows(name, planned))
        raise SpecError(f"{planned.cell.defense.label}: {planned.refused}")
    try:
        build(planned.recipes.scores, context)
    except Exception as error:
        made.results.write(cell, lost_rows(name, planned, Failure.of(error)))
        raise
    rows = measured_rows(name, planned, made)
    if made.results.cells().get(cell) != "ok":
        made.results.write(cell, rows)
    return rows


def _planned(
    setup: Setup,
    defense: str | Choice,
    seed: int,
    training: TrainingRecipe,
    evaluator_training: TrainingRecipe,
    pretraining_training: TrainingRecipe | None,
    regressor_images: int | None,
    metrics: Sequence[str] | None,
) -> PlannedCell:
    from midef.defenses.stack import choose_defense
    from midef.metrics import chosen_metrics
    from midef.results.compare import COMPARED
    from midef.stages import REGRESSOR_IMAGES, recipes_for_cell
    from midef.sweep.spec.checks import why_refused
    from midef.sweep.spec.planned_cell import PlannedCell

    choice = choose_defense(defense) if isinstance(defense, str) else defense
    chosen = None if metrics is None else tuple(sorted({*chosen_metrics(list(metrics)), *COMPARED}))
    recipes = recipes_for_cell(
        setup,
        choice,
        seed,
        training=training,
        evaluator_training=evaluator_training,
        pretraining_training=pretraining_training,
        metrics=chosen,
        regressor_images=REGRESSOR_IMAGES if regressor_images is None else regressor_images,
    )
    cell = Cell(setup=setup, defense=choice, seed=seed, profile=PROFILE, scores=recipes.scores.key.digest)
    return PlannedCell(cell, recipes, why_refused(setup, choice))


def _join(name: str, planned: PlannedCell, store: Store) -> None:
    """Add a cell to the plan of a collection, which grows.

    Raises:
        SpecError: if a sweep of the store has the name.
    """
    from midef.storage.addresses import stored_sweeps
    from midef.storage.merge import is_collection

    key = digest({"collection": name})
    named = [sweep for sweep in stored_sweeps(store) if sweep.name == name]
    if others := [sweep.address for sweep in named if not is_collection(sweep.manifest.spec_json)]:
        raise SpecError(f"a sweep of this store is called {name!r} ({others[0]}); give another name")
    rows = next((sweep.manifest.rows for sweep in named if sweep.digest == key), [])
    if all(row["cell"] != planned.cell.digest for row in rows):
        store.sweeps.write_manifest(key, [*rows, planned.manifest_line], json.dumps({"name": name, "collection": True}))
