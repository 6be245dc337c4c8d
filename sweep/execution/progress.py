"""Progress line of a running sweep: nodes by state, the time left, and how far the running ones are."""

from __future__ import annotations

import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TextIO

from midef.core.recipe import ArtifactKey
from midef.core.text import duration, printable, time_left
from midef.stages.recipes import words_of
from midef.sweep.execution.time_left import Left, Position, Running, TimeLeft
from midef.sweep.planning.plan import Node, Plan

EVERY_S = {True: 0.5, False: 20.0}
"""Seconds between lines, on a terminal (one line rewritten) and elsewhere (lines of a log)."""
REPEATED_AFTER_S = 35.0
"""A log repeats a line that did not change after so long, so that no minute passes without a word."""
LARGE, LARGE_EVERY_S = 300, 5.0
"""Waiting nodes from which on the time left is not played through at every line, but after so many seconds."""
LARGE_SHARE = 0.02
"""Share of the driver's time that this takes at most: a million waiting nodes take 16 s."""
USUAL_COLUMNS = 200
SHOWN_FROM = 0.5
"""Certainty of its pace from which on the line says how long a node still takes."""
PIECES_SHOWN = 4
"""Running nodes that the line names, the longest at work first."""


class Progress:
    """Counts nodes by state and prints done, running, waiting, failed and the time left.

    Args:
        plan: its nodes wait.
        slots: nodes that run at once as far as CPUs go.
        gpus: there are.
        gpu_of: GPUs that a node holds; none if None.
        load: how many times longer nodes take because of what else ran at the start.
        grows: further nodes may be added.
        stream: where the lines go; the terminal's error stream if None.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        slots: float,
        gpus: float = 0.0,
        gpu_of: Callable[[Node], float] | None = None,
        load: float = 1.0,
        grows: bool = False,
        stream: TextIO | None = None,
    ) -> None:
        self.stream = stream or sys.stderr
        self.times = TimeLeft(slots=slots, gpus=gpus, gpu_of=gpu_of or (lambda node: 0.0), load=load)
        self.grows, self.is_ending = grows, False
        self.waiting = dict(plan.nodes)
        self.running: dict[ArtifactKey, tuple[Node, float]] = {}
        self.positions: dict[ArtifactKey, Position] = {}
        self.counts: Counter[str] = Counter()
        self.last = ""
        self._left, self._left_took_s = (Left(None), float("-inf")), 0.0
        self._printed = self._written = float("-inf")
        self._shown = ""
        self.on_terminal = self.stream.isatty()

    def add(self, nodes: Iterable[Node]) -> None:
        """Nodes the plan did not have."""
        self.waiting.update((node.key, node) for node in nodes)

    def drop(self, keys: Iterable[ArtifactKey]) -> None:
        """Nodes that will not be built after all."""
        for key in keys:
            self.waiting.pop(key, None)

    def end_soon(self) -> None:
        """What waits will not begin in this run: only what runs takes time."""
        self.is_ending = True

    def started(self, node: Node) -> None:
        """Count a node as running; no effect on one that is counted already."""
        if self.waiting.pop(node.key, None) is not None:
            self.running[node.key] = (node, time.monotonic())

    def waits_again(self, node: Node) -> None:
        """A node that ran waits for another try."""
        if self.running.pop(node.key, None) is not None:
            self.positions.pop(node.key, None)
            self.waiting[node.key] = node

    def hear(self, node: Node, beat: Mapping[str, Any]) -> None:
        """Take the position of a running node from its heartbeat."""
        if node.key in self.running and "fraction" in beat:
            left_s = beat.get("left_s")
            heard = (float(beat["fraction"]), None if left_s is None else float(left_s))
            known = self.positions.get(node.key)
            if known is None or (known.fraction, known.left_s) != heard:
                self.positions[node.key] = Position(*heard, time.monotonic(), float(beat.get("certainty", 1.0)))

    def done(self, node: Node, seconds: float | None = None) -> None:
        """A node is built.

        Args:
            node: was running, or was never seen to start.
            seconds: what the node says it took; None counts since it was seen to start.
        """
        self.started(node)
        _, since = self.running.pop(node.key)
        self.positions.pop(node.key, None)
        took = time.monotonic() - since if seconds is None else seconds
        self.times.took(node, took)
        self.counts["done"] += 1
        self.last = f"{describe(node)} ({took:.0f} s)"

    def lost(self, node: Node, state: str, reason: str) -> None:
        self.running.pop(node.key, None)
        self.positions.pop(node.key, None)
        self.waiting.pop(node.key, None)
        self.counts["failed"] += 1
        if state == "failed":
            self.say(f"failed: {describe(node)}: {reason}")

    def seconds_of(self, node: Node) -> float:
        """Seconds since a node began; 0 while it waits."""
        running = self.running.get(node.key)
        return 0.0 if running is None else time.monotonic() - running[1]

    def states(self) -> dict[str, int]:
        """Nodes by state."""
        counts = {"done": self.counts["done"], "failed": self.counts["failed"]}
        return counts | {"running": len(self.running), "waiting": len(self.waiting)}

    def at_work(self) -> list[list[Any]]:
        """Nodes that run, in a few words each, with their seconds; the longest first."""
        now = time.monotonic()
        running = [[self._piece(node), round(now - since)] for node, since in self.running.values()]
        return sorted(running, key=lambda pair: -pair[1])

    def _piece(self, node: Node) -> str:
        """`prior wgan_gp 41 %, 3 min left`, with what is known."""
        position = self.positions.get(node.key)
        if position is None or not position.fraction:
            return describe(node)
        left_s = position.left_now_s() if position.certainty >= SHOWN_FROM else None
        left = "" if left_s is None else f", {duration(left_s)} left"
        return f"{describe(node)} {math.floor(100 * position.fraction)} %{left}"

    def line(self, width: int | None = None) -> str:
        """One line, no control codes.

        Args:
            width: most characters, for a terminal: counts then become shorter, and what runs, and what ended last, is
                left out where it must be.
        """
        done, failed = self.counts["done"], self.counts["failed"]
        total = done + failed + len(self.running) + len(self.waiting)
        share, eta = 100 * (done + failed) / max(1, total), f"ETA {self.eta_text()}"
        at_work, waiting = f"running {len(self.running)}", f"waiting {len(self.waiting)}"
        long = "  ".join([f"done {done}", at_work, waiting, f"failed {failed}", f"{share:3.0f} %", eta])
        short = f"{done} of {total} done{f', {failed} failed' if failed else ''}  {eta}"
        pieces = [str(piece) for piece, _ in self.at_work()]
        last = f"  last: {self.last}" if self.last else ""
        line = long
        for shown in range(min(len(pieces), PIECES_SHOWN), -1, -1):
            more = f" +{len(pieces) - shown}" if 0 < shown < len(pieces) else ""
            now = f"  now: {'; '.join(pieces[:shown])}{more}" if shown else ""
            for line in (long + now + last, long + now, short + now):
                if width is None or len(line) <= width:
                    return line
        return line[:width]

    def left(self) -> Left:
        """Time left, see `TimeLeft`; of a large plan looked at every few seconds."""
        now = time.monotonic()
        known, since = self._left
        waiting = () if self.is_ending else self.waiting.values()
        pause_s = max(LARGE_EVERY_S, self._left_took_s / LARGE_SHARE)
        if len(waiting) > LARGE and now - since < pause_s:
            return known._replace(seconds=known.seconds and max(0.0, known.seconds - (now - since)))
        running = (Running(node, begun, self.positions.get(key)) for key, (node, begun) in self.running.items())
        left = self.times.of(waiting, running)._replace(is_least=self.grows and not self.is_ending)
        self._left, self._left_took_s = (left, now), time.monotonic() - now
        return left

    def eta_text(self) -> str:
        """`3 min`; `about 3 min` where part of it is estimated, `at least` where more work may come."""
        left = self.left()
        return time_left(left.seconds, is_about=left.is_about, is_least=left.is_least)

    def tick(self, *, force: bool = False) -> None:
        """Print the line, if it is time."""
        now = time.monotonic()
        if not force and now - self._printed < EVERY_S[self.on_terminal]:
            return
        self._printed = now
        width = self._width() if self.on_terminal else None
        line = printable(self.line(width), keep="")
        if width is not None:
            self.stream.write("\r" + line.ljust(min(width, len(self._shown))))
        elif line != self._shown or now - self._written > REPEATED_AFTER_S:
            self.stream.write(line + "\n")
            self._written = now
        self._shown = line
        self.stream.flush()

    def _width(self) -> int:
        """Characters that fit into a line of the terminal without the cursor going to the next."""
        try:
            columns = os.get_terminal_size(self.stream.fileno()).columns
        except (OSError, ValueError):  # it only looks like one
            columns = 0
        return (columns or USUAL_COLUMNS) - 1

    def say(self, text: str) -> None:
        """A line of its own."""
        if self.on_terminal and self._shown:
            self.stream.write("\r" + " " * min(self._width(), len(self._shown)) + "\r")
        self.stream.write(printable(text) + "\n")
        self.stream.flush()

    def close(self) -> None:
        """The last line, and the cursor on a new one."""
        self.tick(force=True)
        if self.on_terminal:
            self.stream.write("\n")
            self.stream.flush()


def describe(node: Node) -> str:
    """A node in a few words: `target midre seed 0`."""
    return words_of(node.recipe)
