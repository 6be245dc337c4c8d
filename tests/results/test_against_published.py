"""Verdicts on published numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from midef.core.rows import ResultRow
from midef.results.against_published import Reproduction, reproductions
from midef.results.summary import summarise

ABOUT: dict[str, Any] = {
    **{"sweep": "s", "setup": "S01", "defense": "none", "defense_name": "none", "defense_params": "{}"},
    **{"attack": "gmi", "attack_name": "gmi", "access": "white box", "architecture": "vgg16", "private": "celeba"},
    **{"public": "celeba", "evaluator": "facenet112", "resolution_px": 64, "identities": 300, "images_per_identity": 5},
    **{"metric": "attack_accuracy_at_1", "unit": "percent", "larger_is": "less private"},
}


def ours(value: float | None = 50.0, **changes: Any) -> ResultRow:
    given = {"profile": "paper", "seed": 0, "low": 46.0, "high": 54.0, "interval": "95 %", "column": "att@1 %"}
    cell = f"cell{changes.get('seed', 0)}{changes.get('defense', '')}"
    return ResultRow(**{**ABOUT, **given, "cell": cell, "value": value, **changes})


def printed(value: float, **changes: Any) -> ResultRow:
    given = {"profile": "published", "cell": "p", "seed": None, "origin": "published", "source": "MIDRE, Tab.B.2"}
    return ResultRow(**{**ABOUT, **given, "value": value, **changes})


def verdicts(measured: list[ResultRow], published: list[ResultRow], *setups: str) -> list[Reproduction]:
    return reproductions(summarise(measured), measured, published, setups)


@pytest.mark.parametrize(
    ("value", "verdict", "reason"),
    [
        (46.0, "agrees", "inside [46, 54]"),
        (54.0, "agrees", "inside [46, 54]"),
        (54.5, "differs", "4.5 points apart"),
        (30.0, "differs", "20.0 points apart"),
    ],
)
def test_a_published_value_agrees_inside_our_interval(value: float, verdict: str, reason: str) -> None:
    (one,) = verdicts([ours()], [printed(value)])
    assert (one.verdict, one.reason, one.difference) == (verdict, reason, 50.0 - value)
    assert (one.paper, one.table, one.seeds) == ("MIDRE", "Tab.B.2", 1)
    assert one.differences == ("seeds: published not stated, here 1",)


def test_a_percentage_within_a_point_agrees_without_an_interval() -> None:
    near, far = verdicts([ours(low=None, high=None)], [printed(51.0), printed(51.1)])
    assert (near.verdict, near.reason) == ("agrees", "1.0 points apart")
    assert far.verdict == "differs"


def test_a_distance_needs_an_interval() -> None:
    distance: dict[str, Any] = {"metric": "knn_distance", "unit": "squared feature distance", "column": "KNN dist"}
    theirs = printed(1200.0, metric="knn_distance", unit="squared feature distance")
    (without,) = verdicts([ours(1200.4, low=None, high=None, **distance)], [theirs])
    assert (without.verdict, without.reason) == ("not comparable", "our number has no interval")
    (outside,) = verdicts([ours(1300.0, low=1290.0, high=1310.0, **distance)], [theirs])
    assert (outside.verdict, outside.reason) == ("differs", "outside [1290, 1310]")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"stand_ins": "vgg16_tiny for vgg16"}, "stand-ins: vgg16_tiny for vgg16"),
        ({"profile": "mini"}, "profile mini: reduced budget"),
        ({"evaluator": "inception_v3, from imagenet"}, "evaluator: published facenet112, here inception_v3"),
        ({"resolution_px": 32}, "resolution: published 64, here 32"),
        ({"identities": 100}, "identities: published 300, here 100"),
        ({"private": "image_folder(path=a.zip)"}, "private: published celeba, here image_folder"),
    ],
)
def test_another_measurement_is_not_compared(changes: dict[str, Any], reason: str) -> None:
    (one,) = verdicts([ours(**changes)], [printed(50.0)])
    assert one.verdict == "not comparable"
    assert reason in one.differences


def test_fewer_images_and_seeds_are_named_and_compared() -> None:
    (one,) = verdicts([ours(images_per_identity=50)], [printed(50.0)])
    assert one.verdict == "agrees"
    assert one.differences == (
        "images of each identity: published 5, here 50",
        "seeds: published not stated, here 1",
    )


def test_other_parameters_are_not_compared() -> None:
    mine = ours(defense="bido(a=1)", defense_name="bido", defense_params='{"a":1}')
    (one,) = verdicts([mine], [printed(50.0, defense="bido(a=2)", defense_name="bido")])
    assert (one.verdict, one.defense, one.published_as) == ("not comparable", "bido(a=1)", "bido(a=2)")
    assert one.reason == "other parameters: published as bido(a=2)"


def test_what_was_not_run_says_why() -> None:
    failed = ours(None, status="failed", reason="out of memory")
    papers = [printed(50.0), printed(9.0, defense="nls"), printed(1.0, setup="S02")]
    lost, absent, planned = verdicts([failed], papers, "S02")
    assert (lost.verdict, lost.reason) == ("not run", "failed: out of memory")
    assert {absent.verdict, planned.verdict} == {"not run"}
    assert absent.reason == planned.reason == "this defense is not among the results of the setup"


def test_other_setups_marks_and_derived_numbers_are_left_out() -> None:
    mark = replace(printed(1.0), value=None)
    derived = printed(2.0, metric="trade_off_delta", unit="points per point")
    assert verdicts([ours()], [printed(50.0, setup="S36"), mark, derived]) == []
