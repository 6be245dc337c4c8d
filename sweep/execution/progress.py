"""Progress line of a running sweep: nodes by state, and the time left."""

from __future__ import annotations

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from midef.core.recipe import ArtifactKey
from midef.core.text import printable
from midef.sweep.planning.plan import Node, Plan

EVERY_S = {True: 0.5, False: 20.0}
"""Seconds between lines, on a terminal (one line rewritten) and elsewhere (lines of a log)."""


class Progress:
    """Counts nodes by state and prints done, running, waiting, failed and the time left.

    Args:
        plan: its nodes wait.
        slots: nodes that run at once as far as CPUs go.
        gpus: there are.
        gpu_of: GPUs that a node holds, by its kind.
        stream: where the lines go; the terminal's error stream if None.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        slots: float,
        gpus: float = 0.0,
        gpu_of: Mapping[str, float] | None = None,
        stream: TextIO | None = None,
    ) -> None:
        self.stream = stream or sys.stderr
        self.slots = max(1.0, slots)
        self.gpus, self.gpu_of = gpus, gpu_of or {}
        self.waiting = dict(plan.nodes)
        self.running: dict[ArtifactKey, tuple[Node, float]] = {}
        self.counts: Counter[str] = Counter()
        self.seconds: Mapping[str, list[float]] = defaultdict(list)
        self.last = ""
        self._printed = 0.0
        self._shown = ""
        self.on_terminal = self.stream.isatty()

    def add(self, nodes: Iterable[Node]) -> None:
        """Nodes the plan did not have."""
        self.waiting.update((node.key, node) for node in nodes)

    def drop(self, keys: Iterable[ArtifactKey]) -> None:
        """Nodes that will not be built after all."""
        for key in keys:
            self.waiting.pop(key, None)

    def started(self, node: Node) -> None:
        """Count a node as running; no effect on one that is counted already."""
        if self.waiting.pop(node.key, None) is not None:
            self.running[node.key] = (node, time.monotonic())

    def done(self, node: Node, seconds: float | None = None) -> None:
        """A node is built.

        Args:
            node: was running, or was never seen to start.
            seconds: what the node says it took; None counts since it was seen to start.
        """
        self.started(node)
        _, since = self.running.pop(node.key)
        took = time.monotonic() - since if seconds is None else seconds
        self.seconds[node.work].append(took)
        self.counts["done"] += 1
        self.last = f"{describe(node)} ({took:.0f} s)"

    def lost(self, node: Node, state: str, reason: str) -> None:
        self.running.pop(node.key, None)
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
        running = [[describe(node), round(now - since)] for node, since in self.running.values()]
        return sorted(running, key=lambda pair: -pair[1])

    def line(self) -> str:
        """One line, no control codes."""
        total = self.counts["done"] + self.counts["failed"] + len(self.running) + len(self.waiting)
        share = 100 * (self.counts["done"] + self.counts["failed"]) / max(1, total)
        parts = [
            f"done {self.counts['done']}",
            f"running {len(self.running)}",
            f"waiting {len(self.waiting)}",
            f"failed {self.counts['failed']}",
            f"{share:3.0f} %",
            f"ETA {duration(self.eta_s())}",
        ]
        if self.last:
            parts.append(f"last: {self.last}")
        return "  ".join(parts)

    def eta_s(self) -> float | None:
        """Seconds left if the remaining work divides well; None while some kind of work was never timed."""
        now = time.monotonic()
        left = on_gpus = 0.0
        for node in self.waiting.values():
            expected_s = self._expected(node)
            if expected_s is None:
                return None
            left += expected_s
            on_gpus += expected_s * self.gpu_of.get(node.recipe.kind, 0.0)
        longest = 0.0
        for node, since in self.running.values():
            expected_s = self._expected(node)
            if expected_s is None:
                return None
            rest = max(0.0, expected_s - (now - since))
            left, longest = left + rest, max(longest, rest)
            on_gpus += rest * self.gpu_of.get(node.recipe.kind, 0.0)
        return max(left / self.slots, on_gpus / self.gpus if self.gpus else 0.0, longest)

    def _expected(self, node: Node) -> float | None:
        seen = self.seconds.get(node.work)
        return sum(seen) / len(seen) if seen else node.expected_s

    def tick(self, *, force: bool = False) -> None:
        """Print the line, if it is time."""
        now = time.monotonic()
        if not force and now - self._printed < EVERY_S[self.on_terminal]:
            return
        self._printed = now
        line = printable(self.line(), keep="")
        if self.on_terminal:
            self.stream.write("\r" + line[:200].ljust(len(self._shown)))
        elif line != self._shown:
            self.stream.write(line + "\n")
        self._shown = line
        self.stream.flush()

    def say(self, text: str) -> None:
        """A line of its own."""
        if self.on_terminal and self._shown:
            self.stream.write("\r" + " " * len(self._shown) + "\r")
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
    params = node.recipe.params
    words = [node.recipe.kind]
    if node.recipe.kind == "target":
        words += [str(params["defense"]["name"]), f"seed {params['seed']}"]
    elif node.recipe.kind == "reconstructions":
        target = node.recipe.inputs["target"]
        words += [node.recipe.component, "on", str(target.params["defense"]["name"]), f"seed {params['seed']}"]
    elif node.recipe.kind != "scores":
        words.append(node.recipe.component)
    return " ".join(words)


def duration(seconds: float | None) -> str:
    """`45 s`, `12 min`, `3.5 h`; `unknown` where nothing was timed."""
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
