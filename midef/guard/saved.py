"""A guard as a folder: one JSON file, safetensors, and the secret in a file of its own. Nothing in it is executed."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args

from midef import __version__
from midef.core.canonical import canonical_json
from midef.core.choice import Choice
from midef.core.errors import DataError, PreflightError, SpecError
from midef.defenses import Defense, remake_defense
from midef.guard.artifacts import Files, roles_of
from midef.guard.model import Outputs

FORMAT = 1
DESCRIPTION, SECRET, ARTIFACTS = "guard.json", "secret.json", "artifacts"
PRIVATE_MODE = 0o600
PLACE = re.compile(rf"{ARTIFACTS}/(\w+\.\w+)/(\w+\.safetensors)", re.ASCII)
"""Of a file in the folder: its role and its name, which lead nowhere else."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """All that a guard is, but the network.

    Args:
        network_sha256: of the network's tensors.
        probe: height and width of images and what the network answered to them, by which it is known again.
    """

    choice: Choice
    outputs: Outputs
    secret: int
    classes: int | None
    resolution_px: int | None
    network_sha256: str
    files: Mapping[str, Files]
    facts: Mapping[str, Any]
    probe: Mapping[str, Any] | None


def write(record: Record, folder: Path) -> None:
    """Write a folder that is not there yet, all of it or nothing.

    Raises:
        DataError: if there is something in its place.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} is there already; name a folder that is not")
    begun = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    begun.mkdir(parents=True)
    try:
        _write(record, begun)
        begun.replace(folder)
    except BaseException:
        shutil.rmtree(begun, ignore_errors=True)
        raise


def _write(record: Record, folder: Path) -> None:
    files = {
        f"{ARTIFACTS}/{role}/{name}": data for role, content in record.files.items() for name, data in content.items()
    }
    for place, data in files.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    identity = secrets.token_hex(16)
    described = {
        "format": FORMAT,
        "guard": identity,
        "midef": __version__,
        "defense": {"written": record.choice.label, **record.choice.keyed},
        "outputs": record.outputs,
        "classes": record.classes,
        "resolution_px": record.resolution_px,
        "network_sha256": record.network_sha256,
        "probe": record.probe,
        "facts": record.facts,
        "files": {place: sha256(data).hexdigest() for place, data in files.items()},
    }
    (folder / DESCRIPTION).write_text(_signed(described), encoding="utf-8")
    (folder / SECRET).touch(PRIVATE_MODE, exist_ok=False)  # before the secret is in it
    (folder / SECRET).write_text(_signed({"format": FORMAT, "guard": identity, "secret": hex(record.secret)}))


def read(folder: Path, *, secret: int | None) -> Record:
    """Read what `write` wrote.

    Args:
        secret: instead of the stored one.

    Raises:
        PreflightError: with all that is missing, damaged, of another guard or of another version of midef.
    """
    described = _read_signed(folder / DESCRIPTION, "this is no guard, or it was not copied whole")
    problems: list[str] = []
    files = _read_files(folder, described["files"], problems)
    if secret is None:
        secret = _read_secret(folder / SECRET, described["guard"], problems)
    choice = Choice.from_plain(described["defense"])
    try:
        defense = remake_defense(choice)
    except SpecError as error:
        prepare = "prepare a new guard with this version of midef, or load this one with midef " + described["midef"]
        problems += [f"{problem.removesuffix('; plan again with this code')}; {prepare}" for problem in error.problems]
    else:
        problems += _lacking(defense, files, problems)
    if described["outputs"] not in get_args(Outputs):
        problems.append(f"expected outputs {' or '.join(get_args(Outputs))}, got {described['outputs']!r}")
    if problems:
        raise PreflightError([f"{folder}: {problem}" for problem in problems])
    assert secret is not None
    return Record(
        choice=Choice(choice.name, choice.params, choice.version, described["defense"]["written"]),
        outputs=described["outputs"],
        secret=secret,
        classes=described["classes"],
        resolution_px=described["resolution_px"],
        network_sha256=described["network_sha256"],
        files=files,
        facts=described["facts"],
        probe=described["probe"],
    )


def _read_files(folder: Path, expected: Mapping[str, str], problems: list[str]) -> dict[str, dict[str, bytes]]:
    files: dict[str, dict[str, bytes]] = {}
    for place, digest in expected.items():
        if (found := PLACE.fullmatch(place)) is None:
            problems.append(
                f"{DESCRIPTION} names the file {place!r}, which no guard has; this was not written by midef"
            )
            continue
        role, name = found.groups()
        try:
            data = (folder / place).read_bytes()
        except OSError as error:
            problems.append(f"{place} cannot be read ({error.strerror}); copy it again, or prepare a new guard")
            continue
        if sha256(data).hexdigest() != digest:
            problems.append(f"{place} is damaged: its sha256 is not that of guard.json; copy it again")
            continue
        files.setdefault(role, {})[name] = data
    return files


def _lacking(defense: Defense, files: Mapping[str, Files], problems: list[str]) -> list[str]:
    """Artifacts that the defense needs and the folder never had."""
    missing = [] if problems else sorted(set(roles_of(defense)) - set(files))
    return [f"{DESCRIPTION} names no files of {role}, which the defense needs; prepare a new guard" for role in missing]


def _read_secret(path: Path, identity: str, problems: list[str]) -> int | None:
    lost = (
        "put it back from where you keep it; Guard.load(..., secret=...) takes another one, under which every image "
        "whose answer is drawn gets a new answer, and who has both answers can average them"
    )
    try:
        stored = _read_signed(path, lost)
    except PreflightError as error:
        problems += error.problems
        return None
    if stored["guard"] != identity:
        problems.append(f"{path.name} is that of another guard; {lost}")
        return None
    if os.name == "posix" and path.stat().st_mode & 0o077:
        warnings.warn(f"{path} can be read by other users; chmod 600 it", stacklevel=4)
    return int(stored["secret"], 16)


def _signed(content: Mapping[str, Any]) -> str:
    """JSON of the content with its own checksum, against damage and not against forgery."""
    return json.dumps({**content, "sha256": sha256(canonical_json(content).encode()).hexdigest()}, indent=1) + "\n"


def _read_signed(path: Path, advice: str) -> dict[str, Any]:
    """The content of a file of `_signed`.

    Raises:
        PreflightError: if it is missing, damaged, or of another format.
    """
    try:
        content = json.loads(path.read_bytes())
        digest = content.pop("sha256")
        is_whole = digest == sha256(canonical_json(content).encode()).hexdigest()
    except OSError as error:
        raise PreflightError(f"{path.name} cannot be read ({error.strerror}); {advice}") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise PreflightError(f"{path.name} is damaged; {advice}") from error
    if content.get("format") != FORMAT:
        raise PreflightError(
            f"{path.name} has format {content.get('format')!r}, this midef reads {FORMAT}; use the midef that wrote it"
        )
    if not is_whole:
        raise PreflightError(f"{path.name} is damaged: its content is not what was written; {advice}")
    return dict(content)
