"""Errors that explain: what was expected, what came, what to do. Each knows its exit code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import ClassVar, Literal, Self

FailureKind = Literal["oom", "hung", "died", "diverged", "refused", "data", "store", "ray", "bug"]
FAILURE_KINDS: Mapping[FailureKind, str] = {
    "oom": "a GPU or a machine ran out of memory",
    "hung": "a process made no progress and was ended",
    "died": "a process was killed, or its machine was lost",
    "diverged": "numbers became infinite or no numbers",
    "refused": "the question has no answer in this setup",
    "data": "a data set, weights or a stored artifact is missing, unreadable or damaged",
    "store": "the store cannot be read or written",
    "ray": "Ray failed",
    "bug": "an error that nobody expected",
}
"""Kinds of failure, in rows, filters and reports."""
MOST_SHOWN = 50
"""Problems of one error that its text lists; it counts the rest."""


class MidefError(Exception):
    """Base of everything midef raises on purpose.

    `exit_code`: 1 finished with failures, 2 usage or configuration, 3 environment or data, 4 budget reached.

    Args:
        message: what was expected, what came, what to do.
        failure: kind of failure where this error means another than its class does.
    """

    exit_code: ClassVar[int] = 1
    failure: FailureKind = "bug"

    def __init__(self, *message: object, failure: FailureKind | None = None) -> None:
        super().__init__(*message)
        if failure is not None:
            self.failure = failure


class Problem(str):
    """Text of a problem that knows which value it is about.

    Args:
        text: what was expected, what came, what to do.
        at: keys and positions that lead to the value, from what the text's reader knows as a whole.
    """

    at: tuple[str | int, ...]

    def __new__(cls, text: str, *, at: Iterable[str | int] = ()) -> Self:
        made = super().__new__(cls, text)
        made.at = tuple(at)
        return made


class SpecError(MidefError):
    """The specification is wrong. Carries every problem found, not the first one only."""

    exit_code = 2
    failure: FailureKind = "refused"

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        if len(self.problems) == 1:
            super().__init__(self.problems[0])
        else:
            numbered = [f"  {i}. {problem}" for i, problem in enumerate(self.problems[:MOST_SHOWN], 1)]
            if len(self.problems) > MOST_SHOWN:
                numbered.append(f"  and {len(self.problems) - MOST_SHOWN:,} more")
            super().__init__(f"{len(self.problems):,} problems:\n" + "\n".join(numbered))


class PreflightError(SpecError):
    """The specification is right but this machine lacks something: data, weights, disk, a package."""

    exit_code = 3
    failure = "data"


class NameClash(PreflightError, ValueError):
    """Two components of one kind have one name."""


class DataError(MidefError):
    """A data set cannot be used: unreadable image, a class with too few images, missing file."""

    exit_code = 3
    failure = "data"


class StoreError(MidefError):
    """The store cannot be read or written."""

    exit_code = 3
    failure: FailureKind = "store"


class StoreSchemaError(StoreError):
    """The store was written by a newer midef."""


class MissingArtifact(StoreError):
    """No complete artifact is stored under this key."""

    failure = "data"


class DamagedArtifact(StoreError):
    """An artifact is stored but its content does not match its checksums."""

    failure = "data"


class DamagedFile(StoreError):
    """A file of a store is not what was written: its checksum does not hold, or something else is in its place."""

    failure = "data"


class ShapeError(MidefError, ValueError):
    """A tensor has another shape than the maths needs."""


class AccessError(MidefError):
    """An attack asked the target for more than its access level allows."""


class EndpointError(MidefError):
    """A model that is asked from outside, an endpoint or a function, gave no answer that can be used."""

    exit_code = 3
    failure: FailureKind = "died"


class BudgetReached(EndpointError):
    """The next question would go beyond the query budget."""

    exit_code = 4
    failure = "refused"


class TrainingDiverged(MidefError):
    """A loss, weight or answer became infinite or no number; says where, and what to lower."""

    failure = "diverged"


class TooFewSamples(MidefError):
    """A metric refuses to answer because it was given too little."""

    failure = "refused"


class NotApplicable(MidefError):
    """A question that has no answer in this setup, however often it is asked: a refusal, no failure."""

    failure: FailureKind = "refused"


class MissingWeights(NotApplicable):
    """A published network whose weight file is not here: a refusal until somebody brings it."""

    failure = "data"


class TooFewImages(NotApplicable):
    """A metric that needs more images of each identity than the protocol or the data have: a refusal until they do."""

    failure = "data"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A clause naming the nearest valid word and all of them, to be appended to an error.

    >>> did_you_mean("BIDO", ["bido", "midre"])
    "did you mean 'bido'? Known: bido, midre"
    """
    names = sorted(known)
    by_folded = {name.lower(): name for name in names}
    near = get_close_matches(word.lower(), by_folded, n=1, cutoff=0.5)
    hint = f"did you mean {by_folded[near[0]]!r}? " if near else ""
    return f"{hint}Known: {', '.join(names) or 'none'}"


def few(items: Sequence[str], most: int = 5) -> str:
    """The first items and how many more there are.

    >>> few(["a", "b", "c"], 2), few(["a", "b"], 2)
    ('a, b and 1 more', 'a, b')
    """
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more
