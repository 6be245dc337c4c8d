"""What matching a sweep would search, said before anything starts, and everything wrong with it at once."""

from __future__ import annotations

from typing import Any

import pytest

from midef.core.errors import SpecError
from midef.sweep.matching.match_text import describe_match
from midef.sweep.spec.load import parse_spec
from midef.sweep.spec.resolve import Sweep, resolve


def spec(**more: Any) -> dict[str, Any]:
    return {
        "name": "matched",
        "setups": [{"id": "faces", "attack": "gmi"}],
        "defenses": ["none", "midre", "nls", "bido", "loft"],
        "match": {"target": "none - 2"},
        **more,
    }


def sweep_of(**more: Any) -> Sweep:
    return resolve(parse_spec(spec(**more)))


def test_all_that_is_wrong_is_said_at_once() -> None:
    wrong = {
        "target": "middre - 2",
        "ranges": {"midre": {"high": 1.7}, "nls": {"low": -0.001, "high": -0.2}, "none": {"low": 1.0}, "tls": {}},
        "confirm": [1, 1],
        "trainings": 3,
    }
    with pytest.raises(SpecError) as caught:
        describe_match(sweep_of(match=wrong))
    text = str(caught.value)
    for part in ("match.target", "midre", "match.ranges.nls", "none has no strength", "'tls'", "a seed twice"):
        assert part in text, part


@pytest.mark.parametrize("wrong", [{"target": 0}, {"target": 101}, {"tolerance": 0}, {"trainings": 2}, {"tolrance": 1}])
def test_wrong_numbers_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=next(iter(wrong))):
        parse_spec(spec(match=wrong))


def test_what_is_asked_is_said_before_anything_starts() -> None:
    text = describe_match(sweep_of(seeds=[0, 1]))
    assert "none minus 2 points" in text and "area_high 0.1 to 0.8 (linear)" in text and "at most 30 trainings" in text
    assert "seeds 0, 1" in text
    text = describe_match(sweep_of(defenses=["none"], match={"target": 80, "confirm": []}))
    assert "on 1 network with its data set, at most 1 training\n" in text and "\nat most 1 training beside" in text


def test_a_range_can_be_given_for_one_of_two() -> None:
    ranges = {"bido(measure=coco)": {"high": 20.0}, "loft": {"low": 8}}
    text = describe_match(sweep_of(defenses=["bido", "bido(measure=coco)", "loft"], match={"ranges": ranges}))
    assert "lambda_x 0.005 to 0.5" in text and "lambda_x 0.5 to 20" in text and "rank 8 to 500" in text
    with pytest.raises(SpecError, match="rank is a whole number"):
        describe_match(sweep_of(match={"ranges": {"loft": {"low": 5.5}}}))
    with pytest.raises(SpecError, match="give other ends"):
        describe_match(sweep_of(defenses=["midre(area_low=0.3)"]))
