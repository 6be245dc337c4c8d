"""Pieces that wait for each other, on so many slots and GPUs: when the last one ends, against obvious sums."""

from __future__ import annotations

import random

import pytest

from midef.sweep.planning import schedule
from midef.sweep.planning.schedule import Piece, makespan_s


def test_nothing_takes_no_time() -> None:
    assert makespan_s([], slots=2) == 0.0


def test_equal_pieces_share_the_slots() -> None:
    assert makespan_s([Piece(i, 10.0) for i in range(6)], slots=2) == 30.0
    assert makespan_s([Piece(i, 10.0) for i in range(5)], slots=2) == 30.0


def test_a_chain_waits_whatever_the_slots() -> None:
    chain = [Piece(i, 10.0, {i - 1}) for i in range(6)]
    assert makespan_s(chain, slots=64) == 60.0


def test_what_is_not_among_the_pieces_is_done() -> None:
    assert makespan_s([Piece("target", 5.0, {"a split that is stored"})], slots=1) == 5.0


def test_the_longest_path_goes_first() -> None:
    """Begun last, the long chain alone would end at 40."""
    short, chain = [Piece(f"s{i}", 10.0) for i in range(2)], [Piece("a", 10.0), Piece("b", 20.0, {"a"})]
    assert makespan_s([*short, *chain], slots=2) == 30.0


def test_running_pieces_keep_their_slots() -> None:
    pieces = [Piece("runs", 30.0, is_running=True), Piece("waits", 10.0), Piece("after", 5.0, {"runs"})]
    assert makespan_s(pieces, slots=1) == 45.0
    assert makespan_s(pieces, slots=2) == 35.0


def test_gpus_are_shared_by_what_holds_them() -> None:
    halves = [Piece(i, 10.0, gpu=0.5) for i in range(4)]
    assert makespan_s(halves, slots=8, gpus=1.0) == 20.0
    assert makespan_s([*halves, Piece("cpu", 20.0)], slots=8, gpus=1.0) == 20.0
    assert makespan_s(halves, slots=8) == 10.0, "without GPUs they run without"
    assert makespan_s([Piece("large", 10.0, gpu=4.0)], slots=1, gpus=1.0) == 10.0, "more than there is"


@pytest.mark.parametrize("seed", range(5))
def test_it_lies_between_the_bounds_of_every_list_schedule(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = random.Random(seed)
    pieces = [Piece(i, drawn.uniform(1, 20), drawn.sample(range(i), min(i, drawn.randint(0, 3)))) for i in range(60)]
    path: list[float] = []
    for piece in pieces:
        path.append(piece.seconds + max((path[need] for need in piece.needs), default=0.0))  # type: ignore[call-overload]
    slots, work = 3, sum(piece.seconds for piece in pieces)
    took = makespan_s(pieces, slots=slots)
    assert max(work / slots, max(path)) <= took + 1e-9 <= work / slots + max(path) + 1e-6  # Graham, 1966
    monkeypatch.setattr(schedule, "PLAYED", 10)
    assert makespan_s(pieces, slots=slots) == pytest.approx(max(work / slots, max(path)))
