"""Stores sweep manifests: every planned cell of a sweep, written before its first node starts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

import midef
from midef.core.errors import StoreError, StoreSchemaError, did_you_mean
from midef.storage.columns import UnreadableFile, read_checked, to_parquet
from midef.storage.location import Location

MANIFEST_SCHEMA = 1
_ROOT = "sweeps"
_FILE = "manifest.parquet"
_SCHEMA_KEY, _SPEC_KEY = b"midef_manifest_schema", b"midef_spec"
_DIGEST = re.compile(r"[A-Za-z0-9_-]+")

Value = str | int | float | None


@dataclass(frozen=True)
class Manifest:
    """Planned cells, one flat row each, and the specification as it was given."""

    rows: list[dict[str, Value]]
    spec_json: str

    @property
    def sweep(self) -> str:
        """Name of the sweep."""
        return str(json.loads(self.spec_json)["name"])


class SweepStore:
    """Manifests under `sweeps/<sweep digest>/manifest.parquet`."""

    def __init__(self, location: Location) -> None:
        self.location = location

    def write_manifest(self, sweep_digest: str, rows: Sequence[Mapping[str, Value]], spec_json: str) -> None:
        """Store the planned cells, replacing an earlier plan of the same sweep. Rows may lack columns (then None).

        Raises:
            ValueError: for no rows, or a column that mixes text and numbers.
        """
        if not rows:
            raise ValueError(f"sweep {sweep_digest[:10]} plans no cells; there is nothing to write")
        columns = {}
        for name in dict.fromkeys(name for row in rows for name in row):
            try:
                columns[name] = pa.array([row.get(name) for row in rows])
            except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
                raise ValueError(f"manifest column {name!r} must hold text or numbers, not both: {error}") from error
        metadata = {_SCHEMA_KEY: str(MANIFEST_SCHEMA).encode(), _SPEC_KEY: spec_json.encode()}
        table = pa.table(columns).replace_schema_metadata(metadata)
        self.location.put(_path(sweep_digest), to_parquet(table))

    def read_manifest(self, sweep_digest: str) -> Manifest:
        """
        Raises:
            StoreError: if the sweep is not stored (names those that are) or its manifest is damaged.
            StoreSchemaError: if a newer midef wrote it.
        """
        try:
            table = read_checked(self.location.get(_path(sweep_digest)))
        except FileNotFoundError:
            known = [digest for digest, _ in self.sweeps()]
            raise StoreError(
                f"no sweep {sweep_digest!r} in the store {self.location.shown}; {did_you_mean(sweep_digest, known)}"
            ) from None
        except UnreadableFile as error:
            raise StoreError(
                f"the manifest of sweep {sweep_digest} is damaged ({error}); run the sweep again, finished cells stay"
            ) from error
        metadata = table.schema.metadata or {}
        version = int(metadata.get(_SCHEMA_KEY, b"0"))
        if version > MANIFEST_SCHEMA:
            raise StoreSchemaError(
                f"the manifest of sweep {sweep_digest} has schema {version}, midef {midef.__version__} supports up to "
                f"{MANIFEST_SCHEMA}: upgrade midef"
            )
        return Manifest(table.to_pylist(), metadata.get(_SPEC_KEY, b"").decode())

    def sweeps(self) -> list[tuple[str, float]]:
        """(sweep digest, seconds since the epoch at which it was planned), latest first."""
        parts = (path.split("/") for path in self.location.files(_ROOT))
        digests = [p[1] for p in parts if len(p) == 3 and p[2] == _FILE]
        return sorted(((d, self.location.modified(_path(d))) for d in digests), key=lambda item: (-item[1], item[0]))


def _path(sweep_digest: str) -> str:
    if not _DIGEST.fullmatch(sweep_digest):
        raise ValueError(f"a sweep digest is made of letters and digits, got {sweep_digest!r}")
    return f"{_ROOT}/{sweep_digest}/{_FILE}"
