"""`midef compact`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from midef.metrics import standard_metrics
from midef.storage import Store

Midef = Callable[..., tuple[int, str, str]]


def test_compact_keeps_every_row(midef: Midef, finished: Path, store: Store) -> None:
    before = store.results.read()
    code, out, _ = midef("compact", "--store", "store")
    assert (code, out) == (0, f"2 result files -> 1, {2 * len(standard_metrics())} rows\n")
    assert Store.open("store").results.read() == before
    assert midef("run", finished, "--store", "store")[1].startswith("nothing to do: all 2 cells")
