"""What intervals say of a claim, in one of three words."""

from __future__ import annotations

from collections.abc import Sequence


def holds(low: float, high: float) -> bool | None:
    """Whether a number that a claim says is positive is so: None where its interval has 0 inside."""
    return True if low > 0 else False if high < 0 else None


def word_of(claims: Sequence[bool | None]) -> str:
    """`reproduced` where all hold, `not reproduced` where the opposite of one does, else `not decidable at this size`.

    >>> word_of([True, True]), word_of([True, None]), word_of([None, False])
    ('reproduced', 'not decidable at this size', 'not reproduced')
    """
    if all(claims):
        return "reproduced"
    return "not reproduced" if any(claim is False for claim in claims) else "not decidable at this size"
