"""Logs of pieces of work: what was said while an artifact was built, and the traceback where it failed.

    STORE/logs/<kind>/<digest>/<milliseconds>-<machine>-<pid>-<number>.log

One file per attempt, of bounded size, replaced as a whole while the attempt lasts: a reader never sees half a line, and
a killed process loses the last seconds alone. No key and no row depends on a log; they may be deleted at any time.
"""

from __future__ import annotations

import calendar
import logging
import os
import re
import socket
import threading
import time
import traceback
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from typing_extensions import override

from midef.core.errors import DamagedFile, StoreError
from midef.core.position import Work, at_hand, following
from midef.core.recipe import ArtifactKey
from midef.storage.location import Location
from midef.storage.processes import process_lives, this_machine

ROOT = "logs"
HEAD_BYTES, TAIL_BYTES = 48 * 2**10, 80 * 2**10
"""Of one attempt, its beginning and its end are kept; the middle of a longer log is left out."""
LINE_BYTES = 4096
"""Of one line, its beginning is kept."""
KEPT_ATTEMPTS = 5
"""Attempts of one artifact that are kept, the latest ones."""
NEAR_EVERY_S, FAR_EVERY_S = 2.0, 10.0
"""Seconds between two writes of what is new, into a folder and into an object store."""
_POSITION_STEP = 0.05
_REASON_LENGTH = 2000
_TIME = "%Y-%m-%d %H:%M:%S UTC"
_BEGUN = re.compile(r"begun (?P<at>.+? UTC) on (?P<host>\S+) \((?P<device>[^)]*)\): (?P<what>.*)")
_ENDED = re.compile(r"ended (?P<at>.+? UTC): (?P<state>ok|failed)(?:: (?P<reason>.*))?")

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt to build an artifact, as its log says.

    Args:
        path: of the log, relative to the store.
        text: all of it.
        what: was built, in a few words.
        host, device: where.
        begun, ended: seconds since the epoch; `ended` is None of one that runs, or was killed.
        state: ok, failed, running, or killed where the process is known to be gone; "" where that cannot be seen.
        reason: of a failure.
    """

    path: str
    text: str
    what: str
    host: str
    device: str
    begun: float | None
    ended: float | None
    state: str
    reason: str = ""


class PieceLog:
    """Keeps the log of one attempt: `with PieceLog(location, key, what="target midre seed 0"):`.

    Warnings and errors of every logger, the position of the work, what is `said`, and the traceback of an exception
    that leaves the block. A store that cannot be written loses the log, never the work.

    Args:
        location: of the store.
        key: of the artifact.
        what: it is, in a few words.
        device: that works on it.
        only_if_failed: write nothing of an attempt that ends well.
        every_s: seconds between two writes (default: by the kind of store).
    """

    def __init__(
        self,
        location: Location,
        key: ArtifactKey,
        *,
        what: str = "",
        device: str = "cpu",
        only_if_failed: bool = False,
        every_s: float | None = None,
    ) -> None:
        self.location, self.what, self.device = location, what, device
        self.key, self.only_if_failed = key, only_if_failed
        self.every_s = every_s or (FAR_EVERY_S if location.local is None else NEAR_EVERY_S)
        name = f"{round(time.time() * 1000):013d}-{this_machine()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.path = f"{folder_of(key)}/{name}.log"
        self._text = _Bounded()
        self._lock = threading.Lock()
        self._is_new = False
        self._position = 0.0
        self._work = Work()
        self._followed = following(self._work)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write_repeatedly, name="midef-log", daemon=True)
        self._handler = _Handler(self.say)

    def say(self, text: str) -> None:
        """Add lines, each with the time."""
        now = time.strftime("%H:%M:%S", time.gmtime())
        with self._lock:
            for line in text.splitlines():
                self._text.add(f"{now}  {line}\n")
            self._is_new = True

    def __enter__(self) -> Self:
        if (work := at_hand()) is not None:  # somebody follows it already
            self._work = work
            self._followed = following(work)
        self._followed.__enter__()
        self._add(f"begun {_now()} on {socket.gethostname()} ({self.device}): {self.what}")
        logging.getLogger().addHandler(self._handler)
        if not self.only_if_failed:
            self._write()
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        logging.getLogger().removeHandler(self._handler)
        self._followed.__exit__(None, None, None)
        if self._thread.is_alive():
            self._thread.join()
        if error is not None:
            self.say("".join(traceback.format_exception(error)))
            self._add(_end("failed", f"{type(error).__name__}: {error}"))
        else:
            self._add(_end("ok"))
        if error is not None or not self.only_if_failed:
            self._write()
            self._forget_old()

    def _add(self, line: str) -> None:
        with self._lock:
            self._text.add(line + "\n")
            self._is_new = True

    def _write_repeatedly(self) -> None:
        while not self._ended.wait(self.every_s):
            if self._work.fraction >= self._position + _POSITION_STEP:
                self._position = self._work.fraction
                self.say(f"{100 * self._position:.0f} % done")
            self._write()

    def _write(self) -> None:
        with self._lock:
            if not self._is_new:
                return
            self._is_new, content = False, self._text.content()
        try:
            self.location.put(self.path, content)
        except (StoreError, OSError) as error:
            log.debug("no log was written: %s", error)

    def _forget_old(self) -> None:
        with suppress(StoreError, OSError):
            for path in _paths(self.location, self.key)[:-KEPT_ATTEMPTS]:
                self.location.delete(path)


class _Bounded:
    """Text of bounded size: its beginning and its end."""

    def __init__(self) -> None:
        self.head, self.tail, self.left_out = bytearray(), bytearray(), 0

    def add(self, line: str) -> None:
        content = line.encode("utf-8", "backslashreplace")
        if len(content) > LINE_BYTES:
            content = content[:LINE_BYTES] + b" ...\n"
        if not self.tail and not self.left_out and len(self.head) + len(content) <= HEAD_BYTES:
            self.head += content
            return
        self.tail += content
        if len(self.tail) > TAIL_BYTES:
            cut = self.tail.find(b"\n", len(self.tail) - TAIL_BYTES - 1) + 1
            self.left_out += cut
            del self.tail[:cut]

    def content(self) -> bytes:
        gap = f"... {self.left_out:,} bytes are left out here ...\n".encode() if self.left_out else b""
        return bytes(self.head + gap + self.tail)


class _Handler(logging.Handler):
    """Passes on warnings and errors of every logger, with their tracebacks."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._say(self.format(record))
        except Exception:  # noqa: BLE001  # a record whose text cannot be made must not end the work
            self.handleError(record)


def end_log(location: Location, key: ArtifactKey, reason: str, *, since: float = 0.0) -> None:
    """Record why an attempt ended, where its process could not say so itself.

    Args:
        location: of the store.
        key: of the artifact.
        reason: what is known of it, such as `the process died`.
        since: seconds since the epoch; an attempt that ended before is another one.
    """
    line = _end("failed", reason) + "\n"
    with suppress(StoreError, OSError):
        attempts = [a for a in read_attempts(location, key) if a.ended is None or a.ended >= since]
        if not attempts:
            name = f"{round(time.time() * 1000):013d}-{this_machine()}-0-{uuid.uuid4().hex[:8]}"
            location.put(f"{folder_of(key)}/{name}.log", line.encode())
        elif attempts[-1].ended is None:
            location.put(attempts[-1].path, (attempts[-1].text + line).encode())


def read_attempts(location: Location, key: ArtifactKey) -> list[Attempt]:
    """Every attempt whose log is kept, the first one first; one that was deleted meanwhile is left out."""
    attempts = []
    for path in _paths(location, key):
        with suppress(FileNotFoundError, DamagedFile):
            attempts.append(_parse(path, location.get(path).decode("utf-8", "replace")))
    return attempts


def folder_of(key: ArtifactKey) -> str:
    """Folder of the logs of an artifact, relative to the store."""
    return f"{ROOT}/{key.kind}/{key.digest}"


def _paths(location: Location, key: ArtifactKey) -> list[str]:
    return [path for path in location.files(folder_of(key)) if path.endswith(".log")]


def _parse(path: str, text: str) -> Attempt:
    lines = text.splitlines()
    begun = _BEGUN.fullmatch(lines[0]) if lines else None
    ended = next((found for line in reversed(lines[-3:]) if (found := _ENDED.fullmatch(line))), None)
    if ended is not None:
        state = ended["state"]
    else:
        before, pid, _ = ("--" + path.rpartition("/")[2]).rsplit("-", 2)
        machine = before.removeprefix("--").partition("-")[2]
        lives = process_lives(machine, int(pid)) if pid.isdigit() else None
        state = {True: "running", False: "killed", None: ""}[lives]
    return Attempt(
        path=path,
        text=text,
        what=begun["what"] if begun else "",
        host=begun["host"] if begun else "",
        device=begun["device"] if begun else "",
        begun=_seconds(begun["at"]) if begun else None,
        ended=_seconds(ended["at"]) if ended else None,
        state=state,
        reason=(ended["reason"] or "") if ended else "",
    )


def _end(state: str, reason: str = "") -> str:
    said = " ".join(reason.split())[:_REASON_LENGTH]
    return f"ended {_now()}: {state}" + (f": {said}" if said else "")


def _now() -> str:
    return time.strftime(_TIME, time.gmtime())


def _seconds(text: str) -> float | None:
    try:
        return float(calendar.timegm(time.strptime(text, _TIME)))
    except ValueError:
        return None
