"""Time left of a running sweep: what runs told, what ended took, what was stored, what is estimated; played through."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

from midef.sweep.planning.estimate import on_gpu
from midef.sweep.planning.plan import Node
from midef.sweep.planning.schedule import Piece, makespan_s

START_S = 0.3
"""Seconds between two nodes: the next one is handed out, its process reads what it needs."""
SURE, SURE_S = 0.1, 5.0
"""Share of a node, and seconds, after which its pace is believed."""
MOST_WRONG = 20.0
"""Factor by which estimates are corrected at most."""


@dataclass(frozen=True)
class Position:
    """Position of a running node, as its process told it.

    Args:
        fraction: of its work, 0 to 1.
        left_s: seconds that the rest takes; None while its pace is not known.
        heard: when it was told, by this machine's clock.
    """

    fraction: float
    left_s: float | None
    heard: float

    def left_now_s(self) -> float | None:
        """Seconds that are left by now."""
        return None if self.left_s is None else max(0.0, self.left_s - (time.monotonic() - self.heard))


class Running(NamedTuple):
    """A node that runs, since when, and how far it is where it told."""

    node: Node
    since: float
    position: Position | None

    def took_s(self) -> float | None:
        """Seconds it takes from its begin to its end; None while its pace is not known."""
        if self.position is None or self.position.left_s is None:
            return None
        return self.position.heard - self.since + self.position.left_s

    def certainty(self) -> float:
        """How far its pace can be believed, 0 to 1: the first seconds of a small share say little."""
        if self.position is None or self.position.left_s is None:
            return 0.0
        return min(1.0, self.position.fraction / SURE, (self.position.heard - self.since) / SURE_S)


class Left(NamedTuple):
    """Time left.

    Args:
        seconds: None where a node was neither timed nor estimated.
        is_about: part of it rests on estimates of work that was never timed.
    """

    seconds: float | None
    is_about: bool = False


class TimeLeft:
    """How long nodes take, as well as it is known by now.

    What runs says itself. For what waits, in this order: nodes of equal work in this run, also those that run and told
    their pace; stored artifacts of equal work; the estimate, corrected by how wrong estimates were in this run: those
    of the same kind if there are any, else those of all others, as if one more had been off by the load alone.

    Args:
        slots: nodes that run at once as far as CPUs go.
        gpus: there are.
        gpu_of: GPUs that a node holds, by its kind.
        load: how many times longer nodes take because of what else ran at the start.
    """

    def __init__(self, *, slots: float, gpus: float, gpu_of: Mapping[str, float], load: float = 1.0) -> None:
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
        now = time.monotonic()
        for at_work in running:
            told_s = None if at_work.position is None else at_work.position.left_now_s()
            sure = at_work.certainty()
            if told_s is None or sure < 1:
                expected_s, guessed = seen.expected(at_work.node)
                if expected_s is not None:
                    rest_s = max(0.0, expected_s - (now - at_work.since))
                    told_s = sure * (told_s or 0.0) + (1 - sure) * rest_s
                    is_about = is_about or guessed
            if told_s is None:
                return Left(None)
            pieces.append(self._piece(at_work.node, told_s, is_running=True))
        for node in waiting:
            expected_s, guessed = seen.expected(node)
            if expected_s is None:
                return Left(None)
            is_about = is_about or guessed
            pieces.append(self._piece(node, expected_s + START_S))
        return Left(makespan_s(pieces, slots=self.slots, gpus=self.gpus), is_about)

    def _piece(self, node: Node, seconds: float, *, is_running: bool = False) -> Piece:
        gpu = self.gpu_of.get(node.recipe.kind, 0.0)
        return Piece(node.key, seconds, () if is_running else node.needs, gpu=gpu, is_running=is_running)

    def estimated_s(self, node: Node) -> float | None:
        """The estimate, on a GPU where the node gets one."""
        if node.estimated_s is None or not (self.gpus and self.gpu_of.get(node.recipe.kind)):
            return node.estimated_s
        return on_gpu(node.estimated_s)


class _Seen:
    """What this run shows by now about how long nodes take."""

    def __init__(self, times: TimeLeft, running: Iterable[Running]) -> None:
        self.times = times
        self.took = {work: list(pairs) for work, pairs in times._took.items()}
        for at_work in running:
            if (seconds := at_work.took_s()) is not None and at_work.certainty() > 0.5:
                self.took.setdefault(at_work.node.work, []).append((at_work.node, seconds))
        wrong: dict[str, list[float]] = defaultdict(list)
        for pairs in self.took.values():
            for node, seconds in pairs:
                estimated_s = times.estimated_s(node)
                if estimated_s and seconds > 0:
                    wrong[node.recipe.kind].append(math.log(seconds / estimated_s))
        self.by_kind = {kind: fmean(logs) for kind, logs in wrong.items()}
        self._known: dict[Any, tuple[float | None, bool]] = {}

    def expected(self, node: Node) -> tuple[float | None, bool]:
        """Seconds that a node takes, and whether that is an estimate."""
        # equal work is estimated alike, but for the network and the defense that it meets
        group = (node.work, node.estimated_s, node.timing)
        known = self._known.get(group)
        if known is None:
            known = self._known[group] = self._expected(node)
        return known

    def _expected(self, node: Node) -> tuple[float | None, bool]:
        estimated_s = self.times.estimated_s(node)
        if pairs := self.took.get(node.work):
            return fmean(seconds * self._compared(node, other) for other, seconds in pairs), False
        if node.expected_s is not None:
            return node.expected_s, False
        if estimated_s is None:
            return None, True
        others = (sum(self.by_kind.values()) + math.log(self.times.load)) / (len(self.by_kind) + 1)
        log = self.by_kind.get(node.recipe.kind, others)
        return estimated_s * min(MOST_WRONG, max(1 / MOST_WRONG, math.exp(log))), True

    @staticmethod
    def _compared(node: Node, other: Node) -> float:
        """How much longer a node takes than another of equal work."""
        return node.estimated_s / other.estimated_s if node.estimated_s and other.estimated_s else 1.0
