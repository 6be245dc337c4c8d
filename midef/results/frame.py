"""Stored result rows as a pandas DataFrame."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

from midef.core.rows import ResultRow

if TYPE_CHECKING:
    import pandas as pd

    from midef.storage import Store


def read(store: str | Path | Store, sweep: str | None = None) -> pd.DataFrame:
    """Measured rows of a store, one metric of one cell each; columns as in `ResultRow`.

    Args:
        store: folder, `s3://` URI or open store.
        sweep: name, `name@digest` or digest of a sweep, whose rows alone are read.

    Raises:
        StoreError: if there is no store, or it cannot be read.
        SpecError: if the store has no such sweep, or several.
    """
    import pandas as pd

    from midef.storage import Store, rows_of_sweep

    opened = store if isinstance(store, Store) else Store.open(store, create=False)
    rows = opened.results.read() if sweep is None else rows_of_sweep(opened, sweep)
    return pd.DataFrame([asdict(row) for row in rows], columns=[column.name for column in fields(ResultRow)])
