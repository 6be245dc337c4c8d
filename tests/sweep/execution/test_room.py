"""Hands Tune what it can start: its queue is played by hand, with a clock that is made up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from random import Random
from typing import NamedTuple

import pytest

from midef.core import ArtifactKey, Recipe
from midef.sweep.execution.room import Needs, Room
from midef.sweep.execution.searcher import PlanSearcher
from midef.sweep.planning.plan import Node, Plan
from midef.sweep.planning.schedule import Piece, makespan_s

QUEUE = 16  # trials that Tune takes into its own queue at most


class Work(NamedTuple):
    """A node: what it takes, and what it waits for."""

    seconds: float
    needs: tuple[str, ...] = ()
    gpu: float = 0.0


class Played(NamedTuple):
    """When each node began, when the last ended, and how many of each class waited in Tune's queue at most."""

    began: dict[str, float]
    end_s: float
    most_waiting: dict[float, int]


def play(
    work: Mapping[str, Work],
    has: Mapping[str, float],
    draws: Random,
    room: Callable[[Callable[[Node], Mapping[str, float]]], Room | None],
) -> Played:
    """Tune as it is: it fills its queue from the searcher, and starts any trial of it that fits, in no order."""
    nodes: dict[ArtifactKey, str] = {}
    recipes = {name: Recipe("target", "made_up", {"name": name}) for name in work}
    path_s: dict[str, float] = {}
    for name in reversed(work):  # inputs come first
        behind = [path_s[later] for later, other in work.items() if name in other.needs]
        path_s[name] = work[name].seconds + max(behind, default=0.0)
    plan = Plan(None, {}, [], [], [], [])  # type: ignore[arg-type]
    for name, recipe in recipes.items():
        needed = frozenset(recipes[other].key for other in work[name].needs)
        plan.nodes[recipe.key] = Node(recipe, needed, remaining_s=path_s[name])
        nodes[recipe.key] = name

    def resources(node: Node) -> dict[str, float]:
        gpu = work[nodes[node.key]].gpu
        return {"CPU": 1.0} | ({"GPU": gpu} if gpu else {})

    searcher = PlanSearcher(
        plan, lambda node: {"name": nodes[node.key]},
        on_done=lambda *_: None, on_lost=lambda *_: None, room=room(resources),
    )  # fmt: skip
    free, queue, runs, began, waited = dict(has), {}, [], {}, {0.0: 0}
    now, trials, ended = 0.0, 0, False
    while True:
        while len(queue) < QUEUE and not ended:
            trial = str(trials)
            found = searcher.suggest(trial)
            ended = found == PlanSearcher.FINISHED
            if not isinstance(found, dict):
                break
            queue[trial], trials = found["name"], trials + 1
        for trial in draws.sample(sorted(queue), len(queue)):
            takes = resources(plan.nodes[recipes[queue[trial]].key])
            if all(free[name] >= amount for name, amount in takes.items()):
                for name, amount in takes.items():
                    free[name] -= amount
                name = queue.pop(trial)
                began[name] = now
                heappush(runs, (now + work[name].seconds, trial, name))
        for gpu in {work[name].gpu for name in queue.values()}:
            waited[gpu] = max(waited.get(gpu, 0), sum(work[name].gpu == gpu for name in queue.values()))
        if not runs:
            return Played(began, now, waited)
        now, trial, name = heappop(runs)
        for what, amount in resources(plan.nodes[recipes[name].key]).items():
            free[what] += amount
        searcher.on_trial_complete(trial_id=trial, result={"status": "ok"})


def smoke(seeds: int = 3, defenses: int = 4) -> dict[str, Work]:
    """A sweep whose longest path is a prior that nothing but attacks wait for."""
    work = {"split": Work(3), "prior": Work(240, ("split",)), "evaluator": Work(50, ("split",))}
    for i in range(seeds * defenses):
        work[f"target{i}"] = Work(25, ("split",))
        work[f"attack{i}"] = Work(12, (f"target{i}", "prior"))
        work[f"scores{i}"] = Work(1, (f"attack{i}", "evaluator"))
    return work


@pytest.mark.parametrize("seed", range(8))
def test_the_node_with_the_longest_path_is_the_first_to_start(seed: int) -> None:
    """Two processors. In a queue of 16 the prior starts when it is drawn; handed out by room, it starts at once."""
    work, has = smoke(), {"CPU": 2.0}
    played = play(work, has, Random(seed), lambda of: Room(of, has))
    assert played.began["prior"] == 3.0, "as soon as the split is there"
    best = makespan_s([Piece(name, one.seconds, one.needs) for name, one in work.items()], slots=2)
    assert played.end_s == best, "the ideal list schedule"
    assert set(played.began) == set(work)


def test_a_queue_that_takes_what_is_ready_starts_the_longest_path_late() -> None:
    """The fault that `Room` is for: without it the same play does start the prior late."""
    late = [play(smoke(), {"CPU": 2.0}, Random(seed), lambda of: None).began["prior"] for seed in range(8)]
    assert max(late) > 50


@pytest.mark.parametrize("seed", range(8))
def test_nodes_that_wait_for_a_gpu_hold_back_no_node_that_needs_none(seed: int) -> None:
    """Four processors, one GPU: five targets of 100 s go first by their path, and eight small nodes need no GPU."""
    has = {"CPU": 4.0, "GPU": 1.0}
    work = {f"target{i}": Work(100, gpu=1.0) for i in range(5)} | {f"small{i}": Work(10) for i in range(8)}
    played = play(work, has, Random(seed), lambda of: Room(of, has))
    assert max(at for name, at in played.began.items() if name.startswith("small")) == 20, "three at a time from 0 s"
    assert played.end_s == 500, "the GPU is never idle"
    assert set(played.most_waiting.values()) == {0}, "nothing waits in Tune's queue"


def test_shares_of_a_gpu_are_filled() -> None:
    has = {"CPU": 8.0, "GPU": 1.0}
    work = {f"attack{i}": Work(10, gpu=0.25) for i in range(8)}
    assert play(work, has, Random(0), lambda of: Room(of, has)).end_s == 20


def test_a_node_is_handed_out_without_a_look_at_all_that_run() -> None:
    """12 run on 12 processors: the room is told classes and counts, and what ended makes room for exactly one."""
    work, has, told = {f"node{i}": Work(10, gpu=0.5 * (i % 2)) for i in range(20)}, {"CPU": 12.0, "GPU": 6.0}, [0]

    class Watched(Room):
        def takes(self, needs: Needs, handed_out: Mapping[Needs, int]) -> bool:
            told[0] = max(told[0], len(handed_out))
            return super().takes(needs, handed_out)

    played = play(work, has, Random(0), lambda of: Watched(of, has))
    assert told[0] == 2, "two classes"
    assert sum(began == 0 for began in played.began.values()) == 12
    assert played.end_s == 20 and set(played.most_waiting.values()) == {0}


def test_what_no_machine_can_run_is_handed_out_so_that_tune_says_so() -> None:
    room = Room(lambda node: {"CPU": 1.0, "GPU": 2.0}, {"CPU": 8.0, "GPU": 1.0})
    needs = (("CPU", 1.0), ("GPU", 2.0))
    assert room.takes(needs, {}) and not room.takes(needs, {needs: 1})
    assert room.takes((("CPU", 1.0),), {needs: 1}), "it takes nothing from what does fit"


def test_four_quarters_of_a_gpu_run_at_once() -> None:
    """Five trainings of a quarter and one of a whole GPU: four at 0 s, the fifth and then the whole one alone."""
    has = {"CPU": 16.0, "GPU": 1.0}
    work = {f"target{i}": Work(10, gpu=0.25) for i in range(5)} | {"large": Work(7, gpu=1.0)}
    played = play(work, has, Random(0), lambda of: Room(of, has))
    assert sorted(at for name, at in played.began.items() if name != "large") == [0, 0, 0, 0, 10]
    assert played.began["large"] == 20 and played.end_s == 27
