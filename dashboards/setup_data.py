"""One setup as the page shows it: table, plot, and the overlay of each defense."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from midef.core.certainty import with_certainty
from midef.core.gates import excluded_because, noted_because
from midef.core.rows import ResultRow
from midef.core.setup import StandIn
from midef.dashboards.figures.places import is_unmatched, label
from midef.dashboards.figures.trade_off import trade_off
from midef.dashboards.figures.utility import Utility, utility_of, with_front
from midef.dashboards.page_data import Column, Details, Grid, Row, Setup, Span, Spans
from midef.results.columns import MetricColumn
from midef.results.compare import ABSENT, COMPARED, NATURAL, TRAITS, UNDEFENDED
from midef.results.estimates import Estimate, Interval
from midef.results.front_share import front_shares
from midef.results.gating import why_no_result
from midef.results.judges import ESTIMATE_MARK, judges_words
from midef.results.notes import interval_legend
from midef.results.published import Published, published_of
from midef.results.seed_points import seed_points
from midef.results.summary import EXCLUDED, SummaryRow, is_matched_setup
from midef.results.table import Table, TableCell, TableColumn, compared_differences, comparison_cell, setup_table

FINAL_PROFILE = "paper"
SHARE_COLUMN = Column(key="front_share", header="P(on front)", is_plain=True)
AGAINST = f"against {UNDEFENDED}"

Lines = list[tuple[str, str]]


def setup_data(
    name: str,
    group: Sequence[SummaryRow],
    grid: Grid,
    colours: Mapping[str, str],
    published: Sequence[ResultRow] = (),
    utility: str = NATURAL,
    *,
    piece: str = "",
) -> Setup:
    """Data of one setup for the page.

    Args:
        name: of the setup in links.
        group: its summary rows.
        grid: its reconstructions.
        colours: of defenses on a front, by label.
        published: rows of any setups.
        utility: metric that attack accuracy is plotted against; tables compare test accuracy all the same.
        piece: name of the file with its data.
    """
    first, table = group[0], setup_table(group, published)
    useful = utility_of(group, utility)
    shares = front_shares(group, useful.metric, larger_is_better=not useful.is_reversed)
    theirs = published_of(first.setup, published, [row.defense for row in group])
    stamp, short_stamp = _stamps(first, table)
    figure = trade_off(group, colours, stamp=short_stamp, published=theirs, utility=utility)
    stand_ins = dict.fromkeys(stand_in for row in group for stand_in in StandIn.read(row.stand_ins))
    return Setup(
        name=name,
        piece=piece,
        label=with_certainty(name, first.certainty, first.settings),
        what=(first.attack, first.architecture, f"{first.private} from {first.public}", f"{first.resolution_px} px"),
        counts=(
            *(sum(row.ok for row in group), sum(row.failed for row in group)),
            *(sum(row.refused for row in group), sum(row.missing for row in group)),
        ),
        refused=table.refused,
        excluded=why_no_result(group),
        stand_ins=tuple((one.by, one.published) for one in stand_ins),
        title=table.title,
        facts=table.facts,
        legend=table.interval_legend,
        stamp=stamp,
        has_published=bool(theirs),
        has_targets=is_matched_setup(group),
        utility=utility,
        legends=_legends(group),
        columns=_with_share(tuple(map(_column, table.columns)), [SHARE_COLUMN] if shares else []),
        rows=tuple(
            _row(
                row,
                _with_share(cells, [_share_cell(shares.get(i))] if shares else []),
                colours,
                _details(row, group, theirs.get(row.defense)),
                front_share=shares.get(i),
                utility=utility,
                is_on_plotted_front=plotted.is_on_front,
                is_unmatched=is_unmatched(row, group),
            )
            for i, (row, plotted, cells) in enumerate(zip(group, with_front(group, useful), table.cells, strict=True))
        ),
        footnotes=(*table.legends, *([_share_legend(group, useful)] if shares else []), *table.footnotes),
        problems=table.problems,
        figure=None if figure is None else figure.json,
        grid=grid,
    )


def _stamps(first: SummaryRow, table: Table) -> tuple[str, str]:
    """Stamps of the banner of a setup and of its figure; both empty for results at the published size."""
    if table.stand_ins:
        return (
            f"{first.profile} profile, not comparable with published numbers; stands in: {table.stand_ins}",
            f"{first.profile} profile with stand-ins, not the published setup",
        )
    if first.profile == FINAL_PROFILE:
        return "", ""
    data = "stand-in data" if first.shows_nobody else "reduced data, models or budget"
    return (
        f"{first.profile} profile: {data}, not comparable with published numbers",
        f"{first.profile} profile, {data}",
    )


def _column(column: TableColumn) -> Column:
    """Bold in a row of the front: who it is, and what it reaches."""
    is_plain = column.kind == "number" or column.key in ("comparison", "published")
    return Column(key=column.key, header=column.header, is_plain=is_plain, is_text=column.kind == "words")


Cells = TypeVar("Cells")  # columns, or the cells of a row


def _with_share(cells: tuple[Cells, ...], share: Sequence[Cells]) -> tuple[Cells, ...]:
    """The columns or cells of a table, P(on front) behind the name of the defense."""
    return (*cells[:1], *share, *cells[1:])


def _share_cell(share: float | None) -> TableCell:
    return TableCell(ABSENT) if share is None else TableCell(f"{share:.2f}", number=share)


def _share_legend(group: Sequence[SummaryRow], utility: Utility) -> str:
    """What P(on front) is; "" where the setup has none."""
    sizes = sorted({len(points.seeds) for points in seed_points(group, utility.metric)})
    seeds = " or ".join(map(str, sizes))
    against = "test accuracy" if utility.is_accuracy else utility.metric
    return (
        f"P(on front): share of resamples of the {seeds} seeds in which no other defense is better in {against} and "
        "attack accuracy@1 at once; it describes these seeds, and is too sure of itself for so few"
    )


def _row(
    row: SummaryRow,
    cells: tuple[TableCell, ...],
    colours: Mapping[str, str],
    details: Details,
    *,
    utility: str,
    front_share: float | None,
    is_on_plotted_front: bool,
    is_unmatched: bool,
) -> Row:
    return Row(
        defense=row.defense,
        label=label(row),
        colour=colours.get(row.defense) if row.is_on_front else None,
        x=row.estimate(utility).mean,
        y=row.attack_accuracy_at_1.mean,
        is_on_front=row.is_on_front,
        is_on_plotted_front=is_on_plotted_front,
        is_unmatched=is_unmatched,
        front_share=front_share,
        has_own_seeds=row.has_own_seeds,
        has_problem=row.failed + row.refused > 0,
        excluded=excluded_because(row.gates),
        noted=noted_because(row.gates),
        cells=cells,
        spans=spans_of(row),
        details=details,
    )


def spans_of(row: SummaryRow) -> dict[str, Spans]:
    """Both intervals of each percentage of a row."""
    metrics = [column.metric for column in row.columns if column.is_percent]
    estimates = {metric: row.estimate(metric) for metric in metrics}
    both = {m: Spans(_span(one.interval("over_seeds")), _span(one.within_run)) for m, one in estimates.items()}
    return {metric: one for metric, one in both.items() if one.t or one.cluster}


def _span(interval: Interval | None) -> Span | None:
    return None if interval is None else Span(interval.low, interval.high, interval.ends)


def _legends(group: Sequence[SummaryRow]) -> dict[str, str]:
    """What each kind of interval is, for a reader who chose it."""
    has_t = any(row.estimate(metric).interval("over_seeds") for row in group for metric in COMPARED)
    return {
        "t": interval_legend(group, "over_seeds") if has_t else "no interval over seeds: it needs three seeds",
        "cluster": interval_legend(group, "within_run"),
    }


def _details(row: SummaryRow, group: Sequence[SummaryRow], published: Published | None) -> Details:
    """Every number of a row with what it is, for the overlay."""
    lines: Lines = [(gate.grade, gate.reason) for gate in row.gates]
    for column in row.columns:
        lines += _metric_details(row, column)
        if column.metric == NATURAL:
            lines += _match_details(row)
    lines += _trade_off_details(row, group)
    if published is not None:
        lines += _published_details(published)
    lines.append(("runs", f"{row.ok} ok, {row.failed} failed, {row.refused} refused, {row.missing} missing"))
    return tuple(lines)


def _metric_details(row: SummaryRow, column: MetricColumn) -> Lines:
    estimate = row.estimate(column.metric)
    mean = estimate.mean
    if mean is None:
        return []
    if not column.is_percent:
        return [(column.name, f"{mean:{',.4g' if mean < 1000 else ',.0f'}} {column.unit}")]
    lines = [(column.name, f"{_mark(row, column.metric)}{mean:.2f} %")]
    if estimate.ceiling is not None:
        lines.append(("", f"ceiling {estimate.ceiling:.1f} %"))
    spans = (estimate.within_run, estimate.over_seeds)
    lines += [("", f"{span.ends} {span.kind}") for span in spans if span]
    if (equal := equal_words(estimate)) and not any(spans):
        lines.append(("", equal))
    elif estimate.seeds > 1:
        lines.append(("", "seeds " + ", ".join(f"{seed}: {value:.1f}" for seed, value in estimate.by_seed)))
    return lines


def equal_words(estimate: Estimate) -> str:
    """`equal in all 3 seeds`: why a number has no interval over seeds; "" where the seeds differ."""
    values = [value for _, value in estimate.by_seed]
    return f"equal in all {len(values)} seeds" if len(values) > 1 and max(values) - min(values) < 1e-9 else ""


def _mark(row: SummaryRow, metric: str) -> str:
    """Before a number that is an estimate."""
    return ESTIMATE_MARK if row.estimate(metric).is_estimate else ""


def _match_details(row: SummaryRow) -> Lines:
    if row.match_target is None:
        return []
    reached = "–" if row.match_accuracy is None else f"{row.match_accuracy:.2f} %"
    seeds = f", mean of {row.match_seeds} seed{'' if row.match_seeds == 1 else 's'}" if row.match_seeds else ""
    tolerance = "" if row.match_tolerance is None else f" ± {row.match_tolerance:g}"
    return [
        ("matched", "yes" if row.is_matched else EXCLUDED if row.is_excluded else "no"),
        ("", f"{reached} on the select split{seeds}; target {row.match_target:.2f}{tolerance}"),
    ]


def _trade_off_details(row: SummaryRow, group: Sequence[SummaryRow]) -> Lines:
    """What the table says, and the differences it speaks of; no Delta where accuracies were matched."""
    is_matched = is_matched_setup(group)
    said = comparison_cell(row, is_matched=is_matched).text
    lines = [(AGAINST, row.trade_off.reason or ABSENT if said == ABSENT else said)]
    utility, attack = compared_differences(row, is_matched=is_matched)
    for name, difference in (("acc", utility), ("att", attack)):
        if difference is not None:
            kind = f" {difference.interval.kind}" if difference.interval else ""
            lines.append(("", f"{name} {difference.change} points{kind}"))
    traits = row.trade_off.traits
    if traits is not None and attack is not None:
        kind = f" {traits.interval.kind}" if traits.interval else ""
        lines.append(("", f"traits {_mark(row, TRAITS)}{traits.change} points{kind}"))
    if words := judges_words(row, group):
        lines.append(("judges", words))
    return lines if utility is None else [*lines, ("Delta", row.trade_off.delta_text)]


def _published_details(published: Published) -> Lines:
    natural, attack = COMPARED.values()
    spread = f" ± {published.spread:.2f}" if published.spread is not None else ""
    lines: Lines = []
    if published.natural_accuracy is not None:
        lines.append((f"published {natural}", f"{published.natural_accuracy:.2f} %, not measured here"))
    if published.attack_accuracy_at_1 is not None:
        lines.append((f"published {attack}", f"{published.attack_accuracy_at_1:.2f}{spread} %, not measured here"))
    if spread and published.spread_kind:
        lines.append(("", f"±: {published.spread_kind}"))
    for name, texts in (
        *(("source", published.sources), ("remark", published.remarks)),
        ("also published", published.others),
    ):
        lines += [(name, text) for text in texts]
    return lines
