"""What matching found, as plain data and back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midef.core.match import MatchOutcome, MatchReport, MatchTraining, State

TRAINING = MatchTraining(strength=0.4, seed=1, accuracy=88.1, phase="search", target_key="target/ab")
OUTCOME = MatchOutcome(
    defense="midre",
    defense_name="midre",
    architecture="vgg16_tiny",
    private="faces",
    setups=("one", "two"),
    target=88.2,
    target_text="none - 2",
    tolerance=0.5,
    state="matched",
    accuracy=88.4,
)
REPORT = MatchReport(sweep="mine", digest="ab", profile="smoke", outcomes=(OUTCOME,))

numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
trainings = st.builds(MatchTraining, strength=numbers, accuracy=numbers)
outcomes = st.builds(
    MatchOutcome,
    state=st.sampled_from(get_args(State)),
    reason=st.text(min_size=1, max_size=8),
    setups=st.lists(st.text(max_size=4), max_size=3).map(tuple),
    target=numbers,
    tolerance=st.floats(0, 10),
    low=numbers,
    strength=numbers,
    accuracy=numbers,
    seeds=st.lists(st.integers(0, 9), max_size=3).map(tuple),
    ends=st.lists(trainings, max_size=2).map(tuple),
    trainings=st.lists(trainings, max_size=3).map(tuple),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(outcomes, max_size=3))
def test_a_report_comes_back_from_json_as_it_was(found: list[MatchOutcome]) -> None:
    report = replace(REPORT, outcomes=tuple(found), trained=3, storage="studies/mine.log")
    back = MatchReport.from_plain(json.loads(json.dumps(report.as_plain(), allow_nan=False)))
    assert back == report
    assert hash(back) == hash(report)  # tuples came back as tuples


@pytest.mark.parametrize("state", [state for state in get_args(State) if state != "matched"])
def test_what_is_not_matched_has_a_reason(state: Any) -> None:
    with pytest.raises(ValueError, match=f"midre on vgg16_tiny is '{state}' without a reason"):
        replace(OUTCOME, state=state)
    assert replace(OUTCOME, state=state, reason="too weak").state == state


def test_a_state_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match=r"state must be one of matched, unreachable, .*, got 'near'"):
        replace(OUTCOME, state="near", reason="x")  # type: ignore[arg-type]


@pytest.mark.parametrize(("accuracy", "target", "gap"), [(88.4, 88.2, 0.2), (84.1, 88.2, -4.1)])
def test_the_gap_is_above_the_target(accuracy: float, target: float, gap: float) -> None:
    assert replace(OUTCOME, accuracy=accuracy, target=target).gap == pytest.approx(gap)


def test_without_both_numbers_there_is_no_gap() -> None:
    assert replace(OUTCOME, accuracy=None).gap is None
    assert replace(OUTCOME, target=None).gap is None


def test_a_report_with_a_field_that_nobody_knows_is_refused() -> None:
    plain = REPORT.as_plain()
    plain["outcomes"][0]["colour"] = "red"
    with pytest.raises(TypeError, match="colour"):
        MatchReport.from_plain(plain)
