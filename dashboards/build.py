"""Builds the static dashboard: a folder that opens from disk, with no server and no network."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import midef
from midef.core import MidefError, ResultRow, StoreError
from midef.core.match import MatchReport
from midef.core.setup import StandIn
from midef.dashboards.figures.matching import page_data
from midef.dashboards.figures.trade_off import assign_colours, draw, is_unmatched, label
from midef.dashboards.reconstructions import Fetch, Grid, is_generated, write_grid
from midef.results.columns import MetricColumn
from midef.results.compare import NATURAL
from midef.results.published import Published, published_of
from midef.results.summary import SetupKey, SummaryRow, by_setup, is_matched_setup, summarise
from midef.results.table import Table, setup_table

PAGE = Path(__file__).parent / "page"
FINAL_PROFILE = "paper"
OUR_PICTURE = re.compile(r"\d{2,}-(\d{2,}|private)\.webp")
# Beside pictures and scripts of this folder nothing loads. `connect-src` also ends what a script might try.
POLICY = (
    "default-src 'none'; script-src 'self' file: 'unsafe-inline'; style-src 'self' file: 'unsafe-inline'; "
    "img-src 'self' file: data: blob:; font-src data:; connect-src 'none'"
)


@dataclass(frozen=True)
class BuildReport:
    """What was built. bytes: of all files; rows: result rows shown; warnings: what the page lacks, and why."""

    index: Path
    files: int
    bytes: int
    seconds: float
    rows: int
    warnings: tuple[str, ...]


def build(store_uri: str, out: Path, sweep: str | None = None, with_private_exemplars: bool = False) -> BuildReport:
    """Build the dashboard of a sweep of a store, the latest unless one is named, into the folder `out`.

    Published numbers that the store keeps are shown beside ours, and so is what accuracy matching found for the sweep.

    with_private_exemplars: also show pictures from the private training data. Off unless asked for; data that shows
    nobody (`synthetic_faces`) is always shown.

    Raises:
        StoreError: if there is no store, or it cannot be read.
        SpecError: if the store knows no sweep of this name, neither planned nor matched.
    """
    from midef.storage import Store, rows_of_sweep
    from midef.storage.published import read_published

    store = Store.open(store_uri, create=False)
    stored = store.results.read()
    reports, warnings = _reports(store)
    if sweep is not None and sweep not in _planned(store) and any(report.sweep == sweep for report in reports):
        rows: Sequence[ResultRow] = []  # its strengths are searched, nothing is attacked yet
    else:
        rows = rows_of_sweep(store, sweep) if store.sweeps.sweeps() else stored
    matching = _matching(store, sweep, rows, reports)
    return build_page(
        rows,
        store.artifacts.fetch,
        out,
        store_name=_shown(store.uri),
        unfinished=_unfinished(store, stored, rows),
        warnings=warnings,
        matching=matching,
        published=read_published(store),
        with_private_exemplars=with_private_exemplars,
    )


def build_page(
    rows: Sequence[ResultRow],
    fetch: Fetch,
    out: Path,
    *,
    store_name: str,
    unfinished: int | None = None,
    warnings: Sequence[str] = (),
    published: Sequence[ResultRow] = (),
    matching: MatchReport | None = None,
    with_private_exemplars: bool = False,
) -> BuildReport:
    """Build the dashboard of `rows`; `fetch` gives the folder of a stored artifact.

    unfinished: planned cells without a result; None counts the seeds that some defenses have and others lack.
    published: published numbers of any setups; those of a setup and a defense in `rows` are shown beside ours.
    matching: what accuracy matching found; the page says nothing of it without.
    """
    start = time.perf_counter()
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    for picture in (out / "img").glob("*.webp"):
        if OUR_PICTURE.fullmatch(picture.name):
            picture.unlink()  # of an earlier build, perhaps of private data
    summaries = summarise(rows)
    groups = by_setup(summaries)
    colours = assign_colours(summaries)
    said = list(warnings)
    names = _names(groups)
    setups = []
    for number, (key, group) in enumerate(groups.items()):
        grid = write_grid(group, fetch, out, f"{number:02d}", with_private_exemplars=with_private_exemplars)
        said += grid.warnings
        setups.append(_setup(names[key], group, grid, colours, published))
    exposes = with_private_exemplars and any(not is_generated(row.private) for row in summaries)
    if exposes:
        said.append("the page shows private training images; do not publish it without the consent of those shown")
    page = {
        "header": _header(summaries, store_name, unfinished),
        "warnings": said,
        "exposes_private": exposes,
        "setups": setups,
        "matching": None if matching is None else page_data(matching, store_name),
    }
    (out / "data.js").write_text(f"window.MIDEF = {_script_json(page)};\n", encoding="utf-8")
    _copy_plotly(out)
    (out / "index.html").write_text(_html(), encoding="utf-8")
    written = [out / name for name in ("index.html", "data.js", "plotly.min.js")]
    written += sorted(path for path in (out / "img").glob("*.webp") if OUR_PICTURE.fullmatch(path.name))
    size = sum(path.stat().st_size for path in written)
    return BuildReport(out / "index.html", len(written), size, time.perf_counter() - start, len(rows), tuple(said))


def _reports(store: Any) -> tuple[list[MatchReport], tuple[str, ...]]:
    """What accuracy matching found, latest first, and a warning where it cannot be read."""
    from midef.storage.matches import read_matches

    try:
        return read_matches(store), ()
    except StoreError as error:
        return [], (f"accuracy matching is not shown: {error}",)


def _matching(
    store: Any, sweep: str | None, rows: Sequence[ResultRow], reports: Sequence[MatchReport]
) -> MatchReport | None:
    """The latest report of the sweep that is shown; where its rows were matched, of the one they were matched by."""
    names = {sweep} if sweep else set(_planned(store)[:1]) or {row.sweep for row in rows}
    own = [report for report in reports if not names or report.sweep in names]
    shown = {round(row.match_target, 4) for row in rows if row.match_target is not None}
    if shown:
        own = [r for r in own if shown & {round(o.target, 4) for o in r.outcomes if o.target is not None}]
    return next(iter(own), None)


def _planned(store: Any) -> list[str]:
    """The names of the sweeps that were planned, latest first."""
    return [json.loads(store.sweeps.read_manifest(digest).spec_json)["name"] for digest, _ in store.sweeps.sweeps()]


def _unfinished(store: Any, stored: Sequence[ResultRow], rows: Sequence[ResultRow]) -> int | None:
    """Cells of the latest plan that has something to do with `rows` and that have no result; None without a plan."""
    shown, done = {row.cell for row in rows}, {row.cell for row in stored}
    for digest, _ in store.sweeps.sweeps():
        planned = {row.get("cell") for row in store.sweeps.read_manifest(digest).rows} - {None}
        if planned and (planned & shown or not stored):
            return len(planned - done)
    return None


def _shown(uri: str) -> str:
    """A store's name for the page: a bucket as it is, a folder without the path, which says who built the page."""
    return uri if "://" in uri and not uri.startswith("file:") else uri.rstrip("/").rpartition("/")[2]


def _names(groups: dict[SetupKey, list[SummaryRow]]) -> dict[SetupKey, str]:
    """The short name of each setup for the address bar: its id where that is enough."""
    ids = [key[2] for key in groups]
    return {key: key[2] if ids.count(key[2]) == 1 else "/".join(key) for key in groups}


def _header(summaries: Sequence[SummaryRow], store_name: str, unfinished: int | None) -> dict[str, Any]:
    def joined(values: Any) -> str:
        return ", ".join(sorted(set(values))) or "none"

    codes = {code for row in summaries for code in row.code_versions} or {midef.__version__}
    missing = sum(row.missing for row in summaries) if unfinished is None else unfinished
    return {
        "sweep": joined(row.sweep for row in summaries),
        "profile": joined(row.profile for row in summaries),
        "built": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "store": store_name,
        "code": joined(codes),
        "ok": sum(row.ok for row in summaries),
        "failed": sum(row.failed for row in summaries),
        "refused": sum(row.refused for row in summaries),
        "missing": missing,
    }


def _setup(
    name: str, group: Sequence[SummaryRow], grid: Grid, colours: dict[str, str], published: Sequence[ResultRow]
) -> dict[str, Any]:
    first, table = group[0], setup_table(group, published)
    theirs = published_of(first.setup, published, [row.defense for row in group])
    stamp, short = _stamps(first, table)
    figure = draw(group, colours, stamp=short, published=theirs)
    return {
        "name": name,
        "label": f"{name} ({first.certainty})" if first.certainty else name,
        "what": [first.attack, first.architecture, f"{first.private} from {first.public}", f"{first.resolution_px} px"],
        "cells": [sum(getattr(row, state) for row in group) for state in ("ok", "failed", "refused", "missing")],
        "refused": table.refused,
        "stand_ins": [(s.by, s.published) for s in _stand_ins(group)],
        "title": table.title,
        "facts": table.facts,
        "legend": table.interval_legend,
        "stamp": stamp,
        "published": bool(theirs),
        "matched": is_matched_setup(group),
        "columns": [{"key": column.key, "header": column.header} for column in table.columns],
        "rows": [
            {
                "defense": row.defense,
                "on_front": row.is_on_front,
                "undefended": row.is_undefended,
                "unmatched": is_unmatched(row, group),
                "bad": row.failed + row.refused > 0,
                "label": label(row),
                "colour": colours.get(row.defense) if row.is_on_front else None,
                "x": row.natural_accuracy.mean,
                "y": row.attack_accuracy_at_1.mean,
                "cells": [[cell.text, cell.interval, cell.number] for cell in cells],
                "details": _details(row, theirs.get(row.defense)),
            }
            for row, cells in zip(group, table.cells, strict=True)
        ],
        "footnotes": [*table.legends, *table.footnotes],
        "problems": table.problems,
        "figure": None if figure is None else json.loads(figure.to_json()),
        "grid": asdict(grid),
    }


def _stamps(first: SummaryRow, table: Table) -> tuple[str, str]:
    """What the banner of a setup and its figure say; both empty for results at the published size."""
    if table.stand_ins:
        return (
            f"{first.profile} profile, not comparable with published numbers; stands in: {table.stand_ins}",
            f"{first.profile} profile with stand-ins, not the published setup",
        )
    if first.profile == FINAL_PROFILE:
        return "", ""
    data = "stand-in data" if is_generated(first.private) else "reduced data, models or budget"
    return (
        f"{first.profile} profile: {data}, not comparable with published numbers",
        f"{first.profile} profile, {data}",
    )


def _stand_ins(group: Sequence[SummaryRow]) -> list[StandIn]:
    return list(dict.fromkeys(stand_in for row in group for stand_in in StandIn.read(row.stand_ins)))


def _details(row: SummaryRow, published: Published | None = None) -> list[tuple[str, str]]:
    """Every number of a row with what it is, for the overlay."""
    lines: list[tuple[str, str]] = []
    for column in row.columns:
        lines += _metric_details(row, column)
        if column.metric == NATURAL:
            lines += _match_details(row)
    trade_off = row.trade_off
    lines.append(("Delta", "reference" if row.is_undefended else f"{trade_off.text} {trade_off.changes}".strip()))
    if trade_off.utility_drop is not None and trade_off.attack_drop is not None:
        span = trade_off.utility_drop_interval
        interval = f" [{span.low:.1f}, {span.high:.1f}] {span.kind}" if span else ""
        lines.append(("", f"accuracy lost {trade_off.utility_drop:.1f} points{interval}"))
        lines.append(("", f"attack accuracy lost {trade_off.attack_drop:.1f} points"))
    elif trade_off.reason and not row.is_undefended:
        lines.append(("", trade_off.reason))
    if published is not None:
        spread = f" ± {published.spread:.2f}" if published.spread is not None else ""
        for what, value, more in (
            ("test accuracy", published.natural_accuracy, ""),
            ("attack accuracy@1", published.attack_accuracy_at_1, spread),
        ):
            if value is not None:
                lines.append((f"published {what}", f"{value:.2f}{more} %, not measured here"))
        if spread and published.spread_kind:
            lines.append(("", f"±: {published.spread_kind}"))
        lines += [("source", text) for text in published.sources]
        lines += [("remark", text) for text in published.remarks]
        lines += [("also published", text) for text in published.others]
    lines.append(("runs", f"{row.ok} ok, {row.failed} failed, {row.refused} refused, {row.missing} missing"))
    return lines


def _metric_details(row: SummaryRow, column: MetricColumn) -> list[tuple[str, str]]:
    estimate = row.estimate(column.metric)
    mean = estimate.mean
    if mean is None:
        return []
    if not column.is_percent:
        return [(column.name, f"{mean:{',.4g' if mean < 1000 else ',.0f'}} {column.unit}")]
    spans = [span for span in (estimate.within_run, estimate.over_seeds) if span]
    return [
        (column.name, f"{mean:.2f} %"),
        *(("", f"[{span.low:.1f}, {span.high:.1f}] {span.kind}") for span in spans),
        *(
            [("", "seeds " + ", ".join(f"{s}: {value:.1f}" for s, value in estimate.by_seed))]
            if len(estimate.by_seed) > 1
            else []
        ),
    ]


def _match_details(row: SummaryRow) -> list[tuple[str, str]]:
    if row.match_target is None:
        return []
    reached = "–" if row.match_accuracy is None else f"{row.match_accuracy:.2f} %"
    seeds = f", mean of {row.match_seeds} seed{'' if row.match_seeds == 1 else 's'}" if row.match_seeds else ""
    tolerance = "" if row.match_tolerance is None else f" ± {row.match_tolerance:g}"
    return [
        ("matched", "yes" if row.is_matched else "no"),
        ("", f"{reached} on the select split{seeds}; target {row.match_target:.2f}{tolerance}"),
    ]


def _script_json(value: Any) -> str:
    """JSON that is also safe inside a script element."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _copy_plotly(out: Path) -> None:
    import plotly

    source = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    if not source.is_file():
        raise MidefError("the installed plotly has no package_data/plotly.min.js; install plotly>=6")
    shutil.copyfile(source, out / "plotly.min.js")


def _html() -> str:
    page, style, script = ((PAGE / name).read_text("utf-8") for name in ("index.html", "page.css", "page.js"))
    return page.replace("{{policy}}", POLICY).replace("{{style}}", style).replace("{{script}}", script)
