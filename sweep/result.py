"""Result of running or matching a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    import pandas as pd

    from midef.core.match import MatchReport
    from midef.storage import Store

TableStyle: TypeAlias = Literal["text", "md", "csv"]

EXIT_OK, EXIT_FAILURES, EXIT_BUDGET, EXIT_UNFORESEEN, EXIT_INTERRUPTED = 0, 1, 4, 70, 130
EXIT_FOUND = 5
"""A check found something: damaged files that are still in their place, equal images in a data set, an audit whose
threshold is not shown to be kept."""
BUDGET_REACHED = "budget reached"


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """Result of `run` or `match`.

    Args:
        name: of the sweep.
        store: where its results are.
        cells: how many of the cells that were asked for are `ok`, `failed`, `refused` or `missing` (not reached yet).
            None if a search ended before its cells were attacked.
        built: artifacts this call built; 0 if all were stored.
        failed: reason -> nodes that failed for it in this call.
        blocked: nodes that waited for one that failed.
        undecided: strength searches that ended without an answer, each with the reason.
        stopped: `budget reached` or `interrupted` if it ended early; the same call goes on from there.
        gpu_hours: spent by this call.
        matching: what was matched, of `match`.
    """

    name: str
    store: Store = field(repr=False)
    cells: Mapping[str, int] | None = None
    built: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    blocked: int = 0
    undecided: Sequence[str] = ()
    stopped: str = ""
    gpu_hours: float = 0.0
    matching: MatchReport | None = field(default=None, repr=False)

    @property
    def exit_code(self) -> int:
        """Exit code of the command line: 0 ok, 1 with failures, 4 budget reached, 130 interrupted."""
        if self.stopped:
            return EXIT_BUDGET if self.stopped == BUDGET_REACHED else EXIT_INTERRUPTED
        is_lacking = any(count for state, count in (self.cells or {}).items() if state not in ("ok", "refused"))
        return EXIT_FAILURES if is_lacking or self.undecided else EXIT_OK

    @property
    def is_complete(self) -> bool:
        """True if every cell is measured or refused, and every search decided."""
        return self.exit_code == EXIT_OK

    def rows(self) -> pd.DataFrame:
        """All stored rows of the sweep, one metric of one cell each; columns as in `midef.core.ResultRow`."""
        from midef.results.frame import read

        return read(self.store, self.name)

    def table(self, style: TableStyle = "text") -> str:
        """The results as `midef table` prints them."""
        return results_table(self.store, self.name, style)


def results_table(store: Store, sweep: str | None = None, style: TableStyle = "text") -> str:
    """The results of a sweep (default: the latest of the store) as a table, beside the published numbers.

    Raises:
        SpecError: if the store has no sweep of this name.
    """
    from midef.results.export import csv_table
    from midef.results.render import markdown_table, text_table
    from midef.results.summary import summarise
    from midef.storage import rows_of_sweep
    from midef.storage.published import read_published

    rows = rows_of_sweep(store, sweep)
    draw = {"text": text_table, "md": markdown_table, "csv": csv_table}[style]
    return draw(summarise(rows), read_published(store)) if rows else "no results yet"
