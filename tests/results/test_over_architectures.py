"""Defenses over architectures, against differences worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from midef.core import ResultRow
from midef.results.over_architectures import over_architectures
from midef.results.summary import summarise


def rows(setup: str, architecture: str, numbers: dict[str, tuple[float, float]], **more: Any) -> Iterator[ResultRow]:
    for defense, values in numbers.items():
        for metric, value in zip(("natural_accuracy", "attack_accuracy_at_1"), values, strict=True):
            facts: dict[str, Any] = {
                **{"sweep": "s", "profile": "p", "setup": setup, "attack": "gmi", "attack_name": "gmi", "private": "a"},
                **{"access": "white box", "public": "b", "evaluator": "e", "resolution_px": 64, "identities": 10},
                **{
                    "images_per_identity": 5,
                    "seed": 0,
                    "code_version": "0",
                    "unit": "percent",
                    "evaluator_accuracy": 99.0,
                },
                **{"defense": defense, "defense_name": defense.partition("(")[0], "defense_params": defense},
                **{"cell": f"{setup}{defense}", "low": value - 1, "high": value + 1, "interval": "95 %"},
                "larger_is": "more useful" if metric == "natural_accuracy" else "less private",
            }
            yield ResultRow(metric=metric, value=value, architecture=architecture, **{**facts, **more})


def test_each_defense_is_compared_with_the_undefended_model_of_its_own_architecture() -> None:
    both = [
        *rows("v", "vgg16", {"none": (90.0, 80.0), "bido": (88.0, 50.0)}),
        *rows("r", "resnet", {"none": (95.0, 70.0), "bido": (94.5, 60.0), "nls": (95.0, 20.0)}),
    ]
    found = over_architectures(summarise(both))
    assert [(one.defense, one.row.architecture) for one in found] == [
        ("nls", "resnet"), ("bido", "resnet"), ("bido", "vgg16"),
    ]  # fmt: skip
    falls = {(one.defense, one.row.architecture): (one.utility, one.attack) for one in found}
    for place, (utility, attack) in {("bido", "vgg16"): (2.0, 30.0), ("bido", "resnet"): (0.5, 10.0)}.items():
        assert [one and one.drop for one in falls[place]] == [pytest.approx(utility), pytest.approx(attack)]


def test_other_data_or_another_attack_is_another_place() -> None:
    numbers = {"none": (90.0, 80.0), "bido": (88.0, 50.0)}
    apart = [*rows("v", "vgg16", numbers), *rows("r", "resnet", numbers, attack="kedmi")]
    assert over_architectures(summarise(apart)) == []
    apart = [*rows("v", "vgg16", numbers), *rows("r", "resnet", numbers, private="c")]
    assert over_architectures(summarise(apart)) == []


def test_strengths_that_were_matched_go_by_the_name_of_the_defense() -> None:
    asked: dict[str, Any] = {"match_target": 88.0, "match_tolerance": 0.5, "match_accuracy": 88.0, "match_seeds": 1}
    both = []
    for setup, architecture, strength in (("v", "vgg16", 0.1), ("r", "resnet", 0.3)):
        both += rows(setup, architecture, {"none": (90.0, 80.0)})
        both += rows(setup, architecture, {f"bido(lambda_x={strength})": (88.0, 50.0)}, matched=True, **asked)
    both += rows("r", "resnet", {"nls": (70.0, 10.0)}, matched=False, **{**asked, "match_accuracy": 70.0})
    found = over_architectures(summarise(both))
    assert [(one.defense, one.row.architecture, one.reason) for one in found] == [
        ("bido (matched)", "resnet", ""),
        ("bido (matched)", "vgg16", ""),
        ("nls (matched)", "resnet", "not at the accuracy that was matched"),
    ]
    assert found[2].attack is None


def test_what_is_no_result_says_why() -> None:
    """An attack at chance (10 % of 10 people) says nothing of any defense."""
    at_chance = {"none": (90.0, 10.0), "bido": (88.0, 9.0)}
    both = [
        *rows("v", "vgg16", at_chance, chance=10.0),
        *rows("r", "resnet", {"none": (95.0, 70.0), "bido": (94.5, 60.0)}),
    ]
    found = {one.row.architecture: one for one in over_architectures(summarise(both))}
    assert found["vgg16"].reason.startswith("the attack is at chance (10") and found["vgg16"].attack is None
    assert found["resnet"].reason == ""
