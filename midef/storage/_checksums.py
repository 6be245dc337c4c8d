"""Checksums of payload files, and the check that they still hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from midef.core.errors import DamagedArtifact, DamagedFile
from midef.core.recipe import ArtifactKey
from midef.storage._local import digest_file
from midef.storage._meta import REBUILD

# Nothing that executes code when loaded: no pickles, no torch.save, no scripts.
SUFFIXES = (".json", ".npz", ".parquet", ".png", ".safetensors", ".webp")

# Folders checked in this process, with the size and time of every file then: a changed file is read again.
_CHECKED: dict[Path, tuple[tuple[str, str, int, int], ...]] = {}


def checksums(folder: Path, *, reserved: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """`{name: {"sha256", "size"}}` of every file below `folder`, names relative with `/`, sorted.

    Raises:
        ValueError: if there is no file, or one that may not be stored.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    names = {path.relative_to(folder).as_posix(): path for path in files}
    problems = [
        f"{name}: {problem}" for name, path in names.items() if (problem := _problem(name, path, reserved)) is not None
    ]
    if problems:
        raise ValueError("these files cannot be stored: " + "; ".join(problems))
    if not names:
        raise ValueError(f"nothing to store in {folder}; write at least one file ({', '.join(SUFFIXES)}) first")
    digests = {name: digest_file(path) for name, path in names.items()}
    return {name: {"sha256": digest, "size": size} for name, (digest, size) in digests.items()}


def check_payload(key: ArtifactKey, folder: Path, expected: Mapping[str, Mapping[str, Any]], where: str) -> None:
    """Compare the files of `folder` with their checksums, unless this process has and they did not change since.

    Raises:
        DamagedArtifact: names each file that differs, what was expected and what was found.
    """
    try:
        state = tuple((name, about["sha256"], *_state(folder / name)) for name, about in expected.items())
    except OSError:
        state = ()
    if state and _CHECKED.get(folder) == state:
        return
    compare(key, expected, lambda name: digest_file(folder / name), where)
    _CHECKED[folder] = state


def compare(
    key: ArtifactKey,
    expected: Mapping[str, Mapping[str, Any]],
    found: Callable[[str], tuple[str, int]],
    where: str,
) -> None:
    """Compare files with their checksums.

    Args:
        key: of the artifact.
        expected: by name, as `checksums` gives them.
        found: sha256 and size of a file; raises FileNotFoundError or DamagedFile.
        where: names the store in messages.

    Raises:
        DamagedArtifact: names each file that differs, what was expected and what was found.
    """
    problems = []
    for name, about in expected.items():
        promised = f"expected {about['size']} bytes with sha256 {about['sha256']}"
        try:
            digest, size = found(name)
        except FileNotFoundError:
            problems.append(f"{name}: {promised}, found no file")
        except DamagedFile as error:
            problems.append(f"{name}: {promised}: {error}")
        else:
            if digest != about["sha256"] or size != about["size"]:
                problems.append(f"{name}: {promised}, found {size} bytes with sha256 {digest}")
    if problems:
        raise DamagedArtifact(f"artifact {key.short} in {where} is damaged: {'; '.join(problems)}; {REBUILD}")


def _problem(name: str, path: Path, reserved: tuple[str, ...]) -> str | None:
    if path.is_symlink() or not path.is_file():
        return "expected a plain file, found a link or device; copy the content"
    if name in reserved:
        return "this name is written by the store; choose another"
    if any(part.startswith(".") for part in name.split("/")):
        return "names with a leading dot are private; choose another"
    if path.suffix not in SUFFIXES:
        return (
            f"expected one of {', '.join(SUFFIXES)}, which execute nothing when loaded, found {path.suffix or 'none'!r}"
        )
    return None


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
