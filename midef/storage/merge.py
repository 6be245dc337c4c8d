"""Merges stores: what one has and the other lacks is copied; what both have is compared; nothing is overwritten.

What has one name and two contents is a conflict, and the store that is merged into keeps its own. What was built from
such an artifact is left out with it: reconstructions belong to the very network that was attacked. Of the same cell, a
measurement takes the place of a failure, since nothing measured is lost by that.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from midef.core.errors import DamagedArtifact, DamagedFile, SpecError, StoreSchemaError, few
from midef.core.recipe import KINDS, ArtifactKey, Recipe
from midef.core.rows import ResultRow
from midef.storage.addresses import stored_sweeps
from midef.storage.published import merge_published, read_published
from midef.storage.store import Store

_CIRCUMSTANCES = ("sweep", "wall_s", "peak_memory_mb", "device", "code_version")
"""Columns of a row in which two measurements of one cell may differ and still say the same."""
_KEYS = ("target_key", "reconstructions_key", "scores_key")
_DOCUMENTS = ("matches", "analyses")
"""Folders of JSON files, each of a name that says what it is about."""
_LOGS = "logs"


@dataclass
class Merged:
    """What became of the things of one store.

    Args:
        source: its name.
        copied: things that are new here, by what they are.
        same: things that both had.
        failures_filled: cells that had failed here and are measured there.
        conflicts: what has one name and two contents, one sentence each; kept as it was here.
        left_out: things that were built from an artifact in conflict, or that are damaged; one sentence each.
        shared_names: names that several sweeps have now, with their addresses.
    """

    source: str
    copied: Counter[str] = field(default_factory=Counter)
    same: Counter[str] = field(default_factory=Counter)
    failures_filled: int = 0
    conflicts: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    shared_names: list[str] = field(default_factory=list)


def merge(source: Store, into: Store, say: Callable[[str], None] = lambda text: None) -> Merged:
    """Copy what `into` lacks from `source`, which is only read. May be repeated, also after it was killed.

    Args:
        source: another store.
        into: gains what it lacks.
        say: called with the progress.

    Raises:
        SpecError: if both are one store.
        StoreError: if one cannot be read, the other not written, or a newer midef wrote something.
    """
    if source.uri == into.uri:
        raise SpecError(f"{source.location.shown} cannot be merged into itself; give another --store")
    return _Merge(source, into, say).all()


class _Merge:
    def __init__(self, source: Store, into: Store, say: Callable[[str], None]) -> None:
        self.source, self.into, self.say = source, into, say
        self.report = Merged(source.location.shown)
        self.refused: set[ArtifactKey] = set()
        """Artifacts of the source that are in conflict or damaged, and all that was built from them."""

    def all(self) -> Merged:
        """Artifacts first, and what says that they are there afterwards: a merge that is killed leaves no promise."""
        self._artifacts()
        self._rows()
        self._plans()
        for folder in _DOCUMENTS:
            self._documents(folder)
        self._published()
        self._logs()
        self._names()
        return self.report

    def _artifacts(self) -> None:
        theirs, ours = self.source.artifacts.keys(), self.into.artifacts.keys()
        recipes: dict[ArtifactKey, Recipe] = {}
        size = 0
        for key in sorted(theirs, key=_place):
            try:
                meta, recipe = self.source.artifacts.meta(key), self.source.artifacts.recipe(key)
                if key in ours and meta["files"] != self.into.artifacts.meta(key)["files"]:
                    self._refuse(key, self._conflict(key, meta), self.report.conflicts)
                    continue
            except (DamagedArtifact, DamagedFile) as error:
                self._refuse(key, str(error), self.report.left_out)
                continue
            if key in ours:
                self.report.same[key.kind] += 1
                continue
            recipes[key] = recipe
            size += sum(about["size"] for about in meta["files"].values())
        self.into.artifacts.check_space(size)
        for number, (key, recipe) in enumerate(recipes.items()):
            self.say(f"{number} of {len(recipes)} artifacts copied")
            because = next((one.key for one in recipe.walk() if one.key in self.refused and one.key != key), None)
            if because is not None:
                text = f"{key.short} was built from {because.short}, which is not merged"
                self._refuse(key, text, self.report.left_out)
            else:
                self._copy(key, recipe)

    def _refuse(self, key: ArtifactKey, text: str, named: list[str]) -> None:
        self.refused.add(key)
        named.append(text)

    def _conflict(self, key: ArtifactKey, meta: Mapping[str, Any]) -> str:
        here = self.into.artifacts.meta(key)
        return (
            f"artifact {key.short} differs: here built by midef {here['midef']} on {_device(here)}, there by midef "
            f"{meta['midef']} on {_device(meta)}"
        )

    def _copy(self, key: ArtifactKey, recipe: Recipe) -> None:
        try:
            folder, meta = self.source.artifacts.fetch(key), self.source.artifacts.meta(key)
            with self.into.artifacts.workspace() as work:
                for name in meta["files"]:
                    (work / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(folder / name, work / name)
                self.into.artifacts.adopt(recipe, work, meta)
        except (DamagedArtifact, ValueError) as error:
            self._refuse(key, str(error), self.report.left_out)
        else:
            self.report.copied[key.kind] += 1

    def _rows(self) -> None:
        states, rows = self.source.results.check()
        self._raise_newer(state.error for state in states)
        self.report.left_out += [f"{s.path}: {s.error}" for s in states if s.error is not None]
        ours = _by_cell(self.into.results.read())
        refused = {str(key) for key in self.refused}
        for cell, theirs in _by_cell(rows).items():
            if any(getattr(row, name) in refused for row in theirs for name in _KEYS):
                self.report.left_out.append(f"the rows of cell {cell[:10]}: an artifact they speak of is not merged")
            elif cell not in ours or (_has_failed(ours[cell]) and not _has_failed(theirs)):
                self.into.results.write(cell, theirs)
                self.report.failures_filled += cell in ours
                self.report.copied["cells"] += 1
            elif _said(theirs) == _said(ours[cell]) or _has_failed(theirs):
                self.report.same["cells"] += 1  # a failure there says nothing against a measurement here
            else:
                metrics = sorted({metric for metric, _ in _said(theirs) ^ _said(ours[cell])})
                self.report.conflicts.append(
                    f"cell {cell[:10]} ({theirs[0].setup}, {theirs[0].defense}, seed {theirs[0].seed}) was measured "
                    f"differently: {few(metrics)}"
                )

    def _plans(self) -> None:
        marks = self.source.sweeps.replaced()
        ours = {sweep.digest: sweep.manifest for sweep in stored_sweeps(self.into)}
        for sweep in reversed(stored_sweeps(self.source)):  # the latest is written last, and so is the latest here
            if sweep.digest not in ours:
                manifest = sweep.manifest
                self.into.sweeps.write_manifest(sweep.digest, manifest.rows, manifest.spec_json, basis=manifest.basis)
                self._date(f"sweeps/{sweep.digest}/manifest.parquet", sweep.planned)
                if sweep.digest in marks:
                    self.into.sweeps.mark_replaced(sweep.digest, by=marks[sweep.digest])
                self.report.copied["plans"] += 1
            elif ours[sweep.digest].cells == sweep.manifest.cells:
                self.report.same["plans"] += 1
            elif is_collection(sweep.manifest.spec_json):
                known = ours[sweep.digest]
                added = [row for row in sweep.manifest.rows if str(row["cell"]) not in known.cells]
                self.into.sweeps.write_manifest(sweep.digest, [*known.rows, *added], known.spec_json)
                self.report.copied["plans"] += 1
            else:
                self.report.conflicts.append(f"sweep {sweep.address} has other cells there")

    def _date(self, path: str, when: float) -> None:
        """Keep when a plan was made, where a file system lets one: the latest plan is what verbs show."""
        if self.into.location.local is not None:
            os.utime(self.into.location.local / path, (when, when))

    def _documents(self, folder: str) -> None:
        for path in self.source.location.files(folder):
            if not path.endswith(".json"):
                continue
            content = self.source.location.get(path)
            if not self.into.location.exists(path):
                self.into.location.put(path, content)
                self.report.copied[folder] += 1
            elif self.into.location.get(path) == content:
                self.report.same[folder] += 1
            else:
                self.report.conflicts.append(f"{path} differs")

    def _published(self) -> None:
        theirs = read_published(self.source)
        if theirs:
            change = merge_published(self.into, theirs)
            self.report.copied["published numbers"] += change.added
            self.report.same["published numbers"] += change.same
            self.report.conflicts += change.conflicts

    def _logs(self) -> None:
        for path in self.source.location.files(_LOGS):
            if path.endswith(".log") and not self.into.location.exists(path):
                self.into.location.put(path, self.source.location.get(path))
                self.report.copied[_LOGS] += 1

    def _names(self) -> None:
        holders: dict[str, list[str]] = defaultdict(list)
        for sweep in stored_sweeps(self.into):
            if not sweep.replaced_by:
                holders[sweep.name].append(sweep.address)
        self.report.shared_names = [
            f"{name}: {', '.join(addresses)}" for name, addresses in sorted(holders.items()) if len(addresses) > 1
        ]

    def _raise_newer(self, errors: Iterable[Exception | None]) -> None:
        for error in errors:
            if isinstance(error, StoreSchemaError):
                raise error


def is_collection(spec_json: str) -> bool:
    """Whether a plan is a list of cells that were built one by one, and that grows, rather than a specification."""
    return "collection" in json.loads(spec_json)


def _place(key: ArtifactKey) -> tuple[int, str]:
    """Inputs stand before what is built from them, as far as kinds tell."""
    return KINDS.index(key.kind) if key.kind in KINDS else len(KINDS), key.digest


def _device(meta: Mapping[str, Any]) -> str:
    return str(meta["facts"].get("device", "an unknown device"))


def _by_cell(rows: Iterable[ResultRow]) -> dict[str, list[ResultRow]]:
    cells: dict[str, list[ResultRow]] = defaultdict(list)
    for row in rows:
        cells[row.cell].append(row)
    return cells


def _has_failed(rows: Sequence[ResultRow]) -> bool:
    return any(row.status == "failed" for row in rows)


def _said(rows: Sequence[ResultRow]) -> set[tuple[str, str]]:
    """What rows say, apart from who measured it, where and how fast."""
    plain = [{k: v for k, v in asdict(row).items() if k not in _CIRCUMSTANCES} for row in rows]
    return {(one["metric"], json.dumps(one, sort_keys=True)) for one in plain}
