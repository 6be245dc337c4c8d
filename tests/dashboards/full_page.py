"""Rows, plan, matchings, published numbers and an analysis that fill every view of a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from midef.core import ResultRow
from midef.dashboards.build import build_page
from midef.dashboards.reference import Reference
from midef.dashboards.views.base import Matched, Plan
from midef.results.findings import Drawing, Findings, Panel, Series
from midef.results.stored_findings import StoredFindings, write_findings
from midef.storage import Store

Row = Callable[..., ResultRow]
NUMBERS = {
    "none": (95.0, 90.0),
    "bido": (93.0, 60.0),
    "midre(area_high=0.2)": (94.0, 75.0),
    "midre(area_high=0.4)": (91.5, 45.0),
}
"""Test accuracy and attack accuracy@1 of seed 0; each further seed has half a point more of both."""
PLACES = {
    "vgg-gmi": {},
    "vgg-brep": {"attack": "brep_mi", "attack_name": "brep_mi", "access": "label only"},
    "ir-gmi": {"architecture": "tiny_ir"},
}
SEEDS = (0, 1, 2)


def small_rows(row: Row) -> Iterator[ResultRow]:
    """Three setups: two attacks on one target, and one of these on another architecture."""
    for setup, place in PLACES.items():
        for defense, values in NUMBERS.items():
            if setup == "ir-gmi" and defense == "midre(area_high=0.2)":
                continue
            for seed in SEEDS:
                inside = defense.partition("(")[2].rstrip(")")
                params = {name: float(value) for name, _, value in [inside.partition("=")] if name}
                facts: dict[str, Any] = {"setup": setup, "defense": defense, "defense_name": defense.partition("(")[0]}
                facts |= {"defense_params": json.dumps(params), "seed": seed, **place}
                for metric, value in zip(("natural_accuracy", "attack_accuracy_at_1"), values, strict=True):
                    found = value + seed / 2 - (5 if place and metric != "natural_accuracy" else 0)
                    span = {"low": found - 1, "high": found + 2, "interval": "95 % over identities"}
                    larger = "more useful" if metric == "natural_accuracy" else "less private"
                    yield row(metric, found, larger_is=larger, **span, **facts)
                yield row("knn_distance", 1.0 - values[1] / 200, larger_is="more private", unit="distance", **facts)


def full_index(row: Row, cell: Any, publication: Row, report: Any, shelf: Any, out: Path) -> Path:
    """Index of a page with every view."""
    rows = [
        *small_rows(row),
        *(r for d in ("none", "bido") for r in cell(shelf, d, 0, setup="pictures", public="others")),
    ]
    lost: dict[str, Any] = {"status": "failed", "failure": "oom", "reason": "no memory", "setup": "ir-gmi"}
    rows.append(row("natural_accuracy", None, defense="lpa", defense_name="lpa", architecture="tiny_ir", **lost))
    planned = [
        {name: getattr(r, name) for name in ("cell", "setup", "defense", "attack", "profile", "seed")} for r in rows
    ]
    planned.append({**planned[0], "cell": "waits", "setup": "ir-gmi", "defense": "midre(area_high=0.2)"})
    papers = [
        publication(metric, value, setup="vgg-gmi", defense=defense, source="MIDRE, Tab.B.2")
        for defense in ("none", "bido")
        for metric, value in (("natural_accuracy", 92.0), ("attack_accuracy_at_1", 70.0))
    ]
    store = Store.open(out / "store")
    line = Series(name="a", x=[1, 2], y=[3.0, 4.0])
    drawing = Drawing(title="t", panels=[Panel(series=[line], x_title="x", y_title="y")])
    about: dict[str, Any] = {
        "name": "rank",
        "params": {},
        "sweep": "first-look",
        "sweep_digest": "d",
        "profile": "mini",
    }
    findings = Findings(rows=[{"rank": 1, "error": 0.25}], verdict="half.", drawing=drawing)
    write_findings(store, StoredFindings(**about, setup="vgg-gmi", seed=0, stand_ins="", findings=findings))
    spec = json.dumps({"name": "first-look", "profile": "smoke"})
    return build_page(
        rows,
        shelf.fetch,
        out / "page",
        store_name="store",
        stores=[store],
        published=papers,
        plans=[Plan("first-look", spec, planned, "store")],
        matchings=[Matched(report(), "store"), Matched(report(sweep="second"), "store")],
        reference=Reference(),
    ).index
