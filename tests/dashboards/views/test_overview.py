"""The data of the first view."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from midef.core import ResultRow
from midef.dashboards.build import _header
from midef.dashboards.frame_data import measures
from midef.dashboards.views.base import Plan, Shown
from midef.dashboards.views.overview import Overview, pieces
from midef.results.summary import by_setup, summarise


def overview_of(rows: list[ResultRow], plans: tuple[Plan, ...] = ()) -> tuple[Shown, Overview]:
    summaries = summarise(rows)
    shown = Shown(
        header=_header(summaries, "store", None, plans), rows=rows, summaries=summaries, names={}, setups=(),
        published=(), matchings=(), store_name="store", stores=(), fetch=lambda key: Path(), out=Path(),
        utility="natural_accuracy", with_private_exemplars=False, plans=plans,
    )  # fmt: skip
    ((name, data),) = pieces(shown)
    assert name == "overview" and isinstance(data, Overview)
    return shown, data


def test_cells_are_those_of_the_summary(realistic: list[ResultRow]) -> None:
    shown, data = overview_of(realistic)
    for group, cells in zip(by_setup(shown.summaries).values(), data.cells, strict=True):
        (none,) = (row for row in group if row.is_undefended)
        for i, row in enumerate(group):
            gain = cells.gains["attack_accuracy_at_1"][i]
            if row is none or row.attack_accuracy_at_1.mean is None:
                assert gain is None
                continue
            assert none.attack_accuracy_at_1.mean is not None
            if gain is not None:
                assert gain == pytest.approx(none.attack_accuracy_at_1.mean - row.attack_accuracy_at_1.mean)
            assert cells.states[i] in ("unmatched", "excluded") and cells.is_front[i] == row.is_on_front
    states = {state for cells in data.cells for state in cells.states}
    assert {"reference", "unmatched", "failed", "refused"} <= states
    assert data.caution.startswith("No setup was matched")


def test_a_larger_distance_is_a_gain_too(realistic: list[ResultRow]) -> None:
    told = [replace(row, larger_is="more private") if row.metric == "knn_distance" else row for row in realistic]
    shown, data = overview_of(told)
    assert measures(shown.summaries)[0].key == "attack_accuracy_at_1"
    gains = [one for cells in data.cells for one in cells.gains["knn_distance"] if one is not None]
    assert gains and min(gains) > -0.05, "no defense brings reconstructions nearer"


def test_only_matched_rows_are_compared_where_accuracies_were_matched(matched_rows: list[ResultRow]) -> None:
    shown, data = overview_of(matched_rows)
    ((group, cells),) = zip(by_setup(shown.summaries).values(), data.cells, strict=True)
    compared = {row.defense for row, state in zip(group, cells.states, strict=True) if state == "compared"}
    assert compared == {"nls(alpha=-0.05)", "midre(area_high=0.4)"}
    assert [bool(v) for v in cells.verdicts] == [state == "compared" for state in cells.states]
    assert data.caution == ""
    (tile,) = (one for one in data.tiles if one.title == "defenses at matched accuracy")
    assert tile.value == "2 of 7"


def test_the_cost_counts_attacks_and_a_shared_training_once(row: Any) -> None:
    def cells(setup: str) -> list[ResultRow]:
        about = {"setup": setup, "defense": "none", "larger_is": "more costly", "unit": "seconds"}
        return [row("wall_s", 600.0, **about), row("train_s", 3600.0, column="train s", **about)]

    _, data = overview_of([*cells("a"), *cells("b")])
    assert data.tiles[3].value == "1.3 h", "two attacks of ten minutes, and one training of an hour"
    _, nothing = overview_of([row("natural_accuracy", 90.0)])
    assert nothing.tiles[3].value == "unknown"


def test_an_empty_store_has_an_overview() -> None:
    _, data = overview_of([])
    assert data.cells == () and data.caution == ""


def test_a_setup_with_a_planned_cell_that_was_not_run_is_not_complete(row: Any) -> None:
    rows = [row("natural_accuracy", 90.0, setup=setup, cell=setup) for setup in ("a", "b")]
    cells = [{"cell": f"{one.cell}{seed}", "profile": one.profile, "setup": one.setup, "defense": "none",
              "attack": "gmi", "seed": seed} for one in (rows[1], replace(rows[1], setup="c", cell="c"))
             for seed in (1, 2)]  # fmt: skip
    _, data = overview_of(rows, (Plan(sweep=rows[0].sweep, spec_json="", cells=cells, store="store"),))
    assert data.tiles[1].value == "1 of 3", "b lacks seeds, and c has none at all"
