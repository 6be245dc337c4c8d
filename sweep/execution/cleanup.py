"""Clean-up of what runs leave behind, before and after a run."""

from __future__ import annotations

import shutil
from pathlib import Path

from midef.storage import Store
from midef.storage.cache import cache_folder
from midef.sweep.execution.run_record import remove_dead


def make_room(store: Store, sweep_digest: str, nodes: int) -> None:
    """Remove what dead runs left behind, and see that there is room for a plan.

    Args:
        store: of the run.
        sweep_digest: of the sweep that is about to run.
        nodes: how many artifacts will be built.

    Raises:
        StoreError: if the store is too small, or cannot be written.
    """
    store.artifacts.check_space(space_for(nodes))
    store.artifacts.sweep_tmp()
    remove_dead(store, sweep_digest, scratch_of(store))
    forget_finished_checkpoints(store)


def space_for(nodes: int) -> int:
    """Bytes that so many nodes need at least."""
    return 64 * 2**20 + 2 * 2**20 * nodes


def scratch_of(store: Store) -> Path:
    """Folder in which Tune keeps its own record of runs, in a folder per run."""
    local = store.location.local
    return (local / "ray") if local is not None else Path.home() / "ray_results"


def train_storage_of(store: Store) -> str:
    """Place in the store where Ray Train keeps its own record; options of the store's URI stay behind."""
    if store.location.local is not None:
        return str(scratch_of(store))
    place, question, options = store.uri.partition("?")
    return f"{place.rstrip('/')}/ray{question}{options}"


def forget_finished_checkpoints(store: Store) -> None:
    """Remove checkpoints, and what Ray Train keeps, of trainings that were stored.

    Their process died before it could, or another of them wrote once more after it had.
    """
    stored = {key.digest for kind in ("target", "evaluator") for key in store.artifacts.keys(kind)}
    for path in store.location.files("checkpoints"):
        if path.split("/")[1] in stored:
            store.location.delete(path)
    for folder in ((store.location.local or cache_folder(store.uri)) / "checkpoints", scratch_of(store)):
        for kept in folder.iterdir() if folder.is_dir() else ():
            if kept.name in stored:
                remove_folder(kept)


def remove_folder(folder: Path) -> None:
    """Remove a folder that is never read again, such as Tune's own record of a run."""
    shutil.rmtree(folder, ignore_errors=True)
