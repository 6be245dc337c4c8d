"""A bundle: one archive of a sweep's results, for somebody else to read or to merge into a store.

    small-1a2b3c4d5e/README.md             what this is, and the table of results
    small-1a2b3c4d5e/CHECKSUMS             sha256 of every other file, as `sha256sum -c` reads it
    small-1a2b3c4d5e/results/*.parquet     all rows
    small-1a2b3c4d5e/sweeps/.../           the plan, with the specification
    small-1a2b3c4d5e/recipes/              how every artifact was made, one JSON file each
    small-1a2b3c4d5e/artifacts/            the artifacts themselves, where they were asked for

It is a tar archive under zstd. Inside is a store, plain files alone: no links, no absolute paths, nothing that runs.
Where files of data sets lay on this machine stays out of it: their names are kept, their folders are not.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import pyarrow as pa

import midef
from midef.core.errors import DamagedArtifact, DamagedFile, MissingArtifact, StoreError, few
from midef.core.recipe import ArtifactKey, Recipe, each_once
from midef.core.rows import ResultRow
from midef.core.text import counted, readable
from midef.datasets.base import PATHS
from midef.storage import Store, rows_of_sweep
from midef.storage.addresses import StoredSweep
from midef.storage.matches import read_matches, write_match
from midef.storage.published import read_published, write_published
from midef.sweep.result import results_table

SUFFIX = ".tar.zst"
README, CHECKSUMS = "README.md", "CHECKSUMS"
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_PATH_IN_TEXT = re.compile(rf"\b({'|'.join(sorted(PATHS))})=([^,)]*)")
_CHUNK = 2**20


@dataclass(frozen=True)
class Bundle:
    """What went into a bundle.

    Args:
        path: of the archive.
        address: of the sweep.
        rows, cells: of results.
        planned: cells of the plan.
        recipes: that were written.
        artifacts: that were written, by kind.
        files, size: of the archive, in bytes.
        sha256: of the archive.
        warnings: what is not in it, and why.
    """

    path: Path
    address: str
    rows: int
    cells: int
    planned: int
    recipes: int
    artifacts: Counter[str]
    files: int
    size: int
    sha256: str
    warnings: tuple[str, ...] = ()


def export(store: Store, sweep: StoredSweep, out: Path, *, kinds: Sequence[str] = ()) -> Bundle:
    """Write the bundle of a sweep; equal content gives equal bytes.

    Args:
        store: that holds the sweep.
        sweep: from `find_sweep`.
        out: name of the archive, which ends in `.tar.zst`.
        kinds: artifacts to take along, by kind; `all` for every kind.

    Raises:
        StoreError: if the sweep has no results, or the archive cannot be written.
    """
    rows = rows_of_sweep(store, f"{sweep.name}@{sweep.digest}")
    if not rows:
        raise StoreError(f"{sweep.address} has no results yet; nothing to export")
    with tempfile.TemporaryDirectory(prefix="midef-") as folder:
        inside = Path(folder) / f"{sweep.name}-{sweep.digest[:10]}"
        made = Store.open(inside)
        recipes, warnings = _recipes(store, rows)
        taken = [recipe for recipe in recipes if "all" in kinds or recipe.kind in kinds]
        copied, lost = _copy(store, made, taken)
        for recipe in recipes:
            made.location.put(f"recipes/{recipe.key}.json", json.dumps(recipe.as_plain(), indent=1).encode())
        _documents(store, made, sweep, rows)
        table = results_table(made, sweep.name) if made.results.cells() else ""
        (inside / README).write_text(_readme(sweep, rows, copied, table), encoding="utf-8")
        files = _plain_files(inside)
        (inside / CHECKSUMS).write_text("".join(f"{_sha256(inside / name)}  {name}\n" for name in files))
        _write_archive(inside, [README, CHECKSUMS, *(f for f in files if f != README)], out, when=int(sweep.planned))
    return Bundle(
        path=out,
        address=sweep.address,
        rows=len(rows),
        cells=len({row.cell for row in rows}),
        planned=len(sweep.manifest.rows),
        recipes=len(recipes),
        artifacts=copied,
        files=len(files) + 1,
        size=out.stat().st_size,
        sha256=_sha256(out),
        warnings=(*warnings, *lost),
    )


@contextmanager
def opened(path: Path) -> Iterator[Store]:
    """The store in a bundle, unpacked into a private folder and checked; gone afterwards.

    Raises:
        StoreError: if it is no bundle, is damaged, or holds what is not safe to unpack.
    """
    with tempfile.TemporaryDirectory(prefix="midef-") as folder:
        inside = _unpack(path, Path(folder))
        _check(path, inside)
        yield Store.open(inside, create=False)


def is_bundle(name: str) -> bool:
    """Whether a store is given as a bundle."""
    return name.endswith(SUFFIX)


def _recipes(store: Store, rows: Sequence[ResultRow]) -> tuple[list[Recipe], list[str]]:
    """Recipes of everything the rows speak of, inputs first; and what is not stored any more."""
    keys = sorted({ArtifactKey.parse(row.scores_key) for row in rows if row.scores_key})
    found, lost = [], []
    for key in keys:
        try:
            found.append(store.artifacts.recipe(key))
        except (MissingArtifact, DamagedArtifact):
            lost.append(key.short)
    return list(each_once(found)), [f"no recipe is stored of {few(lost)}"] if lost else []


def _copy(store: Store, made: Store, recipes: Iterable[Recipe]) -> tuple[Counter[str], list[str]]:
    """Copy artifacts; returns how many of each kind, and what could not be."""
    copied: Counter[str] = Counter()
    lost = []
    for recipe in recipes:
        try:
            folder, meta = store.artifacts.fetch(recipe.key), store.artifacts.meta(recipe.key)
        except (MissingArtifact, DamagedArtifact):
            lost.append(recipe.key.short)
            continue
        with made.artifacts.workspace() as work:
            for name in meta["files"]:
                (work / name).parent.mkdir(parents=True, exist_ok=True)
                (work / name).write_bytes((folder / name).read_bytes())
            made.artifacts.adopt(recipe, work, meta)
        copied[recipe.kind] += 1
    return copied, [f"not stored, or damaged: {few(lost)}"] if lost else []


def _documents(store: Store, made: Store, sweep: StoredSweep, rows: Sequence[ResultRow]) -> None:
    """Rows, plan, reports of matching and the published numbers of its setups."""
    cells: dict[str, list[ResultRow]] = {}
    for row in rows:
        cells.setdefault(row.cell, []).append(row)
    for cell, of_cell in cells.items():
        made.results.write(cell, of_cell)
    made.results.compact(began_ns=0)
    spec = json.dumps(_without_folders(json.loads(sweep.manifest.spec_json)))
    made.sweeps.write_manifest(sweep.digest, sweep.manifest.rows, spec, basis=sweep.manifest.basis)
    for report in read_matches(store, sweep.name):
        write_match(made, replace(report, storage=""))
    setups = {row.setup for row in rows}
    published = [row for row in read_published(store) if row.setup in setups]
    if published:
        write_published(made, published)


def _without_folders(value: Any, key: str = "") -> Any:
    """A specification whose paths are names: what a folder is called, and not where it is."""
    if isinstance(value, dict):
        return {name: _without_folders(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_folders(inner, key) for inner in value]
    if isinstance(value, str):
        if key in PATHS:
            return PurePosixPath(value).name
        return _PATH_IN_TEXT.sub(lambda match: f"{match[1]}={PurePosixPath(match[2].strip()).name}", value)
    return value


def _readme(sweep: StoredSweep, rows: Sequence[ResultRow], copied: Counter[str], table: str) -> str:
    states = Counter(row.status for row in rows)
    codes = ", ".join(sorted({row.code_version for row in rows if row.code_version})) or "unknown"
    devices = ", ".join(sorted({row.device for row in rows if row.device})) or "unknown"
    inside = ", ".join(f"{count} {kind}" for kind, count in copied.items()) or "none"
    right = "Targets, reconstructions and splits tell of the private people: pass them on only with a right to."
    privacy = f"\n{right}\n" if copied else ""
    return f"""# Results of {sweep.address}

Model-inversion attacks on defended models, measured by midef {midef.__version__}. Code: {codes}. Devices: {devices}.

- `results/`: {len(rows)} rows of {len({row.cell for row in rows})} cells in Parquet, one metric of one cell each
  ({_words(states)}). In pandas: `pandas.read_parquet("results")`. `midef schema` says what the columns are.
- `sweeps/`: the plan, {len(sweep.manifest.rows)} cells, with the specification in the metadata `midef_spec` of the
  file. Folders of data sets are left out.
- `recipes/`: how every artifact was made, as JSON.
- `artifacts/`: {inside}.
- `CHECKSUMS`: `sha256sum -c CHECKSUMS` checks every file.
{privacy}
This folder is a midef store: `midef table --store .` prints the table again, and
`midef merge BUNDLE.tar.zst --store mine` adds it to another store.

```
{table}
```
"""


def _words(states: Counter[str]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(states.items()))


def _plain_files(folder: Path) -> list[str]:
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts))


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write_archive(folder: Path, names: Sequence[str], out: Path, *, when: int) -> None:
    """The files under the name of their folder; without owners, and of one date, so that equal content is equal."""
    partial = out.with_name(f"{out.name}.partial")
    try:
        with (
            pa.CompressedOutputStream(pa.OSFile(str(partial), "wb"), "zstd") as sink,
            tarfile.open(fileobj=cast(IO[bytes], sink), mode="w|", format=tarfile.PAX_FORMAT) as archive,
        ):
            for name in names:
                member = tarfile.TarInfo(f"{folder.name}/{name}")
                member.size, member.mode, member.mtime = (folder / name).stat().st_size, 0o644, when
                with (folder / name).open("rb") as stream:
                    archive.addfile(member, stream)
        partial.replace(out)
    except OSError as error:
        raise StoreError(f"{out} cannot be written: {error}; free space or give another name") from error
    finally:
        partial.unlink(missing_ok=True)


def _unpack(path: Path, folder: Path) -> Path:
    """Unpack plain files below one folder; returns it.

    Raises:
        StoreError: for anything else.
    """
    tops = set()
    try:
        with (
            pa.CompressedInputStream(pa.OSFile(str(path), "rb"), "zstd") as source,
            tarfile.open(fileobj=cast(IO[bytes], source), mode="r|") as archive,
        ):
            for member in archive:
                parts = PurePosixPath(member.name).parts
                if not member.isreg() or len(parts) < 2 or member.name.startswith("/") or not _are_plain(parts):
                    raise StoreError(f"{path} is not safe to unpack: {member.name!r} is no plain file below its folder")
                tops.add(parts[0])
                target = folder.joinpath(*parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                stream = archive.extractfile(member)
                assert stream is not None
                with target.open("xb") as sink:
                    while chunk := stream.read(_CHUNK):
                        sink.write(chunk)
                os.utime(target, (member.mtime, member.mtime))
    except FileNotFoundError:
        raise StoreError(f"there is no bundle {path}; check the path") from None
    except FileExistsError as error:
        raise StoreError(f"{path} is damaged: two of its files have one name; ask for it again") from error
    except (OSError, tarfile.TarError, pa.ArrowException, EOFError) as error:
        raise StoreError(f"{path} cannot be read as a bundle: {error}; ask for it again") from error
    if len(tops) != 1:
        raise StoreError(f"{path} is no bundle: expected one folder, found {few(sorted(tops)) or 'nothing'}")
    return folder / tops.pop()


def _are_plain(parts: Sequence[str]) -> bool:
    return not any(part in ("..", ".") or "\\" in part or ":" in part or part.startswith(".") for part in parts)


def _check(path: Path, inside: Path) -> None:
    """Compare every file with the checksums.

    Raises:
        DamagedFile: naming the files that differ, are missing, or are not listed.
    """
    try:
        lines = (inside / CHECKSUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise DamagedFile(f"{path} is no bundle of midef: it has no {CHECKSUMS}") from None
    promised = {match[2]: match[1] for line in lines if (match := _LINE.fullmatch(line))}
    files = [name for name in _plain_files(inside) if name != CHECKSUMS]
    wrong = [name for name in files if name in promised and _sha256(inside / name) != promised[name]]
    problems = [
        f"{what}: {few(names)}"
        for what, names in (
            ("changed", wrong),
            ("missing", sorted(promised.keys() - set(files))),
            ("not listed", sorted(set(files) - promised.keys())),
        )
        if names
    ]
    if problems:
        raise DamagedFile(f"{path} is damaged, nothing of it is merged: {'; '.join(problems)}; ask for it again")


def bundle_text(bundle: Bundle) -> str:
    """What is in a bundle, and what is not."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in bundle.artifacts.items()) or "no artifacts (--artifacts all)"
    return "\n".join(
        [
            f"{bundle.address}: {bundle.rows} rows of {bundle.cells} of {bundle.planned} planned cells, "
            f"{bundle.recipes} recipes, {kinds}",
            *(f"warning: {warning}" for warning in bundle.warnings),
            f"bundle: {bundle.path.resolve()}  ({counted(bundle.files, 'file')}, {readable(bundle.size)})",
            f"sha256: {bundle.sha256}",
        ]
    )
