"""A folder or an object store, reached by paths relative to its root, so that a moved store still works."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pyarrow import ArrowException
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem
from typing_extensions import override

from midef.core.errors import DamagedFile, StoreError
from midef.core.text import readable
from midef.storage._local import digest_file, digest_stream, last_change, owner_lives, read_file, sync_folder
from midef.storage.processes import this_machine

SCHEMES = ("file", "s3", "gs", "gcs")
PRIVATE = ".tmp"
DAMAGED = ".damaged"
"""Name of folders where damaged files are set aside."""
_CHUNK_BYTES = 8 * 2**20
_PARALLEL_REQUESTS = 16
_OURS = (".json", ".parquet", ".log")
"""No folder of a store has such a name."""
_IN_THE_WAY = (FileExistsError, NotADirectoryError)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Location:
    """Place of a store: a folder or an object store.

    Every path given to a method is relative to the root and uses `/`. Files appear whole or not at all.
    Methods raise `StoreError` when the place cannot be used, `FileNotFoundError` when one file is not there, and
    `DamagedFile` when it is there and is no file that can be read: a folder, a link to nowhere, a bad sector.

    Args:
        uri: what `open` takes to find the same place from another working directory or machine.
        filesystem: pyarrow's.
        root: the same place as `filesystem` spells it.
        local: its folder, None for an object store.
    """

    uri: str
    filesystem: FileSystem = field(repr=False, compare=False)
    root: str = field(repr=False, compare=False)
    local: Path | None = field(repr=False, compare=False)

    @classmethod
    def open(cls, uri: str | Path) -> Location:
        """A bare path (may be relative) is local; otherwise `file://`, `s3://bucket/prefix`, `gs://bucket/prefix`.

        Options of the object store stand in the URI: `s3://bucket/prefix?region=eu-west-1`.

        Raises:
            StoreError: for a URI that cannot be read, or another kind of place.
        """
        text = str(uri) if isinstance(uri, str | Path) else ""
        scheme = text.partition("://")[0] if "://" in text else "file"
        if not text or scheme not in SCHEMES:
            raise StoreError(
                f"cannot use {text or uri!r} as a store; give a local path, s3://bucket/prefix or gs://bucket/prefix"
            )
        if "://" not in text:
            return cls._open_folder(Path(text))
        try:
            filesystem, root = FileSystem.from_uri(_with_one_request_writes(text))
        except (OSError, ValueError, ArrowException) as error:
            raise StoreError(f"cannot open the store {_shown(text)}: {error}; check the URI and its options") from error
        if isinstance(filesystem, LocalFileSystem):
            return cls._open_folder(Path(root))
        return cls(text, filesystem, root.rstrip("/"), None)

    @classmethod
    def _open_folder(cls, folder: Path) -> Location:
        folder = Path(os.path.abspath(folder.expanduser()))  # noqa: PTH100 - a link to the store stays a link
        return cls(str(folder), LocalFileSystem(), folder.as_posix(), folder)

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return Location.open, (self.uri,)

    @property
    def shown(self) -> str:
        """The URI without the credentials and options it may carry: for messages and logs."""
        return _shown(self.uri)

    def create(self) -> None:
        """Make sure the root exists."""
        with self.explained("create the store"):
            self.filesystem.create_dir(self.root, recursive=True)

    def get(self, path: str) -> bytes:
        """The content of one file."""
        with self.explained(f"read {path}"):
            if self.local is not None:
                return read_file(self.local / path)
            with self.filesystem.open_input_file(self._full(path)) as stream:
                return bytes(stream.read())

    def digest(self, path: str) -> tuple[str, int]:
        """sha256 and size of one file, read in parts."""
        with self.explained(f"read {path}"):
            if self.local is not None:
                return digest_file(self.local / path)
            with self.filesystem.open_input_stream(self._full(path)) as stream:
                return digest_stream(stream)

    def get_all(self, paths: Sequence[str]) -> list[bytes | DamagedFile]:
        """The content of many files, in order, the error of a damaged one; an object store is asked for several at a
        time."""
        if self.local is not None or len(paths) < 2:
            return [self._get_or_error(path) for path in paths]
        with ThreadPoolExecutor(_PARALLEL_REQUESTS) as pool:
            return list(pool.map(self._get_or_error, paths))

    def _get_or_error(self, path: str) -> bytes | DamagedFile:
        try:
            return self.get(path)
        except DamagedFile as error:
            return error

    def put(self, path: str, content: bytes) -> None:
        """Write or replace one file atomically and durably; a folder in its place is set aside."""
        with self.explained(f"write {path}", needs_bytes=len(content)):
            if self.local is None:
                # An object appears when its upload completes; one write is one upload.
                with self.filesystem.open_output_stream(self._full(path)) as stream:
                    stream.write(content)
                return
            target = self.local / path
            self.make_folder(target.parent)
            private = self.private_path(path)
            try:
                with private.open("xb") as stream:
                    stream.write(content)
                    stream.flush()
                    os.fsync(stream.fileno())
                try:
                    private.replace(target)
                except IsADirectoryError:
                    self.set_aside(path, "expected a file, found a folder")
                    private.replace(target)
            finally:
                private.unlink(missing_ok=True)
            sync_folder(target.parent)

    def upload(self, source: Path, path: str) -> None:
        """Copy a local file of any size to `path`. Not atomic: publish by writing another file last."""
        with (
            self.explained(f"upload {path}", needs_bytes=source.stat().st_size),
            source.open("rb") as stream,
            self.filesystem.open_output_stream(self._full(path)) as sink,
        ):
            shutil.copyfileobj(stream, sink, _CHUNK_BYTES)

    def download(self, path: str, target: Path) -> None:
        """Copy one file of any size to a local file."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            self.explained(f"download {path}", fills=target.parent),
            self.filesystem.open_input_stream(self._full(path)) as stream,
            target.open("wb") as sink,
        ):
            shutil.copyfileobj(stream, sink, _CHUNK_BYTES)

    def exists(self, path: str) -> bool:
        """True for a file and for a folder, and for a link to nowhere."""
        with self.explained(f"look for {path}"):
            if self.local is not None:
                return os.path.lexists(self.local / path)
            return bool(self.filesystem.get_file_info(self._full(path)).type != FileType.NotFound)

    def modified(self, path: str) -> float:
        """Seconds since the epoch at which a file was last written."""
        with self.explained(f"look for {path}"):
            if self.local is not None:
                return (self.local / path).lstat().st_mtime
            info = self.filesystem.get_file_info(self._full(path))
        if info.type == FileType.NotFound:
            raise FileNotFoundError(path)
        return float(info.mtime.timestamp())

    def files(self, folder: str, *, misplaced: Callable[[str], None] | None = None) -> list[str]:
        """Every file below a folder, sorted, in one listing; names that start with a dot are private and left out.

        A folder that is not there has no files; a file in its place is set aside. A folder that is called like a file
        of a store stands where one should be, and is listed as if it were one.

        Args:
            folder: to list.
            misplaced: called with the path of a file in the place of the folder, instead of setting it aside.
        """
        if self.local is not None:
            if folder and os.path.lexists(self.local / folder) and not (self.local / folder).is_dir():
                if misplaced is None:
                    self.try_to_set_aside(folder, "expected a folder, found a file")
                else:
                    misplaced(folder)
            return sorted(self._walk(self.local / folder))
        with self.explained(f"list {folder}"):
            entries = self.filesystem.get_file_info(
                FileSelector(self._full(folder), allow_not_found=True, recursive=True)
            )
        paths = (info.path.removeprefix(self.root + "/") for info in entries if info.type == FileType.File)
        return sorted(p for p in paths if not any(part.startswith(".") for part in p.split("/")))

    def _walk(self, folder: Path) -> Iterator[str]:
        assert self.local is not None
        # os.walk passes over folders that another process moves away meanwhile; arrow's selector raises.
        for place, folders, names in os.walk(folder):
            prefix = Path(place).relative_to(self.local).as_posix()
            names += [name for name in folders if name.endswith(_OURS)]
            folders[:] = [name for name in folders if not name.startswith(".") and not name.endswith(_OURS)]
            yield from (f"{prefix}/{name}" for name in names if not name.startswith("."))

    def delete(self, path: str) -> None:
        """Remove one file; one that is not there is fine."""
        with self.explained(f"delete {path}"):
            if self.local is not None:
                try:
                    (self.local / path).unlink(missing_ok=True)
                except (IsADirectoryError, PermissionError):
                    if not (self.local / path).is_dir():
                        raise
                    self.set_aside(path, "expected a file, found a folder")
                return
            try:
                self.filesystem.delete_file(self._full(path))
            except FileNotFoundError:
                return

    def move(self, path: str, target: str) -> None:
        """Rename a file, or a folder of a local store. `target` must not exist."""
        with self.explained(f"move {path}"):
            if self.local is not None:
                self.make_folder((self.local / target).parent)
            try:
                self.filesystem.move(self._full(path), self._full(target))
            except OSError as error:
                if not self.exists(path):  # object stores answer with an error of their own
                    raise FileNotFoundError(path) from error
                raise

    def set_aside(self, path: str, reason: str) -> str:
        """Move a damaged file, or a folder of a local store, to where a person can look at it; returns the new path.

        It goes into `.damaged/` beside what it stood among. Says so in a warning. One that is gone is fine.
        """
        top, _, rest = path.partition("/") if "/" in path else ("", "", path)
        target = self.unused("/".join(filter(None, (top, DAMAGED, rest.replace("/", "-")))))
        log.warning("%s is damaged and set aside as %s: %s", path, target, reason)
        try:
            self.move(path, target)
        except FileNotFoundError:
            log.info("%s was set aside by another process", path)
        return target

    def try_to_set_aside(self, path: str, reason: str) -> None:
        """The same for what only reads: where it cannot be moved, it stays, and the warning says so."""
        try:
            self.set_aside(path, reason)
        except StoreError as error:
            log.warning("%s stays where it is: %s", path, error)

    def make_folder(self, folder: Path) -> None:
        """Make a folder of a local store, with those above it; a file or a dead link in its way is set aside."""
        assert self.local is not None
        while True:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except _IN_THE_WAY:
                above = [path for path in (*reversed(folder.parents), folder) if path.is_relative_to(self.local)]
                blocking = next((p for p in above[1:] if os.path.lexists(p) and not p.is_dir()), None)
                if blocking is None:
                    raise
                self.set_aside(blocking.relative_to(self.local).as_posix(), "expected a folder, found a file")
            else:
                return

    def set_aside_before(self) -> list[str]:
        """What lies in the folders of damaged things."""
        with self.explained("list what was set aside"):
            tops = self.filesystem.get_file_info(FileSelector(self.root))
            folders = [
                self._full(DAMAGED),
                *(f"{top.path}/{DAMAGED}" for top in tops if top.type == FileType.Directory),
            ]
            found = [self.filesystem.get_file_info(FileSelector(f, allow_not_found=True)) for f in folders]
        return sorted(info.path.removeprefix(self.root + "/") for infos in found for info in infos)

    def unused(self, path: str) -> str:
        """The first of `path-1`, `path-2`, ... that does not exist."""
        number = 1
        while self.exists(f"{path}-{number}"):
            number += 1
        return f"{path}-{number}"

    def private_path(self, path: str) -> Path:
        """A fresh local path nobody else uses, on the file system that holds `path`, so that a rename is atomic."""
        assert self.local is not None
        top = path.split("/")[0] if "/" in path else ""
        folder = self.local / top / PRIVATE
        self.make_folder(folder)
        return folder / f"{this_machine()}-{os.getpid()}-{uuid.uuid4().hex}"

    def sweep_private(self, older_than_s: float) -> int:
        """Remove what dead runs left in the private folders of a local store; returns how many things that were.

        What a process of this machine left is removed as soon as it is dead; what another machine's left, once
        nothing of it changed for `older_than_s`.
        """
        if self.local is None:
            return 0
        removed = 0
        for folder in (self.local / PRIVATE, *self.local.glob(f"*/{PRIVATE}")):
            for path in folder.iterdir() if folder.is_dir() else ():
                lives = owner_lives(path.name)
                if lives or (lives is None and time.time() - last_change(path) < older_than_s):
                    continue
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
                removed += 1
        return removed

    def free_bytes(self) -> int | None:
        """Free space of a local store; None for an object store, which does not tell."""
        if self.local is None:
            return None
        place = next(p for p in (self.local, *self.local.parents) if p.exists())
        return shutil.disk_usage(place).free

    @contextmanager
    def explained(self, doing: str, *, needs_bytes: int | None = None, fills: Path | None = None) -> Iterator[None]:
        """Turn an `OSError` into a `StoreError` that tells what to do; a full disk gets its own message.

        Args:
            doing: what failed, as part of the message.
            needs_bytes: space that it takes.
            fills: the folder that is written to, if that is not the store itself.
        """
        try:
            yield
        except FileNotFoundError:
            raise
        except (OSError, ArrowException) as error:
            if is_full(error):
                raise self.full(needs_bytes, fills) from error
            raise StoreError(
                f"cannot {doing} in the store {self.shown}: {error}; check the place, your rights and the connection"
            ) from error

    def full(self, needs_bytes: int | None = None, fills: Path | None = None) -> StoreError:
        """The error for a store, or a temporary folder beside it, without space."""
        if fills is not None and self.local is None:
            return StoreError(
                f"no space in {fills}, where files of {self.shown} pass through; free space there or set TMPDIR to a "
                "larger disk; nothing finished is lost"
            )
        free = self.free_bytes()
        needs = f" needs {readable(needs_bytes)}," if needs_bytes is not None else ""
        has = f" has {readable(free)} free" if free is not None else " takes no more"
        return StoreError(
            f"store is full: {self.shown}{needs}{has}; free space or choose another --store; nothing finished is lost"
        )

    def _full(self, path: str) -> str:
        return f"{self.root}/{path}"


def _with_one_request_writes(uri: str) -> str:
    """The URI with the option by which arrow writes a small object in one request to S3, not three, all billed."""
    if not uri.startswith("s3://") or "allow_delayed_open=" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}allow_delayed_open=true"


def is_full(error: BaseException) -> bool:
    """True if the error means that no space is left. Libraries in Rust or C++ only say so in their text."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error)


def _shown(uri: str) -> str:
    if "://" not in uri:
        return uri
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
