"""Stores results of accuracy matching: one JSON file per matched sweep."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from midef.core.errors import StoreError, StoreSchemaError
from midef.core.match import MatchReport

if TYPE_CHECKING:
    from midef.storage.store import Store

_ROOT = "matches"
MATCH_SCHEMA = 1


def write_match(store: Store, report: MatchReport) -> None:
    """Store a report, replacing an earlier one of the same sweep."""
    content = {"schema": MATCH_SCHEMA, **report.as_plain()}
    store.location.put(f"{_ROOT}/{report.digest}.json", json.dumps(content, allow_nan=False).encode())


def read_matches(store: Store, sweep: str | None = None) -> list[MatchReport]:
    """Stored reports, latest first.

    Args:
        store: to read from.
        sweep: name of the sweeps; None for all.

    Raises:
        StoreError: for a file that is damaged.
        StoreSchemaError: for one that a newer midef wrote.
    """
    reports = []
    for path in store.location.files(_ROOT):
        if not path.endswith(".json"):
            continue
        try:
            data = json.loads(store.location.get(path))
            schema = data.pop("schema")
            if schema > MATCH_SCHEMA:
                raise StoreSchemaError(
                    f"{path} has schema {schema}, this midef reads up to {MATCH_SCHEMA}: upgrade midef"
                )
            report = MatchReport.from_plain(data)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StoreError(f"{path} is damaged ({error!r}); run `midef match` again, no training is lost") from error
        if sweep in (None, report.sweep):
            reports.append((store.location.modified(path), report))
    return [report for _, report in sorted(reports, key=lambda pair: (-pair[0], pair[1].digest))]
