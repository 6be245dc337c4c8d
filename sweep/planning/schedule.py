"""How long work takes whose pieces wait for each other and share processors and GPUs: list scheduling, simulated."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from itertools import count

PLAYED = 3000
"""Pieces up to which the schedule is played through; beyond, the work divides so well that a bound is as good."""


@dataclass(frozen=True)
class Piece:
    """A piece of work.

    Args:
        seconds: it takes, or what is left of it.
        needs: pieces it waits for; those that are not among the others are done.
        gpu: GPUs it holds.
        is_running: it began.
    """

    key: Hashable
    seconds: float
    needs: Collection[Hashable] = ()
    gpu: float = 0.0
    is_running: bool = False


def makespan_s(pieces: Sequence[Piece], *, slots: float, gpus: float = 0.0) -> float:
    """Seconds until all pieces are done, if the ready one with the longest path of work behind it always goes first.

    Args:
        pieces: inputs before what needs them.
        slots: pieces that run at once as far as processors go.
        gpus: there are; 0 lets pieces that hold one run without.
    """
    slots = max(1.0, slots)
    path_s, after = _paths(pieces)
    if len(pieces) > PLAYED:
        on_gpus = sum(piece.seconds * piece.gpu for piece in pieces) / gpus if gpus else 0.0
        return max(sum(piece.seconds for piece in pieces) / slots, on_gpus, max(path_s.values()))
    return _Play(pieces, path_s, after, slots=slots, gpus=gpus).run()


def _paths(pieces: Sequence[Piece]) -> tuple[dict[Hashable, float], dict[Hashable, list[Piece]]]:
    """Seconds of the longest path that starts with each piece, and the pieces that wait for it."""
    after: dict[Hashable, list[Piece]] = {piece.key: [] for piece in pieces}
    for piece in pieces:
        for key in piece.needs:
            if key in after:
                after[key].append(piece)
    path_s: dict[Hashable, float] = {}
    for piece in reversed(pieces):
        path_s[piece.key] = piece.seconds + max((path_s[later.key] for later in after[piece.key]), default=0.0)
    return path_s, after


class _Play:
    """The schedule, event by event."""

    def __init__(
        self,
        pieces: Sequence[Piece],
        path_s: dict[Hashable, float],
        after: dict[Hashable, list[Piece]],
        *,
        slots: float,
        gpus: float,
    ) -> None:
        self.path_s, self.after = path_s, after
        self.free, self.free_gpus, self.has_gpus = slots, gpus, gpus > 0
        self.waits_for = {piece.key: sum(key in after for key in piece.needs) for piece in pieces}
        self.ready: dict[float, list[tuple[float, int, Piece]]] = {}
        self.ends: list[tuple[float, int, Piece]] = []
        self.number = count()
        self.now = 0.0
        for piece in pieces:
            if piece.is_running:
                self._start(piece)
            elif not self.waits_for[piece.key]:
                self._offer(piece)

    def run(self) -> float:
        self._start_ready()
        while self.ends:
            self.now, _, ended = heapq.heappop(self.ends)
            self.free += 1
            self.free_gpus += self._gpu(ended)
            for piece in self.after[ended.key]:
                self.waits_for[piece.key] -= 1
                if not self.waits_for[piece.key] and not piece.is_running:
                    self._offer(piece)
            self._start_ready()
        return self.now

    def _gpu(self, piece: Piece) -> float:
        return piece.gpu if self.has_gpus else 0.0

    def _offer(self, piece: Piece) -> None:
        heapq.heappush(self.ready.setdefault(self._gpu(piece), []), (-self.path_s[piece.key], next(self.number), piece))

    def _start(self, piece: Piece) -> None:
        self.free -= 1
        self.free_gpus -= self._gpu(piece)
        heapq.heappush(self.ends, (self.now + piece.seconds, next(self.number), piece))

    def _start_ready(self) -> None:
        while True:
            fitting = [heap for gpu, heap in self.ready.items() if heap and gpu <= self.free_gpus + 1e-9]
            if self.ends and (self.free < 1 or not fitting):
                return
            waiting = fitting or [heap for heap in self.ready.values() if heap]  # what needs more than there is
            if not waiting:
                return
            self._start(heapq.heappop(min(waiting, key=lambda heap: heap[0]))[2])
