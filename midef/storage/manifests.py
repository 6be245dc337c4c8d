"""Stores sweep manifests: every planned cell of a sweep, written before its first node starts."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa
import pyarrow.parquet as pq
from typing_extensions import override

import midef
from midef.core.errors import DamagedFile, StoreError, StoreSchemaError, did_you_mean
from midef.storage.columns import SEAL_KEY, read_checked, to_parquet, unreadable
from midef.storage.location import Location
from midef.storage.seals import is_sealed, read_json, sealed_json

MANIFEST_SCHEMA = 2
"""2: the file carries a checksum over all of it, the specification and the names of columns included."""
_SEALED_SINCE = 2
_ROOT = "sweeps"
_FILE = "manifest.parquet"
_MARK = "replaced.json"
_MARK_SCHEMA = 1
_SCHEMA_KEY, _SPEC_KEY, _SWEEP_KEY = b"midef_manifest_schema", b"midef_spec", b"midef_sweep"
_BASIS_KEY = b"midef_basis"
_DIGEST = re.compile(r"[A-Za-z0-9_-]+")

log = logging.getLogger(__name__)

Value = str | int | float | None


@dataclass(frozen=True, eq=False)
class Manifest:
    """Planned cells, one flat row each, and the specification as it was given.

    Args:
        file: its columns, decoded when they are asked for.
        spec_json: the specification as JSON.
        basis: digest of the cells as they were written, of a sweep whose strengths were searched; "" of others.
    """

    file: pq.ParquetFile = field(repr=False)
    spec_json: str
    basis: str = ""

    @cached_property
    def rows(self) -> list[dict[str, Value]]:
        """One per cell."""
        rows: list[dict[str, Value]] = self.file.read(use_threads=False).to_pylist()
        return rows

    @override
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Manifest):
            return NotImplemented
        return (self.spec_json, self.basis, self.rows) == (other.spec_json, other.basis, other.rows)

    def __len__(self) -> int:
        """Number of planned cells."""
        return int(self.file.metadata.num_rows)

    def column(self, name: str) -> list[Value]:
        """One value of each cell; None of a column that the plan does not have."""
        if name not in self.file.schema_arrow.names:
            return [None] * len(self)
        values: list[Value] = self.file.read(columns=[name], use_threads=False)[name].to_pylist()
        return values

    @property
    def sweep(self) -> str:
        """Name of the sweep."""
        return str(json.loads(self.spec_json)["name"])

    @cached_property
    def cells(self) -> frozenset[str]:
        """Digests of the planned cells."""
        return frozenset(map(str, self.column("cell")))


class SweepStore:
    """Manifests under `sweeps/<sweep digest>/manifest.parquet`.

    Where another plan took the name of a sweep, `replaced.json` beside the manifest says which; the manifest stays.
    """

    def __init__(self, location: Location) -> None:
        self.location = location
        self._said: set[str] = set()  # a command asks for the manifests several times

    def write_manifest(
        self, sweep_digest: str, rows: Sequence[Mapping[str, Value]], spec_json: str, *, basis: str = ""
    ) -> None:
        """Store the planned cells, replacing an earlier plan of the same digest.

        Args:
            sweep_digest: of the sweep.
            rows: one per cell; they may lack columns (then None).
            spec_json: the specification as JSON.
            basis: as of `Manifest`.

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
        about = {_SCHEMA_KEY: str(MANIFEST_SCHEMA), _SPEC_KEY: spec_json, _SWEEP_KEY: sweep_digest}
        about |= {_BASIS_KEY: basis} if basis else {}
        metadata = {key: text.encode() for key, text in about.items()}
        table = pa.table(columns).replace_schema_metadata(metadata)
        self.location.put(_path(sweep_digest), to_parquet(table))

    def read_manifest(self, sweep_digest: str) -> Manifest:
        """
        Raises:
            StoreError: if the sweep is not stored (names those that are).
            DamagedFile: if its manifest is damaged.
            StoreSchemaError: if a newer midef wrote it.
        """
        try:
            return parse_manifest(sweep_digest, self.location.get(_path(sweep_digest)))
        except FileNotFoundError:
            known = [digest for digest, _ in self.sweeps()]
            raise StoreError(
                f"no sweep {sweep_digest!r} in the store {self.location.shown}; {did_you_mean(sweep_digest, known)}"
            ) from None
        except DamagedFile as error:
            raise DamagedFile(
                f"the manifest of sweep {sweep_digest} is damaged ({error}); run the sweep again, finished cells stay"
            ) from error

    def manifests(self) -> list[tuple[str, Manifest]]:
        """(sweep digest, manifest) of every sweep, latest first, without those that cannot be read.

        Each of these is named in a warning and stays where it is: a run of the sweep replaces it.
        """
        readable = []
        for digest, _ in self.sweeps():
            try:
                readable.append((digest, self.read_manifest(digest)))
            except (DamagedFile, StoreSchemaError) as error:
                if str(error) not in self._said:
                    self._said.add(str(error))
                    log.warning("%s is passed over: %s", _path(digest), error)
            except StoreError as error:
                if self.location.exists(_path(digest)):
                    raise
                log.info("%s is gone: %s", _path(digest), error)
        return readable

    def sweeps(self) -> list[tuple[str, float]]:
        """(sweep digest, seconds since the epoch at which it was planned), latest first."""
        planned = []
        for path in self.location.files(_ROOT):
            parts = path.split("/")
            if len(parts) == 3 and parts[2] == _FILE:
                with suppress(FileNotFoundError):  # gone meanwhile
                    planned.append((parts[1], self.location.modified(path)))
            elif len(parts) == 2 and _DIGEST.fullmatch(parts[1]):
                self.location.try_to_set_aside(path, f"expected a folder with {_FILE}, found a file")
        return sorted(planned, key=lambda item: (-item[1], item[0]))

    def replaced(self) -> dict[str, str]:
        """Sweeps whose name means another plan now: digest -> digest of that plan.

        A mark that cannot be read counts as none: the name then has two meanings, and whoever uses it is asked.
        """
        marks = {}
        for path in self.location.files(_ROOT):
            parts = path.split("/")
            if len(parts) == 3 and parts[2] == _MARK:
                with suppress(FileNotFoundError):
                    try:
                        marks[parts[1]] = parse_mark(self.location.get(path))
                    except DamagedFile as error:
                        log.warning("%s is passed over: %s", path, error)
        return marks

    def mark_replaced(self, sweep_digest: str, by: str) -> None:
        """Record that the name of a sweep means the plan `by` from now on; it is still found by its digest."""
        self.location.put(
            _path(sweep_digest).replace(_FILE, _MARK), sealed_json({"schema": _MARK_SCHEMA, "replaced_by": by})
        )

    def give_name(self, sweep_digest: str, others: Iterable[str]) -> None:
        """Let a name mean this plan alone.

        Args:
            sweep_digest: of the plan.
            others: plans of the same name that it replaces; they stay, under their digests.
        """
        self.location.delete(_path(sweep_digest).replace(_FILE, _MARK))
        for other in others:
            if other != sweep_digest:
                self.mark_replaced(other, by=sweep_digest)


def _path(sweep_digest: str) -> str:
    if not _DIGEST.fullmatch(sweep_digest):
        raise ValueError(f"a sweep digest is made of letters and digits, got {sweep_digest!r}")
    return f"{_ROOT}/{sweep_digest}/{_FILE}"


def parse_mark(content: bytes) -> str:
    """Digest of the plan that took the name of a sweep, from `replaced.json`.

    Raises:
        DamagedFile: if it is damaged.
        StoreSchemaError: if a newer midef wrote it.
    """
    mark = read_json(content, sealed_since=_MARK_SCHEMA)
    if mark["schema"] > _MARK_SCHEMA:
        raise StoreSchemaError(f"it has schema {mark['schema']}, this midef reads up to {_MARK_SCHEMA}: upgrade midef")
    if not isinstance(mark.get("replaced_by"), str):
        raise DamagedFile("it does not say which plan took the name")
    return str(mark["replaced_by"])


def parse_manifest(sweep_digest: str, content: bytes) -> Manifest:
    """The manifest in a file.

    Raises:
        DamagedFile: if it is damaged.
        StoreSchemaError: if a newer midef wrote it.
    """
    if is_sealed(content):  # as it was written, so that no column needs to be looked at before it is asked for
        with unreadable():
            file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
    else:
        read_checked(content)
        file = pq.ParquetFile(pa.BufferReader(content))
    metadata = file.schema_arrow.metadata or {}
    version, spec_json = metadata.get(_SCHEMA_KEY, b""), metadata.get(_SPEC_KEY, b"")
    if not version.isdigit():
        raise DamagedFile(f"expected the metadata {_SCHEMA_KEY.decode()}, found none")
    if int(version) > MANIFEST_SCHEMA:
        raise StoreSchemaError(
            f"the manifest of sweep {sweep_digest} has schema {int(version)}, midef {midef.__version__} supports up to "
            f"{MANIFEST_SCHEMA}: upgrade midef"
        )
    if int(version) >= _SEALED_SINCE and SEAL_KEY not in metadata:
        raise DamagedFile("its checksum is missing")
    try:
        is_whole = isinstance(json.loads(spec_json)["name"], str) and "cell" in file.schema_arrow.names
        manifest = Manifest(file, spec_json.decode(), metadata.get(_BASIS_KEY, b"").decode())
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DamagedFile(f"its specification cannot be read: {error!r}") from error
    if int(version) >= _SEALED_SINCE and metadata.get(_SWEEP_KEY) != sweep_digest.encode():
        raise DamagedFile(f"it is the plan of sweep {metadata.get(_SWEEP_KEY, b'?').decode()}")
    if not is_whole:
        raise DamagedFile(f"expected cells and the name of the sweep, found the columns {file.schema_arrow.names}")
    return manifest
