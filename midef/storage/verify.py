"""Reads everything in a store, says what is damaged and what was built from it, and sets it aside if asked."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import groupby

from midef.core.errors import DamagedArtifact, DamagedFile, MissingArtifact, StoreError, StoreSchemaError
from midef.core.recipe import KINDS, ArtifactKey
from midef.core.rows import ResultRow
from midef.storage._meta import META
from midef.storage.manifests import parse_manifest, parse_mark
from midef.storage.matches import parse_match
from midef.storage.published import PATH as PUBLISHED
from midef.storage.published import parse_published
from midef.storage.seals import is_sealed
from midef.storage.store import STORE_JSON, Store, parse_about

_EVERY_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Document:
    """Files of one kind.

    Args:
        pattern: of their paths, with `*` for one name.
        what: they are.
        check: reads the content of the file at a path; raises DamagedFile, StoreSchemaError for one of a newer midef.
        has_checksum: False for files that never carry one.
    """

    pattern: str
    what: str
    check: Callable[[str, bytes], object]
    has_checksum: bool = True


@dataclass(frozen=True, kw_only=True)
class Damage:
    """Something damaged in a store.

    Args:
        path: relative to the store.
        what: `target`, `rows`, `plan` and so on.
        problem: what is wrong.
        built_from_it: stored things that were built from it, "" for none. They are as they were.
        set_aside_as: its new path, "" while it stays.
    """

    path: str
    what: str
    problem: str
    built_from_it: str = ""
    set_aside_as: str = ""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Result of `verify`.

    Args:
        store: its name.
        checked: files and artifacts that were read, by what they are.
        damaged: what was found.
        before_checksums: files that an older midef wrote, without a checksum of themselves.
        newer: files that a newer midef wrote, which were not read.
        not_compared: cells whose rows could not be compared, because their scores are not stored.
        set_aside_before: things that lie in `.damaged` since earlier.
    """

    store: str
    checked: Mapping[str, int]
    damaged: tuple[Damage, ...]
    before_checksums: int = 0
    newer: int = 0
    not_compared: int = 0
    set_aside_before: int = 0

    @property
    def is_clean(self) -> bool:
        """True if nothing damaged is left in its place."""
        return all(damage.set_aside_as for damage in self.damaged)


def verify(
    store: Store,
    *,
    repair: bool = False,
    documents: Sequence[Document] = (),
    disagreement: Callable[[Sequence[ResultRow]], str] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Verification:
    """Read every byte of a store that is under a checksum.

    Args:
        store: to read.
        repair: set aside what is damaged; a run that needs it builds it anew.
        documents: files to read beside those of this package.
        disagreement: says in which way the rows of a cell are not those of its artifacts, "" if they agree; raises
            MissingArtifact where these are not stored.
        say: called with the progress every ten seconds.
    """
    reading = _Reading(store, say)
    reading.artifacts()
    rows = reading.results()
    for document in (*_documents(store), *documents):
        reading.documents(document)
    if disagreement is not None:
        reading.compare(rows, disagreement)
    before = len(store.location.set_aside_before())
    damaged = [replace(d, built_from_it=reading.built_from(key, rows)) for d, key in reading.damaged]
    if repair:
        keys = [key for _, key in reading.damaged]
        damaged = [replace(d, set_aside_as=_set_aside(store, d, key)) for d, key in zip(damaged, keys, strict=True)]
    return Verification(
        store=store.location.shown,
        checked=dict(reading.checked),
        damaged=tuple(damaged),
        before_checksums=reading.before_checksums,
        newer=reading.newer,
        not_compared=reading.not_compared,
        set_aside_before=before,
    )


def _documents(store: Store) -> list[Document]:
    def plan(path: str, content: bytes) -> object:
        return parse_manifest(path.split("/")[1], content)

    return [
        Document(pattern=STORE_JSON, what="store.json", check=lambda _, content: parse_about(store.location, content)),
        Document(pattern=PUBLISHED, what="published numbers", check=lambda _, content: parse_published(content)),
        Document(pattern="sweeps/*/manifest.parquet", what="plan", check=plan),
        Document(pattern="sweeps/*/replaced.json", what="mark", check=lambda _, content: parse_mark(content)),
        Document(pattern="matches/*.json", what="report of matching", check=parse_match),
    ]


class _Reading:
    """What was read so far.

    Args:
        store: to read.
        say: called with the progress.
    """

    def __init__(self, store: Store, say: Callable[[str], None]) -> None:
        self.store, self.location, self.say = store, store.location, say
        self.checked: Counter[str] = Counter()
        self.damaged: list[tuple[Damage, ArtifactKey | None]] = []
        self.before_checksums = self.newer = self.not_compared = 0
        self._dependents: dict[ArtifactKey, set[ArtifactKey]] = defaultdict(set)
        self._said = time.monotonic()

    def artifacts(self) -> None:
        """Every artifact, each of its bytes."""
        paths = self.location.files("artifacts", misplaced=self._misplaced)
        folders = {key: list(inside) for key, inside in groupby(paths, key=lambda path: tuple(path.split("/")[1:3]))}
        for number, (names, inside) in enumerate(folders.items()):
            self._tell(f"{number} of {len(folders)} artifacts read")
            if names[0] not in KINDS or "." in names[-1]:
                continue
            folder = "/".join(("artifacts", *names))
            if inside == [folder]:
                self._misplaced(folder)
                continue
            key = ArtifactKey(*names)
            if f"{folder}/{META}" not in inside:
                if self.location.local is not None:  # in an object store it may be on its way
                    self._add(folder, key.kind, f"expected {META}, found none", key)
                continue
            self._artifact(folder, key)

    def _artifact(self, folder: str, key: ArtifactKey) -> None:
        try:
            recipe = self.store.artifacts.check(key)
            self.before_checksums += self.store.artifacts.predates_checksums(key)
        except (MissingArtifact, FileNotFoundError):
            return  # set aside meanwhile
        except StoreSchemaError:
            self.newer += 1
            return
        except (DamagedArtifact, DamagedFile) as error:
            self._add(folder, key.kind, str(error), key)
            return
        self.checked[key.kind] += 1
        for needed in recipe.walk():
            if needed.key != key:
                self._dependents[needed.key].add(key)

    def results(self) -> list[ResultRow]:
        """Every file of rows; returns the rows of those that are whole."""
        if not self._is_folder("results"):
            return []
        files, rows = self.store.results.check()
        for file in files:
            if file.error is None:
                self.checked["rows"] += 1
                self.before_checksums += not file.is_sealed
            elif isinstance(file.error, DamagedFile):
                self._add(file.path, "rows", str(file.error))
            else:
                self.newer += 1
        return rows

    def documents(self, document: Document) -> None:
        """Every file of a kind."""
        top, *rest = document.pattern.split("/")
        for path in self.location.files(top, misplaced=self._misplaced) if rest else [top]:
            if _is_below(path, document.pattern):
                self._misplaced(path)
            elif path.count("/") == len(rest) and fnmatchcase(path, document.pattern):
                self._document(path, document)

    def _document(self, path: str, document: Document) -> None:
        try:
            content = self.location.get(path)
            document.check(path, content)
        except FileNotFoundError:
            return
        except StoreSchemaError:
            self.newer += 1
        except DamagedFile as error:
            self._add(path, document.what, str(error))
        else:
            self.checked[document.what] += 1
            self.before_checksums += document.has_checksum and not is_sealed(content)

    def compare(self, rows: Iterable[ResultRow], disagreement: Callable[[Sequence[ResultRow]], str]) -> None:
        """Rows of each cell with the artifacts they were written from."""
        for cell, own in groupby(rows, key=lambda row: row.cell):
            self._tell(f"rows of cell {cell[:10]} compared")
            try:
                problem = disagreement(list(own))
            except (MissingArtifact, DamagedArtifact):
                self.not_compared += 1
                continue
            if problem:
                self._add(f"results/{cell}.parquet", "rows of a cell", problem)

    def built_from(self, key: ArtifactKey | None, rows: Iterable[ResultRow]) -> str:
        """What was built from an artifact: `2 target, 4 scores, the rows of 3 cells`."""
        if key is None:
            return ""
        built = self._dependents[key]
        names = {str(one) for one in (key, *built)}
        cells = {row.cell for row in rows if names & {row.target_key, row.reconstructions_key, row.scores_key}}
        counts = Counter(one.kind for one in built)
        parts = [f"{counts[kind]} {kind}" for kind in KINDS if counts[kind]]
        parts += [f"the rows of {len(cells)} cell{'' if len(cells) == 1 else 's'}"] if cells else []
        return ", ".join(parts)

    def _is_folder(self, top: str) -> bool:
        found: list[str] = []
        self.location.files(top, misplaced=found.append)
        for path in found:
            self._misplaced(path)
        return not found

    def _misplaced(self, path: str) -> None:
        if all(damage.path != path for damage, _ in self.damaged):  # two kinds of document may share a folder
            self._add(path, "folder", "expected a folder, found a file")

    def _add(self, path: str, what: str, problem: str, key: ArtifactKey | None = None) -> None:
        self.damaged.append((Damage(path=path, what=what, problem=problem), key))

    def _tell(self, progress: str) -> None:
        if time.monotonic() - self._said >= _EVERY_S:
            self._said = time.monotonic()
            self.say(progress)


def _is_below(path: str, pattern: str) -> bool:
    """True if a file stands where a pattern has a folder."""
    names, parts = path.split("/"), pattern.split("/")
    is_folder = 1 < len(names) < len(parts) and "." not in names[-1]
    return is_folder and fnmatchcase(path, "/".join(parts[: len(names)]))


def _set_aside(store: Store, damage: Damage, key: ArtifactKey | None) -> str:
    """Set it aside and return the new path; "" where it cannot be moved."""
    try:
        if key is not None:
            return store.artifacts.set_aside(key, damage.problem)
        if damage.what == "rows of a cell":
            return store.results.set_aside(damage.path.split("/")[1].removesuffix(".parquet"), damage.problem)
        aside = store.location.set_aside(damage.path, damage.problem)
        if damage.path == STORE_JSON:
            Store.open(store.uri)
    except StoreError:
        return ""
    return aside
