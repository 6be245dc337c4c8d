"""Accuracy-matching sections of a specification: how they are read, and the errors about them."""

from __future__ import annotations

from typing import Any

import pytest

from midef.core.errors import SpecError
from midef.defenses.stack import choose_defense
from midef.sweep.spec.load import parse_spec
from midef.sweep.spec.matching import FrontSpec, MatchSpec
from midef.sweep.spec.schema import SweepSpec


@pytest.mark.parametrize(
    ("written", "reference", "text"),
    [
        ("none", ("none", 0.0), "the accuracy of none"),
        ("none - 2", ("none", 2.0), "none minus 2 points"),
        ("none -2", ("none", 2.0), "none minus 2 points"),
        ("none  -  .5 ", ("none", 0.5), "none minus 0.5 points"),
        ("none - 0", ("none", 0.0), "the accuracy of none"),
        ("midre(area_high=0.8) - 1.5", ("midre(area_high=0.8)", 1.5), "midre(area_high=0.8) minus 1.5 points"),
        ("nls(alpha=-0.05) - 1", ("nls(alpha=-0.05)", 1.0), "nls(alpha=-0.05) minus 1 points"),
        ("nls(alpha=-0.05)", ("nls(alpha=-0.05)", 0.0), "the accuracy of nls(alpha=-0.05)"),
        ("midre+nls - 2.", ("midre+nls", 2.0), "midre+nls minus 2 points"),
        ("midre:celeba-64", ("midre:celeba-64", 0.0), "the accuracy of midre:celeba-64"),
        ("bido:celeba-vgg16", ("bido:celeba-vgg16", 0.0), "the accuracy of bido:celeba-vgg16"),
        (88.5, None, "88.5 %"),
        (90, None, "90 %"),
        ("88.5", None, "88.5 %"),
        ("85", None, "85 %"),
    ],
    ids=str,
)
def test_targets(written: Any, reference: tuple[str, float] | None, text: str) -> None:
    spec = MatchSpec(target=written)
    assert spec.reference == reference and spec.target_text == text
    if reference is not None:
        choose_defense(reference[0])  # it is one


@pytest.mark.parametrize("written", [85, 85.0, "85", " 85 "], ids=repr)
def test_a_percentage_is_a_number_however_it_is_written(written: Any) -> None:
    assert MatchSpec(target=written).target == 85.0 and not isinstance(MatchSpec(target=written).target, str)


@pytest.mark.parametrize("written", [0, -3.0, 100.1, "101", "nan", "inf", "none - 100"], ids=repr)
def test_no_accuracy_is_refused(written: Any) -> None:
    with pytest.raises(SpecError, match=r"sweep\.match\.target") as caught:
        parse_match(match={"target": written})
    assert len(caught.value.problems) >= 1


def parse_match(**more: Any) -> SweepSpec:
    setups = [{"id": "faces", "attack": "gmi"}]
    return parse_spec({"name": "s", "setups": setups, "defenses": ["none"], **more})


@pytest.mark.parametrize(
    ("written", "place", "near"),
    [
        ({"match": {"tolrance": 1}}, "sweep.match.tolrance", "tolerance"),
        ({"match": {"targt": 80}}, "sweep.match.targt", "target"),
        ({"match": {"ranges": {"midre": {"hgih": 0.7}}}}, "sweep.match.ranges.midre.hgih", "high"),
        ({"front": {"defense": "midre", "smapler": "tpe"}}, "sweep.front.smapler", "sampler"),
        ({"front": {"defense": "midre", "trails": 5}}, "sweep.front.trails", "trials"),
        ({"frnt": {"defense": "midre"}}, "sweep.frnt", "front"),
        ({"mtch": {}}, "sweep.mtch", "match"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unknown_field_gets_the_nearest_name(written: dict[str, Any], place: str, near: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_match(**written)
    assert caught.value.problems == [f"{place}: unknown field; did you mean {near!r}?"]


def test_a_field_like_none_is_answered_with_all_there_are() -> None:
    with pytest.raises(SpecError, match=r"sweep\.match\.ranges\.midre\.xyz: unknown field; known: high, low$"):
        parse_match(match={"ranges": {"midre": {"xyz": 1}}})


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ({"match": {"tolerance": 0}}, "sweep.match.tolerance"),
        ({"match": {"trainings": 2}}, "sweep.match.trainings"),
        ({"match": {"unmatched": "drop"}}, "sweep.match.unmatched"),
        ({"match": {"ranges": {"midre": {"high": float("inf")}}}}, "sweep.match.ranges.midre.high"),
        ({"front": {}}, "sweep.front.defense"),
        ({"front": {"defense": "midre", "trials": 1}}, "sweep.front.trials"),
        ({"front": {"defense": "midre", "sampler": "random"}}, "sweep.front.sampler"),
        ({"front": {"defense": "midre", "together": 0}}, "sweep.front.together"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_values_are_said_with_their_place(written: dict[str, Any], place: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_match(**written)
    assert [p.partition(": ")[0] for p in caught.value.problems] == [place]


def test_a_defense_may_be_a_mapping() -> None:
    found = FrontSpec(defense={"name": "midre", "place": "fixed"})
    assert choose_defense(found.defense).params["place"] == "fixed"


def test_nothing_said_is_the_accuracy_of_no_defense() -> None:
    spec = MatchSpec()
    assert (spec.target, spec.tolerance, spec.trainings, spec.confirm, spec.unmatched) == (
        "none",
        0.5,
        30,
        None,
        "closest",
    )
