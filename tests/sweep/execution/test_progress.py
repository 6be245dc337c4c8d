"""The line a person reads: what is done, what runs, what is left, and only what is known."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from typing_extensions import override

from midef.core.choice import Choice
from midef.core.text import duration
from midef.models import ARCHITECTURES
from midef.stages import published_recipe
from midef.sweep.execution import progress as module
from midef.sweep.execution.progress import Progress, describe
from midef.sweep.planning.plan import Node, Plan, make_plan
from midef.sweep.spec.resolve import Sweep


class Screen(io.StringIO):
    @override
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Time passes when this is called."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


@pytest.fixture
def plan(sweep_of: Callable[..., Sweep]) -> Plan:
    return unknown(make_plan(sweep_of({"attack": ["gmi", "inversion_model"]}, defenses=["none", "midre"]), None))


def unknown(plan: Plan) -> Plan:
    """A plan of which nothing is estimated."""
    for node in plan.nodes.values():
        node.estimated_s = None
    return plan


def nodes(plan: Plan, kind: str) -> list[Node]:
    return [n for n in plan.nodes.values() if n.recipe.kind == kind]


def test_the_line_counts_every_node_once(plan: Plan, clock: Callable[[float], None]) -> None:
    shown = Progress(plan, slots=2, stream=io.StringIO())
    total = len(plan.nodes)
    assert shown.line() == f"done 0  running 0  waiting {total}  failed 0    0 %  ETA unknown"
    first, second = nodes(plan, "target")
    shown.started(first)
    shown.started(second)
    clock(12)
    shown.done(first)
    shown.lost(second, "failed", "the loss became nan")
    blocked = nodes(plan, "inverter")[0]
    shown.lost(blocked, "blocked", "target failed")
    assert shown.line() == (
        f"done 1  running 0  waiting {total - 3}  failed 2  {100 * 3 / total:3.0f} %  ETA unknown  "
        "last: target none seed 0 (12 s)"
    )


def test_nodes_that_were_added_count_like_the_others(plan: Plan) -> None:
    more = {key: plan.nodes.pop(key) for key in [node.key for node in nodes(plan, "scores")]}
    shown = Progress(plan, slots=2, stream=io.StringIO())
    for node in list(plan.nodes.values()):
        shown.done(node, seconds=3.0)
    assert "waiting 0  failed 0  100 %" in shown.line()
    shown.add(more.values())
    total = len(plan.nodes) + len(more)
    assert f"waiting {len(more)}  failed 0  {100 * len(plan.nodes) / total:3.0f} %  ETA unknown" in shown.line()
    for node in more.values():
        shown.started(node)
        shown.done(node, seconds=2.0)
    assert shown.line().startswith(f"done {total}  running 0  waiting 0  failed 0  100 %  ETA 0 s")


def test_a_log_has_plain_lines(plan: Plan, clock: Callable[[float], None]) -> None:
    stream = io.StringIO()
    shown = Progress(plan, slots=2, stream=stream)
    shown.tick()
    node = nodes(plan, "target")[0]
    shown.started(node)
    clock(1)
    shown.tick()
    assert stream.getvalue().count("\n") == 1, "a log gets no line every second"
    clock(30)
    shown.tick()
    shown.lost(node, "failed", "the loss became nan")
    shown.close()
    text = stream.getvalue()
    assert all(c == "\n" or c.isprintable() for c in text), "control codes in a log"
    lines = text.splitlines()
    assert len(lines) == 4
    assert lines[2] == "failed: target none seed 0: the loss became nan"
    assert lines[3].startswith("done 0  running 0")


def test_a_log_gets_a_word_a_minute_and_no_more_than_three(plan: Plan, clock: Callable[[float], None]) -> None:
    stream = io.StringIO()
    shown = Progress(plan, slots=2, stream=stream)
    written: list[int] = []
    for second in range(600):
        shown.tick()
        if stream.getvalue().count("\n") > len(written):
            written.append(second)
        clock(1)
    gaps = [after - before for before, after in pairwise(written)]
    assert gaps and max(gaps) < 60, "a line that does not change"
    assert min(gaps) >= 20


def test_a_terminal_has_one_line_that_is_rewritten(plan: Plan, clock: Callable[[float], None]) -> None:
    stream = Screen()
    shown = Progress(plan, slots=2, stream=stream)
    for _ in range(3):
        clock(1)
        shown.tick()
    assert stream.getvalue().count("\r") == 3 and "\n" not in stream.getvalue()
    shown.close()
    assert stream.getvalue().endswith("\n") and stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_that_became_narrower_is_not_written_over_its_edge(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Screen()
    shown = Progress(plan, slots=2, stream=stream)
    shown.tick(force=True)
    narrow = len(stream.getvalue()) - 10
    monkeypatch.setattr(Progress, "_width", lambda self: narrow)
    shown.tick(force=True)
    shown.say("a word")
    written = stream.getvalue().replace("\n", "\r").split("\r")
    assert max(map(len, written[2:])) <= narrow


@pytest.fixture
def at_work(plan: Plan, clock: Callable[[float], None]) -> Progress:
    """A prior at 41 %, 95 s after it began, and a target that began 5 s ago."""
    shown = Progress(plan, slots=2, stream=io.StringIO())
    (prior,), target = nodes(plan, "prior"), nodes(plan, "target")[0]
    shown.started(prior)
    clock(90)
    shown.started(target)
    shown.hear(prior, {"fraction": 0.414, "left_s": 185.0})
    clock(5)
    return shown


def test_the_line_says_how_far_each_running_node_is(at_work: Progress, clock: Callable[[float], None]) -> None:
    assert at_work.line().endswith("  now: prior wgan_gp 41 %, 3 min left; target none seed 0")
    assert at_work.at_work()[0] == ["prior wgan_gp 41 %, 3 min left", 95]
    clock(110)
    assert "prior wgan_gp 41 %, 70 s left;" in at_work.line(), "time goes on between two beats"
    (prior,) = nodes_of(at_work, "prior")
    at_work.done(prior, 200.0)
    assert "%," not in at_work.line()


def test_a_time_left_that_is_not_certain_is_not_shown(at_work: Progress, clock: Callable[[float], None]) -> None:
    target = nodes_of(at_work, "target")[0]
    at_work.hear(target, {"fraction": 0.004, "left_s": 18_000.0, "certainty": 0.04})
    assert at_work.line().endswith("; target none seed 0 0 %")
    at_work.hear(target, {"fraction": 0.2, "left_s": 60.0, "certainty": 1.0})
    assert at_work.line().endswith("; target none seed 0 20 %, 60 s left")


def test_a_beat_that_is_read_twice_tells_nothing_new(at_work: Progress, clock: Callable[[float], None]) -> None:
    (prior,) = nodes_of(at_work, "prior")
    clock(110)
    at_work.hear(prior, {"fraction": 0.414, "left_s": 185.0})
    assert "70 s left" in at_work.line()
    at_work.hear(prior, {"fraction": 0.5, "left_s": 185.0})
    assert "50 %, 3 min left" in at_work.line()


def test_a_beat_of_a_node_that_ended_is_not_kept(at_work: Progress) -> None:
    (prior,) = nodes_of(at_work, "prior")
    at_work.done(prior, 200.0)
    at_work.hear(prior, {"fraction": 0.9, "left_s": 1.0})
    assert at_work.positions == {}


def nodes_of(shown: Progress, kind: str) -> list[Node]:
    return [node for node, _ in shown.running.values() if node.recipe.kind == kind]


def test_a_narrow_terminal_loses_the_end_of_the_line_first(at_work: Progress) -> None:
    at_work.last = "split synthetic_faces (2 s)"
    whole = at_work.line()
    for width in range(len(whole), 0, -1):
        assert len(at_work.line(width)) <= width
    assert at_work.line(len(whole)) == whole
    assert at_work.line(len(whole) - 1).endswith("; target none seed 0")
    total = len(at_work.waiting) + 2
    assert at_work.line(len(whole) - 40).startswith(
        f"0 of {total} done  ETA unknown  now: prior wgan_gp 41 %, 3 min left; "
    )
    assert at_work.line(76).endswith("ETA unknown  now: prior wgan_gp 41 %, 3 min left +1")
    assert at_work.line(60) == f"done 0  running 2  waiting {total - 2}  failed 0    0 %  ETA unknown"
    at_work.lost(nodes_of(at_work, "target")[0], "failed", "it broke")
    assert at_work.line(80).startswith(f"0 of {total} done, 1 failed  ETA unknown  now: prior wgan_gp")


def test_many_running_nodes_are_counted(plan: Plan) -> None:
    shown = Progress(plan, slots=64, stream=io.StringIO())
    for node in list(plan.nodes.values()):
        shown.started(node)
    assert shown.line().endswith(f" +{len(plan.nodes) - module.PIECES_SHOWN}")


def test_blocked_nodes_do_not_flood_the_log(plan: Plan) -> None:
    stream = io.StringIO()
    shown = Progress(plan, slots=2, stream=stream)
    shown.lost(nodes(plan, "scores")[0], "blocked", "target failed")
    assert stream.getvalue() == "" and shown.counts["failed"] == 1


def test_nodes_are_told_by_state_and_what_runs_with_its_seconds(plan: Plan, clock: Callable[[float], None]) -> None:
    shown = Progress(plan, slots=2, stream=io.StringIO())
    shown.started(nodes(plan, "split")[0])
    clock(90.0)
    shown.started(nodes(plan, "prior")[0])
    clock(5.4)
    shown.lost(nodes(plan, "scores")[0], "failed", "it broke")
    assert shown.at_work() == [["split synthetic_faces", 95], ["prior wgan_gp", 5]]
    assert shown.states() == {"done": 0, "failed": 1, "running": 2, "waiting": len(plan.nodes) - 3}


def test_nodes_are_described_in_words(sweep_of: Callable[..., Sweep]) -> None:
    plan = make_plan(sweep_of(defenses=["midre"], seeds=[3]), None)
    words = {node.recipe.kind: describe(node) for node in plan.nodes.values()}
    assert words == {
        "split": "split synthetic_faces",
        "target": "target midre seed 3",
        "evaluator": "evaluator classifier",
        "prior": "prior wgan_gp",
        "regressor": "regressor traits",
        "reconstructions": "reconstructions gmi on midre seed 3",
        "scores": "scores",
    }


def test_published_weights_are_described_in_words() -> None:
    """They are of kind target, without a defense and a seed."""
    weights = published_recipe(Choice("ms1m", {"sha256": "0" * 64}), ARCHITECTURES.choose("mobilefacenet"), 112)
    assert describe(Node(weights, frozenset())) == "weights ms1m"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "unknown"), (0, "0 s"), (89, "89 s"), (90, "2 min"), (5000, "83 min"), (5400, "1.5 h"), (36000, "10.0 h")],
)
def test_durations(seconds: Any, text: str) -> None:
    assert duration(seconds) == text
