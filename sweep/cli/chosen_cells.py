"""Cells of a store that a person names: by first letters of their digests, or by setup, defense and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from midef.core.errors import SpecError, StoreError
from midef.core.recipe import ArtifactKey

if TYPE_CHECKING:
    from midef.core.recipe import Recipe
    from midef.storage import Manifest, Store
    from midef.storage.cell_state import CellState
    from midef.storage.logs import Attempt
    from midef.sweep.planning.selection import Line


@dataclass(frozen=True, kw_only=True)
class StoredCell:
    """A planned cell of a stored sweep.

    Args:
        line: what the manifest of the sweep says of it.
        sweep: name.
        sweep_digest: of the sweep.
        state: of its rows; `missing` without any.
    """

    line: Line
    sweep: str
    sweep_digest: str
    state: CellState

    @property
    def digest(self) -> str:
        """Of the cell."""
        return str(self.line["cell"])

    @property
    def address(self) -> str:
        """Of the sweep, whatever else the store holds."""
        return f"{self.sweep}@{self.sweep_digest[:10]}"

    @property
    def title(self) -> str:
        """One line for a person."""
        line, state = self.line, self.state
        kind = f" ({state.failure})" if state.failure and state.status == "failed" else ""
        why = f": {state.reason}" if state.reason else ""
        return f"{self.digest[:10]}  {line['setup']}  {line['defense']}  seed {line['seed']}: {state.status}{kind}{why}"


def choose_stored(store: Store, sweep: str | None, words: Sequence[str]) -> list[StoredCell]:
    """Planned cells that are named, whether they have results or not.

    Args:
        store: where their sweep was planned.
        sweep: name, `name@digest` or digest; None for the latest, and where only digests are given, for all.
        words: `defense=midre`, or the first letters of a cell; all cells if empty.

    Raises:
        SpecError: if the store has no such sweep, or the sweep no such cell.
    """
    from midef.storage.cell_state import CellState
    from midef.sweep.planning.selection import choose_lines

    only = [text if "=" in text else f"cell={text}*" for text in words]
    digest, manifest = _manifest(store, sweep, only)
    states = store.results.states()
    return [
        StoredCell(
            line=line,
            sweep=manifest.sweep,
            sweep_digest=digest,
            state=states.get(str(line["cell"]), CellState("missing")),
        )
        for line in choose_lines(manifest.rows, only, manifest.sweep)
    ]


def _manifest(store: Store, sweep: str | None, only: Sequence[str]) -> tuple[str, Manifest]:
    """Digest and manifest of the sweep that is meant."""
    from fnmatch import fnmatchcase

    from midef.storage.addresses import choose_sweep, stored_sweeps

    plans = stored_sweeps(store)
    if not plans:
        raise SpecError("no sweep was planned in this store yet; `midef run` plans one")
    digests = [text.removeprefix("cell=") for text in only if text.startswith("cell=")]
    chosen = plans[0] if sweep is None else choose_sweep(plans, sweep)
    if sweep is None and len(digests) == len(only) > 0:
        for plan in plans:
            if all(any(fnmatchcase(cell, wanted) for cell in plan.manifest.cells) for wanted in digests):
                return plan.digest, plan.manifest
    return chosen.digest, chosen.manifest


@dataclass(frozen=True, kw_only=True)
class Piece:
    """An artifact of a cell.

    Args:
        wall_s: seconds it took to build; None of one that is not stored.
        device: that built it; "" of one that is not stored.
        attempts: to build it whose logs are kept, the first one first.
    """

    key: ArtifactKey
    wall_s: float | None
    device: str
    attempts: Sequence[Attempt]


def pieces_of(store: Store, cell: StoredCell) -> list[Piece]:
    """Artifacts of a cell, inputs before what needs them; none where an older midef planned a cell that is not done."""
    from midef.storage.logs import read_attempts

    pieces = []
    for key in keys_of(store, cell):
        wall_s, device = None, ""
        if store.artifacts.has(key):
            try:
                meta = store.artifacts.meta(key)
                wall_s, device = float(meta["wall_s"]), str(meta["facts"].get("device", ""))
            except StoreError as error:
                device = str(error)
        pieces.append(Piece(key=key, wall_s=wall_s, device=device, attempts=read_attempts(store.location, key)))
    return pieces


def keys_of(store: Store, cell: StoredCell) -> list[ArtifactKey]:
    """Keys of the artifacts of a cell, inputs before what needs them."""
    written = str(cell.line.get("pieces") or "").split()
    if written:
        return [ArtifactKey.parse(text) for text in written]
    scores = next((row.scores_key for row in store.results.read() if row.cell == cell.digest and row.scores_key), "")
    if not scores or not store.artifacts.has(ArtifactKey.parse(scores)):
        return []
    return [recipe.key for recipe in store.artifacts.recipe(ArtifactKey.parse(scores)).walk()]


def target_of(store: Store, cell: StoredCell) -> Recipe:
    """Recipe of the stored target of a cell, also where its attack has not ended or failed.

    Raises:
        SpecError: if it is not stored.
    """
    key = next((row.target_key for row in store.results.read() if row.cell == cell.digest and row.target_key), "")
    if key and store.artifacts.has(ArtifactKey.parse(key)):
        return store.artifacts.recipe(ArtifactKey.parse(key))
    keys = [key for key in keys_of(store, cell) if key.kind == "target" and store.artifacts.has(key)]
    stored = [store.artifacts.recipe(key) for key in keys]
    below = {needed.key for recipe in stored for needed in recipe.inputs.values()}
    defended = str(cell.line["defense"]) != "none"
    found = [r for r in stored if r.key not in below and (r.params["defense"]["name"] != "none") == defended]
    if len(found) != 1:
        raise SpecError(f"the target of cell {cell.digest[:10]} is not stored; `midef run` builds it, see `midef show`")
    return found[0]
