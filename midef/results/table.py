"""Table of one setup: one set of cell texts for terminal, markdown and dashboard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from midef.core.errors import SpecError, did_you_mean
from midef.core.rows import ResultRow
from midef.results import notes
from midef.results.columns import MetricColumn
from midef.results.compare import ABSENT, NATURAL, UNDEFENDED, Difference
from midef.results.estimates import IntervalChoice
from midef.results.judges import ESTIMATE_MARK
from midef.results.published import Published, published_of
from midef.results.summary import EXCLUDED, SummaryRow, columns_in, interval_choice, is_matched_setup, seeds_named

NOT_MATCHED = "not matched"


@dataclass(frozen=True)
class TableCell:
    """One cell of a table.

    Args:
        text: as shown.
        interval: text of the interval, or what else stands small beside `text`.
        number: to sort by; None in a column of words.
    """

    text: str
    interval: str = ""
    number: float | None = None

    @property
    def joined(self) -> str:
        return f"{self.text} {self.interval}".strip()


@dataclass(frozen=True)
class TableColumn:
    """Heading of a column.

    Args:
        key: what the column holds: a metric's name, or `defense`, `matched`, `delta`, `comparison`, `seeds`,
            `published`.
        header: as shown.
        kind: words, a number, or a number with an interval beside it.
    """

    key: str
    header: str
    kind: Literal["words", "number", "interval"] = "number"


@dataclass(frozen=True)
class Table:
    """One setup. A setup that was refused has no columns of numbers but published ones.

    Args:
        title: setup, attack, target, data and size in words.
        facts: protocol, evaluator and seeds in words.
        interval_legend: what the intervals are.
        columns: from left to right.
        cells: by summary row, then by column.
        footnotes: what is to be said of this setup.
        problems: failed, refused and missing cells with their reasons.
        legends: how to read the marks in the cells.
        stand_ins: what stands in for what; "" for a setup as published.
        refused: why every cell of the setup was refused; "" if any was not.
    """

    title: str
    facts: str
    interval_legend: str
    columns: tuple[TableColumn, ...]
    cells: tuple[tuple[TableCell, ...], ...]
    footnotes: tuple[str, ...]
    problems: tuple[str, ...]
    legends: tuple[str, ...] = ()
    stand_ins: str = ""
    refused: str = ""


def setup_table(group: Sequence[SummaryRow], published: Sequence[ResultRow] = ()) -> Table:
    """The table of one setup.

    Args:
        group: summary rows of that setup, at least one.
        published: rows of any setups; a last column shows those of this setup and of a defense in `group`, if there are
            any, and a footnote those of other defenses.
    """
    first, choice, refused = group[0], interval_choice(group), notes.refusal(group)
    theirs = published_of(first.setup, published, [row.defense for row in group])
    columns = [(TableColumn("defense", "defense", "words"), [_defense_cell(row) for row in group])]
    if not refused:
        columns += _numbers(group, choice)
    if any(row.defense in theirs for row in group):
        heading = TableColumn("published", "published acc / att@1", "words")
        columns.append((heading, [_published_cell(theirs.get(row.defense)) for row in group]))
    access = f" ({first.access})" if first.access else ""  # nobody has written this attack
    return Table(
        title=f"{first.setup_label}: {first.attack}{access} on {first.architecture}, "
        f"{first.private} from {first.public}, {first.resolution_px} px",
        facts=notes.facts(group, is_refused=bool(refused)),
        interval_legend="" if refused else notes.interval_legend(group, choice),
        columns=tuple(column for column, _ in columns),
        cells=tuple(zip(*(cells for _, cells in columns), strict=True)),
        legends=(*(() if refused else notes.legends(group)), *notes.published_legends(group, theirs)),
        footnotes=(*(() if refused else notes.footnotes(group)), *notes.published_notes(group, theirs)),
        problems=(f"refused: {refused}",) if refused else tuple(notes.problems(group)),
        stand_ins=notes.stand_ins(group),
        refused=refused,
    )


def chosen_columns(tables: Sequence[Table], columns: Sequence[str]) -> list[Table]:
    """The tables with the chosen columns alone, in the order of the choice; the defense always stands first.

    Args:
        tables: of any setups.
        columns: keys or titles; all columns if empty. A table that lacks one that another has goes without it.

    Raises:
        SpecError: for each that no table has.
    """
    if not columns:
        return list(tables)
    keys = {name: column.key for t in tables for column in t.columns for name in (column.header, column.key)}
    unknown = [name for name in columns if name not in keys]
    if unknown and tables:
        raise SpecError([f"no column {name!r}; {did_you_mean(name, dict.fromkeys(keys.values()))}" for name in unknown])
    asked = dict.fromkeys(["defense", *(keys.get(name, name) for name in columns)])
    return [_with_columns(table, list(asked)) for table in tables]


def _with_columns(table: Table, keys: Sequence[str]) -> Table:
    places = {column.key: place for place, column in enumerate(table.columns)}
    shown = [places[key] for key in keys if key in places]
    return replace(
        table,
        columns=tuple(table.columns[place] for place in shown),
        cells=tuple(tuple(cells[place] for place in shown) for cells in table.cells),
    )


_Column = tuple[TableColumn, list[TableCell]]


def _numbers(group: Sequence[SummaryRow], choice: IntervalChoice) -> list[_Column]:
    """Columns between the name of a defense and what is published.

    The accuracy that was matched stands beside the test accuracy. At equal accuracies a Delta divides by noise, and no
    accuracy is lost: there only the attacks are compared.
    """
    is_matched = is_matched_setup(group)
    before: list[_Column] = []
    costs: list[_Column] = []
    said_once = notes.full_everywhere(group)
    for metric in columns_in(group):
        if metric in said_once:
            continue
        (costs if metric.is_cost else before).append(_metric_column(metric, group, choice))
        if is_matched and metric.metric == NATURAL:
            before.append((TableColumn("matched", "matched"), [_matched_cell(row) for row in group]))
    against = TableColumn("comparison", f"against {UNDEFENDED}", "words")
    verdict = [(against, [comparison_cell(row, is_matched=is_matched) for row in group])]
    if not is_matched:
        verdict.insert(0, (TableColumn("delta", "Delta"), [delta_cell(row) for row in group]))
    runs = [TableCell(f"{row.ok}/{row.failed + row.refused}", number=row.ok) for row in group]
    return [*before, *verdict, *costs, (TableColumn("seeds", "ok/failed"), runs)]


def _metric_column(metric: MetricColumn, group: Iterable[SummaryRow], choice: IntervalChoice) -> _Column:
    estimates = [row.estimate(metric.metric) for row in group]
    largest = max((abs(estimate.mean) for estimate in estimates if estimate.mean is not None), default=0.0)
    cells = []
    for estimate in estimates:
        span = estimate.interval(choice) if metric.is_percent else None
        beside = span.ends if span else ""
        mean = estimate.mean
        mark = ESTIMATE_MARK if estimate.is_estimate else ""
        cells.append(TableCell(ABSENT) if mean is None else TableCell(mark + metric.write(mean, largest), beside, mean))
    return TableColumn(metric.metric, metric.title, "interval" if metric.is_percent else "number"), cells


def _defense_cell(row: SummaryRow) -> TableCell:
    """The defense; with the seeds that its numbers are over where those are not the setup's."""
    return TableCell(row.defense, f"({seeds_named(row.shown_seeds)})" if row.has_own_seeds else "")


def delta_cell(row: SummaryRow) -> TableCell:
    """Delta, where a loss of accuracy is shown."""
    if row.is_undefended:
        return TableCell(ABSENT)
    return TableCell(row.trade_off.delta_text, number=row.trade_off.delta_value)


def comparison_cell(row: SummaryRow, *, is_matched: bool) -> TableCell:
    """What was lost and won against the undefended model in words, ordered by the drop of the attack accuracy.

    Args:
        row: of the setup.
        is_matched: defenses of the setup were asked to match an accuracy: then the attacks alone are compared.
    """
    if row.is_excluded:
        return TableCell(EXCLUDED)
    if row.is_undefended:
        return TableCell("reference")
    if is_matched and not row.is_matched:
        return TableCell(NOT_MATCHED)
    said = row.trade_off.attack_words if is_matched else row.trade_off.words
    _, attack = compared_differences(row, is_matched=is_matched)
    return TableCell(said, number=None if attack is None else attack.drop)


def compared_differences(row: SummaryRow, *, is_matched: bool) -> tuple[Difference | None, Difference | None]:
    """Differences of test accuracy and of attack accuracy@1 that the table speaks of, None for those it does not.

    Args:
        row: of the setup.
        is_matched: as in `comparison_cell`: no accuracy is lost there, and what is not matched is not compared.
    """
    if not is_matched:
        return row.trade_off.utility, row.trade_off.attack
    return None, row.trade_off.attack if row.is_matched else None


def _matched_cell(row: SummaryRow) -> TableCell:
    """`88.4 (+0.2)`: the accuracy on the select split and the points above the target; `no: 84.1` outside of the
    tolerance, where the row is not excluded anyway; a dash for a row that was not asked to match."""
    if row.match_target is None or row.match_accuracy is None:
        return TableCell(ABSENT, number=row.match_accuracy)
    gap = round(row.match_accuracy - row.match_target, 1) + 0.0  # no "-0.0"
    is_outside = not row.is_matched and not row.is_excluded
    return TableCell(f"{'no: ' if is_outside else ''}{row.match_accuracy:.1f}", f"({gap:+.1f})", row.match_accuracy)


def _published_cell(published: Published | None) -> TableCell:
    if published is None:
        return TableCell(ABSENT)
    return TableCell(published.values, published.beside, published.attack_accuracy_at_1)
