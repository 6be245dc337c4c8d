"""Data of two views: the worst case of each defense, and strengths at one accuracy."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from midef.core import ResultRow
from midef.dashboards.views.strengths import strength_sweep
from midef.dashboards.views.worst import worst_data
from midef.results.strength_sweep import at_accuracy, families
from midef.results.summary import by_setup, summarise
from midef.results.worst_targets import worst_targets


def test_every_defense_has_its_worst_attack_and_every_attempt(realistic: list[ResultRow]) -> None:
    [target], [found] = worst_targets(realistic), worst_data(realistic).targets
    assert found.setups == target.setups
    assert f"attacks compared: {', '.join(target.common)}" in found.facts
    for row in found.rows:
        case = target.cases[row.defense]
        cells = dict(zip([column.key for column in worst_data([]).columns], row.cells, strict=True))
        assert cells["worst"].number == case.value
        assert cells["tried"].number == len(row.attempts) == len(case.attempts)
        assert [attempt[2].text for attempt in row.attempts] == [one.state for one in case.attempts]
    assert [row.defense for row in found.rows if row.is_undefended] == ["none"]
    lost = next(row for row in found.rows if row.defense == "tl_dmi")
    assert lost.cells[1].text == "–" and "out of memory" in lost.attempts[0][4].text


def test_strengths_are_read_below_the_undefended_accuracy(row: Callable[..., ResultRow]) -> None:
    rows = []
    for defense, params, natural, attack in (
        ("none", {}, 95.0, 90.0),
        ("midre(area=0.2)", {"area": 0.2}, 93.5, 70.0),
        ("midre(area=0.4)", {"area": 0.4}, 91.0, 50.0),
    ):
        facts: dict[str, Any] = {"defense": defense, "defense_params": json.dumps(params)}
        facts["defense_name"] = defense.partition("(")[0]
        rows.append(row("natural_accuracy", natural, **facts))
        rows.append(row("attack_accuracy_at_1", attack, larger_is="less private", **facts))
    [(_, group)] = by_setup(summarise(rows)).items()
    found = strength_sweep("a", group)
    assert found is not None
    [line] = found.lines
    [family] = families(group)
    expected = [at_accuracy(family, group, target).value for target in (94.0, 93.0, 90.0)]
    assert [cell.number for cell in line[2:]] == expected
    assert line[-1].text == "not reached" and line[1].text == "area: 0.2, 0.4"
    drawn = found.figure["data"][0]
    assert [group[i].defense for i in drawn["customdata"]] == ["none", "midre(area=0.2)", "midre(area=0.4)"]
    assert strength_sweep("a", [one for one in group if one.is_undefended]) is None
