"""Shared vocabulary: keys, recipes, rows, seeds, errors. Imports neither torch nor Ray."""

from midef.core.choice import Choice
from midef.core.errors import (
    AccessError,
    DamagedArtifact,
    DamagedFile,
    DataError,
    MidefError,
    MissingArtifact,
    NotApplicable,
    PreflightError,
    ShapeError,
    SpecError,
    StoreError,
    StoreSchemaError,
    TooFewSamples,
)
from midef.core.failure import Failure
from midef.core.recipe import ArtifactKey, Inputs, Recipe
from midef.core.registry import Registry
from midef.core.rows import ResultRow
from midef.core.seeds import derive_seed
from midef.core.setup import Cell, Protocol, Setup

__all__ = [
    "AccessError",
    "ArtifactKey",
    "Cell",
    "Choice",
    "DamagedArtifact",
    "DamagedFile",
    "DataError",
    "Failure",
    "Inputs",
    "MidefError",
    "MissingArtifact",
    "NotApplicable",
    "PreflightError",
    "Protocol",
    "Recipe",
    "Registry",
    "ResultRow",
    "Setup",
    "ShapeError",
    "SpecError",
    "StoreError",
    "StoreSchemaError",
    "TooFewSamples",
    "derive_seed",
]
