"""What differs between two specifications."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from midef.sweep.spec.changes import changes
from midef.sweep.spec.load import parse_spec

Spec = Callable[..., dict[str, Any]]


def texts(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return [change.text for change in changes(parse_spec(old).model_dump(), parse_spec(new))]


def test_equal_ones_and_what_changes_no_cell(spec: Spec) -> None:
    assert texts(spec(), spec()) == []
    assert texts(spec(), spec(train_workers=2)) == []
    assert texts(spec(match={"trainings": 10}), spec(match={"trainings": 20})) == []
    assert texts(spec(), {**spec(), "seeds": [0]}) == []


def test_old_and_new_values_at_dotted_paths(spec: Spec) -> None:
    found = texts(spec(), spec({"protocol": {"identities": 3}}, seeds=[0, 1], training={"epochs": 3}))
    assert "seeds: [0] -> [0, 1]" in found and "training.epochs: nothing -> 3" in found
    assert "setups[0].protocol.identities: 4 -> 3" in found
    assert texts(spec(match={"target": 80}), spec(match={"target": 81.5})) == ["match.target: 80.0 -> 81.5"]
    assert texts(spec(), spec(match={}))[0].startswith("match: null -> {")


def test_of_a_long_list_what_is_new_and_gone(spec: Spec) -> None:
    many = [f"midre(area_high=0.{i})" for i in range(1, 9)]
    assert texts(spec(defenses=many), spec(defenses=[*many[1:], "nls"])) == [
        'defenses: 8 -> 8 items: new ["nls"]; gone ["midre(area_high=0.1)"]'
    ]


def test_setups_are_the_same_by_their_ids(spec: Spec) -> None:
    one, two = ({**spec()["setups"][0], "id": name} for name in ("a", "b"))
    assert texts({**spec(), "setups": [one]}, {**spec(), "setups": [two, one]}) == ["setups[0]: nothing -> setup b"]
    assert texts({**spec(), "setups": [one, two]}, {**spec(), "setups": [two]}) == ["setups.a: setup a -> nothing"]


def test_fields_that_an_older_midef_did_not_know_are_their_defaults(spec: Spec) -> None:
    old = parse_spec(spec()).model_dump()
    del old["metrics"], old["setups"][0]["unregistered"]
    assert changes(old, parse_spec(spec())) == []
