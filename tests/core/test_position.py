"""Positions of loops within loops: they rise from 0 to 1, and the pace so far tells what is left."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from midef.core import position
from midef.core.position import Work, following, share, steps, tell
from midef.testing.positions import positions


def test_a_loop_rises_in_equal_steps() -> None:
    with positions() as told:
        assert list(steps(["a", "b"])) == ["a", "b"]
    assert told == [0.0, 0.5, 1.0]


def test_a_loop_in_a_loop_is_part_of_its_pass() -> None:
    with positions() as told:
        for _ in steps(range(2)):
            for _ in steps(range(2)):
                pass
    assert sorted(set(told)) == [0.0, 0.25, 0.5, 0.75, 1.0] and told == sorted(told)


def test_shares_divide_what_surrounds_them() -> None:
    with positions() as told, share(0.0, 0.5):
        with share(0.0, 0.2):
            tell(0.5)
        for _ in steps(range(2)):
            pass
    assert told == [0.0, 0.0, 0.05, 0.1, 0.1, 0.25, 0.5, 0.5]


def test_a_position_never_falls() -> None:
    with positions() as told:
        tell(0.7)
        tell(0.2)
        tell(3.0)
    assert told == [0.7, 0.7, 1.0]


def test_a_loop_that_is_left_leaves_its_share_too() -> None:
    with positions() as told:
        for _ in steps(range(2)):
            for _ in steps(range(4)):
                break
            with pytest.raises(ValueError, match="bad"):
                for _ in steps(range(4)):
                    raise ValueError("bad")
        assert told[-1] == 1.0 and told.count(0.5) == 3


def test_passes_of_an_earlier_process_count() -> None:
    with positions() as told:
        assert list(steps(range(3, 4), first=3)) == [3]
    assert told == [0.75, 1.0]


def test_passes_may_weigh_differently() -> None:
    with positions() as told:
        assert list(steps("abc", weights=[6, 1, 1])) == ["a", "b", "c"]
    assert told == [0.0, 0.75, 0.875, 1.0]


def test_a_loop_without_passes_is_at_its_end() -> None:
    with positions() as told:
        assert list(steps([])) == [] and list(steps([], weights=[])) == []
    assert told == [1.0, 1.0]


def test_without_a_listener_loops_are_plain() -> None:
    with positions() as told, following(None):
        assert list(steps(range(3))) == [0, 1, 2]
        with share(0.0, 0.5):
            tell(1.0)
    assert told == []


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = [100.0]

    class Clock:
        monotonic = staticmethod(lambda: now[0])

    assert position.time is time
    monkeypatch.setattr(position, "time", Clock)

    def forward(seconds: float) -> None:
        now[0] += seconds

    return forward


def test_what_is_left_follows_from_the_pace(wait: Callable[[float], None]) -> None:
    work = Work()
    wait(50)  # reading a model
    work.tell(0.0)
    assert work.left_s() is None
    wait(7)  # the first pass warms up
    work.tell(0.05)
    assert work.left_s() is None
    wait(10)
    work.tell(0.25)
    assert work.left_s() == pytest.approx(37.5)


def test_the_pace_leaves_out_what_an_earlier_process_did(wait: Callable[[float], None]) -> None:
    work = Work()
    work.tell(0.5)
    wait(1)
    work.tell(0.55)
    wait(10)
    work.tell(0.75)
    assert work.left_s() == pytest.approx(12.5)


def test_a_moment_tells_no_pace(wait: Callable[[float], None]) -> None:
    work = Work()
    for fraction in (0.0, 0.001, 0.002):
        work.tell(fraction)
        assert work.left_s() is None
        wait(0.1)


def test_a_pace_is_certain_after_some_work_and_some_seconds(wait: Callable[[float], None]) -> None:
    work = Work()
    assert work.certainty() == 0.0
    for fraction in (0.5, 0.51):  # what an earlier process did, and the first pass, are no evidence
        work.tell(fraction)
        wait(1)
    assert work.certainty() == 0.0
    work.tell(0.56)
    assert work.certainty() == pytest.approx(0.2), "a second"
    wait(100)
    assert work.certainty() == pytest.approx(0.5), "half of the share that is needed"
    work.tell(0.9)
    assert work.certainty() == 1.0
