"""Fields of a specification: every problem at once, with the place and the nearest valid name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Spec = Callable[..., dict[str, Any]]
ProblemsOf = Callable[[dict[str, Any]], list[str]]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"defences": ["none"]}, "sweep.yaml.defences: unknown field; did you mean 'defenses'?"),
        (
            {"setup": {"architectures": "vgg16"}},
            "sweep.yaml.setups[0].architectures: unknown field; did you mean 'architecture'?",
        ),
        (
            {"setup": {"protocol": {"identites": 3}}},
            "sweep.yaml.setups[0].protocol.identites: unknown field; did you mean 'identities'?",
        ),
        ({"zzz": 1}, "sweep.yaml.zzz: unknown field; known: defenses, evaluator_training, front, match, metrics"),
    ],
    ids=["sweep", "setup", "protocol", "nothing_near"],
)
def test_a_misspelt_key_of_the_file_is_answered_with_the_nearest(
    spec: Spec, change: dict[str, Any], expected: str, problems_of: ProblemsOf
) -> None:
    (problem,) = problems_of(spec(**change))
    assert expected in problem


def test_a_missing_key_is_named(spec: Spec, problems_of: ProblemsOf) -> None:
    data = spec()
    del data["name"]
    assert "sweep.yaml.name: Field required" in problems_of(data)[0]


def test_schema_problems_are_said_at_once(spec: Spec, problems_of: ProblemsOf) -> None:
    data = spec({"protocol": {"identites": 3}, "resolution_px": "big"}, defences=[], seeds=["x"])
    assert len(problems_of(data)) == 4
