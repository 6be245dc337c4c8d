"""What analyses found, kept in the store: one JSON file per analysis of a sweep."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import midef
from midef.core.canonical import digest
from midef.core.errors import DamagedFile, StoreSchemaError
from midef.results.findings import Drawing, Findings, Panel, Series
from midef.storage.documents import read_documents
from midef.storage.seals import read_json, sealed_json

if TYPE_CHECKING:
    from midef.storage import Store

ROOT = "analyses"
PATTERN = f"{ROOT}/*.json"
FINDINGS_SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class StoredFindings:
    """Findings, and what they are of.

    Args:
        name: of the analysis.
        params: its parameters, defaults included.
        sweep: name of the analysed sweep.
        sweep_digest: of that sweep.
        profile: of that sweep.
        setup: id of the analysed setup; of several, all ids.
        seed: that was analysed; None of an analysis over all seeds.
        stand_ins: of that setup, as in `ResultRow`.
        code: version of midef that analysed.
        findings: rows, verdict and figure.
    """

    name: str
    params: Mapping[str, Any]
    sweep: str
    sweep_digest: str
    profile: str
    setup: str
    seed: int | None
    stand_ins: str
    findings: Findings
    code: str = midef.__version__

    @property
    def path(self) -> str:
        """Where it is stored; the same question about the same sweep is stored once."""
        asked = {"name": self.name, "params": self.params, "sweep": self.sweep_digest}
        return f"{ROOT}/{self.name}-{digest(asked)[:16]}.json"


def write_findings(store: Store, stored: StoredFindings) -> None:
    """Store findings, replacing earlier ones of the same question.

    Raises:
        StoreError: if the store cannot be written.
    """
    columns = list(stored.findings.rows[0])  # a sealed document sorts its names
    document = {"schema": FINDINGS_SCHEMA, "columns": columns, **_plain(asdict(stored))}
    store.location.put(stored.path, sealed_json(document))


def read_findings(store: Store, sweep: str | None = None, *, problems: list[str] | None = None) -> list[StoredFindings]:
    """Stored findings by name, the latest of a name first; what cannot be read is named in a warning.

    Args:
        store: to read from.
        sweep: name of the analysed sweep; None for all.
        problems: gains the warnings.
    """
    found = read_documents(store.location, ROOT, parse_findings, problems)
    of_sweep = [(stored.name, -when, stored) for when, stored in found if sweep in (None, stored.sweep)]
    return [stored for *_, stored in sorted(of_sweep, key=lambda one: one[:2])]


def parse_findings(path: str, content: bytes) -> StoredFindings:
    """The findings in a file.

    Raises:
        DamagedFile: if it is damaged.
        StoreSchemaError: if a newer midef wrote it.
    """
    again = "run `midef analyse` again"
    try:
        data = read_json(content, sealed_since=FINDINGS_SCHEMA)
        schema = data.pop("schema")
        if schema > FINDINGS_SCHEMA:
            raise StoreSchemaError(f"it has schema {schema}, this midef reads up to {FINDINGS_SCHEMA}: upgrade midef")
        columns = data.pop("columns")
        stored = StoredFindings(**{**data, "findings": _findings(data["findings"], columns)})
    except (DamagedFile, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = str(error) if isinstance(error, DamagedFile) else repr(error)
        raise DamagedFile(f"it is damaged ({reason}); {again}") from error
    if path != stored.path:
        raise DamagedFile(f"it is damaged (it belongs to {stored.path}); {again}")
    return stored


def _plain(value: Any) -> Any:
    """JSON data: numbers of arrays as numbers, sequences as lists, and None for what is no finite number."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, str):
        return value
    if isinstance(value, Iterable):
        return [_plain(one) for one in value]
    number = value.item() if hasattr(value, "item") else value
    return None if isinstance(number, float) and not math.isfinite(number) else number


def _numbers(values: Iterable[float | str | None]) -> list[Any]:
    return [math.nan if value is None else value for value in values]


def _findings(data: Mapping[str, Any], columns: Sequence[str]) -> Findings:
    drawing = data["drawing"]
    panels = [Panel(**{**panel, "series": [_series(one) for one in panel["series"]]}) for panel in drawing["panels"]]
    rows = [{name: row[name] for name in columns} for row in data["rows"]]
    return Findings(rows=rows, verdict=data["verdict"], drawing=Drawing(title=drawing["title"], panels=panels))


def _series(data: Mapping[str, Any]) -> Series:
    return Series(**{**data, **{name: _numbers(data[name]) for name in ("x", "y", "low", "high")}})
