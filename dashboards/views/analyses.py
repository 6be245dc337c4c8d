"""What `midef analyse` found: figure, verdict and rows of each analysis."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from midef.dashboards.figures.analysis import draw
from midef.dashboards.page_data import Figure
from midef.dashboards.setup_data import FINAL_PROFILE
from midef.dashboards.views.base import Pieces, Shown, View
from midef.dashboards.views.sheet import Sheet, SheetColumn, Value
from midef.results.findings import Row
from midef.results.stored_findings import StoredFindings, read_findings


@dataclass(frozen=True, kw_only=True)
class AnalysisData:
    """One analysis.

    Args:
        name: unique on the page, for links.
        setup: id of the setup that was analysed.
        title: analysis with the parameters that are not its defaults.
        about: what was analysed, and by which code.
        verdict: what the rows say.
        stamp: why it says nothing about published sizes; "" if it does.
        figure: for plotly.
        sheet: the rows.
        command: makes it again.
    """

    name: str
    setup: str
    title: str
    about: str
    verdict: str
    stamp: str
    figure: Figure
    sheet: Sheet
    command: str


@dataclass(frozen=True)
class AnalysesData:
    """Data of the view."""

    analyses: tuple[AnalysisData, ...]


def analysis_data(stored: StoredFindings, number: int) -> AnalysisData:
    """Data of one analysis.

    Args:
        stored: findings.
        number: among the analyses of the page.
    """
    params = ",".join(f"{name}={_written(value)}" for name, value in sorted(stored.params.items()))
    title = f"{stored.name}({params})" if params else stored.name
    stamp = ""
    if stored.profile != FINAL_PROFILE or stored.stand_ins:
        stamp = f"{stored.profile} profile" + (f"; stands in: {stored.stand_ins}" if stored.stand_ins else "")
    seeds = "all seeds" if stored.seed is None else f"seed {stored.seed}"
    return AnalysisData(
        name=f"{stored.name}-{number}",
        setup=stored.setup,
        title=title,
        about=f"setup {stored.setup}, {seeds} of sweep {stored.sweep}, profile {stored.profile}; "
        f"analysed by midef {stored.code}",
        verdict=stored.findings.verdict,
        stamp=stamp,
        figure=_figure(stored, stamp),
        sheet=_sheet(stored.name, stored.findings.rows),
        command=f"midef analyse '{title}' {stored.sweep}",
    )


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _figure(stored: StoredFindings, stamp: str) -> Figure:
    """The stored figure, as wide as the page."""
    figure: dict[str, Any] = json.loads(draw(stored.findings.drawing, stamp).to_json())
    figure["layout"].pop("width", None)
    figure["layout"]["autosize"] = True
    return figure


def _sheet(name: str, rows: Sequence[Row]) -> Sheet:
    return Sheet(name=name, caption=name, columns=tuple(_column(key, rows) for key in rows[0]))


def _column(key: str, rows: Sequence[Mapping[str, Any]]) -> SheetColumn:
    """Numbers with four decimals, whole ones with none; anything else as words."""
    values: list[Value] = [row[key] for row in rows]
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, int | float) and not isinstance(value, bool) for value in known):
        is_whole = all(isinstance(value, int) for value in known)
        return SheetColumn(key=key, header=key, values=tuple(values), digits=0 if is_whole else 4)
    texts = (None if value is None else str(value) for value in values)
    return SheetColumn(key=key, header=key, values=tuple(texts))


def pieces(shown: Shown) -> Pieces:
    """One piece; analyses that cannot be read are a problem of the page."""
    stored = _stored(shown, shown.problems)
    yield "analyses", AnalysesData(tuple(analysis_data(one, number) for number, one in enumerate(stored)))


def _stored(shown: Shown, problems: list[str] | None) -> list[StoredFindings]:
    shown_as = {plan.sweep for plan in shown.plans} | {row.sweep for row in shown.rows}
    names = shown_as | {name.partition(" (")[0] for name in shown_as}  # of two stores on one page
    found = [one for store in shown.stores for one in read_findings(store, problems=problems)]
    return [one for one in found if not names or one.sweep in names]


VIEW = View(name="analyses", title="Analyses", pieces=pieces, is_shown=lambda shown: bool(_stored(shown, None)))
