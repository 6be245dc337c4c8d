"""Stores results of accuracy matching: one JSON file per matched sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from midef.core.errors import DamagedFile, StoreSchemaError
from midef.core.match import MatchReport
from midef.storage.documents import read_documents
from midef.storage.seals import read_json, sealed_json

if TYPE_CHECKING:
    from midef.storage.store import Store

_ROOT = "matches"
MATCH_SCHEMA = 2
"""2: the file carries a checksum of itself."""
_SEALED_SINCE = 2


def write_match(store: Store, report: MatchReport) -> None:
    """Store a report, replacing an earlier one of the same sweep."""
    content = {"schema": MATCH_SCHEMA, **report.as_plain()}
    store.location.put(f"{_ROOT}/{report.digest}.json", sealed_json(content))


def read_matches(store: Store, sweep: str | None = None, *, problems: list[str] | None = None) -> list[MatchReport]:
    """Stored reports, latest first, without those that cannot be read: each of these is named in a warning.

    Args:
        store: to read from.
        sweep: name of the sweeps; None for all.
        problems: gains the warnings.
    """
    found = read_documents(store.location, _ROOT, parse_match, problems)
    reports = [(when, report) for when, report in found if sweep in (None, report.sweep)]
    return [report for _, report in sorted(reports, key=lambda pair: (-pair[0], pair[1].digest))]


def parse_match(path: str, content: bytes) -> MatchReport:
    """The report in a file.

    Raises:
        DamagedFile: if it is damaged.
        StoreSchemaError: if a newer midef wrote it.
    """
    try:
        data = read_json(content, sealed_since=_SEALED_SINCE)
        schema = data.pop("schema")
        if schema > MATCH_SCHEMA:
            raise StoreSchemaError(f"it has schema {schema}, this midef reads up to {MATCH_SCHEMA}: upgrade midef")
        report = MatchReport.from_plain(data)
    except (DamagedFile, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = str(error) if isinstance(error, DamagedFile) else repr(error)
        raise DamagedFile(f"it is damaged ({reason}); run `midef match` again, no training is lost") from error
    if path != f"{_ROOT}/{report.digest}.json":
        raise DamagedFile(f"it is damaged (it is the report {report.digest}); run `midef match` again")
    return report
