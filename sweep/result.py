"""Result of running or matching a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal, TypeAlias

from midef.results.layout import WIDTH

if TYPE_CHECKING:
    import pandas as pd

    from midef.core.match import MatchReport
    from midef.core.rows import ResultRow
    from midef.results.summary import SummaryRow
    from midef.storage import Store

TableStyle: TypeAlias = Literal["text", "md", "csv", "latex"]

NO_RESULTS = "no results yet"
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
        digest: of its plan; "" where the name alone is known.
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
    digest: str = ""
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
    def address(self) -> str:
        """What finds its plan in the store, whatever else has its name."""
        return f"{self.name}@{self.digest}" if self.digest and self.cells is not None else self.name

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

        return read(self.store, self.address)

    def table(self, style: TableStyle = "text") -> str:
        """The results as `midef table` prints them."""
        return results_table(self.store, self.address, style)


def results_table(
    store: Store,
    sweep: str | None = None,
    style: TableStyle = "text",
    *,
    setups: Sequence[str] = (),
    columns: Sequence[str] = (),
    width: int = WIDTH,
) -> str:
    """The results of a sweep (default: the latest of the store) as a table, beside the published numbers.

    Args:
        store: with results.
        sweep: its name, `name@digest` or digest.
        style: text for a terminal, Markdown, CSV or LaTeX.
        setups: ids, in which `*` and `?` stand for anything; all if empty.
        columns: keys or titles of the columns to show, in this order; all if empty.
        width: most characters of a line of text.

    Raises:
        SpecError: if the store has no such sweep, or several, or the sweep no such setup or column.
    """
    from midef.results.export import csv_table
    from midef.results.latex import latex_table
    from midef.results.render import markdown_table, text_table

    summaries, published = results_of(store, sweep, setups)
    if not summaries:
        return NO_RESULTS
    if style == "text":
        return text_table(summaries, published, columns=columns, width=width)
    draw = {"md": markdown_table, "csv": csv_table, "latex": latex_table}[style]
    return draw(summaries, published, columns=columns)


def results_of(store: Store, sweep: str | None, setups: Sequence[str] = ()) -> tuple[list[SummaryRow], list[ResultRow]]:
    """Summary rows of a sweep and the published numbers of the store; both empty if nothing was measured yet.

    Args:
        store: with results.
        sweep: its name; None for the latest of the store.
        setups: see `results_table`.
    """
    from midef.results.summary import summarise
    from midef.storage.published import read_published

    rows = rows_of_setups(store, sweep, setups)
    return (summarise(rows), read_published(store)) if rows else ([], [])


def rows_of_setups(store: Store, sweep: str | None, setups: Sequence[str] = ()) -> list[ResultRow]:
    """Stored rows of chosen setups of a sweep, see `results_table`.

    Raises:
        SpecError: for each that matches no setup.
    """
    from midef.core.errors import SpecError, did_you_mean
    from midef.storage import rows_of_sweep

    if not setups:
        return rows_of_sweep(store, sweep)
    rows = rows_of_sweep(store, sweep, {"setup": lambda setup: any(fnmatchcase(setup, text) for text in setups)})
    found = {row.setup for row in rows}
    unknown = [text for text in setups if not any(fnmatchcase(setup, text) for setup in found)]
    if unknown and (known := sorted({row.setup for row in rows_of_sweep(store, sweep)})):
        raise SpecError(
            [f"--setup {text} matches no setup with results; {did_you_mean(text, known)}" for text in unknown]
        )
    return rows
