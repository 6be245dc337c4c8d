"""Every number of every summary row, unrounded, under flat names."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from midef.core.errors import SpecError, did_you_mean
from midef.core.rows import ResultRow
from midef.core.text import spreadsheet_cell
from midef.core.traces import COURSE
from midef.results.columns import MetricColumn
from midef.results.compare import NATURAL, TRAITS
from midef.results.gating import gate_record
from midef.results.judges import judges_words
from midef.results.notes import metrics_named
from midef.results.published import Published, published_of
from midef.results.runs import MATCH_NUMBERS
from midef.results.summary import FROM_ROW, SummaryRow, by_setup, columns_in, is_matched_setup
from midef.results.table import compared_differences, comparison_cell, delta_cell

if TYPE_CHECKING:
    import pyarrow as pa

Record = dict[str, str | int | float | None]


IDENTIFYING = ("sweep", "profile", "setup", "defense")
"""Names that every record has, whatever columns are chosen."""
_NAMES_OF: Mapping[str, str] = {
    "defense": r"defense_\w+",
    "matched": r"matched|match_\w+",
    "delta": r"delta\w*",
    "comparison": r"comparison|(utility|attack|trait)_drop\w*|judges_disagree",
    "seeds": r"seeds|shown_seeds|ok|failed|refused|missing|reasons",
    "published": r"published_\w+",
}
"""Names of the records that a column of the table stands for; a metric has those of `_METRIC`."""
_METRIC = r"(_(within_run|over_seeds)_(low|high|interval)|_ceiling|_is_estimate|_remark)?"


def chosen_records(lines: Sequence[Record], columns: Sequence[str], titles: Mapping[str, str]) -> list[Record]:
    """The records with chosen names alone, in the order of the choice; `IDENTIFYING` always stands first.

    Args:
        lines: of `records`.
        columns: names, columns of a table (`natural_accuracy`, `delta`, `comparison`) or their titles; all if empty.
        titles: key of a column by its title.

    Raises:
        SpecError: for each that no record has.
    """
    if not columns or not lines:
        return list(lines)
    names = list(lines[0])
    found: dict[str, list[str]] = {}
    for column in columns:
        key = titles.get(column, column)
        pattern = re.compile(_NAMES_OF.get(key, re.escape(key) + _METRIC))
        found[column] = [name for name in names if pattern.fullmatch(name) or name == column]
    known = list(dict.fromkeys([*_NAMES_OF, *names]))
    if unknown := [column for column, of_column in found.items() if not of_column]:
        raise SpecError([f"no column {column!r}; {did_you_mean(column, known)}" for column in unknown])
    chosen = dict.fromkeys([*IDENTIFYING, *(name for of_column in found.values() for name in of_column)])
    return [{name: line[name] for name in chosen} for line in lines]


def records(
    summaries: Sequence[SummaryRow], published: Sequence[ResultRow] = (), *, columns: Sequence[str] = ()
) -> list[Record]:
    """One flat record per summary row, all with the same names.

    Args:
        summaries: rows of any setups.
        published: rows to show beside ours, see `setup_table`.
        columns: see `chosen_records`; all if empty.

    Raises:
        SpecError: for a column that no record has.
    """
    titles = {one.title: one.metric for one in columns_in(summaries)}
    return chosen_records(_records(summaries, published), columns, titles)


def _records(summaries: Sequence[SummaryRow], published: Sequence[ResultRow]) -> list[Record]:
    labels: dict[str, list[str]] = {}
    for row in summaries:
        labels.setdefault(row.setup, []).append(row.defense)
    theirs = {setup: published_of(setup, published, ours) for setup, ours in labels.items()}
    groups = by_setup(summaries)
    matched = {key for key, group in groups.items() if is_matched_setup(group)}
    columns = columns_in(summaries)
    remarked = {metric for row in summaries for metric in row.remarks}
    judged = {c.metric for c in columns if any(row.estimate(c.metric).ceiling is not None for row in summaries)}
    return [
        {name: getattr(row, name) for name in FROM_ROW}
        | {
            name: value
            for column in columns
            for name, value in _metric_record(
                row, column, has_ceiling=column.metric in judged, has_remark=column.metric in remarked
            ).items()
        }
        | {"chance": row.chance, "evaluator_accuracy": row.evaluator_accuracy}
        | {name: row.course.get(name) for name in COURSE}
        | _trade_off_record(row, is_matched=row.setup_key in matched)
        | (_judges_record(row, groups[row.setup_key]) if TRAITS in judged else {})
        | {
            "is_on_front": int(row.is_on_front),
            **gate_record(row.gates),
            "seeds": len(row.seeds),
            "shown_seeds": " ".join(map(str, row.shown_seeds)),
            **{name: getattr(row, name) for name in ("ok", "failed", "refused", "missing")},
            "reasons": "; ".join(_reasons_by_seed(row)),
        }
        | _published_record(theirs[row.setup].get(row.defense))
        for row in summaries
    ]


def _metric_record(row: SummaryRow, column: MetricColumn, *, has_ceiling: bool, has_remark: bool) -> Record:
    """Mean of a metric; with both intervals if it is not a cost, which is counted and not estimated."""
    metric, estimate = column.metric, row.estimate(column.metric)
    record: Record = {metric: estimate.mean}
    for choice, interval in (("within_run", estimate.within_run), ("over_seeds", estimate.over_seeds)):
        if not column.is_cost:
            record[f"{metric}_{choice}_low"] = interval.low if interval else None
            record[f"{metric}_{choice}_high"] = interval.high if interval else None
            record[f"{metric}_{choice}_interval"] = interval.kind if interval else None
    if has_ceiling:
        record |= {f"{metric}_ceiling": estimate.ceiling, f"{metric}_is_estimate": int(estimate.is_estimate)}
    if has_remark:
        record[f"{metric}_remark"] = row.remarks.get(metric, "")
    if metric == NATURAL:
        record["matched"] = int(row.is_matched)
        record |= {name: getattr(row, name) for name in MATCH_NUMBERS}
    return record


def _trade_off_record(row: SummaryRow, *, is_matched: bool) -> Record:
    """Delta, both drops, and what the table says of them; nothing of what the table does not compare."""
    delta = row.trade_off.delta
    utility, attack = compared_differences(row, is_matched=is_matched)
    record: Record = {
        "delta": None if is_matched else delta_cell(row).number,
        "delta_is_unstable": int(delta.is_unstable) if delta and not is_matched else None,
        "comparison": comparison_cell(row, is_matched=is_matched).joined,
    }
    for name, difference in (("utility", utility), ("attack", attack)):
        span = difference.interval if difference else None
        record |= {
            f"{name}_drop": difference.drop if difference else None,
            f"{name}_drop_low": span.low if span else None,
            f"{name}_drop_high": span.high if span else None,
            f"{name}_drop_interval": span.kind if span else None,
        }
    return record


def _judges_record(row: SummaryRow, group: Sequence[SummaryRow]) -> Record:
    """The difference of trait accuracy, and what is to be said where it disagrees with the evaluator's."""
    difference = None if is_matched_setup(group) and not row.is_matched else row.trade_off.traits
    span = difference.interval if difference else None
    return {
        "trait_drop": difference.drop if difference else None,
        "trait_drop_low": span.low if span else None,
        "trait_drop_high": span.high if span else None,
        "trait_drop_interval": span.kind if span else None,
        "judges_disagree": judges_words(row, group),
    }


def _reasons_by_seed(row: SummaryRow) -> list[str]:
    metrics_by_problem: dict[tuple[int, str, str], list[str]] = {}
    for p in row.problems:
        metrics_by_problem.setdefault((p.seed, p.status, p.reason), []).append(p.metric)
    return [
        f"seed {seed} {metrics_named(metrics)} {status}: {why}"
        for (seed, status, why), metrics in metrics_by_problem.items()
    ]


def _published_record(published: Published | None) -> Record:
    return {
        "published_natural_accuracy": published.natural_accuracy if published else None,
        "published_attack_accuracy_at_1": published.attack_accuracy_at_1 if published else None,
        "published_spread": published.spread if published else None,
        "published_spread_kind": published.spread_kind if published else "",
        "published_source": "; ".join(published.sources) if published else "",
        "published_remark": "; ".join(published.remarks) if published else "",
    }


def csv_table(
    summaries: Sequence[SummaryRow], published: Sequence[ResultRow] = (), *, columns: Sequence[str] = ()
) -> str:
    """`records` as CSV with a header; numbers unrounded, empty where there is none.

    An apostrophe stands before a text that a spreadsheet would compute (`=HYPERLINK(...)`).
    """
    return csv_text(records(summaries, published, columns=columns))


def csv_text(lines: Sequence[Record]) -> str:
    """Records of the same names as CSV, see `csv_table`; "" for none."""
    if not lines:
        return ""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    for line in lines:
        writer.writerow({name: spreadsheet_cell(v) if isinstance(v, str) else v for name, v in line.items()})
    return out.getvalue()


_WORDS = re.compile(r".*(interval|kind|source|remark|because|reasons|noted|words)")


def parquet_bytes(lines: Sequence[Record]) -> bytes:
    """Records of the same names as a Parquet file; numbers are numbers, null where there is none.

    Args:
        lines: at least one.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {name: [line[name] for line in lines] for name in lines[0]}
    out = io.BytesIO()
    pq.write_table(pa.table({name: pa.array(values, _type(name, values)) for name, values in columns.items()}), out)
    return out.getvalue()


def _type(name: str, values: Sequence[str | int | float | None]) -> pa.DataType:
    """Type of a column; of one without any value, by its name."""
    import pyarrow as pa

    given = [value for value in values if value is not None]
    if any(isinstance(value, str) for value in given) or (not given and _WORDS.fullmatch(name)):
        return pa.string()
    if given and all(isinstance(value, bool) for value in given):
        return pa.bool_()
    return pa.int64() if given and all(isinstance(value, int) for value in given) else pa.float64()
