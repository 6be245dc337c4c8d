"""Access levels of attackers."""

from __future__ import annotations

from enum import IntEnum


class AccessLevel(IntEnum):
    """Ordered: who holds the weights can also ask for scores, who sees scores also sees labels."""

    LABELS = 1
    SCORES = 2
    WHITE_BOX = 3

    @property
    def words(self) -> str:
        return {1: "labels only", 2: "scores", 3: "white box"}[self.value]
