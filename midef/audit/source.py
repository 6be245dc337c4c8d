"""How a model outside is asked once, and how often it is tried."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from midef.audit.contract import AnswerKind, Pixels
from midef.core.errors import FailureKind, SpecError


class Unanswered(Exception):
    """A request without an answer.

    Args:
        what: happened, for people.
        failure: kind of failure, if it stays so.
        is_declined: the other side did no work for it, so it is not paid.
        is_final: asking again changes nothing.
        wait_s: that the other side asks for.
    """

    def __init__(
        self,
        what: str,
        failure: FailureKind,
        *,
        is_declined: bool = False,
        is_final: bool = False,
        wait_s: float = 0.0,
    ) -> None:
        super().__init__(what)
        self.failure: FailureKind = failure
        self.is_declined, self.is_final, self.wait_s = is_declined, is_final, wait_s


class Source(Protocol):
    """Asks a model about some images, once."""

    @property
    def contract(self) -> str:
        """How it is asked; answers to other contracts are not used."""

    @property
    def where(self) -> str:
        """Where the model is, for messages."""

    def __call__(self, pixels: Pixels, digests: Sequence[bytes], answers: AnswerKind) -> tuple[Any, int | None]:
        """Answers to images [B, 3, H, W], unchecked, and the number of classes where the model says it.

        Raises:
            Unanswered: without an answer.
            EndpointError: of an answer that is none.
        """


@dataclass(frozen=True, kw_only=True)
class Retries:
    """Requests without an answer are sent again, after pauses that double and are drawn from their upper half.

    Args:
        most: how often, >= 0.
        first_s: longest first pause, in seconds.
        longest_s: longest pause.
        seed: of the pauses.
    """

    most: int = 5
    first_s: float = 0.5
    longest_s: float = 60.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.most < 0 or self.first_s < 0 or self.longest_s < self.first_s:
            raise SpecError(f"expected retries with most >= 0 and 0 <= first_s <= longest_s, got {self}")

    def pause_s(self, retry: int, rng: random.Random) -> float:
        """Seconds before a retry.

        Args:
            retry: its number, from 0.
        """
        longest = min(self.longest_s, self.first_s * 2.0 ** min(retry, 60))
        return longest * rng.uniform(0.5, 1.0)
