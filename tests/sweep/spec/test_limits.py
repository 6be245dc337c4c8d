"""Specifications that are too large or hold what no table can: refused early, by the line, in one clear sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from midef.core import SpecError
from midef.core.conversion import exponent_hint
from midef.core.errors import MOST_SHOWN
from midef.sweep.library import load_spec
from midef.sweep.spec import resolve as resolving
from midef.sweep.spec.resolve import resolve
from midef.sweep.spec.schema import MAX_ITEMS

Spec = Callable[..., dict[str, Any]]
HEAD = "name: x\nsetups:\n- attack: gmi\ndefenses: [none]\n"


def refused(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "s.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        resolve(load_spec(tmp_path / "s.yaml"))
    return caught.value.problems


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Places of the rows that were looked at."""
    seen: list[str] = []

    class Row(resolving._Row):
        def __init__(self, item: Any, place: str, *others: Any) -> None:
            seen.append(place)
            super().__init__(item, place, *others)

    monkeypatch.setattr(resolving, "_Row", Row)
    return seen


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"setups": [{"attack": "gmi"}] * 9000}, "setups: expected at most 1,000 items, got 9,000; split the sweep"),
        ({"defenses": ["none"] * 1001}, "defenses: expected at most 1,000 items, got 1,001; split the sweep"),
        (
            {"setups": [{"attack": ["gmi"] * 1001}]},
            "setups[0].attack: expected at most 1,000 items, got 1,001; split the sweep",
        ),
        (
            {"setups": [{"attack": ["gmi", "kedmi", "plg_mi"]}] * 900, "seeds": list(range(10_000))},
            "setups x defenses x seeds are 27,000,000 cells, more than 1,000,000; split the sweep",
        ),
        (
            {"setups": [{"attack": ["gmi"] * 200, "architecture": ["vgg16"] * 200}]},
            "setups: attacks x networks are 40,000 setups, more than 10,000; split the sweep",
        ),
    ],
    ids=["setups", "defenses", "attacks", "cells", "networks"],
)
def test_what_is_too_large_is_refused_before_any_row_is_looked_at(
    spec: Spec, rows: list[str], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(SpecError) as caught:
        resolve(load_spec({**spec(), **changes}))
    assert [problem.removeprefix("sweep.") for problem in caught.value.problems] == [said]
    assert rows == []


def test_rows_are_looked_at_until_as_many_problems_are_found_as_are_shown(rows: list[str], tmp_path: Path) -> None:
    problems = refused(tmp_path, "name: x\nsetups:\n" + "- attack: gmi\n" * MAX_ITEMS)
    assert len(problems) == MOST_SHOWN == len(rows)
    assert problems[0].startswith("s.yaml, line 3: setups[0]: no defenses given")
    assert (
        problems[-1]
        == "s.yaml, line 53: setups[50]: not looked at, nor what follows; mend the problems before it first"
    )


def test_a_mapping_of_very_many_keys_is_not_read_to_its_end(tmp_path: Path) -> None:
    assert refused(tmp_path, HEAD + "".join(f"k{i}: 1\n" for i in range(2000))) == [
        "s.yaml, line 1002: more than 1,000 keys in one mapping"
    ]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("training: {batch_size: 9999999999999}", "training: needs epochs of at most 100,000 and batch_size"),
        ("evaluator_training: {epochs: 100001}", "evaluator_training: needs epochs of at most 100,000"),
        ("match: {trainings: 99999999999999}", "match.trainings: Input should be less than or equal to 10000"),
        ("front: {defense: midre, trials: 99999999}", "front.trials: Input should be less than or equal to 10000"),
        ("training: {epochs: 1e1}", "training.epochs: Input should be a valid integer, unable to parse string as an "
         "integer, got '1e1'; YAML reads 1e1 as text, write 10"),
        ("seeds: [0, 1e1]", "seeds[1]: Input should be a valid integer, unable to parse string as an integer, "
         "got '1e1'; YAML reads 1e1 as text, write 10"),
        ("match: {target: 101}", "match.target: a target accuracy is a percentage above 0 and at most 100, got 101"),
        ("match: {target: none - 200}", "match.target: a target below that of a defense is less than 100 points below "
         "it, got 'none - 200'"),
        ("train_workers: {prior: 1}", "train_workers: processes are those of target and evaluator, not of 'prior'"),
        ("profile: papr", "profile: unknown profile 'papr'; did you mean 'paper'?"),
        ("private: 'midre" + "(" * 5000 + "'", "setups[0].private: cannot read dataset 'midre((("),
        ('match: {target: "none\\u202e"}', "match.target: holds the character U+202E, which is no part of a text"),
    ],
)  # fmt: skip
def test_a_value_that_makes_no_sense_is_refused_once_by_its_line(tmp_path: Path, written: str, said: str) -> None:
    (problem,) = refused(tmp_path, f"{HEAD}{written}\n")
    assert problem.startswith(f"s.yaml, line 5: {said}")
    assert len(problem) < 400 and problem.count(", got ") <= 1


@pytest.mark.parametrize(
    ("setup_id", "said"),
    [
        ("x" * 9000, "String should have at most 80 characters, got 'xxx"),
        ("../../x", "an id has letters, digits, blanks and"),
        ("..", "an id has letters, digits, blanks and"),
        ("a/b", "an id has letters, digits, blanks and"),
        ("a\\u202eb", "holds the character U+202E"),
        ("a\\u009bb", "holds the character U+009B"),
        ("a\\u2066b", "holds the character U+2066"),
        ("a\\u200fb", "holds the character U+200F"),
    ],
)
def test_an_id_is_short_and_shown_as_it_is(tmp_path: Path, setup_id: str, said: str) -> None:
    (problem,) = refused(tmp_path, f'name: x\nsetups:\n- attack: gmi\n  id: "{setup_id}"\ndefenses: [none]\n')
    assert problem.startswith(f"s.yaml, line 4: setups[0].id: {said}")
    assert len(problem) < 300


@pytest.mark.parametrize("setup_id", ["", "S01", "gmi-vgg16_tiny", "gmi(steps=3), 2 x", "Gesichter-größer", ".hidden"])
def test_ids_that_are_taken(spec: Spec, setup_id: str) -> None:
    assert load_spec(spec({"id": setup_id})).setups[0].id == setup_id


@pytest.mark.parametrize("name", ["..", ".", "a\\u202eb", "x/y"])
def test_a_name_is_no_path(tmp_path: Path, name: str) -> None:
    (problem,) = refused(tmp_path, HEAD.replace("name: x", f'name: "{name}"'))
    assert problem.startswith("s.yaml, line 1: name: ")


def test_a_group_has_a_largest_size(spec: Spec) -> None:
    with pytest.raises(SpecError, match="group_size: Input should be less than or equal to 1000000"):
        load_spec(spec({"protocol": {"group_size": 999999999999999999}}))


def test_a_field_that_is_missing_names_the_file(tmp_path: Path) -> None:
    assert refused(tmp_path, "defenses: [none]\n") == ["s.yaml: name: Field required", "s.yaml: setups: Field required"]


@pytest.mark.parametrize(("text", "number"), [("1e1", "10"), ("-2E3", "-2000"), ("5e+2", "500")])
def test_a_number_with_an_exponent_is_written_out(text: str, number: str) -> None:
    assert exponent_hint(text) == f"; YAML reads {text} as text, write {number}"


@pytest.mark.parametrize("text", ["many", "1e-3", "1e400", "1e99", 10, None, "e1"])
def test_other_texts_get_no_hint(text: Any) -> None:
    assert exponent_hint(text) == ""
