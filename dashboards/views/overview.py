"""All setups and defenses at a glance: tiles, differences from the undefended model, and a small plot per setup."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from midef.dashboards.views.base import Pieces, Shown, View
from midef.results.cells import cell_runs
from midef.results.columns import MetricColumn
from midef.results.over_setups import KIND, paired_drops, pooled_intervals
from midef.results.summary import SetupKey, SummaryRow, columns_in, is_matched_setup

WIN, TIE, LOSS = "w", "t", "l"
SECONDS = ("wall_s", "train_s")
MOST_NAMED = 12
"""Setups without a row that are named."""


@dataclass(frozen=True)
class Tile:
    """A number in large print, what it counts, and a remark."""

    title: str
    value: str
    note: str


@dataclass(frozen=True, kw_only=True)
class Cells:
    """The rows of a setup, in the order of `Head.defenses`.

    Args:
        states: `compared`, `unmatched`, `excluded`, `failed`, `refused`, `missing` or `reference`.
        verdicts: w, t or l where the interval of the difference shows a gain, nothing or a loss; "" where nothing is
            compared.
        texts: the difference in words.
        x: test accuracy, percent.
        y: attack accuracy @1, percent.
        is_front: no other defense is both at least as accurate and attacked less.
        waiting: labels of defenses that are planned here, and have no row yet.
        has_plan: the plan of its sweep is stored.
        gains: by metric, how much less private the undefended model is: in the unit of the metric, positive is better.
    """

    states: tuple[str, ...]
    verdicts: tuple[str, ...]
    texts: tuple[str, ...]
    x: tuple[float | None, ...]
    y: tuple[float | None, ...]
    is_front: tuple[bool, ...]
    waiting: tuple[str, ...]
    has_plan: bool
    gains: dict[str, tuple[float | None, ...]]


@dataclass(frozen=True, kw_only=True)
class Overview:
    """The first view.

    Args:
        tiles: four of them.
        cells: by setup.
        intervals: of the mean difference over all setups, by defense; (low, high) in points.
        kind: of these intervals.
        caution: what to know before comparing numbers of this table.
        waiting: setups that are planned, and have no row yet.
    """

    tiles: tuple[Tile, ...]
    cells: tuple[Cells, ...]
    intervals: dict[str, tuple[float, float]]
    kind: str
    caution: str
    waiting: str


def pieces(shown: Shown) -> Pieces:
    """One piece."""
    groups = list(shown.groups.values())
    is_matched = any(map(is_matched_setup, groups))
    planned = _planned(shown)
    metrics = [column for column in columns_in(shown.summaries) if "private" in column.larger_is]
    intervals = pooled_intervals([group for group in groups if is_matched_setup(group) or not is_matched])
    yield (
        "overview",
        Overview(
            tiles=_tiles(shown, groups),
            cells=tuple(_cells(group, metrics, planned.get(group[0].setup_key)) for group in groups),
            intervals={label: (one.low, one.high) for label, one in intervals.items()},
            kind=KIND,
            caution=""
            if is_matched or not groups
            else "No setup was matched to one accuracy: a defense that leaks less here may only be less accurate.",
            waiting=_waiting(planned.keys() - shown.groups.keys()),
        ),
    )


def _planned(shown: Shown) -> dict[SetupKey, set[str]]:
    """Labels of the defenses that each setup was planned with."""
    found: dict[SetupKey, set[str]] = {}
    for cell in shown.planned:
        key = str(cell["sweep"]), str(cell.get("profile") or ""), str(cell.get("setup") or "")
        found.setdefault(key, set()).add(str(cell.get("defense") or ""))
    return found


def _waiting(setups: Collection[SetupKey]) -> str:
    """Names the setups that have no row yet; "" for none."""
    names = sorted(setup for *_, setup in setups if setup)
    if not names:
        return ""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"Planned and without a row yet: {', '.join(names[:MOST_NAMED])}{more}."


def _tiles(shown: Shown, groups: Sequence[Sequence[SummaryRow]]) -> tuple[Tile, ...]:
    header = shown.header
    total = header.ok + header.failed + header.refused + header.missing
    states = f"{header.failed} failed, {header.refused} refused, {header.missing} missing"
    runs = cell_runs(shown.rows, shown.planned)
    setups = {(run.sweep, run.profile, run.setup) for run in runs}
    unfinished = {(run.sweep, run.profile, run.setup) for run in runs if run.state != "ok"}
    unfinished |= {group[0].setup_key for group in groups if not all(map(_is_complete, group))}
    asked = [row for row in shown.summaries if row.match_target is not None]
    matched = sum(row.is_matched for row in asked)
    return (
        Tile("runs done", f"{header.ok:,} of {total:,}", states),
        Tile(
            "setups complete",
            f"{len(setups - unfinished)} of {len(setups)}",
            "with every planned seed of every defense",
        ),
        Tile(
            "defenses at matched accuracy",
            f"{matched} of {len(asked)}" if asked else "none asked for",
            "pairs of a setup and a defense",
        ),
        _cost(shown, header.ok, header.missing),
    )


def _is_complete(row: SummaryRow) -> bool:
    return not (row.failed or row.refused or row.missing)


def _cost(shown: Shown, done: int, missing: int) -> Tile:
    """Seconds of attacks, and of trainings, each of which several attacks share."""
    spent = {
        (row.metric, row.defense, row.architecture, row.private, row.seed, row.cell if row.metric == "wall_s" else "")
        : row.value for row in shown.rows if row.metric in SECONDS and row.value is not None
    }  # fmt: skip
    if not spent:
        return Tile("cost so far", "unknown", "the rows name no seconds")
    seconds = sum(spent.values())
    projected = f"about {_hours(seconds * (done + missing) / done)} for all cells" if done else "no cell is done"
    return Tile("cost so far", _hours(seconds), f"of training and attacks; {projected}")


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds / 60:,.1f} min"


def _cells(group: Sequence[SummaryRow], measures: Sequence[MetricColumn], planned: Collection[str] | None) -> Cells:
    undefended = next((row for row in group if row.is_undefended), None)
    is_matched = is_matched_setup(group)
    attacks = [row.trade_off.attack if paired_drops(row, group) else None for row in group]
    return Cells(
        states=tuple(_state(row, is_matched=is_matched) for row in group),
        verdicts=tuple("" if one is None else WIN if one.falls else LOSS if one.rises else TIE for one in attacks),
        texts=tuple("" if one is None else one.size() for one in attacks),
        x=tuple(row.natural_accuracy.mean for row in group),
        y=tuple(row.attack_accuracy_at_1.mean for row in group),
        is_front=tuple(row.is_on_front for row in group),
        waiting=tuple(sorted(set(planned or ()) - {row.defense for row in group})),
        has_plan=planned is not None,
        gains={one.metric: tuple(_gain(row, undefended, one) for row in group) for one in measures},
    )


def _state(row: SummaryRow, *, is_matched: bool) -> str:
    if row.attack_accuracy_at_1.mean is None:
        return "failed" if row.failed else "refused" if row.refused else "missing"
    if row.is_undefended:
        return "reference"
    if row.is_excluded or row.has_own_seeds:
        return "excluded"
    return "compared" if is_matched and row.is_matched else "unmatched"


def _gain(row: SummaryRow, undefended: SummaryRow | None, column: MetricColumn) -> float | None:
    """Positive where the defense is more private than the undefended model."""
    if undefended is None or row is undefended or row.is_excluded or row.has_own_seeds:
        return None
    before, after = undefended.estimate(column.metric).mean, row.estimate(column.metric).mean
    if before is None or after is None:
        return None
    return before - after if column.larger_is == "less private" else after - before


VIEW = View(name="overview", title="Overview", pieces=pieces)
