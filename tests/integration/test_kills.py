"""`kill -9` in a random order, and two drivers at once: what is finished stays, what is not is done again.

The order of the victims and the moments come from a fixed seed; what a victim does at that moment is up to the machine.
Twenty kills, and other disturbances, are in `benchmarks/reliability`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from reliability.kills import Story, kill_often
from reliability.runs import PATIENCE_S, Run, Seal, Stored, Victim, finished, plan_of, write_sweep

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800)]

SEED = 48
VICTIMS: dict[Victim, int] = {"driver": 2, "raylet": 1, "node": 3, "writer": 2}


@pytest.fixture(scope="module")
def watchful(environment: dict[str, str]) -> dict[str, str]:
    """Ray calls a machine dead that missed five looks, 3 s apart; here we wait for that."""
    return {**environment, "RAY_health_check_period_ms": "500"}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, watchful: dict[str, str]) -> Story:
    return kill_often(tmp_path_factory.mktemp("kills"), VICTIMS, watchful, seed=SEED)


def test_they_are_killed_in_the_middle(story: Story) -> None:
    for number, one in enumerate(story.kills, 1):
        print(f"{number:>2} {one.victim:<7} {one.doing:<60} {one.finished} artifacts finished")
    print(f"{len(story.kills)} kills and the last run took {story.seconds:.0f} s")
    assert Counter(one.victim for one in story.kills) == VICTIMS
    assert 0 < story.kills[-1].finished < len(plan_of(story.stored.folder).nodes)


def test_a_run_that_loses_ray_ends_and_says_so(story: Story) -> None:
    lost = [one for one in story.kills if one.process == "raylet"]
    assert [one.code for one in lost] == [3] * VICTIMS["raylet"]
    for one in lost:
        assert "midef: Ray's process on this machine (raylet) died" in one.text
        assert "the same command goes on from there" in one.text and "failed 0" in one.text


def test_the_last_run_finishes(story: Story) -> None:
    assert story.code == 0, story.text
    assert "resuming sweep micro: " in story.text


def test_what_was_finished_at_a_kill_is_untouched(story: Story) -> None:
    now = finished(story.stored.folder, {})
    assert {name: now.get(name) for name in story.sealed} == story.sealed


def test_the_store_is_whole_after_the_kills(story: Story) -> None:
    story.stored.assert_whole()


# --- two drivers at once ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """The ends (code, text) of two runs of one sweep started together, and of a third; sealed: artifacts as they were
    when they first appeared."""

    stored: Stored
    ends: list[tuple[int, str]]
    third: tuple[int, str]
    sealed: dict[str, Seal]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, micro: dict[str, Any], watchful: dict[str, str]) -> Iterator[Pair]:
    folder, sealed = tmp_path_factory.mktemp("pair"), dict[str, Seal]()
    write_sweep(folder, micro)
    runs = [Run.start(folder, name, watchful, "--cpus", "1") for name in ("one", "two")]
    try:
        deadline = time.monotonic() + PATIENCE_S
        while any(run.process.poll() is None for run in runs) and time.monotonic() < deadline:
            sealed = finished(folder, sealed)
            time.sleep(0.1)
        ends = [(run.wait(1), run.text) for run in runs]
    finally:
        for run in runs:
            run.end()
    third = Run.start(folder, "three", watchful)
    yield Pair(Stored(folder), ends, (third.wait(PATIENCE_S), third.text), sealed)


def test_both_drivers_finish(pair: Pair) -> None:
    for code, text in pair.ends:
        assert code == 0, text


def test_what_one_driver_stored_the_other_leaves_alone(pair: Pair) -> None:
    assert pair.sealed
    now = finished(pair.stored.folder, {})
    assert {name: now.get(name) for name in pair.sealed} == pair.sealed


def test_the_store_is_whole_after_two_drivers(pair: Pair) -> None:
    pair.stored.assert_whole()


def test_a_third_driver_has_nothing_to_do(pair: Pair) -> None:
    code, text = pair.third
    assert code == 0 and "\nnothing to do: all 2 cells of sweep micro are done\n" in text


def test_kills_change_no_result(story: Story, pair: Pair) -> None:
    """What is done again after a kill finds what a run without kills finds, to the last digit."""
    killed, undisturbed = story.stored.rows(), pair.stored.rows()
    assert undisturbed
    assert {name: killed.get(name) for name in undisturbed} == undisturbed
