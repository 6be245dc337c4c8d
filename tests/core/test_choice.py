from __future__ import annotations

import pytest

from midef.core import Choice


def test_the_label_is_for_people_only() -> None:
    first, second = Choice("midre", {"a": 1}, 1, "one label"), Choice("midre", {"a": 1}, 1, "another")
    assert first == second and hash(first) == hash(second)
    assert "label" not in first.keyed
    assert Choice("midre").label == "midre"


def test_keyed_reads_back() -> None:
    choice = Choice("midre", {"range": (0.1, 0.4), "area": -0.0}, 3)
    assert Choice.from_plain(choice.keyed) == choice
    assert choice.params == {"area": 0.0, "range": [0.1, 0.4]}


@pytest.mark.parametrize(
    "other",
    [
        Choice("nls", {"a": 1.0}),
        Choice("midre", {"a": 2.0}),
        Choice("midre", {"b": 1.0}),
        Choice("midre", {"a": 1.0}, 2),
    ],
    ids=["name", "value", "parameter", "version"],
)
def test_anything_else_is_another_choice(other: Choice) -> None:
    choice = Choice("midre", {"a": 1.0})
    assert choice != other and choice.keyed_json != other.keyed_json


def test_a_choice_can_be_a_dictionary_key() -> None:
    seen = {Choice("midre", {"b": 1, "a": 2}): "found"}
    assert seen[Choice("midre", {"a": 2, "b": 1})] == "found"
