"""Checksums that files carry of themselves, so that a changed bit is found before anything in it is believed.

A file holds `midef-sha256:` and the sha256 of all its bytes, taken with 64 zeros in the place of the digest. It stays a
file of its format: in JSON the checksum is the field `seal`, in Parquet an entry of the metadata.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from midef.core.errors import DamagedFile

SEAL = "seal"
_MARK = b"midef-sha256:"
_DIGITS = 64
BLANK = _MARK + b"0" * _DIGITS
"""What a file holds before it is sealed."""


def seal(content: bytes) -> bytes:
    """The content with its last `BLANK` filled in."""
    at = content.rindex(BLANK) + len(_MARK)
    return content[:at] + _digest(content, at) + content[at + _DIGITS :]


def sealed_json(value: Mapping[str, Any], *, indent: int | None = None) -> bytes:
    """JSON with a checksum of itself in the field `seal`; equal values have equal bytes.

    Raises:
        TypeError, ValueError: for what is no JSON data, NaN included.
    """
    document = {**value, SEAL: BLANK.decode()}
    return seal(json.dumps(document, indent=indent, sort_keys=True, allow_nan=False).encode())


def stamp(path: Path) -> None:
    """Append a checksum to a local file of another format, for `unstamped` to check."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    with path.open("ab") as stream:
        stream.write(_MARK + digest.encode())


def unstamped(content: bytes) -> bytes:
    """The content without the checksum that `stamp` appended.

    Raises:
        DamagedFile: if that does not hold, or is missing.
    """
    end = len(content) - len(BLANK)
    if end < 0 or content[end : end + len(_MARK)] != _MARK:
        raise DamagedFile("its checksum is missing")
    inner = content[:end]
    if hashlib.sha256(inner).hexdigest().encode() != content[end + len(_MARK) :]:
        raise DamagedFile("its content does not match its checksum")
    return inner


def is_sealed(content: bytes) -> bool:
    """True if the content carries a checksum that holds, False if it carries none.

    Raises:
        DamagedFile: if it carries one that does not hold.
    """
    places = list(_places(content))
    if places and not any(content[at : at + _DIGITS] == _digest(content, at) for at in places):
        raise DamagedFile("its content does not match its checksum")
    return bool(places)


def read_json(content: bytes, *, sealed_since: int | None) -> dict[str, Any]:
    """The object in a JSON document, without its checksum.

    Args:
        content: of the file.
        sealed_since: the `schema` from which on documents must carry a checksum; None if they need none.

    Raises:
        DamagedFile: if it is no JSON object, or its checksum does not hold or is missing.
    """
    sealed = is_sealed(content)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"it is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise DamagedFile(f"expected a JSON object, found {type(value).__name__}")
    schema = value.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise DamagedFile(f"expected a schema number, found {schema!r}")
    if not sealed and (SEAL in value or (sealed_since is not None and schema >= sealed_since)):
        raise DamagedFile("its checksum is missing")
    value.pop(SEAL, None)
    return value


def _places(content: bytes) -> Iterator[int]:
    """Where checksums may stand, the last first."""
    at = content.rfind(_MARK)
    while at >= 0:
        yield at + len(_MARK)
        at = content.rfind(_MARK, 0, at)


def _digest(content: bytes, at: int) -> bytes:
    view = memoryview(content)
    digest = hashlib.sha256(view[:at])
    digest.update(b"0" * _DIGITS)
    digest.update(view[at + _DIGITS :])
    return digest.hexdigest().encode()
