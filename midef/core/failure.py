"""Failures: a kind that programs act on, a message that people read."""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass
from pathlib import Path

from midef.core.errors import FAILURE_KINDS, FailureKind, MidefError

_CPU_ALLOCATOR = ("can't allocate memory", "DefaultCPUAllocator")
ONE_CAUSE = frozenset({"oom", "hung", "died"})
"""Kinds of failure that have one cause, whatever their reasons say; of others each reason is a cause."""
_DEAD = frozenset({"RayActorError", "WorkerCrashedError", "NodeDiedError", "LocalRayletDiedError"})


@dataclass(frozen=True)
class Failure:
    """Why an artifact or a metric is missing.

    Args:
        kind: one of `FAILURE_KINDS`.
        message: for people; never searched for words where the kind is known.
    """

    kind: FailureKind
    message: str

    def __post_init__(self) -> None:
        if self.kind not in FAILURE_KINDS:
            raise ValueError(f"a failure is one of {', '.join(FAILURE_KINDS)}, got {self.kind!r}")

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Failure that an error stands for; the message of an unexpected one says where it was raised."""
        frames = traceback.extract_tb(error.__traceback__)
        where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
        if isinstance(error, MidefError):
            where = ""
        return cls(kind_of(error), f"{type(error).__name__}{where}: {_said(error)}")


def kind_of(error: BaseException) -> FailureKind:
    """Kind of failure that an error stands for. Neither torch nor Ray is imported to tell."""
    if ran_out_of_memory(error):
        return "oom"
    if isinstance(error, MidefError):
        return error.failure
    if type(error).__module__.partition(".")[0] == "ray":
        return "died" if _DEAD & _names(error) else "ray"
    return "bug"


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one it came from, says that a GPU or this machine had no memory left."""
    chain: list[BaseException] = []
    ahead: list[BaseException | None] = [error]
    while ahead:
        link = ahead.pop()
        if link is None or link in chain:
            continue
        if isinstance(link, MemoryError) or "OutOfMemoryError" in _names(link):  # torch's and Ray's
            return True
        # torch's allocator for CPUs has no error class of its own
        if isinstance(link, RuntimeError) and any(words in _said(link) for words in _CPU_ALLOCATOR):
            return True
        chain.append(link)
        ahead += [link.__cause__, link.__context__]
    return False


def signature(reason: str) -> str:
    """Reason of a failure without keys, numbers and paths: equal for failures of one cause."""
    text = re.sub(r"\b[a-z]+/[0-9a-f]{10}\b( failed: )?", "", reason)
    text = re.sub(r"\b[0-9a-f]{10,64}\b", "#", text)
    text = re.sub(r"(/[\w.~-]+){2,}", "PATH", text)
    return re.sub(r"\d+(\.\d+)?", "#", text).strip()


def cause_of(kind: str, reason: str) -> tuple[str, str]:
    """What failures of one cause have in common: their kind, and the `signature` of their reason where it tells more.

    >>> cause_of("oom", "CUDA out of memory"), cause_of("bug", "ValueError: 3 rows")
    (('oom', ''), ('bug', 'ValueError: # rows'))
    """
    return kind, "" if kind in ONE_CAUSE else signature(reason)


def _said(error: BaseException) -> str:
    """Text of an error, even of one whose text raises another."""
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001  # a failure is recorded whatever it is
        return f"its text cannot be read ({type(broken).__name__})"


def _names(error: BaseException) -> set[str]:
    return {cls.__name__ for cls in type(error).__mro__}
