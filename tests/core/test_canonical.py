from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midef.core.canonical import canonical_json, digest, plain

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(), v, max_size=4))


def reordered(value: Any) -> Any:
    """The same value with every mapping filled in the opposite order."""
    if isinstance(value, dict):
        return {k: reordered(v) for k, v in reversed(value.items())}
    return [reordered(v) for v in value] if isinstance(value, list) else value


@given(VALUES)
def test_order_of_mappings_is_irrelevant(value: Any) -> None:
    assert digest(reordered(value)) == digest(value)


@given(VALUES)
def test_the_text_reads_back_as_the_value(value: Any) -> None:
    assert json.loads(canonical_json(value)) == plain(value)
    assert canonical_json(json.loads(canonical_json(value))) == canonical_json(value)


@given(VALUES, VALUES)
def test_other_values_have_other_digests(first: Any, second: Any) -> None:
    assert (digest(first) == digest(second)) == (canonical_json(first) == canonical_json(second))


@pytest.mark.parametrize(
    ("first", "second"), [(1, 1.0), (1, True), (0, False), (0, None), ("1", 1), ([], {}), ([1, 2], [2, 1])], ids=str
)
def test_values_that_python_calls_equal_may_still_differ(first: Any, second: Any) -> None:
    assert digest(first) != digest(second)


def test_tuples_are_lists_and_minus_zero_is_zero() -> None:
    assert digest((1, (2, -0.0))) == digest([1, [2, 0.0]])
    assert canonical_json(-0.0) == "0.0"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")], ids=str)
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [v], lambda v: {"a": {"b": v}}], ids=["bare", "list", "dict"])
def test_numbers_that_are_not_equal_to_themselves_are_refused(value: float, wrap: Any) -> None:
    with pytest.raises(ValueError, match="cannot be part of a recipe; give a finite number"):
        digest(wrap(value))


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", object(), 1j, range(3)], ids=lambda v: type(v).__name__)
def test_what_has_no_json_form_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=f"{type(value).__name__} cannot be part of a recipe"):
        plain(value)


def test_mappings_need_text_keys() -> None:
    with pytest.raises(TypeError, match="need text keys"):
        plain({1: "a"})


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 2


@dataclass
class Point:
    x: float
    names: Iterable[str]


def test_dataclasses_and_enums_become_plain() -> None:
    value = plain({"b": Point(-0.0, ("p", "q")), "a": Colour.RED, "c": Level.HIGH})
    assert value == {"a": "red", "b": {"x": 0.0, "names": ["p", "q"]}, "c": 2}
    assert list(value) == ["a", "b", "c"]
    assert type(value["c"]) is int


@given(VALUES)
def test_what_is_plain_already_is_taken_as_it_is(value: Any) -> None:
    once = plain({"value": value})
    assert plain(once) is once
    assert once == {"value": plain(value)}
    for _ in range(2):  # the second time the text is remembered
        reference = json.dumps({"inner": {"value": plain(value)}}, sort_keys=True, separators=(",", ":"))
        assert canonical_json({"inner": once}) == reference


@given(VALUES, VALUES)
def test_a_changed_copy_has_the_text_of_a_new_mapping(before: Any, after: Any) -> None:
    first = plain({"a": 1, "seed": before, "z": [before]})
    text = canonical_json(first)
    changed = first.changed("seed", plain(after))
    assert canonical_json(changed) == canonical_json({"a": 1, "seed": after, "z": [before]})
    assert canonical_json(first) == text and list(changed) == ["a", "seed", "z"]


def test_a_changed_copy_gains_no_name() -> None:
    with pytest.raises(KeyError, match="expected one of a, b, got 'c'"):
        plain({"b": 1, "a": 2}).changed("c", 3)


def _pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301  # our own bytes


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, _pickled])
def test_a_copy_of_plain_data_has_a_text_of_its_own(copied: Callable[[Any], Any]) -> None:
    first = plain({"a": {"b": 1}})
    assert canonical_json(first) == '{"a":{"b":1}}'
    other = copied(first)
    other["a"] = 2
    assert canonical_json(other) == '{"a":2}'
    assert canonical_json(first) == '{"a":{"b":1}}'


def test_the_text_is_fixed_for_ever() -> None:
    """Stored keys depend on it: a change here orphans every stored artifact."""
    value = {"lr": 0.1, "name": "é", "steps": (1, 2), "on": True, "none": None}
    assert canonical_json(value) == '{"lr":0.1,"name":"\\u00e9","none":null,"on":true,"steps":[1,2]}'
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
