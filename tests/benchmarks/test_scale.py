"""The simulation of large sweeps: closed forms, the real searcher with a made-up clock, the real planner's shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from heapq import heappop, heappush
from random import Random

import pytest
from scale_costs import Costs, Requests, StoreCosts
from scale_play import play
from scale_played import Machines, Played
from scale_shapes import Shape, Work, plan_of

from midef.core import ArtifactKey, Recipe
from midef.sweep.execution.room import Room
from midef.sweep.execution.searcher import PlanSearcher
from midef.sweep.planning.plan import Node, Plan


def shape_of(*works: Work) -> Shape:
    """Nodes that wait for each other by their `shared` numbers; ranks are the seconds of the longest path."""
    rank: dict[int, float] = {}
    for i in reversed(range(len(works))):
        after = [rank[j] for j in range(i + 1, len(works)) if i in works[j].shared]
        rank[i] = works[i].seconds + max(after, default=0.0)
    return Shape(tuple(replace(work, rank_s=rank[i]) for i, work in enumerate(works)))


def node(seconds: float, *needs: int, gpu: float = 0.0, cells: int = 0, read_bytes: float = 0.0) -> Work:
    return Work("", "scores", seconds, 0.0, gpu=gpu, cells=cells, shared=needs, read_bytes=read_bytes)


def random_shape(draws: Random, nodes: int, gpus: tuple[float, ...] = (0.0,)) -> Shape:
    """Each node waits for up to three of those before it; no two times are equal."""
    works = []
    for i in range(nodes):
        needs = sorted(draws.sample(range(i), draws.randint(0, min(3, i))))
        works.append(node(draws.uniform(1, 50), *needs, gpu=draws.choice(gpus)))
    return shape_of(*works)


def total(shape: Shape) -> float:
    return shape.total(lambda work: work.seconds)


MANY = Machines(gpus=0, cpus=1e9)


@pytest.mark.parametrize("seed", range(5))
def test_one_machine_takes_the_sum_and_unlimited_ones_the_longest_path(seed: int) -> None:
    shape = random_shape(Random(seed), 60)
    assert play(shape, Machines(gpus=0, cpus=1)).end_s == pytest.approx(total(shape))
    longest: dict[int, float] = {}
    for i, work in enumerate(shape.shared):  # the longest path by its definition, from the first nodes on
        longest[i] = work.seconds + max((longest[j] for j in work.shared), default=0.0)
    assert play(shape, MANY).end_s == pytest.approx(max(longest.values()))
    assert shape.critical_s() == pytest.approx(max(longest.values()))


@pytest.mark.parametrize("machines", [2, 3, 7])
@pytest.mark.parametrize("seed", range(5))
def test_list_scheduling_keeps_grahams_bound(seed: int, machines: int) -> None:
    """Graham (1969): at most 2 - 1/m times the best end, no sooner than the sum over m and the longest path."""
    shape = random_shape(Random(seed), 80)
    end_s = play(shape, Machines(gpus=0, cpus=machines)).end_s
    least = max(total(shape) / machines, shape.critical_s())
    assert least * (1 - 1e-9) <= end_s <= (2 - 1 / machines) * least
    assert end_s <= total(shape) / machines + (1 - 1 / machines) * shape.critical_s() + 1e-6


COUNT = 6_000
"""Nodes whose mean wait is compared: a tenth apart from the formula at most."""


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_the_drivers_queue_is_that_of_m_d_1(load: float) -> None:
    """Nodes end as a Poisson process, the driver takes a fixed time for each: mean wait by Pollaczek-Khinchine."""
    draws, service_s, now, works = Random(1), 0.05, 0.0, []
    for _ in range(COUNT):
        now += draws.expovariate(load / service_s)
        works.append(node(now, cells=1))
    store = StoreCosts(row=Requests(reads=1), latency_s=service_s)
    played = play(shape_of(*works), MANY, Costs(store=store))
    assert played.delay_s == pytest.approx(load * service_s / (2 * (1 - load)), rel=0.1)
    assert played.driver_s["rows"] == pytest.approx(COUNT * service_s)


def test_a_driver_that_is_too_slow_is_the_end() -> None:
    """1,000 nodes of 1 s on 1,000 processors, 10 ms each of the driver: the last begins after 10 s."""
    shape = shape_of(*[node(1.0) for _ in range(1000)])
    played = play(shape, Machines(gpus=0, cpus=1000), Costs(hand_out_s=0.01))
    assert played.end_s == pytest.approx(11.0)
    assert played.driver_s["nodes"] == pytest.approx(10.0)


def by_the_searcher(shape: Shape, has: dict[str, float]) -> tuple[dict[int, float], float]:
    """The same sweep by the real searcher and its `Room`, with a made-up clock: when each node begins, and the end."""
    recipes = [Recipe("target", "made_up", {"name": i}) for i in range(len(shape.shared))]
    number = {recipe.key: i for i, recipe in enumerate(recipes)}
    plan = Plan(None, {}, [], [], [], [])  # type: ignore[arg-type]
    for recipe, work in zip(recipes, shape.shared, strict=True):
        needs = frozenset(recipes[other].key for other in work.shared)
        plan.nodes[recipe.key] = Node(recipe, needs, remaining_s=work.rank_s)

    def resources(one: Node) -> dict[str, float]:
        gpu = shape.shared[number[one.key]].gpu
        return {"CPU": 1.0} | ({"GPU": gpu} if gpu else {})

    def config_of(one: Node) -> dict[str, ArtifactKey]:
        return {"node": one.key}

    searcher = PlanSearcher(
        plan, config_of, on_done=lambda *_: None, on_lost=lambda *_: None, room=Room(resources, has)
    )
    ends: list[tuple[float, int, str]] = []
    began: dict[int, float] = {}
    now, trials = 0.0, 0
    while True:
        while isinstance(found := searcher.suggest(str(trials)), dict):
            i = number[found["node"]]
            began[i] = now
            heappush(ends, (now + shape.shared[i].seconds, i, str(trials)))
            trials += 1
        if not ends:
            return began, now
        now, _, trial = heappop(ends)
        searcher.on_trial_complete(trial_id=trial, result={"status": "ok"})


@pytest.mark.parametrize("seed", range(8))
def test_every_node_begins_when_the_real_searcher_lets_it(seed: int) -> None:
    """Processors, and whole, half and quarter GPUs."""
    shape = random_shape(Random(seed), 70, gpus=(0.0, 0.25, 0.5, 1.0))
    began, end_s = by_the_searcher(shape, {"CPU": 6.0, "GPU": 2.0})
    played = play(shape, Machines(gpus=2, cpus=6), keep_begin=True)
    assert played.began == pytest.approx(began)
    assert played.end_s == pytest.approx(end_s)


def test_a_failed_node_blocks_what_waits_for_it_alone() -> None:
    shape = shape_of(node(1.0), node(1.0, 0), node(1.0, 1), node(1.0))
    played = play(shape, MANY, Costs(failed=1.0))
    assert (played.built, played.failed, played.blocked) == (0, 2, 2)


def test_lost_machines_cost_what_was_not_kept() -> None:
    """Each node of an hour loses its machine, on the mean after some minutes: by hand from the drawn times."""
    rate, draws = 20.0, Random(0)
    after = [draws.expovariate(rate / 3600) for _ in range(200)]
    shape = shape_of(*[node(3600.0, gpu=1.0) for _ in range(200)])
    played = play(shape, Machines(gpus=1e6, cpus=1e6), Costs(preempted_per_gpu_h=rate, restart_s=30))
    assert max(after) < 3600
    assert played.again == 200
    assert played.lost_s == pytest.approx(sum(after) + 200 * 30)
    assert played.end_s == pytest.approx(3600 + 30 + max(after))


def test_requests_and_bytes_are_counted_and_waited_for() -> None:
    store = StoreCosts(
        node={"scores": Requests(writes=2, reads=6)}, row=Requests(writes=1, reads=3), latency_s=0.5,
        bytes_per_s=1e6, writes_usd=0.01, reads_usd=0.001,
    )  # fmt: skip
    played = play(shape_of(node(10.0, cells=1, read_bytes=3e6)), Machines(gpus=0, cpus=1), Costs(store=store))
    assert played.end_s == pytest.approx(10 + 8 * 0.5 + 3 + 4 * 0.5), "work, requests, bytes, then the driver's rows"
    assert played.requests == Requests(writes=3, reads=9)
    assert store.usd(played.requests) == pytest.approx(0.039)


def test_rows_beside_the_driver_keep_no_machine_waiting() -> None:
    """One processor, 40 nodes of 1 s, 4 s of the store for each one's rows: 200 s after one another, 44 with 4 threads.

    With two threads rows queue: the second begins at 2 s and serves 20 cells.
    """
    shape = shape_of(*[node(1.0, cells=1) for _ in range(40)])
    store = StoreCosts(row=Requests(reads=4), latency_s=1.0)
    one = Machines(gpus=0, cpus=1)
    assert play(shape, one, Costs(store=store)).end_s == pytest.approx(200.0)
    assert play(shape, one, Costs(store=replace(store, rows_beside=4))).end_s == pytest.approx(44.0)
    assert play(shape, one, Costs(store=replace(store, rows_beside=2))).end_s == pytest.approx(1 + 1 + 20 * 4)


def test_looks_at_heartbeats_take_the_driver_longer_with_more_nodes() -> None:
    """Ten looks in 100 s at 50 running nodes, two requests each of 10 ms: 10 x (1 + 100) x 0.01 s."""
    shape = shape_of(*[node(105.0) for _ in range(50)])
    store = StoreCosts(look=Requests(reads=2), latency_s=0.01)
    at_a_time = play(shape, MANY, Costs(store=store, look_every_s=8.99))
    assert at_a_time.driver_s["heartbeats"] == pytest.approx(10.1, rel=0.11)
    together = play(shape, MANY, Costs(store=replace(store, parallel=10), look_every_s=9.89))
    assert together.driver_s["heartbeats"] == pytest.approx(1.1, rel=0.11)


@pytest.fixture(scope="module")
def matrix() -> Callable[[list[int]], Plan]:
    return lambda seeds: plan_of("small", seeds)


def test_blocks_of_a_seed_make_the_planners_plan(matrix: Callable[[list[int]], Plan]) -> None:
    """Three seeds: as many nodes of each kind, and as many edges between kinds, as the planner makes."""
    shape = replace(Shape.of(matrix([0]), matrix([1]), lambda plan, one: 1.0, lambda plan, one: 1.0), blocks=3)
    plan = matrix([0, 1, 2])
    assert (shape.nodes, shape.cells) == (len(plan.nodes), sum(len(one.cells) for one in plan.nodes.values()))

    def edges(work: Work) -> list[tuple[str, str]]:
        needed = [*(shape.shared[i] for i in work.shared), *(shape.block[i] for i in work.own)]
        return sorted((work.kind, other.kind) for other in needed)

    ours = sorted(
        edge for works, times in ((shape.shared, 1), (shape.block, 3)) for work in works for edge in edges(work) * times
    )
    real = sorted((key.kind, need.kind) for key, one in plan.nodes.items() for need in one.needs)
    assert ours == real
    ranks = sorted([work.rank_s for work in shape.shared] + 3 * [work.rank_s for work in shape.block])
    assert ranks == pytest.approx(sorted(one.remaining_s for one in plan.nodes.values()))


def test_a_played_sweep_of_blocks_is_that_of_its_nodes_one_by_one() -> None:
    """A shared node, and three blocks of two: written out as seven nodes, every one begins at the same time."""
    block = (Work("t", "target", 5.0, 8.0, shared=(0,)), Work("a", "scores", 3.0, 3.0, shared=(0,), own=(0,)))
    shape = Shape((Work("s", "split", 2.0, 10.0),), block, blocks=3)
    works = [shape.shared[0]]
    for _ in range(3):
        works += [block[0], replace(block[1], shared=(0, len(works)), own=())]
    flat = Shape(tuple(works))

    def ends(one: Shape) -> Played:
        return play(one, Machines(gpus=0, cpus=2), keep_begin=True)

    assert ends(shape).began == ends(flat).began
    assert ends(shape).end_s == ends(flat).end_s == 15.0, "by hand: targets end at 7, 7, 12; attacks at 10, 13, 15"


def test_seed_after_seed_brings_rows_early_and_costs_at_most_a_longest_path() -> None:
    """Forty blocks of a target and its scores on 3 processors: by rank all targets come first, and scores last."""
    block = (Work("t", "target", 5.0, 8.0), Work("a", "scores", 3.0, 3.0, cells=1, own=(0,)))
    shape = Shape((), block, blocks=40)
    one = Machines(gpus=0, cpus=3)
    by_rank, by_seed = play(shape, one), play(shape, one, seeds_first=True)
    assert by_rank.rows_s[0] > 40 * 5 / 3, "no row before the last target is on its way"
    assert by_seed.rows_s[0] <= 2 * 8
    assert by_seed.end_s <= (40 * 8) / 3 + (1 - 1 / 3) * 8
