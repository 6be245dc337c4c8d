"""The two documents of an artifact: `META.json`, which makes it exist, and `recipe.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import midef
from midef.core.code_version import code_version
from midef.core.errors import DamagedArtifact, DamagedFile, StoreSchemaError
from midef.core.recipe import ArtifactKey, Recipe
from midef.storage.seals import is_sealed, read_json, sealed_json

META_SCHEMA = 2
"""2: META.json carries a checksum of itself; what an older midef wrote has none."""
_SEALED_SINCE = 2
REBUILD = "`midef verify --repair` sets it aside, and a run that needs it builds it anew"
META, RECIPE = "META.json", "recipe.json"
_FIELDS = {"schema": int, "key": str, "midef": str, "wall_s": int | float, "facts": dict, "payload": str, "files": dict}


def describe(
    key: ArtifactKey,
    files: Mapping[str, Mapping[str, Any]],
    *,
    wall_s: float,
    facts: Mapping[str, Any] | None,
    packages: Mapping[str, str] | None,
) -> dict[str, Any]:
    """Content of META.json. `payload` is the folder of the payload inside the artifact's folder.

    Raises:
        ValueError: for facts that are not JSON.
    """
    meta = {
        "schema": META_SCHEMA,
        "key": str(key),
        "midef": code_version(),
        "packages": dict(packages or {}),
        "wall_s": wall_s,
        "facts": dict(facts or {}),
        "payload": "",
        "files": dict(files),
    }
    try:
        meta_json(meta)
    except (TypeError, ValueError) as error:
        raise ValueError(f"facts about {key.short} must be JSON data without NaN: {error}") from error
    return meta


def read_meta(key: ArtifactKey, content: bytes) -> dict[str, Any]:
    """
    Raises:
        StoreSchemaError: if a newer midef wrote it.
        DamagedArtifact: if it is not the META.json of this key.
    """
    try:
        meta = read_json(content, sealed_since=_SEALED_SINCE)
    except DamagedFile as error:
        raise _damaged(key, f"{META}: {error}") from error
    schema = meta["schema"]
    if schema > META_SCHEMA:
        raise StoreSchemaError(
            f"artifact {key.short} has schema {schema}, written by midef {meta.get('midef')}; "
            f"midef {midef.__version__} supports up to {META_SCHEMA}: upgrade midef or choose another --store"
        )
    wrong = [name for name, kind in _FIELDS.items() if not isinstance(meta.get(name), kind)]
    if wrong:
        raise _damaged(key, f"{META}: expected {', '.join(_FIELDS)}; missing or of another type: {', '.join(wrong)}")
    if meta["key"] != str(key):
        raise _damaged(key, f"{META}: expected the key {key}, found {meta['key']}")
    names = [*meta["files"], *([meta["payload"]] if meta["payload"] else [])]
    outside = [name for name in names if any(part in ("", "..") for part in name.split("/"))]
    if outside or not meta["files"]:
        raise _damaged(key, f"{META}: expected files inside the artifact, found {outside or 'none'}")
    return meta


def read_recipe(key: ArtifactKey, content: bytes) -> Recipe:
    """
    Raises:
        DamagedArtifact: if it is unreadable or has another key.
    """
    try:
        recipe = Recipe.from_plain(json.loads(content))
        stored_key = recipe.key
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _damaged(key, f"{RECIPE} cannot be read: {error!r}") from error
    if stored_key != key:
        raise _damaged(key, f"{RECIPE}: expected the key {key}, found {stored_key}")
    return recipe


def predates_checksums(content: bytes) -> bool:
    """True for a META.json that an older midef wrote: nothing in it proves its facts."""
    return not is_sealed(content)


def unreadable(key: ArtifactKey, name: str, error: DamagedFile) -> DamagedArtifact:
    """The error for an artifact one of whose documents is no file that can be read."""
    return _damaged(key, f"{name}: {error}")


def no_recipe(key: ArtifactKey) -> DamagedArtifact:
    """The error for a complete artifact that lost its recipe."""
    return _damaged(key, f"{RECIPE}: expected a file, found none")


def recipe_json(recipe: Recipe) -> bytes:
    """Content of recipe.json, whose checksum is the artifact's key; equal recipes have equal bytes."""
    return json.dumps(recipe.as_plain(), indent=1, sort_keys=True, allow_nan=False).encode()


def meta_json(meta: Mapping[str, Any]) -> bytes:
    """Content of META.json, with a checksum of itself."""
    return sealed_json(meta, indent=1)


def _damaged(key: ArtifactKey, problem: str) -> DamagedArtifact:
    return DamagedArtifact(f"artifact {key.short} is damaged: {problem}; {REBUILD}")
