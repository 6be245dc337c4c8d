"""One cell as text: configuration, stages with times and places, metrics with intervals, files, failure."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from midef.core.text import duration
from midef.results.layout import WIDTH, TextColumn, fitted_table, wrapped
from midef.sweep.cli.chosen_cells import Piece, StoredCell, pieces_of

if TYPE_CHECKING:
    from midef.core.rows import ResultRow
    from midef.storage import Store

_CONFIGURATION = (
    *("setup", "attack", "access", "defense", "architecture", "private", "public", "evaluator", "resolution_px"),
    *("identities", "images_per_identity", "counted", "victims", "seed", "profile", "certainty", "settings"),
    *("stand_ins", "refused"),
)
_MATCHING = ("match_target", "match_tolerance", "match_accuracy", "match_seeds")


def cell_text(store: Store, cell: StoredCell, width: int = WIDTH) -> str:
    """Everything the store knows of a cell.

    Args:
        store: that holds it.
        cell: planned, with results or without.
        width: of a line, in characters; paths are not broken, so they can be pasted.
    """
    rows = [row for row in store.results.read() if row.cell == cell.digest]
    pieces = pieces_of(store, cell)
    parts = [
        [f"cell {cell.digest}", f"  sweep {cell.sweep} ({cell.sweep_digest[:10]})", *_state(cell)],
        ["configuration", *_configuration(cell, rows[0] if rows else None, width)],
        ["stages", *_stages(pieces, width)],
        ["metrics", *(_metrics(rows, width) or ["  none yet"])],
        ["files", *_files(store, cell, pieces, has_rows=bool(rows))],
    ]
    return "\n\n".join("\n".join(part) for part in parts)


def _state(cell: StoredCell) -> list[str]:
    state = cell.state
    kind = f", kind {state.failure}" if state.failure and state.status == "failed" else ""
    why = [f"  {state.status}: {state.reason}"] if state.reason else []
    again = [f"  its log: midef logs {cell.digest[:10]}"] if state.status == "failed" else []
    return [f"  state {state.status}{kind}", *why, *again]


def _configuration(cell: StoredCell, row: ResultRow | None, width: int) -> list[str]:
    """What the rows say of it, or the plan where there are none."""
    said = [(name, cell.line.get(name) if row is None else getattr(row, name, None)) for name in _CONFIGURATION]
    if row is not None:
        said += [(f"{of}_params", _params(getattr(row, f"{of}_params"))) for of in ("defense", "attack")]
    if row is not None and row.match_target is not None:
        said += [("matched", "yes" if row.matched else "no"), *((name, getattr(row, name)) for name in _MATCHING)]
    return _aligned(((name, f"{value}") for name, value in said if value not in (None, "")), width)


def _params(text: str) -> str:
    """Parameters that are stored as JSON, as `name=value, ...`."""
    try:
        params = json.loads(text)
    except ValueError:
        return text
    return ", ".join(f"{name}={value}" for name, value in params.items()) if isinstance(params, dict) else text


def _stages(pieces: Sequence[Piece], width: int) -> list[str]:
    """A line for each artifact: state, seconds, when, where, attempts."""
    if not pieces:
        return ["  none are known: the cell needs none, or an older midef planned it"]
    lines = [("artifact", "state", "took", "begun", "node", "device", "attempts")]
    for piece in pieces:
        last = piece.attempts[-1] if piece.attempts else None
        state = "not built" if last is None else last.state or "unknown"
        state = "stored" if piece.wall_s is not None else state
        begun = "-" if last is None or last.begun is None else time.strftime("%F %H:%M:%S", time.gmtime(last.begun))
        took = "-" if piece.wall_s is None else duration(piece.wall_s)
        host, device = (last.host or "-", piece.device or last.device or "-") if last else ("-", piece.device or "-")
        lines.append((piece.key.short, state, took, begun, host, device, str(len(piece.attempts) or "-")))
    heads, *rest = lines
    columns = [
        TextColumn(head, tuple(cells), is_whole=head != "device") for head, *cells in zip(heads, *rest, strict=True)
    ]
    return [f"  {line}" for line in fitted_table(columns, width - 2) if line.strip("-")]


def _metrics(rows: Sequence[ResultRow], width: int) -> list[str]:
    """A line for each metric: the number with its interval, or why there is none."""
    lines = []
    for row in rows:
        if row.status != "ok" or row.value is None:
            lines.append((row.metric, f"{row.status}: {row.reason}"))
            continue
        unit = f" {row.unit}" if row.unit else ""
        within = f"  [{row.low:.4g}, {row.high:.4g}]" if row.low is not None and row.high is not None else ""
        how = f" {row.interval}" if within and row.interval else ""
        images = f"  n {row.n}" if row.n is not None else ""
        groups = f" of {row.groups} identities" if row.groups is not None else ""
        lines.append((row.metric, f"{row.value:.4g}{unit}{within}{how}{images}{groups}"))
    return _aligned(lines, width)


def _files(store: Store, cell: StoredCell, pieces: Sequence[Piece], *, has_rows: bool) -> list[str]:
    """Paths of what is stored, below the store."""
    lines = [("store", store.location.shown)]
    lines += [(p.key.kind, f"artifacts/{p.key.kind}/{p.key.digest}") for p in pieces if p.wall_s is not None]
    path = f"results/{cell.digest}.parquet"
    if has_rows:
        lines.append(("rows", path if store.location.exists(path) else "results/compact-*.parquet"))
    lines += [("log", piece.attempts[-1].path) for piece in pieces if piece.attempts]
    return _aligned(lines)


def _aligned(pairs: Iterable[tuple[str, str]], width: int | None = None) -> list[str]:
    """Names and values in two columns; a value that is too long for the width goes on below its begin."""
    shown = list(pairs)
    names = max((len(name) for name, _ in shown), default=0)
    lines = []
    for name, value in shown:
        first, *further = [value] if width is None else wrapped(value, max(20, width - names - 4), indent="")
        lines += [f"  {name.ljust(names)}  {first}", *(f"  {' ' * names}  {part}" for part in further)]
    return lines
