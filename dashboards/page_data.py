"""Data of the setups and of the matching, as the page reads it; `frame_data.py` has what is loaded first.

The scripts of `page/` read these fields by name, and `files.py` writes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from midef.results.table import TableCell

Figure = dict[str, Any]
"""JSON of a plotly figure."""
Details = tuple[tuple[str, str], ...]
"""(name, text) of each line of an overlay; a line without a name goes on with the one above."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """Column of a table.

    Args:
        key: unique in its table.
        header: as shown.
        is_plain: not bold in a row of the front.
        is_text: words, to the left.
    """

    key: str
    header: str
    is_plain: bool = False
    is_text: bool = False


@dataclass(frozen=True)
class Span:
    """An interval: its ends, and as a table has it."""

    low: float
    high: float
    ends: str


@dataclass(frozen=True)
class Spans:
    """Both intervals of a number, None for one that it has not.

    Args:
        t: over seeds, from three on.
        cluster: within a run, over identities; ends averaged over seeds.
    """

    t: Span | None
    cluster: Span | None


@dataclass(frozen=True, kw_only=True)
class Row:
    """Defense in a setup.

    Args:
        defense: its label.
        label: as written beside its point; markup in it is text.
        colour: of its mark, if it is on the front.
        x: natural accuracy, or the utility that is plotted in its place.
        y: attack accuracy @1.
        is_on_front: no other defense beats it in test accuracy and under attack.
        is_on_plotted_front: nor in the utility that is plotted and under attack.
        is_unmatched: not at the accuracy that others were matched to.
        front_share: P(on front), 0 to 1; None of fewer than three seeds and of what is compared with nothing.
        has_own_seeds: over other seeds than the rest of the setup.
        has_problem: a cell failed or was refused.
        excluded: why its numbers are no result, "" of one that is compared.
        noted: what has to be noted about them.
        cells: by column.
        spans: of numbers with an interval, by metric.
        details: of the overlay.
    """

    defense: str
    label: str
    colour: str | None
    x: float | None
    y: float | None
    is_on_front: bool
    is_on_plotted_front: bool
    is_unmatched: bool
    front_share: float | None
    has_own_seeds: bool
    has_problem: bool
    excluded: str
    noted: str
    cells: tuple[TableCell, ...]
    spans: dict[str, Spans]
    details: Details


@dataclass(frozen=True)
class Shot:
    """One picture of a strip: eight identities beside each other.

    Args:
        seed: of the run.
        restart: 0 for the first restart of each identity, 1 for the second.
        block: index in `blocks` of the grid: which identities.
        file: relative to the page.
        marks: as in `Strip`.
        fives: by identity, `y` where the judge has it among its five best, `n` where not, `?` where nothing is stored.
        best: by identity, the five that the judge has before all others; empty for one without, and where they are not
            stored.
        nearest: by identity, squared distance to its nearest private image in the evaluator's features; empty where
            distances are not stored.
    """

    seed: int
    restart: int
    block: int
    file: str
    marks: tuple[str, ...]
    fives: str
    best: tuple[tuple[int, ...], ...] = ()
    nearest: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Strip:
    """One row of the reconstructions.

    Args:
        title: defense, or `private`.
        file: one picture of all identities side by side, relative to the page; "" with a reason.
        marks: by identity, `hit` or `miss` under the evaluator, `unknown` without scores, `excluded` where those are no
            result, `private`, `absent`.
        reason: why there is no picture.
        shots: all pictures that are stored, of further seeds, restarts and identities too; the first is `file`.
    """

    title: str
    file: str = ""
    marks: tuple[str, ...] = ()
    reason: str = ""
    shots: tuple[Shot, ...] = ()


@dataclass(frozen=True)
class Grid:
    """Reconstructions of a setup.

    Args:
        labels: the first identities, in column order.
        rule: how they were chosen.
        private: the exemplars, or why they are not shown.
        strips: by row of the setup.
        blocks: identities of each block of columns; the first are `labels`.
        seeds: seeds with pictures of all blocks.
        restarts: restarts of each identity that have pictures.
    """

    labels: tuple[int, ...] = ()
    rule: str = ""
    private: Strip | None = None
    strips: tuple[Strip, ...] = ()
    blocks: tuple[tuple[int, ...], ...] = ()
    seeds: tuple[int, ...] = ()
    restarts: int = 0

    @property
    def files(self) -> set[str]:
        """All its pictures, relative to the page."""
        strips = (*self.strips, self.private) if self.private else self.strips
        return {shot.file for strip in strips for shot in strip.shots}


@dataclass(frozen=True, kw_only=True)
class Setup:
    """One setup: its table, figure and reconstructions.

    Args:
        name: short and unique, for links.
        piece: name of the file with its data.
        label: name with certainty.
        what: attack, target, data and size, for the list of setups.
        counts: cells that are ok, failed, refused and missing.
        refused: why all cells were; "" if not all were.
        excluded: why all its numbers are no results; "" if any is one.
        stand_ins: (what is here, what is published); the second is "" for a remark that names no pair.
        title: of the section.
        facts: below the title.
        legend: what the intervals are.
        stamp: what the banner says of results that are not at the published size.
        has_published: published numbers stand beside ours.
        has_targets: defenses were asked to match an accuracy.
        utility: metric on the x axis.
        legends: what the intervals of the table are where the reader chose one: by `t` and `cluster`.
        columns: of the table.
        rows: of the table.
        footnotes: below the table, legends first.
        problems: failed, refused and missing cells.
        figure: the trade-off plot, if there is anything to draw.
        grid: the reconstructions.
    """

    name: str
    piece: str
    label: str
    what: tuple[str, ...]
    counts: tuple[int, int, int, int]
    refused: str
    excluded: str
    stand_ins: tuple[tuple[str, str], ...]
    title: str
    facts: str
    legend: str
    stamp: str
    has_published: bool
    has_targets: bool
    utility: str
    legends: dict[str, str]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    footnotes: tuple[str, ...]
    problems: tuple[str, ...]
    figure: Figure | None
    grid: Grid


@dataclass(frozen=True, kw_only=True)
class Spark:
    """Gaps of a matching by training, as a line of a table's height.

    Args:
        top: gap that is drawn at the top; so is what lies above.
        tolerance: gap within which an accuracy is matched.
        points: gap or None, and whether it is a confirmation, by training.
    """

    top: float
    tolerance: float
    points: tuple[tuple[float | None, bool], ...]


@dataclass(frozen=True, kw_only=True)
class Match:
    """Row of the matching: a defense on a network and data set.

    Args:
        id: unique, for links and headings.
        state: as in `MatchOutcome`.
        setups: ids of the setups that use it.
        reason: of any other state than `matched`.
        chosen: the defense as it is attacked, "" where there is none.
        cells: by column.
        spark: gaps by training.
        trainings: overlay of each training.
        history: figure of the gap by training.
        curve: figure of the accuracy by strength.
    """

    id: str
    state: str
    setups: tuple[str, ...]
    reason: str
    chosen: str
    cells: tuple[TableCell, ...]
    spark: Spark
    trainings: tuple[Details, ...]
    history: Figure | None
    curve: Figure | None


@dataclass(frozen=True, kw_only=True)
class Matching:
    """Everything one accuracy matching did.

    Args:
        sweep: name of its sweep.
        store: name of the store that holds it.
        profile: of its sweep.
        targets: a line per target.
        counts: trainings and states in words.
        command: opens Optuna's own dashboard; "" without studies.
        columns: of the table.
        rows: of the table.
    """

    sweep: str
    store: str
    profile: str
    targets: tuple[str, ...]
    counts: str
    command: str
    columns: tuple[Column, ...]
    rows: tuple[Match, ...]
