"""A table of a paper beside ours: every published number with a verdict."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from midef.core.errors import SpecError, did_you_mean
from midef.core.rows import ResultRow
from midef.results.against_published import DERIVED, VERDICTS, Reproduction, reproductions
from midef.results.columns import STANDING
from midef.results.compare import ABSENT
from midef.results.plain import PlainColumn, PlainTable
from midef.results.summary import columns_in, summarise

_COLUMNS = (
    PlainColumn("setup", "setup", is_whole=True),
    PlainColumn("defense", "defense"),
    PlainColumn("metric", "metric"),
    PlainColumn("published", "published", "right"),
    PlainColumn("measured", "ours", is_whole=True),
    PlainColumn("difference", "difference", "right"),
    PlainColumn("verdict", "verdict"),
    PlainColumn("reason", "because"),
)


def paper_tables(
    rows: Sequence[ResultRow], published: Iterable[ResultRow], paper: str, table: str = ""
) -> list[PlainTable]:
    """The tables of a paper, as far as they are held, with our numbers beside them.

    Args:
        rows: measured rows; none if nothing was run.
        published: of any papers.
        paper: its short name, as `MIDRE`.
        table: as `B.2`; "" for every table of the paper.

    Raises:
        SpecError: if no number of this paper or table is held; names those that are.
    """
    theirs = _of_paper(list(dict.fromkeys(published)), paper, table)
    summaries = summarise(rows)
    titles = {column.metric: column.title for column in (*STANDING, *columns_in(summaries))}
    found = reproductions(summaries, rows, theirs, {row.setup for row in theirs})
    derived = Counter(row.source.partition(", ")[2] for row in theirs if row.metric in DERIVED)
    tables: dict[str, list[Reproduction]] = {}
    for row in theirs:
        tables.setdefault(row.source.partition(", ")[2], [])
    for one in found:
        tables[one.table].append(one)
    name = theirs[0].source.partition(", ")[0]
    return [_table(name, title, of_table, derived[title], titles) for title, of_table in tables.items()]


def _of_paper(published: Sequence[ResultRow], paper: str, table: str) -> list[ResultRow]:
    by_paper: dict[str, list[ResultRow]] = {}
    for row in published:
        by_paper.setdefault(row.source.partition(", ")[0], []).append(row)
    name = next((one for one in by_paper if one.lower() == paper.lower()), None)
    if name is None:
        raise SpecError(f"no published numbers of a paper {paper!r}; {did_you_mean(paper, by_paper)}")
    tables = list(dict.fromkeys(row.source.partition(", ")[2] for row in by_paper[name]))
    chosen = [one for one in tables if not table or _bare(one) == _bare(table)]
    if not chosen:
        raise SpecError(
            f"no numbers of table {table!r} of {name} are held; {did_you_mean(f'Tab.{table}', tables)} "
            f"(midef list published --filter {name})"
        )
    return [row for row in by_paper[name] if row.source.partition(", ")[2] in chosen]


def _bare(table: str) -> str:
    """`b.2` of `B.2`, `Tab.B.2` and `Table B.2`."""
    return re.sub(r"^tab(le)?\.?\s*(?=\S)", "", table.strip().lower())


def _table(
    paper: str, title: str, found: Sequence[Reproduction], derived: int, titles: Mapping[str, str]
) -> PlainTable:
    """The table of one table of the paper; `titles`: headings of metrics."""
    verdicts = Counter(one.verdict for one in found)
    counts = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in VERDICTS if verdicts[verdict])
    reasons = list(dict.fromkeys(one.reason for one in found if len(one.reason) > _SHORT))
    marks = {reason: f"({number})" for number, reason in enumerate(reasons, 1)}
    notes = [f"{marks[reason]} {reason}" for reason in reasons]
    notes += [f"{verdict}: {meaning}" for verdict, meaning in VERDICTS.items() if verdicts[verdict]]
    if derived:
        notes.append(f"not shown: {derived} that follow from others of the table, such as Delta")
    notes += [
        f"remark on {one.defense}, {one.metric}: {one.remark}"
        for one in {(o.defense, o.metric, o.remark): o for o in found if o.remark}.values()
    ]
    return PlainTable(
        title=f"{paper}, {title}",
        columns=_COLUMNS,
        rows=tuple(_row(one, marks, titles.get(one.metric, one.metric)) for one in found),
        records=tuple(_record(one) for one in found),
        about=f"{len(found)} published numbers beside ours, mean over seeds [95 % interval]: {counts or 'none'}",
        notes=tuple(notes),
    )


_SHORT = 32
"""Characters of a reason that stands in the table; a longer one gets a number and a note."""


def _row(one: Reproduction, marks: Mapping[str, str], metric: str) -> tuple[str, ...]:
    ours = ABSENT if one.measured is None else f"{one.measured:.2f}"
    if one.measured is not None and one.interval is not None:
        ours += f" [{one.interval.low:.1f}, {one.interval.high:.1f}]"
    gap = one.difference
    return (
        one.setup or ABSENT,
        one.defense,
        metric,
        f"{one.published:g}",
        ours,
        ABSENT if gap is None else f"{gap:+.2f}",
        one.verdict,
        "no setup of ours" if not one.setup else marks.get(one.reason, one.reason),
    )


def _record(one: Reproduction) -> dict[str, str | int | float | None]:
    return {
        **{
            name: getattr(one, name)
            for name in ("paper", "table", "setup", "defense", "published_as", "metric", "unit")
        },
        **{name: getattr(one, name) for name in ("published", "spread", "measured")},
        "measured_low": one.interval.low if one.interval else None,
        "measured_high": one.interval.high if one.interval else None,
        "measured_interval": one.interval.kind if one.interval else None,
        **{name: getattr(one, name) for name in ("difference", "seeds", "verdict", "reason")},
        "differences_words": "; ".join(one.differences),
        "remark": one.remark,
    }
