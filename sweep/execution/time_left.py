"""Time left of a running sweep: what runs told, what ended took, what was stored, what is estimated; played through."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from midef.sweep.planning.estimate import on_gpu
from midef.sweep.planning.plan import Node
from midef.sweep.planning.schedule import Piece, makespan_s

START_S = 0.3
"""Seconds between two nodes: the next one is handed out, its process reads what it needs."""
LARGE_S = 10.0
"""Nodes that are estimated to take less say less about those of other kinds: what is the same for all takes longest."""
SILENT_S = 120.0
"""Seconds without a word after which a node is not taken to go on: one that works says so every few seconds."""
MOST_WRONG = 20.0
"""Factor by which estimates and timings are corrected at most."""


@dataclass(frozen=True)
class Position:
    """Position of a running node, as its process told it.

    Args:
        fraction: of its work, 0 to 1.
        left_s: seconds that the rest takes; None while its pace is not known.
        heard: when it was told, by this machine's clock.
        certainty: how far its pace can be believed, 0 to 1.
    """

    fraction: float
    left_s: float | None
    heard: float
    certainty: float = 1.0

    def left_now_s(self) -> float | None:
        """Seconds that are left by now; of a node that is silent, as many as it said."""
        if self.left_s is None:
            return None
        silent_s = time.monotonic() - self.heard
        return self.left_s if silent_s > SILENT_S else max(0.0, self.left_s - silent_s)


class Running(NamedTuple):
    """A node that runs, since when, and how far it is where it told."""

    node: Node
    since: float
    position: Position | None

    def took_s(self) -> tuple[float, float]:
        """Seconds it takes from its begin to its end at its pace, and how far that can be believed, 0 to 1."""
        if self.position is None or self.position.left_s is None or self.position.fraction >= 1:
            return 0.0, 0.0
        return self.position.left_s / (1 - self.position.fraction), self.position.certainty

    def rest_s(self, expected_s: float) -> float:
        """Seconds that are left of it if it takes so many from its begin to its end.

        One that tells nothing and is late takes half as long again as it is late by now.
        """
        now = time.monotonic()
        if self.position is None or not self.position.fraction:
            rest_s = expected_s - (now - self.since)
            return max(rest_s, -rest_s / 2)
        return max(0.0, expected_s * (1 - self.position.fraction) - (now - self.position.heard))


class Left(NamedTuple):
    """Time left.

    Args:
        seconds: None where a node was neither timed nor estimated.
        is_about: part of it rests on estimates of work that was never timed.
        is_least: the plan grows, by work that nobody knows yet.
    """

    seconds: float | None
    is_about: bool = False
    is_least: bool = False


class TimeLeft:
    """How long nodes take, as well as it is known by now.

    What runs says itself. For what waits, in this order: nodes of equal work in this run, also those that run and told
    their pace; stored artifacts of equal work, as much slower as work that was timed before is in this run, as if one
    more had been as fast as stored; the estimate, corrected by how wrong estimates were in this run: those of the same
    kind if there are any, else those of all others, as if one more had been off by the load alone. A pace that is not
    certain yet is blended with what would be expected without it, and a node estimated below `LARGE_S` counts less
    for other kinds.

    Args:
        slots: nodes that run at once as far as CPUs go.
        gpus: there are.
        gpu_of: GPUs that a node holds.
        load: how many times longer nodes take because of what else ran at the start.
    """

    def __init__(self, *, slots: float, gpus: float, gpu_of: Callable[[Node], float], load: float = 1.0) -> None:
        self.slots, self.gpus, self.gpu_of, self.load = slots, gpus, gpu_of, load
        self._took: dict[str, list[tuple[Node, float]]] = defaultdict(list)

    def took(self, node: Node, seconds: float) -> None:
        """A node ended after so many seconds."""
        self._took[node.work].append((node, seconds))

    def of(self, waiting: Iterable[Node], running: Iterable[Running]) -> Left:
        """Seconds until all of them are built."""
        running = list(running)
        seen = _Seen(self, running)
        is_about = False
        pieces: list[Piece] = []
        for at_work in running:
            left_s, guessed = seen.left(at_work)
            if left_s is None:
                return Left(None)
            is_about = is_about or guessed
            pieces.append(self._piece(at_work.node, left_s, is_running=True))
        for node in waiting:
            expected_s, guessed = seen.expected(node)
            if expected_s is None:
                return Left(None)
            is_about = is_about or guessed
            pieces.append(self._piece(node, expected_s + START_S))
        return Left(makespan_s(pieces, slots=self.slots, gpus=self.gpus), is_about)

    def _piece(self, node: Node, seconds: float, *, is_running: bool = False) -> Piece:
        gpu = self.gpu_of(node)
        return Piece(node.key, seconds, () if is_running else node.needs, gpu=gpu, is_running=is_running)

    def estimated_s(self, node: Node) -> float | None:
        """The estimate, on a GPU where the node gets one."""
        if node.estimated_s is None or not self._gets_gpu(node):
            return node.estimated_s
        return on_gpu(node.estimated_s)

    def stored_s(self, node: Node) -> float | None:
        """Seconds that stored artifacts of equal work took; on another kind of device only without an estimate."""
        is_other = node.timing is not None and node.timing.on_gpu != self._gets_gpu(node)
        return None if is_other and node.estimated_s is not None else node.expected_s

    def _gets_gpu(self, node: Node) -> bool:
        return bool(self.gpus and self.gpu_of(node))


def between(first_s: float, second_s: float, share: float) -> float:
    """The time that lies so far, 0 to 1, on the way between two; by factors, so that a wild one counts little."""
    return math.expm1((1 - share) * math.log1p(first_s) + share * math.log1p(second_s))


class _Evidence(NamedTuple):
    """A node that took so many seconds, and how far that can be believed, 0 to 1."""

    node: Node
    seconds: float
    weight: float


class _Correction(NamedTuple):
    """Logarithm of the factor by which estimates were wrong, and how much it weighs, 0 to 1: for nodes of the same
    kind, and for others."""

    log: float
    own: float
    others: float


def _correction(every: Iterable[_Evidence], thought_s: Callable[[Node], float | None]) -> _Correction:
    """What nodes show that were thought to take so many seconds."""
    weights = logs = large = 0.0
    for one in every:
        before_s = thought_s(one.node)
        if before_s and one.seconds > 0:
            weights += one.weight
            logs += one.weight * math.log(one.seconds / before_s)
            large += one.weight * min(1.0, before_s / LARGE_S)
    if not weights:
        return _Correction(0.0, 0.0, 0.0)
    return _Correction(logs / weights, min(1.0, weights), min(1.0, weights) * large / weights)


def _factor(log: float) -> float:
    return min(MOST_WRONG, max(1 / MOST_WRONG, math.exp(log)))


class _Seen:
    """What this run shows by now about how long nodes take."""

    def __init__(self, times: TimeLeft, running: Iterable[Running]) -> None:
        self.times = times
        self.took = {work: [_Evidence(*pair, 1.0) for pair in pairs] for work, pairs in times._took.items()}
        for at_work in running:
            seconds, certainty = at_work.took_s()
            if certainty > 0:
                evidence = _Evidence(at_work.node, seconds, certainty)
                self.took.setdefault(at_work.node.work, []).append(evidence)
        by_kind: dict[str, list[_Evidence]] = defaultdict(list)
        for every in self.took.values():
            for one in every:
                by_kind[one.node.recipe.kind].append(one)
        self.by_kind = {kind: _correction(every, self.times.estimated_s) for kind, every in by_kind.items()}
        self.slower = self._shared([_correction(every, self.times.stored_s) for every in self.took.values()])
        self._known: dict[Any, tuple[float | None, bool]] = {}

    @staticmethod
    def _shared(every: Iterable[_Correction], usual: float = 0.0) -> float:
        """Logarithm of a factor that work of other kinds shares, as if one more had been off by the usual one."""
        every = list(every)
        return (sum(one.log * one.others for one in every) + usual) / (sum(one.others for one in every) + 1)

    def left(self, at_work: Running) -> tuple[float | None, bool]:
        """Seconds that are left of a running node, and whether that rests on an estimate."""
        position = at_work.position
        told_s = None if position is None else position.left_now_s()
        if position is not None and told_s is not None and position.certainty >= 1:
            return told_s, False
        expected_s, is_estimate = self.expected(at_work.node)
        if expected_s is None:
            return told_s, False
        rest_s = at_work.rest_s(expected_s)
        if position is not None and told_s is not None:
            rest_s = between(rest_s, told_s, position.certainty)
        return rest_s, is_estimate

    def expected(self, node: Node) -> tuple[float | None, bool]:
        """Seconds that a node takes, and whether that is an estimate."""
        # equal work is estimated alike, but for the network and the defense that it meets
        group = (node.work, node.estimated_s, node.timing)
        known = self._known.get(group)
        if known is None:
            known = self._known[group] = self._expected(node)
        return known

    def _expected(self, node: Node) -> tuple[float | None, bool]:
        known_s, is_estimate = self._without_equal_work(node)
        every = self.took.get(node.work, ())
        weight = sum(one.weight for one in every)
        if not weight:
            return known_s, is_estimate
        seen_s = sum(one.weight * one.seconds * self._compared(node, one.node) for one in every) / weight
        if weight >= 1 or known_s is None:
            return seen_s, False
        return between(known_s, seen_s, weight), is_estimate

    def _without_equal_work(self, node: Node) -> tuple[float | None, bool]:
        estimated_s, stored_s = self.times.estimated_s(node), self.times.stored_s(node)
        if stored_s is not None:
            return stored_s * _factor(self.slower), False
        if estimated_s is None:
            return None, True
        others = self._shared(self.by_kind.values(), math.log(self.times.load))
        of_kind = self.by_kind.get(node.recipe.kind, _Correction(0.0, 0.0, 0.0))
        return estimated_s * _factor(of_kind.own * of_kind.log + (1 - of_kind.own) * others), True

    @staticmethod
    def _compared(node: Node, other: Node) -> float:
        """How much longer a node takes than another of equal work."""
        return node.estimated_s / other.estimated_s if node.estimated_s and other.estimated_s else 1.0
