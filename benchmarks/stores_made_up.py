"""Made-up stores of any number of result rows, for `benchmarks/stores.py`.

A sweep has 20 defenses x 5 seeds on up to 37 setups, and 15 metrics of each cell; larger stores hold more of such
sweeps, each compacted by itself, as runs leave them. Of 100 cells one failed and one lacks metrics; each twelfth metric
does not apply. Accuracies come with an interval and with the outcome of every image: 1,500 attacked, 1,000 of the
report split. Published as a store's own plans and rows; no artifacts, so that a page has no pictures.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa

from midef.core import ResultRow
from midef.core.outcomes import Outcomes
from midef.storage import Store
from midef.storage.columns import ROW_SCHEMA

DEFENSES, SEEDS, SETUPS = 20, 5, 37
"""Of the largest sweep of the paper."""
IDENTITIES, PER_IDENTITY, REPORT_PER_IDENTITY = 100, 15, 10
_METRICS = (
    ("attack_accuracy_at_1", "percent", "less private", "att@1 %"),
    ("attack_accuracy_at_5", "percent", "less private", "att@5 %"),
    ("centroid_distance", "feature distance", "more private", "centroid L2"),
    ("coverage", "percent", "less private", "found %"),
    ("knn_distance", "squared feature distance", "more private", "KNN dist"),
    ("natural_accuracy", "percent", "more useful", "test acc %"),
    ("psnr", "dB", "less private", "PSNR"),
    ("queries", "images", "more costly", "queries"),
    ("reconstruction_error", "mean squared error", "more private", "MSE"),
    ("reconstruction_error_normalised", "mean squared error, unit variance", "more private", "MSE norm"),
    ("ssim", "similarity", "less private", "SSIM"),
    ("train_s", "seconds", "more costly", "train s"),
    ("trait_accuracy", "percent", "less private", "trait@1 %"),
    ("trait_accuracy_at_5", "percent", "less private", "trait@5 %"),
    ("wall_s", "seconds", "more costly", "attack s"),
)
METRICS = len(_METRICS)
_JUDGED = {"attack_accuracy_at_1": PER_IDENTITY, "attack_accuracy_at_5": PER_IDENTITY}
_JUDGED |= {"natural_accuracy": REPORT_PER_IDENTITY}
"""Metrics whose rows say which images succeeded: images of each identity."""
_REFUSED = ("trait_accuracy", "trait_accuracy_at_5")


@dataclass(frozen=True)
class Shape:
    """Size of one sweep."""

    setups: int
    defenses: int = DEFENSES
    seeds: int = SEEDS

    @property
    def cells(self) -> int:
        return self.setups * self.defenses * self.seeds

    @property
    def rows(self) -> int:
        return self.cells * METRICS


def shapes_of(rows: int, *, is_one: bool = False) -> list[Shape]:
    """Sweeps that together have about so many rows.

    Args:
        rows: of all of them.
        is_one: as one sweep of as many setups as that takes.
    """
    most = Shape(SETUPS)
    if is_one:
        return [Shape(max(1, round(rows / Shape(1).rows)))]
    if rows >= most.rows:
        return [most] * round(rows / most.rows)
    if rows >= Shape(1).rows:
        return [Shape(round(rows / Shape(1).rows))]
    return [Shape(1, max(2, round(rows / (SEEDS * METRICS))))]


def fill(store: Store, shapes: Sequence[Shape]) -> int:
    """Write sweeps into an empty store; returns the number of rows. The last one is the latest."""
    written = 0
    for number, shape in enumerate(shapes):
        name = f"made-up-{number:02d}"
        cells = _cells(name, shape)
        store.sweeps.write_manifest(_digest(name), [_planned(cell) for cell in cells], _spec(name))
        table = _rows([cell for cell in cells if cell["number"] % 200 != 199], seed=number)  # the rest is missing
        store.results._replace((), table, time.time_ns())  # as a compaction of the files of all these cells leaves it
        written += table.num_rows
    return written


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _spec(name: str) -> str:
    return json.dumps({"name": name, "profile": "paper", "setups": [], "defenses": []})


def _cells(name: str, shape: Shape) -> list[dict[str, Any]]:
    cells = []
    for s in range(shape.setups):
        for d in range(shape.defenses):
            label = f"defense_{d}(strength={d / 10:.1f})" if d else "none"
            for seed in range(shape.seeds):
                digest = _digest(f"{name} {s} {d} {seed}")
                about = {"sweep": name, "cell": digest, "setup": f"S{s + 1:03d}", "defense": label, "seed": seed}
                cells.append({**about, "s": s, "d": d, "number": len(cells)})
    return cells


def _planned(cell: dict[str, Any]) -> dict[str, str | int | float | None]:
    kinds = ("split", "evaluator", "split", "prior", "target", "reconstructions", "scores")
    return {
        **{name: cell[name] for name in ("cell", "setup", "defense", "seed")},
        **{"attack": f"attack_{cell['s'] % 3}", "certainty": "", "settings": "", "profile": "paper", "refused": ""},
        "pieces": " ".join(_key(kind, cell) for kind in kinds),
    }


def _key(kind: str, cell: dict[str, Any]) -> str:
    return f"{kind}/{_digest(kind + cell['cell'])}"


def _rows(cells: Sequence[dict[str, Any]], seed: int) -> pa.Table:
    """Rows of all cells, 15 of each, in the schema of the store and in its order."""
    draws = np.random.default_rng(seed)
    cells = sorted(cells, key=lambda cell: str(cell["cell"]))
    lines = len(cells) * METRICS
    failed = np.repeat([cell["number"] % 100 == 50 for cell in cells], METRICS)
    metric = np.tile(np.arange(METRICS), len(cells))
    lacking = np.repeat([cell["number"] % 100 == 25 for cell in cells], METRICS) & (metric == 4)
    refused = (np.isin(metric, [i for i, m in enumerate(_METRICS) if m[0] in _REFUSED]) | lacking) & ~failed
    is_ok = ~failed & ~refused
    value, outcomes = _values(cells, draws)
    value = np.where(is_ok, value, np.nan)
    is_percent = np.tile([m[1] == "percent" for m in _METRICS], len(cells))
    status = np.select([failed, refused], ["failed", "refused"], "ok")
    reasons = np.select([failed, refused], ["CUDA out of memory", "the images show no traits"], "")
    by_row = {
        "metric": _tiled([m[0] for m in _METRICS], len(cells)),
        "unit": _tiled([m[1] for m in _METRICS], len(cells)),
        "larger_is": _tiled([m[2] for m in _METRICS], len(cells)),
        "column": _tiled([m[3] for m in _METRICS], len(cells)),
        "value": _or_none(value, is_ok),
        "low": _or_none(value - 2, is_ok & is_percent),
        "high": _or_none(value + 2, is_ok & is_percent),
        "interval": pa.array(np.where(is_ok & is_percent, "95 % interval over identities", "")),
        "status": pa.array(status),
        "reason": pa.array(reasons),
        "failure": pa.array(np.select([failed, refused], ["oom", "refused"], "")),
        "n": pa.array(np.full(lines, IDENTITIES * PER_IDENTITY)),
        "groups": pa.array(np.full(lines, IDENTITIES)),
        "chance": _or_none(np.full(lines, 100 / IDENTITIES), is_percent),
        "outcomes": pa.array([text if ok else "" for text, ok in zip(outcomes, is_ok.tolist(), strict=True)]),
    }
    of_cell: dict[str, Callable[[dict[str, Any]], Any]] = {
        **{name: lambda cell, name=name: cell[name] for name in ("sweep", "cell", "setup", "defense", "seed")},
        "defense_name": lambda cell: str(cell["defense"]).partition("(")[0],
        "defense_params": lambda cell: json.dumps({"strength": cell["d"] / 10}),
        "attack": lambda cell: f"attack_{cell['s'] % 3}",
        "attack_name": lambda cell: f"attack_{cell['s'] % 3}",
        "attack_params": lambda cell: json.dumps({"iterations": 100 * (cell["s"] % 3), "learning_rate": 0.05}),
        "architecture": lambda cell: f"network_{cell['s'] % 4}",
        "private": lambda cell: f"faces_{cell['s'] % 5}",
        "target_key": lambda cell: _key("target", cell),
        "wall_s": lambda cell: 1000.0 + cell["number"] % 997,
    }
    shared = {
        **{"profile": "paper", "access": "white box", "public": "others", "evaluator": "judge", "resolution_px": 64},
        **{"identities": IDENTITIES, "images_per_identity": PER_IDENTITY, "evaluator_accuracy": 97.0},
        **{"evaluator_low": 96.0, "evaluator_high": 98.0, "code_version": "0.1.0", "device": "cuda, one GPU"},
        **{"peak_memory_mb": 2000.0, "queries": 250_000, "evaluator_resolution_px": 112, "resize": "pil_uint8"},
        **{"counted": "all", "group_size": 60, "knn_reference": "train", "private_is_generated": True},
        **{"select_images": 1000},
    }
    defaults = {field.name: field.default for field in fields(ResultRow)}
    columns = []
    for field in ROW_SCHEMA:
        if field.name in by_row:
            column = by_row[field.name]
        elif field.name in of_cell:
            values = pa.array([of_cell[field.name](cell) for cell in cells])
            column = values.take(pa.array(np.repeat(np.arange(len(cells)), METRICS)))
        else:
            column = pa.array([shared.get(field.name, defaults[field.name])] * lines, field.type)
        columns.append(column.cast(field.type))
    return pa.Table.from_arrays(columns, schema=ROW_SCHEMA)


def _tiled(texts: Sequence[str], times: int) -> pa.Array:
    return pa.array(np.tile(np.array(texts), times))


def _or_none(values: np.ndarray[Any, Any], known: np.ndarray[Any, Any]) -> pa.Array:
    return pa.array(values, pa.float64(), mask=~known)


def _values(cells: Sequence[dict[str, Any]], draws: np.random.Generator) -> tuple[np.ndarray[Any, Any], list[str]]:
    """Value and outcomes of every row; those of an accuracy fit each other, and defenses leak less than none."""
    values = np.abs(draws.normal(20, 5, (len(cells), METRICS)))
    texts = [""] * values.size
    names = [metric[0] for metric in _METRICS]
    for name, images in _JUDGED.items():
        column, labels = names.index(name), np.repeat(np.arange(IDENTITIES), images)
        base = {"natural_accuracy": 0.88, "attack_accuracy_at_1": 0.6, "attack_accuracy_at_5": 0.8}[name]
        falls = 0.002 if name == "natural_accuracy" else 0.02
        for i, cell in enumerate(cells):
            rates = np.clip(draws.normal(base - falls * cell["d"], 0.1, IDENTITIES), 0.01, 0.99)
            hits = draws.random(len(labels)) < np.repeat(rates, images)
            values[i, column] = 100 * hits.mean()
            texts[i * METRICS + column] = Outcomes(f"{cell['s']:0>16}", labels, hits).text
    return values.ravel(), texts
