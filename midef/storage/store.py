"""A store: artifacts, results and sweeps under one root."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

from typing_extensions import override

import midef
from midef.core.errors import DamagedFile, StoreError, StoreSchemaError
from midef.core.recipe import KINDS
from midef.storage.artifacts import ArtifactStore
from midef.storage.location import Location
from midef.storage.manifests import SweepStore
from midef.storage.results import ResultStore
from midef.storage.seals import read_json, sealed_json

STORE_SCHEMA = 1
STORE_JSON = "store.json"

log = logging.getLogger(__name__)


class Store:
    """Artifacts, results and sweeps of one root. Pickles as its URI: a worker on another machine opens it again.

    Paths inside are relative, so a store may be moved, copied, or synchronised between a disk and a bucket.
    """

    def __init__(self, location: Location) -> None:
        self.location = location
        self.artifacts = ArtifactStore(location)
        self.results = ResultStore(location)
        self.sweeps = SweepStore(location)

    @classmethod
    def open(cls, uri: str | Path, create: bool = True) -> Store:
        """The store at a local path, `s3://bucket/prefix` or `gs://bucket/prefix`; made if `create` and not there.

        Raises:
            StoreSchemaError: if a newer midef wrote it.
            StoreError: if it cannot be reached, or is no store and `create` is False.
        """
        location = Location.open(uri)
        if location.local is not None and location.local.exists() and not location.local.is_dir():
            raise StoreError(f"the store {location.shown} is a file; give the path of a folder")
        try:
            content = location.get(STORE_JSON)
            parse_about(location, content)
        except FileNotFoundError:
            if any(location.exists(f"artifacts/{kind}") for kind in KINDS):
                log.warning("%s of the store %s is lost and written again", STORE_JSON, location.shown)
                with suppress(StoreError):
                    _write_about(location)
                return cls(location)
            if not create:
                raise StoreError(
                    f"no midef store at {location.shown}; check --store, or start a run there: it makes the store"
                ) from None
            location.create()
            _write_about(location)
        except DamagedFile as error:
            location.try_to_set_aside(STORE_JSON, f"{error}; written anew, each file of a store says its own schema")
            with suppress(StoreError):  # it can only be read from here
                _write_about(location)
        return cls(location)

    @property
    def uri(self) -> str:
        """What `open` takes to find this store from anywhere; absolute for a local one."""
        return self.location.uri

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return Store.open, (self.uri, False)

    @override
    def __repr__(self) -> str:
        return f"Store({self.location.shown!r})"


def _write_about(location: Location) -> None:
    about = {"schema": STORE_SCHEMA, "written_by": midef.__version__}
    location.put(STORE_JSON, sealed_json(about))


def parse_about(location: Location, content: bytes) -> dict[str, Any]:
    """What store.json says.

    Raises:
        DamagedFile: if it is damaged.
        StoreSchemaError: if a newer midef wrote it.
    """
    about = read_json(content, sealed_since=None)
    if about["schema"] > STORE_SCHEMA:
        raise StoreSchemaError(
            f"the store {location.shown} has schema {about['schema']}, written by midef {about.get('written_by')}; "
            f"midef {midef.__version__} supports up to {STORE_SCHEMA}: upgrade midef or choose another --store"
        )
    return about
