"""What a verb that follows a sweep waits for: its store, its plan, the start of its run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from midef.core.errors import few
from midef.sweep.cli.options import say
from midef.sweep.library import existing_store

if TYPE_CHECKING:
    from midef.storage import Store

EVERY_S = 1.0
"""Seconds between two looks."""
STARTING_S = 60.0
"""Seconds after its planning in which a run that nothing is recorded of may still be starting Ray."""


def wait_for_plan(store: str, sweep: str | None) -> None:
    """Return once the store has the sweep; says what it waits for.

    Args:
        store: folder or URI, of a store that need not be there yet.
        sweep: name, `name@digest` or digest; None for any.
    """
    said = ""
    while lacking := _lacking(store, sweep):
        if lacking != said:
            say(f"{lacking}; waiting for `midef run` to plan it (Ctrl-C ends this)")
            said = lacking
        time.sleep(EVERY_S)


def _lacking(uri: str, sweep: str | None) -> str:
    """What is not there yet of the store and the sweep; "" if both are."""
    from midef.storage.addresses import stored_sweeps

    store = existing_store(uri)
    if store is None:
        return f"no store at {uri} yet"
    plans = stored_sweeps(store)
    if not plans:
        return f"no sweep was planned in {store.location.shown} yet"
    if sweep is None or any(plan.is_meant_by(sweep) for plan in plans):
        return ""
    return f"no sweep {sweep!r} in {store.location.shown} yet; it has {few(sorted({p.name for p in plans}))}"


def is_starting(store: Store, sweep_digest: str) -> bool:
    """Whether the run that planned a sweep may still be starting, before which nothing is recorded of it."""
    return time.time() - dict(store.sweeps.sweeps()).get(sweep_digest, 0.0) < STARTING_S
