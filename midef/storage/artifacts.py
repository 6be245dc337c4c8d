"""Stores artifacts: published whole or not at all, verified when loaded, set aside when damaged."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from midef.core.errors import DamagedArtifact, DamagedFile, MissingArtifact, StoreError
from midef.core.recipe import KINDS, ArtifactKey, Recipe
from midef.core.text import readable
from midef.storage._checksums import check_payload, checksums, compare
from midef.storage._local import sync_folder
from midef.storage._meta import (
    META,
    META_SCHEMA,
    RECIPE,
    describe,
    meta_json,
    no_recipe,
    predates_checksums,
    read_meta,
    read_recipe,
    recipe_json,
    unreadable,
)
from midef.storage.cache import cache_folder
from midef.storage.location import DAMAGED, Location, is_full

DAY_S = 86_400.0
_ROOT = "artifacts"
_OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)

log = logging.getLogger(__name__)


class ArtifactStore:
    """Artifacts under `artifacts/<kind>/<digest>/`: payload, `recipe.json`, then `META.json`, which makes it exist.

    On an object store, where a folder cannot be renamed, each publisher uploads its payload into a folder of its own
    inside `<digest>/`, and META.json names the one that counts: two publishers cannot mix their files.
    """

    def __init__(self, location: Location) -> None:
        self.location = location

    def has(self, key: ArtifactKey) -> bool:
        """True if a complete artifact is stored; says nothing about damage."""
        return self.location.exists(f"{_folder(key)}/{META}")

    def keys(self, kind: str | None = None) -> set[ArtifactKey]:
        """Every complete artifact, from one listing: ask once when planning, not `has` a thousand times."""
        found = set()
        for path in self.location.files(f"{_ROOT}/{kind}" if kind else _ROOT):
            parts = path.split("/")
            if len(parts) == 4 and parts[3] == META:
                found.add(ArtifactKey(parts[1], parts[2]))
            elif len(parts) < 4 and parts[1] in KINDS and "." not in parts[-1]:
                self.location.try_to_set_aside(path, "expected a folder, found a file")
        return found

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A private local folder to write payload files into before `publish`; gone afterwards.

        Raises:
            StoreError: if what is done inside runs out of disk space.
        """
        folder = self._new_folder()
        try:
            yield folder
        except Exception as error:
            if is_full(error) and not isinstance(error, StoreError):
                raise self.location.full(fills=folder.parent) from error
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(
        self,
        recipe: Recipe,
        folder: Path,
        *,
        wall_s: float,
        facts: Mapping[str, Any] | None = None,
        packages: Mapping[str, str] | None = None,
    ) -> None:
        """Store the payload files in `folder` as the artifact of `recipe`.

        If the recipe is stored already, or another process publishes it meanwhile, the stored one is kept and this one
        is dropped; a damaged one has to be `set_aside` first.

        Args:
            recipe: how the payload was built.
            folder: from `workspace`; its files are moved.
            wall_s: seconds it took to build.
            facts: any JSON data worth keeping (epochs, accuracy, device).
            packages: versions it was built with.

        Raises:
            ValueError: for a payload that is empty or might execute code when loaded, or facts that are not JSON.
            StoreError: if the store is full or cannot be written.
        """
        files = checksums(folder, reserved=(META, RECIPE))
        self._store(recipe, folder, describe(recipe.key, files, wall_s=wall_s, facts=facts, packages=packages))

    def adopt(self, recipe: Recipe, folder: Path, meta: Mapping[str, Any]) -> None:
        """Store an artifact of another store as it was built: facts, versions and seconds are kept.

        Args:
            recipe: how it was built.
            folder: from `workspace`; its payload files, nothing else, are moved.
            meta: of the other store, as `meta` returns it.

        Raises:
            ValueError: for a payload that is empty or might execute code when loaded.
            DamagedArtifact: if the files are not those that `meta` names.
            StoreError: if the store is full or cannot be written.
        """
        found = checksums(folder, reserved=(META, RECIPE))
        if found != meta["files"]:
            raise DamagedArtifact(f"artifact {recipe.key.short} is damaged: its files are not those that {META} names")
        self._store(recipe, folder, {**meta, "schema": META_SCHEMA, "payload": ""})

    def _store(self, recipe: Recipe, folder: Path, meta: dict[str, Any]) -> None:
        if self.has(recipe.key):
            return
        if self.location.local is None:
            self._upload(recipe, folder, meta)
            return
        with self.location.explained(f"publish {recipe.key.short}"):
            if folder.resolve().parent == self._new_path().resolve().parent:
                self._rename(recipe, folder, meta)
                return
            with self.workspace() as private:
                shutil.copytree(folder, private, dirs_exist_ok=True)
                self._rename(recipe, private, meta)

    def _rename(self, recipe: Recipe, folder: Path, meta: dict[str, Any]) -> None:
        assert self.location.local is not None
        (folder / RECIPE).write_bytes(recipe_json(recipe))
        (folder / META).write_bytes(meta_json(meta))
        _sync(folder)
        target = self.location.local / _folder(recipe.key)
        self.location.make_folder(target.parent)
        while True:
            try:
                folder.rename(target)
            except OSError as error:
                if error.errno not in _OCCUPIED:
                    raise
                if self.has(recipe.key):
                    return
                self.set_aside(recipe.key, f"expected a folder with {META}, found something else")
            else:
                sync_folder(target.parent)
                return

    def _upload(self, recipe: Recipe, folder: Path, meta: dict[str, Any]) -> None:
        root, payload = _folder(recipe.key), uuid.uuid4().hex
        for name in meta["files"]:
            self.location.upload(folder / name, f"{root}/{payload}/{name}")
        if self.has(recipe.key):
            for name in meta["files"]:
                self.location.delete(f"{root}/{payload}/{name}")
            return
        self.location.put(f"{root}/{RECIPE}", recipe_json(recipe))
        self.location.put(f"{root}/{META}", meta_json({**meta, "payload": payload}))

    def fetch(self, key: ArtifactKey) -> Path:
        """A local folder with the payload and `recipe.json`, checked against META.json; read from it, never write.

        Files that did not change since this process last checked them are not read again.

        Raises:
            MissingArtifact: if no complete artifact is stored.
            DamagedArtifact: naming each file, the expected and the found checksum. `set_aside` makes room to rebuild.
        """
        meta = self.meta(key)
        recipe = self.recipe(key)
        if self.location.local is not None:
            folder: Path = self.location.local / _folder(key) / meta["payload"]
            check_payload(key, folder, meta["files"], self.location.shown)
            return folder
        return self._download(recipe, meta)

    def _download(self, recipe: Recipe, meta: dict[str, Any]) -> Path:
        key = recipe.key
        cache = cache_folder(self.location.uri)
        # The payload folder is unique to one publication, so a rebuilt artifact never meets the copy of its past.
        target = cache / key.kind / f"{key.digest}-{meta['payload'] or 'plain'}"
        if target.is_dir():
            try:
                check_payload(key, target, meta["files"], str(target))
            except DamagedArtifact as error:
                log.warning("the cached copy of %s is damaged and downloaded again: %s", key.short, error)
                shutil.rmtree(target, ignore_errors=True)
            else:
                return target
        elif os.path.lexists(target):
            target.unlink()  # no folder, so no copy
        target.parent.mkdir(parents=True, exist_ok=True)
        private = Path(tempfile.mkdtemp(prefix=".", dir=cache))
        root = f"{_folder(key)}/{meta['payload']}".rstrip("/")
        try:
            for name in meta["files"]:
                try:
                    self.location.download(f"{root}/{name}", private / name)
                except FileNotFoundError:
                    continue  # the check below names every file that is not there
            (private / RECIPE).write_bytes(recipe_json(recipe))
            check_payload(key, private, meta["files"], self.location.shown)
            try:
                private.rename(target)
            except OSError as error:
                if error.errno not in _OCCUPIED:
                    raise
            check_payload(key, target, meta["files"], self.location.shown)
        finally:
            shutil.rmtree(private, ignore_errors=True)
        return target

    def check(self, key: ArtifactKey) -> Recipe:
        """Read every byte of an artifact again and return its recipe.

        Raises:
            MissingArtifact: if no complete artifact is stored.
            DamagedArtifact: as `fetch`.
        """
        meta, recipe = self.meta(key), self.recipe(key)
        root = f"{_folder(key)}/{meta['payload']}".rstrip("/")
        compare(key, meta["files"], lambda name: self.location.digest(f"{root}/{name}"), self.location.shown)
        return recipe

    def predates_checksums(self, key: ArtifactKey) -> bool:
        """True if an older midef wrote its META.json, whose facts no checksum proves."""
        return predates_checksums(self.location.get(f"{_folder(key)}/{META}"))

    def meta(self, key: ArtifactKey) -> dict[str, Any]:
        """Content of META.json, checked: schema, key, midef, packages, wall_s, facts, payload, files.

        Raises:
            MissingArtifact: if no complete artifact is stored.
            DamagedArtifact: if it is not what was written. An older midef wrote no checksum of META.json itself.
        """
        try:
            content = self.location.get(f"{_folder(key)}/{META}")
        except FileNotFoundError:
            raise MissingArtifact(
                f"no complete artifact {key.short} in the store {self.location.shown}; run the plan again to build it"
            ) from None
        except DamagedFile as error:
            raise unreadable(key, META, error) from error
        return read_meta(key, content)

    def recipe(self, key: ArtifactKey) -> Recipe:
        """Recipe of the artifact.

        Raises:
            MissingArtifact: if no complete artifact is stored.
            DamagedArtifact: if `recipe.json` is unreadable or has another key.
        """
        try:
            content = self.location.get(f"{_folder(key)}/{RECIPE}")
        except FileNotFoundError:
            self.meta(key)  # explains an artifact that is missing as a whole
            raise no_recipe(key) from None
        except DamagedFile as error:
            raise unreadable(key, RECIPE, error) from error
        return read_recipe(key, content)

    def set_aside(self, key: ArtifactKey, reason: str) -> str:
        """Move a damaged artifact to `artifacts/.damaged/`, where a person can look at it; returns the new path."""
        target = self.location.unused(f"{_ROOT}/{DAMAGED}/{key.kind}-{key.digest}")
        log.warning("artifact %s is set aside as %s and will be rebuilt: %s", key.short, target, reason)
        try:
            if self.location.local is not None:
                self.location.move(_folder(key), target)
            else:
                self._move_objects(key, target)
        except FileNotFoundError:
            log.info("artifact %s was set aside by another process", key.short)
        return target

    def _move_objects(self, key: ArtifactKey, target: str) -> None:
        root = _folder(key)
        if self.has(key):
            meta = self.location.get(f"{root}/{META}")
            self.location.delete(f"{root}/{META}")  # first: from here on the artifact does not exist
            self.location.put(f"{target}/{META}", meta)
        for path in self.location.files(root):
            self.location.move(path, f"{target}/{path.removeprefix(root + '/')}")

    def sweep_tmp(self, older_than_s: float = DAY_S) -> int:
        """Remove what dead runs left behind in a local store; returns the number of things removed.

        Choose `older_than_s` longer than a build on another machine may go without writing a file.
        """
        return self.location.sweep_private(older_than_s)

    def free_bytes(self) -> int | None:
        """Free space of a local store; None for an object store."""
        return self.location.free_bytes()

    def check_space(self, needs_bytes: int) -> None:
        """
        Raises:
            StoreError: if a local store has less than `needs_bytes` free.
        """
        free = self.free_bytes()
        if free is not None and free < needs_bytes:
            raise StoreError(
                f"store is too small: the plan needs {readable(needs_bytes)}, {self.location.shown} has "
                f"{readable(free)} free; free space or choose another --store"
            )

    def _new_path(self) -> Path:
        return self.location.private_path(f"{_ROOT}/")

    def _new_folder(self) -> Path:
        with self.location.explained("make a private folder"):
            if self.location.local is None:
                return Path(tempfile.mkdtemp(prefix="midef-"))
            folder = self._new_path()
            folder.mkdir()
            return folder


def _folder(key: ArtifactKey) -> str:
    return f"{_ROOT}/{key.kind}/{key.digest}"


def _sync(folder: Path) -> None:
    for place, _, names in os.walk(folder):
        for name in names:
            with (Path(place) / name).open("rb") as stream:
                os.fsync(stream.fileno())
        sync_folder(Path(place))
