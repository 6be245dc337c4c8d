"""Worst cases by target: which setups attack one network, and which attacks are compared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from midef.core import ResultRow
from midef.results.worst_case import worst_case
from midef.results.worst_targets import worst_targets
from tests.results.test_worst_case import a_row, failed, hits_of


def cell(defense: str, attack: str, successes: int, key: str, **changes: Any) -> ResultRow:
    row = a_row(attack, hits_of(successes, 40))
    return replace(row, defense=defense, defense_name=defense, target_key=key, cell=f"{defense}{attack}", **changes)


def lost(defense: str, attack: str) -> ResultRow:
    return replace(failed(attack, "out of memory"), defense=defense, defense_name=defense, cell=f"{defense}{attack}")


def test_defenses_of_a_target_are_compared_over_common_attacks() -> None:
    rows = [
        cell("none", "gmi", 30, "target-1"),
        cell("none", "ppa", 36, "target-1"),
        cell("bido", "gmi", 10, "target-2"),
        lost("bido", "ppa"),
        cell("midre", "gmi", 4, "target-3"),
        cell("midre", "ppa", 8, "target-3"),
    ]
    [target] = worst_targets(rows)
    assert target.setups == ("audit-gmi", "audit-ppa")
    assert (target.common, target.tried) == (("gmi",), ("gmi", "ppa"))
    assert {name: case.value for name, case in target.cases.items()} == {"none": 75.0, "midre": 10.0, "bido": 25.0}
    assert list(target.cases) == ["none", "midre", "bido"]
    assert [one.attack for one in target.cases["bido"].without_number] == ["ppa"]
    assert target.cases["none"] == worst_case([row for row in rows if row.defense == "none"], among={"gmi"})
    assert target.label == "resnet18 on people, 32 px, judged by vgg16"


def test_two_networks_of_one_description_are_two_targets() -> None:
    """Setups that agree in words, and whose cells name no common network, were trained in another way."""
    rows = [cell("none", "gmi", 30, "a"), cell("none", "ppa", 36, "b"), cell("none", "mirror", 20, "b")]
    assert [target.setups for target in worst_targets(rows)] == [("audit-gmi",), ("audit-ppa", "audit-mirror")]
    assert [t.cases["none"].measured[0].attack for t in worst_targets(rows)] == ["gmi", "ppa"]
    other = [replace(row, private="others") for row in rows[:1]]
    assert len(worst_targets([*rows, *other])) == 3


def test_setups_that_name_no_network_are_one_target_by_their_words() -> None:
    """Rows of lost cells, and those that an older midef wrote."""
    [target] = worst_targets([cell("none", "gmi", 30, ""), cell("none", "ppa", 36, ""), lost("none", "mirror")])
    assert target.setups == ("audit-gmi", "audit-ppa", "audit-mirror")
    assert worst_targets([]) == []
    assert worst_targets([replace(cell("none", "gmi", 30, ""), origin="published")]) == []


def test_parameters_that_no_label_shows_are_two_defenses() -> None:
    rows = [cell("bido", "gmi", 30, "a"), replace(cell("bido", "gmi", 10, "b"), defense_params="other")]
    [target] = worst_targets(
        [*rows, replace(cell("none", "gmi", 30, "a"), target_key="a"), cell("none", "gmi", 1, "b")]
    )
    assert set(target.cases) == {"none", "bido", "bido #2"}
