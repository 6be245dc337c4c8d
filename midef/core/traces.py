"""Traces: what a search was like, step by step, thinned so that they stay small.

numpy is imported where it is used, so that importing `midef.core` stays fast.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

MOST_POINTS = 50
"""Steps kept of a search: enough to see where a curve bends, and 0.9 MB for 1,500 reconstructions."""

SERIES = ("loss", "confidence", "gradient_norm", "radius")
"""What an attack may record; `docs/traces.md` says what each is."""


@dataclass(frozen=True, eq=False)
class Traces:
    """Course of a search. Rows are reconstructions, or identities where an attack searches once for each identity.

    Args:
        steps: updates made before each point [P], ascending, at most `MOST_POINTS`; the first and the last step of the
            search are among them.
        series: by name, of `SERIES`: float32 [N, P]. A row that ended early keeps its last values. What an attack does
            not have is absent.
        labels: identity of each row [N].
        restarts: restart of each row [N], -1 where the row is an identity.
    """

    steps: np.ndarray
    series: Mapping[str, np.ndarray]
    labels: np.ndarray
    restarts: np.ndarray

    @classmethod
    def joined(cls, every: Iterable[Traces | None]) -> Traces | None:
        """Traces of rows that were searched one part after the other; None without any.

        A part that ended earlier keeps its last values. Series that only some parts have are left out.
        """
        import numpy as np

        parts = [part for part in every if part is not None]
        if not parts:
            return None
        steps = np.unique(np.concatenate([part.steps for part in parts]))
        steps = steps[thinned(len(steps))]
        names = [name for name in SERIES if all(name in part.series for part in parts)]
        at = [np.searchsorted(part.steps, steps, side="right") - 1 for part in parts]
        return cls(
            steps,
            {n: np.concatenate([p.series[n][:, i] for p, i in zip(parts, at, strict=True)]) for n in names},
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.restarts for part in parts]),
        )


def thinned(count: int) -> list[int]:
    """Positions out of 0 to count - 1: at most `MOST_POINTS`, evenly spread, the first and the last among them.

    >>> thinned(3), thinned(101)[:3], thinned(101)[-1], len(thinned(101))
    ([0, 1, 2], [0, 2, 4], 100, 50)
    """
    if count <= MOST_POINTS:
        return list(range(count))
    return [round(i * (count - 1) / (MOST_POINTS - 1)) for i in range(MOST_POINTS)]
