"""Artifacts, result rows and sweep manifests. Imports neither torch nor Ray."""

from midef.storage.artifacts import ArtifactStore
from midef.storage.location import Location
from midef.storage.manifests import Manifest, SweepStore
from midef.storage.results import ResultStore
from midef.storage.selection import rows_of_sweep
from midef.storage.store import Store

__all__ = ["ArtifactStore", "Location", "Manifest", "ResultStore", "Store", "SweepStore", "rows_of_sweep"]
