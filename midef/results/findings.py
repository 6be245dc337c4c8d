"""What an analysis finds: rows of numbers, a sentence, and a figure as plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Value: TypeAlias = float | bool | str | None
Row: TypeAlias = Mapping[str, Value]


@dataclass(frozen=True, kw_only=True)
class Series:
    """Numbers that are drawn in one colour. A name in several panels is one entry of the legend.

    Args:
        kind: how they are drawn; `dashes` are a line for comparison.
        low, high: ends of an interval at each point; empty for none.
    """

    name: str
    x: Sequence[float | str]
    y: Sequence[float]
    kind: Literal["line", "dashes", "points", "bars"] = "line"
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes.

    Args:
        title: above it; "" where there is only one.
        log_y: whether the y axis is logarithmic.
        from_zero: whether the y axis starts at 0.
    """

    series: Sequence[Series]
    x_title: str
    y_title: str
    title: str = ""
    log_y: bool = False
    from_zero: bool = False


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure: panels beside each other.

    Args:
        title: above all of them; `<br>` breaks it.
    """

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Result of an analysis.

    Args:
        rows: at least one; all have the same columns, in the order in which they are shown.
        verdict: what they say, in one sentence.
        drawing: its figure.
    """

    rows: Sequence[Row]
    verdict: str
    drawing: Drawing

    def __post_init__(self) -> None:
        columns = {tuple(row) for row in self.rows}
        if len(columns) != 1:
            raise ValueError(f"needs rows with the same columns, got {sorted(columns) or 'no rows'}")


def text_table(rows: Sequence[Row], *, most: int = 60) -> str:
    """Aligned columns of the first rows, and how many are left out.

    >>> print(text_table([{"k": 1, "error": 0.123456}, {"k": 10, "error": None}]))
    k   error
    1   0.1235
    10
    """
    texts = [[_text(value) for value in row.values()] for row in rows[:most]]
    head = list(rows[0])
    widths = [max(len(line[i]) for line in [head, *texts]) for i in range(len(head))]
    lines = ["  ".join(v.ljust(w) for v, w in zip(line, widths, strict=True)).rstrip() for line in [head, *texts]]
    return "\n".join([*lines, *([f"and {len(rows) - most} more rows"] if len(rows) > most else [])])


def _text(value: Value) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def to_parquet(findings: Findings, about: Mapping[str, object]) -> bytes:
    """The rows as a Parquet file; the verdict and what they are about are JSON in its metadata, under `midef`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([dict(row) for row in findings.rows])
    facts = json.dumps({**about, "verdict": findings.verdict})
    buffer = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({"midef": facts}), buffer)
    content: bytes = buffer.getvalue().to_pybytes()
    return content
