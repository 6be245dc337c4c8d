"""Traces: what a search was like, step by step, thinned so that they stay small.

numpy is imported where it is used, so that importing `midef.core` stays fast.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

MOST_POINTS = 50
"""Steps kept of a search: enough to see where a curve bends, and 0.9 MB for 1,500 reconstructions."""

SERIES = ("loss", "confidence", "gradient_norm", "radius")
"""What an attack may record; `docs/traces.md` says what each is."""

SURE = 0.99
"""A search whose target gives the identity so much has found it."""
LEAST_CONFIDENCE = 1e-6
LEAST_POINTS = 2
"""Points of a fifth of the steps: a search of fewer than nine steps has no end that could be compared."""
COURSE = (
    *("confidence_start", "confidence_end", "confidence_rise", "confidence_rise_low"),
    *("gradient_start", "gradient_end"),
)
"""Columns of a result row about the search."""


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

    def of(self, labels: Collection[int]) -> Traces | None:
        """Rows of these identities; None without any."""
        import numpy as np

        rows = np.flatnonzero(np.isin(self.labels, sorted(labels)))
        return self._rows(rows, self.restarts[rows]) if len(rows) else None

    def renumbered(self, label: int, restarts: Sequence[int]) -> Traces:
        """Rows of an identity that had these restarts, in this order, as its restarts 0, 1, 2 and so on."""
        import numpy as np

        own = {int(self.restarts[row]): row for row in np.flatnonzero(self.labels == label)}
        rows = np.array([own[restart] for restart in restarts], dtype=np.int64)
        return self._rows(rows, np.arange(len(rows)))

    def _rows(self, rows: np.ndarray, restarts: np.ndarray) -> Traces:
        series = {name: values[rows] for name, values in self.series.items()}
        return Traces(self.steps, series, self.labels[rows], restarts)

    @property
    def course(self) -> dict[str, float]:
        """What a result row says of the search, by column; empty where it has no confidence, too few steps, or fewer
        than two identities.

        Rows that left the numbers are not counted: their reconstructions are lost.
        The end is the last fifth of the steps. `confidence_rise` compares it with the fifth before: the difference of
        mean log-odds, identity by identity, and `confidence_rise_low` the lower end of its 95 % interval over
        identities. Confidence above `SURE` counts as `SURE` there: a search that has found what it looks for is still
        made surer by every step.
        """
        import numpy as np

        from midef.core.statistics import t_interval

        if "confidence" not in self.series:
            return {}
        counted = [self.series[name] for name in ("confidence", "gradient_norm") if name in self.series]
        kept = np.all([np.isfinite(values).all(axis=1) for values in counted], axis=0)
        confidence, labels = self.series["confidence"][kept].astype(np.float64), self.labels[kept]
        done, length = self.steps - self.steps[0], max(self.steps[-1] - self.steps[0], 1)
        end = 5 * done > 4 * length
        before = (5 * done > 3 * length) & ~end
        if min(before.sum(), end.sum()) < LEAST_POINTS:
            return {}
        clipped = confidence.clip(LEAST_CONFIDENCE, SURE)
        log_odds = np.log(clipped / (1 - clipped))
        of_row = log_odds[:, end].mean(axis=1) - log_odds[:, before].mean(axis=1)
        rises = [float(of_row[labels == label].mean()) for label in np.unique(labels)]
        span = t_interval(rises)
        if span is None:
            return {}
        found = {
            "confidence_start": float(confidence[:, 0].mean()),
            "confidence_end": float(confidence[:, end].mean()),
            "confidence_rise": float(np.mean(rises)),
            "confidence_rise_low": span[0],
        }
        if "gradient_norm" in self.series:
            norms = np.median(self.series["gradient_norm"][kept].astype(np.float64), axis=0)
            found |= {"gradient_start": float(norms[0]), "gradient_end": float(norms[end].mean())}
        return found


def thinned(count: int) -> list[int]:
    """Positions out of 0 to count - 1: at most `MOST_POINTS`, evenly spread, the first and the last among them.

    >>> thinned(3), thinned(101)[:3], thinned(101)[-1], len(thinned(101))
    ([0, 1, 2], [0, 2, 4], 100, 50)
    """
    if count <= MOST_POINTS:
        return list(range(count))
    return [round(i * (count - 1) / (MOST_POINTS - 1)) for i in range(MOST_POINTS)]
