"""The searches behind results: what their traces say, by setup and defense, as numbers and as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from midef.core.errors import StoreError
from midef.core.gates import search_gate
from midef.core.recipe import ArtifactKey
from midef.core.rows import ResultRow
from midef.core.traces import Traces
from midef.results.layout import WIDTH, TextColumn, column_blocks, wrapped_lines
from midef.results.summary import SummaryRow, by_setup, seeds_named, summarise
from midef.results.table import setup_table

if TYPE_CHECKING:
    import numpy as np

SHOWN_AT = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
"""Fractions of a search whose points the table shows."""
TITLES = {"loss": "loss", "confidence": "confidence", "gradient_norm": "gradient norm", "radius": "radius"}
NO_TRACE = "no trace is stored: the attack takes no steps, or an older midef made the reconstructions"

ReadTraces = Callable[[ArtifactKey], Traces | None]


@dataclass(frozen=True)
class Band:
    """A series over the rows of a search, by point [P].

    Args:
        mean: of all rows.
        low: their 10 % quantile.
        high: their 90 % quantile.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Search:
    """The search of one defense in one setup, rows of all chosen seeds together.

    Args:
        defense: label.
        seeds: those whose traces are stored.
        traces: None where none are stored.
        problems: why there are none, with the seeds without.
    """

    defense: str
    seeds: tuple[int, ...]
    traces: Traces | None
    problems: tuple[str, ...]

    @property
    def lost(self) -> int:
        """Rows with a value that is no finite number."""
        import numpy as np

        if self.traces is None:
            return 0
        finite = [np.isfinite(values).all(axis=1) for values in self.traces.series.values()]
        return int((~np.all(finite, axis=0)).sum())

    @property
    def bands(self) -> Mapping[str, Band]:
        """Each series that was recorded, over the rows that are finite throughout; without one of which none is."""
        import numpy as np

        if self.traces is None:
            return {}
        found = {}
        for name, recorded in self.traces.series.items():
            values = recorded[np.isfinite(recorded).all(axis=1)]
            if not len(values):
                continue
            low, high = np.quantile(values.astype(np.float64), (0.1, 0.9), axis=0)
            found[name] = Band(values.mean(axis=0, dtype=np.float64), low, high)
        return found


@dataclass(frozen=True)
class SetupSearches:
    """Searches of one setup.

    Args:
        setup: its id.
        title: setup, attack, data, profile and stand-ins in words.
        searches: one per defense, in the order of the table.
    """

    setup: str
    title: str
    searches: tuple[Search, ...]


def setup_searches(rows: Sequence[ResultRow], read: ReadTraces) -> list[SetupSearches]:
    """The searches behind measured rows, by setup.

    Args:
        rows: of any setups; those without reconstructions say why.
        read: traces of stored reconstructions, None where they have none; StoreError where they cannot be read.
    """
    groups = by_setup(summarise(rows)).values()
    return [SetupSearches(g[0].setup, _title(g), tuple(_search(row, read) for row in g)) for g in groups]


def _title(group: Sequence[SummaryRow]) -> str:
    table = setup_table(group)
    stand_ins = f", stands in: {table.stand_ins}" if table.stand_ins else ""
    return f"{table.title}, profile {group[0].profile}{stand_ins}"


def _search(row: SummaryRow, read: ReadTraces) -> Search:
    keys = {seed: key for seed, key, _ in row.stored}
    lost = {p.seed: f"{p.status}: {p.reason}" for p in row.problems}
    found, problems = dict[int, Traces](), dict[str, list[int]]()
    for seed in row.seeds:
        try:
            traces = read(ArtifactKey.parse(keys[seed])) if keys.get(seed) else None
            missing = NO_TRACE if keys.get(seed) else lost.get(seed, "nothing is stored")
        except StoreError as error:
            traces, missing = None, str(error)
        if traces is None:
            problems.setdefault(missing, []).append(seed)
        else:
            found[seed] = traces
    said = tuple(f"{seeds_named(seeds)}: {why}" for why, seeds in problems.items())
    return Search(row.defense, tuple(found), Traces.joined(found.values()), said)


def searches_text(setups: Sequence[SetupSearches], width: int | None = WIDTH) -> str:
    """A table per setup for a terminal: each series at six points of the search, and how the search ended.

    Args:
        setups: with the searches of each defense.
        width: of a line, in characters; None for as wide as it comes.
    """
    return "\n\n\n".join(_setup_text(setup, width) for setup in setups)


def _setup_text(setup: SetupSearches, width: int | None) -> str:
    names = [name for name in TITLES if any(name in search.bands for search in setup.searches)]
    body: list[tuple[str, ...]] = [("defense", "step", *(TITLES[name] for name in names))]
    notes = []
    for search in setup.searches:
        notes += [f"{search.defense}: {line}" for line in (*_ending(search), *search.problems)]
        if search.traces is None:
            continue
        bands = search.bands
        for i, point in enumerate(points_shown(search.traces.steps)):
            cells = [_cell(bands.get(name), point) for name in names]
            body.append((search.defense if i == 0 else "", str(search.traces.steps[point]), *cells))
    if len(body) == 1:
        return "\n".join(wrapped_lines((setup.title, *notes), width))
    columns = [TextColumn(head, tuple(cells), is_whole=True) for head, *cells in zip(*body, strict=True)]
    above = wrapped_lines((setup.title, "mean over all rows of the search [10 % and 90 % quantile]"), width)
    blocks = ["\n".join(block) for block in column_blocks(columns, width, repeated=2)]
    below = wrapped_lines(notes, width)
    return "\n\n".join(["\n".join(above), *blocks, "\n".join(below)])


def points_shown(steps: np.ndarray) -> list[int]:
    """Positions of the points nearest to `SHOWN_AT`, each once."""
    import numpy as np

    wanted = steps[0] + np.array(SHOWN_AT) * (steps[-1] - steps[0])
    return sorted({int(np.abs(steps - at).argmin()) for at in wanted})


def _cell(band: Band | None, point: int) -> str:
    if band is None:
        return "-"
    return f"{band.mean[point]:.3g} [{band.low[point]:.3g}, {band.high[point]:.3g}]"


def _ending(search: Search) -> list[str]:
    """How the search ended: whether its confidence still rose, and what was left of its gradient."""
    if search.traces is None:
        return []
    rows = len(search.traces.labels)
    kind = "identities" if (search.traces.restarts < 0).all() else "reconstructions"
    who = f"{rows} {kind}, {seeds_named(search.seeds)}"
    if lost := search.lost:
        who += f"; {lost} of them left the numbers and {'is' if lost == 1 else 'are'} not counted"
    course = search.traces.course
    if not course:
        return [f"{who}; no confidence, too few steps or fewer than two identities, to say how it ended"]
    end, rise, low = (course[f"confidence_{name}"] for name in ("end", "rise", "rise_low"))
    said = f"{who}; last fifth of the steps: confidence {end:.3g}, log-odds {rise:+.2f} [from {low:+.2f}]"
    said += ", still rising: attack not converged" if search_gate(end, rise, low) else ""
    if course.get("gradient_start"):
        said += f"; gradient norm {100 * course['gradient_end'] / course['gradient_start']:.3g} % of its start"
    return [said]
