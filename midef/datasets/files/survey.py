"""One pass over all image files of a data set: does each decode, and which are equal in every pixel.

Cost: an image is read and decoded once, 0.3 ms for a 112x112 JPEG, 16 ms for each million pixels of a photo. What was
found is kept in `~/.cache/midef/images`, one file for each folder or archive, so that later passes decode only files
that are new or changed. A file is taken for unchanged while its size and its times of change are the same (member of
an archive: its size and crc32, and the size and times of the archive). What was seen of files that are gone is
forgotten. The cache may be deleted at any time; one that is damaged, or of another Pillow, is ignored.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from midef.datasets.files.folders import ImageFile, reader
from midef.datasets.files.pixels import open_rgb, outline, pixel_id, reason_of, unreadable_errors

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

VERSION = 1
"""To be raised when the same file would be seen differently."""
WORTH_KEEPING_PX = 10_000_000
"""A pass that decoded fewer pixels than this takes less than a second and is not written to the cache."""
SAYS_AFTER_S, SAYS_EVERY_S = 3.0, 30.0
"""A pass that takes longer says how far it is, the first time and from then on."""
SETTLED_S = 3.0
"""A file changed so few seconds ago is not remembered: it could change again without its times showing it."""


class Seen(NamedTuple):
    """What decoding showed of an image.

    Args:
        pixels: equal for images of equal size and equal pixels.
        outline: 32 hexadecimal digits that differ in few bits for images that look alike.
        size: width and height, after turning as its camera says.
    """

    pixels: str
    outline: str
    size: tuple[int, int]


@dataclass(frozen=True)
class Survey:
    """What a pass over image files found.

    Args:
        seen: by the name of the file, in the order of the files.
        failures: a line for each image that cannot be read, `name: reason`.
    """

    seen: Mapping[str, Seen]
    failures: Sequence[str] = ()


def survey(root: Path, files: Sequence[ImageFile]) -> Survey:
    """Read and decode each file, but for those that an earlier pass saw unchanged.

    Args:
        root: folder or archive that holds them.
        files: as listed there.
    """
    known, began_ns = _remembered(root), time.time_ns()
    archive = None if root.is_dir() else _times(root)
    seen: dict[str, Seen] = {}
    failures: list[str] = []
    todo: list[tuple[ImageFile, str, int]] = []
    for file in files:
        try:
            stamp, changed_ns = _stamp(root, file, archive)
        except OSError as error:
            failures.append(f"{file.name}: {reason_of(error)}")
            continue
        stored = known.get(file.place)
        if stored is not None and stored[0] == stamp:
            seen[file.name] = stored[1]
        else:
            todo.append((file, stamp, changed_ns))
    new, failed = _look_at_files(root, [file for file, *_ in todo])
    current = {file.place: known[file.place] for file in files if file.name in seen}
    for file, stamp, changed_ns in todo:
        if file.name in new and began_ns - changed_ns > SETTLED_S * 1e9:
            current[file.place] = (stamp, new[file.name])
    _keep(root, known, current, archive, new)
    found = seen | new
    return Survey({file.name: found[file.name] for file in files if file.name in found}, failures + failed)


def _look_at_files(root: Path, files: Sequence[ImageFile]) -> tuple[dict[str, Seen], list[str]]:
    """What was seen of each file, by name, and a line for each that cannot be read."""
    seen: dict[str, Seen] = {}
    failures: list[str] = []
    if not files:  # spares opening an archive
        return seen, failures
    due_s = time.monotonic() + SAYS_AFTER_S
    with reader(root) as read:
        for done, file in enumerate(files):
            if time.monotonic() > due_s:
                due_s = time.monotonic() + SAYS_EVERY_S
                total = f"{len(files):,}"
                log.warning(
                    "looking at %s images of %s, %s done; the next time only at new ones", total, root, f"{done:,}"
                )
            try:
                seen[file.name] = look_at(open_rgb(read(file)))
            except unreadable_errors() as error:
                failures.append(f"{file.name}: {reason_of(error)}")
    return seen, failures


def cache_file(root: Path) -> Path:
    """Where what was seen of a folder or archive is kept."""
    name = hashlib.sha256(os.fsencode(root)).hexdigest()[:24]
    return Path.home() / ".cache" / "midef" / "images" / f"{name}.json"


def look_at(image: Image) -> Seen:
    """What there is to see of an RGB image."""
    return Seen(pixel_id(image), outline(image), image.size)


def _stamp(root: Path, file: ImageFile, archive: tuple[str, int] | None) -> tuple[str, int]:
    """What changes with the file's content, and when it last changed, in ns.

    Args:
        root: folder or archive that holds it.
        file: as listed there.
        archive: size and times of the archive: a byte of a member can change and leave the archive's directory as it
            was; None for a folder.
    """
    if archive is None:
        return _times(root / file.place)
    return f"{file.size}:{file.crc32 or 0:08x}:{archive[0]}", archive[1]


def _times(path: Path) -> tuple[str, int]:
    """Size and times of change of a file, and the later of these, in ns."""
    status = path.stat()
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}", max(status.st_mtime_ns, status.st_ctime_ns)


def _keep(
    root: Path,
    known: Mapping[str, tuple[str, Seen]],
    current: dict[str, tuple[str, Seen]],
    archive: tuple[str, int] | None,
    new: Mapping[str, Seen],
) -> None:
    """Remember what holds of this pass and of earlier ones, which may have been over other files of the place.

    Args:
        root: folder or archive.
        known: what earlier passes saw.
        current: what holds of the files of this pass.
        archive: size and times of the archive; None for a folder.
        new: what was decoded in this pass.
    """
    others = {place: entry for place, entry in known.items() if place not in current}
    kept = {place: entry for place, entry in others.items() if _holds(root / place, entry[0], archive)}
    if not new and len(kept) == len(others):
        return
    _recent[root] = kept | current
    if len(kept) < len(others) or sum(width * height for _, _, (width, height) in new.values()) >= WORTH_KEEPING_PX:
        _write(root, _recent[root])


def _holds(path: Path, stamp: str, archive: tuple[str, int] | None) -> bool:
    """Whether a file is still there and has this stamp."""
    if archive is not None:
        return stamp.endswith(f":{archive[0]}")
    try:
        return _times(path)[0] == stamp
    except OSError:
        return False


_recent: dict[Path, dict[str, tuple[str, Seen]]] = {}
"""What this process saw, by folder or archive; checked against the files' stamps as the cache is."""


def _remembered(root: Path) -> dict[str, tuple[str, Seen]]:
    """Stamp and findings of each file of earlier passes, by place; empty after damage."""
    if root in _recent:
        return _recent[root]
    try:
        head, _, body = cache_file(root).read_text(encoding="ascii").partition("\n")
        if head != _checksum(root, body):
            return {}
        entries = {place: (stamp, Seen(p, o, (w, h))) for place, (stamp, p, o, w, h) in json.loads(body).items()}
    except (OSError, RuntimeError, ValueError, TypeError, AttributeError):  # not there, no home, or damaged
        return {}
    return entries


def _write(root: Path, entries: Mapping[str, tuple[str, Seen]]) -> None:
    """Keep the findings for later passes, if this user has a folder to keep them in."""
    body = json.dumps({place: (stamp, s.pixels, s.outline, *s.size) for place, (stamp, s) in entries.items()})
    temporary = ""
    try:
        path = cache_file(root)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(f"{_checksum(root, body)}\n{body}")
        Path(temporary).replace(path)
    except (OSError, RuntimeError) as error:  # the last: no home folder
        log.info("what was seen of %s is not kept: %s", root, error)
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()


def _checksum(root: Path, body: str) -> str:
    from PIL import __version__ as pillow

    return hashlib.sha256(f"{VERSION}\n{pillow}\n{root!s}\n{body}".encode("utf-8", "surrogateescape")).hexdigest()
