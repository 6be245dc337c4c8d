"""The time left of a run: from what runs, what ended, what was stored, what is estimated; right soon enough."""

from __future__ import annotations

import heapq
import io
from collections.abc import Callable, Iterator
from itertools import count, pairwise
from typing import Any

import pytest

from midef.core import position
from midef.core.position import Work
from midef.core.recipe import KINDS, ArtifactKey
from midef.sweep.execution import progress as progress_module
from midef.sweep.execution import time_left
from midef.sweep.execution.progress import Progress
from midef.sweep.planning.cost import Timing
from midef.sweep.planning.plan import Node, Plan, make_plan
from midef.sweep.spec.resolve import Sweep

SweepOf = Callable[..., Sweep]
START_S = time_left.START_S


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (progress_module, time_left, position):
        monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture
def plan(sweep_of: SweepOf) -> Plan:
    return make_plan(
        sweep_of({"attack": ["gmi", "inversion_model"]}, defenses=["none", "midre"], seeds=[0, 1, 2]), None
    )


def of_kind(plan: Plan, kind: str) -> list[Node]:
    return [node for node in plan.nodes.values() if node.recipe.kind == kind]


def timed(plan: Plan, seconds: float) -> Plan:
    for node in plan.nodes.values():
        node.timing, node.estimated_s = Timing(seconds, seconds, seconds, 1, "cpu test"), None
    return plan


def shown(plan: Plan, slots: float = 2, **gpus: float) -> Progress:
    def held(node: Node) -> float:
        return gpus.get(node.recipe.kind, 0.0)

    return Progress(plan, slots=slots, gpus=gpus.get("gpus", 0.0), gpu_of=held, stream=io.StringIO())


def test_it_is_there_from_the_start_and_says_what_it_rests_on(plan: Plan) -> None:
    progress = shown(plan)
    left = progress.left()
    assert left.is_about and left.seconds is not None
    work = sum(node.estimated_s or 0.0 for node in plan.nodes.values())
    assert work / 2 <= left.seconds <= work + START_S * len(plan.nodes)
    assert "ETA about " in progress.line() and "unknown" not in progress.line()
    assert "about" not in shown(timed(plan, 60.0)).line()


def test_stored_timings_go_before_estimates(plan: Plan) -> None:
    node = of_kind(plan, "evaluator")[0]
    node.timing = Timing(500.0, 500.0, 500.0, 1, "cpu test")
    left = shown(plan, slots=64).left().seconds
    assert left is not None and 500 <= left < 600


def test_what_runs_says_itself_how_long_it_takes(plan: Plan, clock: Clock) -> None:
    progress, node = shown(timed(plan, 1.0), slots=64), of_kind(plan, "evaluator")[0]
    progress.started(node)
    clock.now += 20
    progress.hear(node, {"fraction": 0.1, "left_s": 180.0})
    left = progress.left().seconds
    assert left is not None and 180 < left < 190
    clock.now += 100
    left = progress.left().seconds
    assert left is not None and 80 < left < 90, "time goes on between two heartbeats"
    clock.now += 1000
    left = progress.left().seconds
    assert left is not None and 180 < left < 190, "what hangs is not about to end"


def test_the_pace_of_a_running_node_is_that_of_equal_work(plan: Plan, clock: Clock) -> None:
    first, *others = of_kind(timed(plan, 1.0), "target")
    progress = shown(Plan(plan.sweep, {node.key: node for node in (first, *others)}, [], [], [], []), slots=1)
    before = progress.left().seconds
    progress.started(first)
    clock.now += 20
    progress.hear(first, {"fraction": 0.2, "left_s": 80.0})
    after = progress.left().seconds
    assert before is not None and after is not None
    assert after - before == pytest.approx(80 + 99 * len(others) - 1 - START_S)


def test_the_first_moments_of_a_node_are_believed_little_by_little(plan: Plan, clock: Clock) -> None:
    (evaluator,) = of_kind(timed(plan, 100.0), "evaluator")
    progress = shown(Plan(plan.sweep, {evaluator.key: evaluator}, [], [], [], []))
    progress.started(evaluator)
    clock.now += 20
    for fraction, certainty, least, most in (
        (0.0, 0.0, 80.0, 80.0),
        (0.01, 0.0, 99.0, 99.0),
        (0.02, 0.05, 98.0, 300.0),
        (0.05, 0.5, 300.0, 4000.0),
        (0.1, 1.0, 5000.0, 5000.0),
    ):
        progress.hear(evaluator, {"fraction": fraction, "left_s": 5000.0 if fraction else None, "certainty": certainty})
        left = progress.left().seconds
        assert left is not None and least <= left + 1e-6 and left - 1e-6 <= most, f"at {fraction}: {left}"


def test_the_first_moments_of_a_small_node_say_little_about_the_others(plan: Plan, clock: Clock) -> None:
    for node in plan.nodes.values():
        node.estimated_s = 1.0 if node.recipe.kind == "split" else 50.0
    progress = shown(plan)
    before = progress.left().seconds
    for split in of_kind(plan, "split"):
        progress.started(split)
        clock.now += 10
        progress.hear(split, {"fraction": 0.14, "left_s": 60.0, "certainty": 1.0})
    after = progress.left().seconds
    assert before is not None and after is not None and before < after < 1.5 * before + 60


def test_work_of_other_kinds_is_as_much_slower_than_stored(plan: Plan, clock: Clock) -> None:
    progress, (evaluator,) = shown(timed(plan, 20.0), slots=1), of_kind(plan, "evaluator")
    progress.done(evaluator, seconds=80.0)
    others = len(plan.nodes) - 1
    assert progress.left() == (pytest.approx((40.0 + START_S) * others), False, False), "one more is as fast as stored"
    (prior,) = of_kind(plan, "prior")
    progress.done(prior, seconds=80.0)
    assert progress.left().seconds == pytest.approx((20 * 16 ** (1 / 3) + START_S) * (others - 1))


def test_what_ended_replaces_estimates_of_equal_work_and_corrects_the_others(plan: Plan, clock: Clock) -> None:
    for node in plan.nodes.values():
        node.estimated_s = 10.0
    progress, targets = shown(plan, slots=1), of_kind(plan, "target")
    progress.done(targets[0], seconds=40.0)

    def expected(factor: float) -> float:
        """The targets take 40 s each, what is left of other kinds 10 s times a factor."""
        rest = [node for node in plan.nodes.values() if node.key in progress.waiting]
        others = sum(node.recipe.kind != "target" for node in rest)
        return 40 * (len(targets) - 1) + 10 * factor * others + START_S * len(rest)

    assert progress.left() == (pytest.approx(expected(2.0)), True, False), (
        "one kind was off by 4, and one is taken for right"
    )
    progress.done(of_kind(plan, "prior")[0], seconds=40.0)
    assert progress.left().seconds == pytest.approx(expected(16 ** (1 / 3)))


def test_estimates_count_what_else_runs_until_the_run_itself_shows_it(plan: Plan, clock: Clock) -> None:
    for node in plan.nodes.values():
        node.estimated_s = 10.0
    busy = Progress(plan, slots=1, load=4.0, stream=io.StringIO())
    assert busy.left() == (pytest.approx((40 + START_S) * len(plan.nodes)), True, False)
    first, *targets = of_kind(plan, "target")
    busy.done(first, seconds=10.0)  # the other work had ended
    others = len(plan.nodes) - 1 - len(targets)
    expected = 10 * len(targets) + 20 * others + START_S * (len(targets) + others)
    assert busy.left().seconds == pytest.approx(expected)


def test_equal_work_against_a_dearer_defense_takes_as_much_longer_as_estimated(plan: Plan, clock: Clock) -> None:
    first, second, *_ = of_kind(plan, "target")
    assert first.work == second.work
    first.estimated_s, second.estimated_s = 10.0, 50.0
    progress = shown(Plan(plan.sweep, {n.key: n for n in (first, second)}, [], [], [], []), slots=1)
    progress.done(first, seconds=30.0)
    left = progress.left()
    assert left.seconds == pytest.approx(150 + START_S) and not left.is_about


def test_a_correction_has_bounds(plan: Plan, clock: Clock) -> None:
    for node in plan.nodes.values():
        node.estimated_s = 1.0
    progress = shown(plan, slots=1)
    progress.done(of_kind(plan, "split")[0], seconds=100_000.0)
    left = progress.left().seconds
    assert left is not None and left < 2 * time_left.MOST_WRONG * len(plan.nodes) + 100_000.0


def test_it_is_unknown_where_a_node_was_neither_timed_nor_estimated(plan: Plan) -> None:
    timed(plan, 10.0)
    of_kind(plan, "scores")[0].timing = None
    assert shown(plan).left().seconds is None and "ETA unknown" in shown(plan).line()


def test_a_plan_that_grows_takes_at_least_so_long(plan: Plan) -> None:
    progress = Progress(timed(plan, 60.0), slots=2, grows=True, stream=io.StringIO())
    assert "  ETA at least " in progress.line() and "at least" not in shown(plan).line()


def test_of_a_run_that_ends_only_what_runs_takes_time(plan: Plan, clock: Clock) -> None:
    progress, node = Progress(timed(plan, 60.0), slots=2, grows=True, stream=io.StringIO()), of_kind(plan, "prior")[0]
    progress.started(node)
    clock.now += 20
    progress.end_soon()
    assert progress.left() == (pytest.approx(40.0), False, False)


def test_a_node_that_is_late_and_tells_nothing_is_not_about_to_end(plan: Plan, clock: Clock) -> None:
    timed(plan, 10.0)
    (evaluator,) = of_kind(plan, "evaluator")
    progress = shown(Plan(plan.sweep, {evaluator.key: evaluator}, [], [], [], []))
    progress.started(evaluator)
    clock.now += 10
    assert progress.left().seconds == 0.0
    clock.now += 90
    assert progress.left().seconds == 45.0


def test_gpus_bound_what_runs_at_once_and_make_estimates_shorter(plan: Plan) -> None:
    targets = of_kind(plan, "target")
    only = Plan(plan.sweep, {n.key: n for n in targets}, [], [], [], [])
    for node in targets:
        node.timing = Timing(60.0, 60.0, 60.0, 1, "NVIDIA H100")
    assert shown(only, slots=64, gpus=1.0, target=1.0).left().seconds == pytest.approx((60 + START_S) * len(targets))
    for node in targets:
        node.timing, node.estimated_s = None, 6000.0
    left = shown(only, slots=64, gpus=1.0, target=1.0).left().seconds
    assert left is not None and left < 6000


@pytest.mark.parametrize(("device", "gpus"), [("NVIDIA H100", {}), ("cpu test", {"gpus": 64.0, "target": 1.0})])
def test_seconds_of_another_device_are_none_of_this_run(device: str, gpus: dict[str, float], plan: Plan) -> None:
    targets = of_kind(plan, "target")
    only = Plan(plan.sweep, {n.key: n for n in targets}, [], [], [], [])
    for node in targets:
        node.estimated_s = 600.0
    estimated = shown(only, slots=64, **gpus).left()
    for node in targets:
        node.timing = Timing(60.0, 60.0, 60.0, 1, device)
    assert shown(only, slots=64, **gpus).left() == estimated and estimated.is_about
    for node in targets:
        node.estimated_s = None
    assert shown(only, slots=64, **gpus).left().seconds == pytest.approx(60 + START_S), "better than nothing"


def test_of_many_nodes_it_is_computed_now_and_then(plan: Plan, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "LARGE", 5)
    progress = shown(timed(plan, 100.0), slots=1)
    first = progress.left().seconds
    progress.drop([n.key for n in of_kind(plan, "scores")])
    clock.now += 1
    assert first is not None and progress.left().seconds == first - 1
    clock.now += progress_module.LARGE_EVERY_S
    later = progress.left().seconds
    assert later is not None and later < first - 100


@pytest.mark.parametrize("seconds", [100.0, None], ids=["timed", "unknown"])
def test_what_takes_long_is_computed_less_often(
    plan: Plan, clock: Clock, monkeypatch: pytest.MonkeyPatch, seconds: float | None
) -> None:
    """16 s of the driver at a million nodes: every 5 s would leave it no time for anything else."""
    monkeypatch.setattr(progress_module, "LARGE", 5)
    progress, calls = shown(timed(plan, 100.0), slots=1), [0]

    def slow(self: time_left.TimeLeft, *args: Any) -> time_left.Left:
        calls[0] += 1
        clock.now += 16.0
        return time_left.Left(seconds)

    monkeypatch.setattr(progress_module.TimeLeft, "of", slow)
    begun = clock.now
    while clock.now < begun + 10_000:
        left = progress.left().seconds
        assert left is None if seconds is None else 0 <= left <= seconds
        clock.now += 5.0
    assert calls[0] * 16.0 <= 1.05 * progress_module.LARGE_SHARE * 10_000 + 16.0


def fraction_at(seconds: float, whole_s: float) -> float:
    """Position of a node that warms up: the first hundredth of its work takes a tenth of its time."""
    warm_s = whole_s / 10
    reached = 0.01 * seconds / warm_s if seconds < warm_s else 0.01 + 0.99 * (seconds - warm_s) / (whole_s - warm_s)
    return int(400 * max(0.0, reached)) / 400


def played(
    plan: Plan, clock: Clock, truth: Callable[[Node], float], slots: int = 2, imports_s: float = 0.0
) -> Iterator[tuple[float, float]]:
    """Plays a run with a heartbeat every 3 s: the time that passed and the time left that was shown, every second.

    Args:
        truth: seconds of a node.
        imports_s: seconds that the process of a slot takes before its first node works.
    """
    progress, begun, number = shown(plan, slots=slots), clock.now, count()
    done: set[ArtifactKey] = set()
    ends: list[tuple[float, int, Node]] = []
    works = {key: Work() for key in plan.nodes}
    waiting = sorted(plan.nodes.values(), key=lambda node: -node.remaining_s)
    while waiting or ends:
        while ends and ends[0][0] <= clock.now:
            _, _, node = heapq.heappop(ends)
            progress.done(node, truth(node))
            done.add(node.key)
        for node in list(waiting):
            if len(ends) < slots and not (node.needs & plan.nodes.keys()) - done:
                waiting.remove(node)
                progress.started(node)
                start_s = START_S + (imports_s if len(waiting) >= len(plan.nodes) - slots else 0.0)
                heapq.heappush(ends, (clock.now + start_s + truth(node), next(number), node))
        for end, _, node in ends:
            work, seconds = works[node.key], truth(node) - (end - clock.now)
            if seconds >= 0:
                work.tell(fraction_at(seconds, truth(node)))
            if round(clock.now) % 3 == 0:
                told = {"fraction": work.fraction, "left_s": work.left_s(), "certainty": work.certainty()}
                progress.hear(node, told)
        left = progress.left().seconds
        assert left is not None
        yield clock.now - begun, left
        clock.now += 1


FACTORS: dict[str, dict[str, float]] = {
    "as estimated": {},
    "all take three times as long": dict.fromkeys(("target", "evaluator", "prior", "inverter", "reconstructions"), 3.0),
    "trainings take three times as long": {"target": 3.0, "evaluator": 3.0},
    "attacks take three times as long": {"reconstructions": 3.0},
    "priors take a third": {"prior": 1 / 3, "inverter": 1 / 3},
    "attacks take a third": {"reconstructions": 1 / 3},
    "four times the load": dict.fromkeys(KINDS, 4.0),
}


@pytest.mark.parametrize("is_timed", [False, True], ids=["estimated", "timed before"])
@pytest.mark.parametrize("factors", FACTORS.values(), ids=FACTORS.keys())
def test_from_a_quarter_of_the_run_it_is_right_within_a_factor_of_two(
    factors: dict[str, float], is_timed: bool, plan: Plan, clock: Clock
) -> None:
    for number, node in enumerate(plan.nodes.values()):
        about = {"target": 20.0, "evaluator": 30.0, "prior": 90.0, "inverter": 10.0, "reconstructions": 15.0}
        node.estimated_s = about.get(node.recipe.kind, 2.0) * (0.9 + 0.02 * (number % 11))
        if is_timed:
            seconds = about.get(node.recipe.kind, 2.0)
            node.timing = Timing(seconds, seconds, seconds, 1, "cpu test")
    path_s: dict[ArtifactKey, float] = {}
    for node in reversed(plan.nodes.values()):
        after = [path_s[other.key] for other in plan.nodes.values() if node.key in other.needs]
        path_s[node.key] = node.remaining_s = (node.estimated_s or 0.0) + max(after, default=0.0)

    def truth(node: Node) -> float:
        return (node.estimated_s or 0.0) * factors.get(node.recipe.kind, 1.0)

    load = min(factors.values()) if len(factors) == len(KINDS) else 1.0
    seen = list(played(plan, clock, truth, imports_s=5 * load))
    whole = seen[-1][0]
    assert whole / 3 / load < seen[0][1] < 3 * whole, "from the start"
    for (passed, left), (_, after) in pairwise(seen[: len(seen) // 2]):
        assert left / 3 < after < 3 * left, f"a jump at {passed:.0f} of {whole:.0f} s"
        assert passed + left < 2 * whole, f"at {passed:.0f} of {whole:.0f} s"
    for passed, left in seen:
        if whole / 10 <= passed <= whole / 4:
            assert whole / 2 < passed + left, f"at {passed:.0f} of {whole:.0f} s"
        if whole / 4 <= passed <= 0.8 * whole:
            assert whole / 2 < passed + left < 2 * whole, f"at {passed:.0f} of {whole:.0f} s"
        if whole / 2 <= passed <= 0.8 * whole:
            assert (whole - passed) / 2 < left < 2 * (whole - passed), f"at {passed:.0f} of {whole:.0f} s"
